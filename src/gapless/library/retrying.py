"""When a call is made again: as long as that can do no harm, and there is time."""

from collections.abc import Awaitable, Callable
from random import Random
from typing import TypeVar

from gapless.client.connection import backoff_ms
from gapless.core.errors import OutcomeUnknown, Unavailable
from gapless.ports import Clock
from gapless.server.parting import pause

__all__ = ["Retrying"]

Answer = TypeVar("Answer")


class Retrying:
    """Makes calls again that were refused for now, and repeatable ones of which nobody knows what became.

    It goes on for `patience_ms` at most, with a growing wait; then the last error is the answer.
    """

    def __init__(self, clock: Clock, random: Random, patience_ms: float) -> None:
        self._clock = clock
        self._random = random
        self._patience_ms = patience_ms

    async def call(self, attempt: Callable[[], Awaitable[Answer]], *, repeatable: bool) -> Answer:
        """Return what `attempt` returns in the end, or raise what it raised last.

        Raises:
            OutcomeUnknown: of one attempt nobody knows what became, though later ones were refused.
        """
        end_ms = self._clock.now_ms() + self._patience_ms
        failed = 0
        unknown: OutcomeUnknown | None = None
        while True:
            try:
                return await attempt()
            except (Unavailable, OutcomeUnknown) as error:
                unknown = error if isinstance(error, OutcomeUnknown) else unknown
                wait_ms = backoff_ms(failed, self._random)
                harmless = error.temporary or (repeatable and isinstance(error, OutcomeUnknown))
                if not harmless or self._clock.now_ms() + wait_ms > end_ms:
                    raise unknown or error from error
            await pause(self._clock, wait_ms)
            failed += 1
