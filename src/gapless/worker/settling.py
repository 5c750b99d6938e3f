"""Settling: what becomes of jobs is told to the store in batches, again and again until it answers."""

import logging
from collections.abc import Sequence
from math import inf
from random import Random
from typing import Final

import msgspec

from gapless.core.errors import GaplessError, Unavailable
from gapless.core.jobs import Deed
from gapless.library.gapless import Gapless
from gapless.library.joining import Joining
from gapless.library.outcomes import Outcome
from gapless.library.retrying import Retrying
from gapless.ports import Clock
from gapless.protocol.messages import payload
from gapless.protocol.queues import NewSettlement, SettleAnswer, SettledItem, SettleRequest

__all__ = ["Settling", "settlement", "settling"]

SMALL_BYTES: Final = 256  # what a settlement takes that carries nothing
log: Final = logging.getLogger("gapless.worker")

Settling = Joining[NewSettlement, SettledItem]


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


def settling(gl: Gapless, clock: Clock, random: Random) -> Settling:
    """Return what settles jobs: together, and again and again until the store answers.

    Errors: GaplessError, by which a settlement is refused, and will be.
    """
    retrying = Retrying(clock, random, inf)

    async def settle(settlements: Sequence[NewSettlement]) -> Sequence[SettledItem]:
        request = SettleRequest(settlements=list(settlements))

        async def attempt() -> Sequence[SettledItem]:
            try:
                answer: SettleAnswer = await gl.ask("queue/settle", request)
            except Unavailable as error:
                log.warning("%d jobs are not settled yet: %s", len(settlements), error)
                raise
            return answer.settlements

        return await retrying.call(attempt, repeatable=True)

    return Joining(settle, _size_bytes, apart=(GaplessError,))


def _size_bytes(new: NewSettlement) -> int:
    if new.deed is Deed.ACK and not new.emit and new.b64result is None:
        return SMALL_BYTES + len(bytes(new.result))
    return len(msgspec.json.encode(new))
