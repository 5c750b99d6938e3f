"""How a node that stops parts with its clients: in turns, and not before what they began is answered."""

import asyncio
from collections.abc import Sequence
from typing import Protocol

from gapless.core.limits import PART_PER_TURN_MIN, PART_TURN_MS
from gapless.ports import Clock
from gapless.protocol.codes import Disconnect

__all__ = ["Appends", "Leaving", "part_with", "pause"]


class Leaving(Protocol):
    """A session, as far as it is parted with."""

    def hold(self) -> None:
        """Carry out nothing more."""

    def disconnected(self, code: Disconnect) -> None:
        """End the connection."""


class Appends(Protocol):
    """The broker's counts: publications that were taken, and those among them whose outcome is known."""

    publications: int
    answered: int


async def part_with(
    leaving: Sequence[Leaving], appends: Appends, clock: Clock, *, spread_ms: int, end_ms: int
) -> None:
    """Disconnect all (3001), so that they come back spread over `spread_ms`; over by `end_ms` in any case.

    Few are parted with in a turn or two. What a client published before its turn is answered first.
    """
    turns = max(1, min(spread_ms, end_ms - clock.now_ms()) // PART_TURN_MS)
    per_turn = max(PART_PER_TURN_MIN, -(-len(leaving) // turns))
    for first in range(0, len(leaving), per_turn):
        turn = leaving[first : first + per_turn]
        for session in turn:
            session.hold()
        taken = appends.publications
        await pause(clock, PART_TURN_MS)
        while appends.answered < taken and clock.now_ms() < end_ms:
            await pause(clock, PART_TURN_MS)
        for session in turn:
            session.disconnected(Disconnect.SHUTDOWN)


async def pause(clock: Clock, delay_ms: int) -> None:
    """Let so much time pass."""
    over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def end() -> None:
        if not over.done():
            over.set_result(None)

    timer = clock.after(delay_ms, end)
    try:
        await over
    finally:
        timer.cancel()
