"""Joins what is asked for at the same time into one request, as a writer joins appends into one commit."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Generic, TypeVar

__all__ = ["Joining"]

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")

ITEMS_MAX: Final = 1_000
BYTES_MAX: Final = 512 * 1024
FLIGHTS_MAX: Final = 2  # one is under way while the answer to the other is read


class Joining(Generic[Item, Outcome]):
    """Items that wait join the next request: `send` takes them, and answers each, or raises."""

    def __init__(
        self,
        send: Callable[[Sequence[Item]], Awaitable[Sequence[Outcome]]],
        size_bytes: Callable[[Item], int],
    ) -> None:
        self._send = send
        self._size_bytes = size_bytes
        self._waiting: deque[tuple[Item, asyncio.Future[Outcome]]] = deque()
        self._flights: set[asyncio.Task[None]] = set()

    async def one(self, item: Item) -> Outcome:
        """Have an item sent, and return its outcome. Who gives up waiting may have had it carried out."""
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[Outcome] = loop.create_future()
        self._waiting.append((item, outcome))
        if len(self._flights) < FLIGHTS_MAX:
            flight = loop.create_task(self._fly())
            self._flights.add(flight)
            flight.add_done_callback(self._flights.discard)
        return await outcome

    async def close(self) -> None:
        """Let what is under way come to its end."""
        await asyncio.gather(*self._flights, return_exceptions=True)

    async def _fly(self) -> None:
        """Send what waits, again and again until nothing does."""
        while self._waiting:
            taken = self._take()
            try:
                outcomes = await self._send([item for item, _ in taken])
            except Exception as error:
                for _, waiting in taken:
                    if not waiting.done():
                        waiting.set_exception(error)
                continue
            for (_, waiting), outcome in zip(taken, outcomes, strict=True):
                if not waiting.done():
                    waiting.set_result(outcome)

    def _take(self) -> list[tuple[Item, asyncio.Future[Outcome]]]:
        taken: list[tuple[Item, asyncio.Future[Outcome]]] = []
        size_bytes = 0
        while self._waiting and len(taken) < ITEMS_MAX:
            size_bytes += self._size_bytes(self._waiting[0][0])
            if taken and size_bytes > BYTES_MAX:
                break
            taken.append(self._waiting.popleft())
        return taken
