"""Joins what is asked for at the same time into one request, as a writer joins appends into one commit."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Generic, TypeVar

from gapless.core.errors import BadRequest

__all__ = ["Joining"]

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")

ITEMS_MAX: Final = 1_000
BYTES_MAX: Final = 512 * 1024
FLIGHTS_MAX: Final = 2  # one is under way while the answer to the other is read
# How an item fails that is not what it has to be: here, when it is written, or where all of them are read.
_FAULTS: Final = (BadRequest, TypeError, ValueError)

Taken = list[tuple[Item, asyncio.Future[Outcome]]]


class Joining(Generic[Item, Outcome]):
    """Items that wait join the next request: `send` takes them, and answers each, or raises."""

    def __init__(
        self,
        send: Callable[[Sequence[Item]], Awaitable[Sequence[Outcome]]],
        size_bytes: Callable[[Item], int],
    ) -> None:
        self._send = send
        self._size_bytes = size_bytes
        self._waiting: deque[tuple[Item, int, asyncio.Future[Outcome]]] = deque()
        self._flights: set[asyncio.Task[None]] = set()
        self._flying = 0

    async def one(self, item: Item) -> Outcome:
        """Have an item sent, and return its outcome. Who gives up waiting may have had it carried out.

        Raises:
            BadRequest: it is not what its type says.
        """
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[Outcome] = loop.create_future()
        try:
            size_bytes = self._size_bytes(item)
        except _FAULTS as error:
            raise BadRequest(f"malformed request: {error}") from error
        self._waiting.append((item, size_bytes, outcome))
        if self._flying < FLIGHTS_MAX:
            self._flying += 1
            flight = loop.create_task(self._fly())
            self._flights.add(flight)
            flight.add_done_callback(self._flights.discard)
        return await outcome

    async def close(self) -> None:
        """Let what is under way come to its end."""
        await asyncio.gather(*self._flights, return_exceptions=True)

    async def _fly(self) -> None:
        """Send what waits, again and again until nothing does."""
        try:
            while self._waiting:
                await self._carry(self._take())
        finally:
            self._flying -= 1  # not when the task is seen to be done: who asks before that would be forgotten

    async def _carry(self, taken: Taken[Item, Outcome]) -> None:
        try:
            outcomes = await self._send([item for item, _ in taken])
        except Exception as error:
            if len(taken) > 1 and isinstance(error, _FAULTS):  # it is one's fault, and not the others'
                half = len(taken) // 2
                await self._carry(taken[:half])
                await self._carry(taken[half:])
                return
            for _, waiting in taken:
                if not waiting.done():
                    waiting.set_exception(error)
            return
        for (_, waiting), outcome in zip(taken, outcomes, strict=True):
            if not waiting.done():
                waiting.set_result(outcome)

    def _take(self) -> Taken[Item, Outcome]:
        taken: Taken[Item, Outcome] = []
        taken_bytes = 0
        while self._waiting and len(taken) < ITEMS_MAX:
            item, size_bytes, outcome = self._waiting[0]
            taken_bytes += size_bytes
            if taken and taken_bytes > BYTES_MAX:
                break
            self._waiting.popleft()
            taken.append((item, outcome))
        return taken
