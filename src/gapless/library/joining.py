"""Joins what is asked for at the same time into one request, as a writer joins appends into one commit."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final, Generic, TypeVar

from gapless.core.errors import OutcomeUnknown
from gapless.core.limits import CLAIM_JOBS_MAX

__all__ = ["Joining"]

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")

ITEMS_MAX: Final = CLAIM_JOBS_MAX
BYTES_MAX: Final = 512 * 1024
# One is under way while the answer to the other is read. More of them, each with its share, were no faster
# (0.97 by the median of 34 pairs of runs): beside enqueues there are claims and settlements to overlap with.
FLIGHTS_MAX: Final = 2


class Joining(Generic[Item, Outcome]):
    """Items that wait join the next request: `send` takes them, and returns an outcome for each, or raises.

    What is refused together (an error of `apart`) is sent in halves: it may be the fault of one.
    """

    def __init__(
        self,
        send: Callable[[Sequence[Item]], Awaitable[Sequence[Outcome]]],
        size_bytes: Callable[[Item], int],
        apart: tuple[type[Exception], ...],
    ) -> None:
        self._send = send
        self._size_bytes = size_bytes
        self._apart = apart
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[_Waiting[Item, Outcome]] = deque()
        self._flights: set[asyncio.Task[None]] = set()
        self._flying = 0
        self._starting = False

    def put(self, item: Item, told: Callable[[Outcome | Exception], object]) -> None:
        """Have an item sent soon, with others; `told` hears its outcome, or the error of its request."""
        self._waiting.append((item, self._size_bytes(item), told))
        if not self._starting and self._flying < FLIGHTS_MAX:
            self._starting = True
            self._loop.call_soon(self._start)

    def one(self, item: Item) -> "asyncio.Future[Outcome]":
        """Have an item sent; the future is its outcome. Who gives up waiting may have had it carried out."""
        outcome: asyncio.Future[Outcome] = self._loop.create_future()
        self.put(item, partial(_tell, outcome))
        return outcome

    async def finish(self) -> None:
        """Wait until all is answered."""
        while self._waiting or self._flights:
            await asyncio.wait(self._flights) if self._flights else await asyncio.sleep(0)

    def give_up(self) -> None:
        """Send no more; nobody is told anything."""
        self._waiting.clear()
        for flight in self._flights:
            flight.cancel()

    def _start(self) -> None:
        self._starting = False
        while self._waiting and self._flying < FLIGHTS_MAX:
            self._flying += 1
            flight = self._loop.create_task(self._fly(self._take()))
            self._flights.add(flight)
            flight.add_done_callback(self._flights.discard)

    async def _fly(self, taken: "list[_Waiting[Item, Outcome]]") -> None:
        """Send what was taken, then what waits, again and again until nothing does."""
        try:
            while taken:
                await self._carry(taken)
                taken = self._take()
        finally:
            self._flying -= 1  # at once: what is put before the task is seen to be done is not forgotten

    async def _carry(self, taken: "list[_Waiting[Item, Outcome]]") -> None:
        try:
            outcomes = await self._send([item for item, _, _ in taken])
            if len(outcomes) != len(taken):
                raise OutcomeUnknown(f"{len(taken)} were asked for, and {len(outcomes)} are answered")
        except Exception as error:
            if len(taken) > 1 and isinstance(error, self._apart):
                half = len(taken) // 2
                await self._carry(taken[:half])
                await self._carry(taken[half:])
                return
            for _, _, told in taken:
                told(error)
            return
        for (_, _, told), outcome in zip(taken, outcomes, strict=True):
            told(outcome)

    def _take(self) -> "list[_Waiting[Item, Outcome]]":
        taken: list[_Waiting[Item, Outcome]] = []
        taken_bytes = 0
        while self._waiting and len(taken) < ITEMS_MAX:
            taken_bytes += self._waiting[0][1]
            if taken and taken_bytes > BYTES_MAX:
                break
            taken.append(self._waiting.popleft())
        return taken


_Waiting = tuple[Item, int, Callable[[Outcome | Exception], object]]


def _tell(waiting: "asyncio.Future[Outcome]", outcome: Outcome | Exception) -> None:
    if waiting.done():
        return
    if isinstance(outcome, Exception):
        waiting.set_exception(outcome)
    else:
        waiting.set_result(outcome)
