"""Settling: what becomes of jobs is told to the store in batches, again and again until it answers."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from random import Random
from typing import Final

import msgspec

from gapless.client.connection import backoff_ms
from gapless.core.errors import GaplessError, OutcomeUnknown
from gapless.core.jobs import Deed
from gapless.core.limits import CLAIM_JOBS_MAX
from gapless.library.gapless import Gapless
from gapless.library.outcomes import Outcome
from gapless.ports import Clock
from gapless.protocol.messages import payload
from gapless.protocol.payloads import failure_of
from gapless.protocol.queues import NewSettlement, SettleAnswer, SettledItem, SettleRequest
from gapless.server.parting import pause

__all__ = ["Settling", "settlement"]

BATCH_BYTES_MAX: Final = 512 * 1024
FLIGHTS_MAX: Final = 2  # one is under way while the answer to the other is read
SMALL_BYTES: Final = 256  # what a settlement takes that carries nothing
log: Final = logging.getLogger("gapless.worker")

Told = Callable[[SettledItem], object]


def settlement(id: str, fence: str, outcome: Outcome) -> NewSettlement:
    """Return what is to be done about a job as the store is told it."""
    new = NewSettlement(
        id=id, fence=fence, deed=outcome.deed, delay_ms=outcome.delay_ms, reason=outcome.reason,
        details=outcome.details, emit=tuple(outcome.emit),
    )  # fmt: skip
    if outcome.result is not None and outcome.binary:
        new.b64result = outcome.result
    elif outcome.result is not None:
        new.result = payload(outcome.result)
    return new


class Settling:
    """Settles jobs; who puts one in is told what came of it."""

    def __init__(self, gl: Gapless, clock: Clock, random: Random) -> None:
        self._gl = gl
        self._clock = clock
        self._random = random
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[tuple[NewSettlement, Told]] = deque()
        self._flights: set[asyncio.Task[None]] = set()
        self._flying = 0
        self._starting = False

    def put(self, new: NewSettlement, told: Told) -> None:
        """Settle soon, together with others."""
        self._waiting.append((new, told))
        if not self._starting and self._flying < FLIGHTS_MAX:
            self._starting = True
            self._loop.call_soon(self._start)

    async def finish(self) -> None:
        """Wait until all is settled."""
        while self._waiting or self._flights:
            await asyncio.wait(self._flights) if self._flights else await asyncio.sleep(0)

    def give_up(self) -> None:
        """Settle no more; the leases run out."""
        self._waiting.clear()
        for flight in self._flights:
            flight.cancel()

    def _start(self) -> None:
        self._starting = False
        self._flying += 1
        flight = self._loop.create_task(self._fly())
        self._flights.add(flight)
        flight.add_done_callback(self._flights.discard)

    async def _fly(self) -> None:
        try:
            while self._waiting:
                await self._settle(self._take())
        finally:
            self._flying -= 1  # at once: what is put before the task is seen to be done is not forgotten

    def _take(self) -> list[tuple[NewSettlement, Told]]:
        taken: list[tuple[NewSettlement, Told]] = []
        size_bytes = 0
        while self._waiting and len(taken) < CLAIM_JOBS_MAX:
            size_bytes += _size_bytes(self._waiting[0][0])
            if taken and size_bytes > BATCH_BYTES_MAX:
                break
            taken.append(self._waiting.popleft())
        return taken

    async def _settle(self, batch: list[tuple[NewSettlement, Told]]) -> None:
        request = SettleRequest(settlements=[new for new, _ in batch])
        failed = 0
        while True:
            try:
                answer: SettleAnswer = await self._gl.ask("queue/settle", request)
            except GaplessError as error:
                if not (error.temporary or isinstance(error, OutcomeUnknown)):
                    await self._apart(batch, error)
                    return
                log.warning("%d jobs are not settled yet: %s", len(batch), error)
            else:
                for (_, told), item in zip(batch, answer.settlements, strict=True):
                    told(item)
                return
            await pause(self._clock, backoff_ms(failed, self._random))
            failed += 1

    async def _apart(self, batch: list[tuple[NewSettlement, Told]], error: GaplessError) -> None:
        """Settle one by one what is refused together: one of them will do."""
        if len(batch) == 1:
            batch[0][1](SettledItem(error=failure_of(error)))
            return
        for one in batch:
            await self._settle([one])


def _size_bytes(new: NewSettlement) -> int:
    if new.deed is Deed.ACK and not new.emit and new.b64result is None:
        return SMALL_BYTES + len(bytes(new.result))
    return len(msgspec.json.encode(new))
