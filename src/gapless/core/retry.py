"""When a job that failed is tried again: one policy for failures and for leases that ran out."""

from typing import Annotated

from msgspec import Meta, Struct

from gapless.core.limits import ATTEMPTS_MAX, JOB_DELAY_MAX_MS

__all__ = ["Retry"]

DelayMs = Annotated[int, Meta(ge=0, le=JOB_DELAY_MAX_MS)]


class Retry(Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """After how long each attempt follows the one before it, and how many there are (semantics 4).

    The delay grows from `base_ms` by `factor` up to `cap_ms`. With `jitter` it is drawn between half of that
    and all of it, so that what failed together does not come back together. `delays_ms`, if given, is a list
    of delays instead, of which the last holds for all further attempts.
    """

    attempts_max: Annotated[int, Meta(ge=1, le=ATTEMPTS_MAX)] = 5
    base_ms: DelayMs = 1_000
    factor: Annotated[float, Meta(ge=1, le=100)] = 2.0
    cap_ms: DelayMs = 600_000
    jitter: bool = True
    delays_ms: Annotated[tuple[DelayMs, ...], Meta(max_length=ATTEMPTS_MAX)] = ()

    def delay_ms(self, attempt: int, chance: float) -> int:
        """Return how long to wait after `attempt` (1 is the first); `chance` lies in [0, 1)."""
        if self.delays_ms:
            return self.delays_ms[min(attempt, len(self.delays_ms)) - 1]
        try:
            full_ms = min(float(self.cap_ms), self.base_ms * self.factor ** (attempt - 1))
        except OverflowError:
            full_ms = float(self.cap_ms)
        return int(full_ms * (0.5 + chance / 2) if self.jitter else full_ms)
