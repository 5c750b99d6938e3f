"""How many wrong passwords are heard: from one address, and from all together."""

from typing import Final

from gapless.core.bucket import Bucket, Rate
from gapless.core.limits import CONSOLE_WRONG_OF_ALL_PER_MINUTE, CONSOLE_WRONG_PER_MINUTE

__all__ = ["Throttle"]

MINUTE_MS: Final = 60_000
ONE: Final = Rate(CONSOLE_WRONG_PER_MINUTE, MINUTE_MS)
ALL: Final = Rate(CONSOLE_WRONG_OF_ALL_PER_MINUTE, MINUTE_MS)


class Throttle:
    """Counts wrong ones by neighbourhood. It remembers no more of these than all together are heard."""

    def __init__(self) -> None:
        self._all = Bucket(ALL)
        self._each: dict[str, Bucket] = {}

    def __len__(self) -> int:
        return len(self._each)

    def wait_ms(self, neighbourhood: str, now_ms: int) -> int:
        """Return how long somebody from there has to wait before it is heard; 0: it is now."""
        for bucket in (self._each.get(neighbourhood), self._all):
            if bucket is not None and bucket.empty(now_ms):
                return -(-bucket.rate.period_ms // bucket.rate.units)
        return 0

    def wrong(self, neighbourhood: str, now_ms: int) -> None:
        """Note that somebody from there was wrong."""
        self._each = {known: each for known, each in self._each.items() if not each.rested(now_ms)}
        self._each.setdefault(neighbourhood, Bucket(ONE)).take(now_ms)
        self._all.take(now_ms)
