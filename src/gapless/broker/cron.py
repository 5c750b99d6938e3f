"""When something recurs: cron expressions in a time zone, by Debian's rules, and intervals.

An expression that names an hour which a day skips fires right after it; one that a day has twice, once.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from gapless.core.errors import BadRequest
from gapless.core.limits import JOB_DELAY_MAX_MS
from gapless.protocol.schedules import RecurringJob

__all__ = ["next_tick_ms", "ticks"]


def ticks(recurring: RecurringJob, after_ms: int) -> Iterator[int]:
    """Return the ticks after a time, in order, in milliseconds since the Unix epoch.

    They end when an expression does not fire within 50 years.

    Raises:
        BadRequest: the expression or the interval is not what it has to be, or there is no such time zone.
    """
    if bool(recurring.cron) is bool(recurring.every_ms):
        raise BadRequest("a schedule has either cron or every_ms")
    zone = _zone(recurring.time_zone)
    if recurring.every_ms:
        return _interval(recurring.every_ms, after_ms)
    return _cron(recurring.cron, zone, after_ms)


def next_tick_ms(recurring: RecurringJob, after_ms: int) -> int:
    """Return the first tick after a time.

    Raises:
        BadRequest: as `ticks`, or it never fires.
    """
    tick_ms = next(ticks(recurring, after_ms), None)
    if tick_ms is None:
        raise BadRequest(f"cron expression {recurring.cron!r} never fires")
    return tick_ms


def _interval(every_ms: int, after_ms: int) -> Iterator[int]:
    if not 1_000 <= every_ms <= JOB_DELAY_MAX_MS:
        raise BadRequest(f"an interval is 1,000 to {JOB_DELAY_MAX_MS} ms")
    return iter(range(after_ms // every_ms * every_ms + every_ms, 2**53, every_ms))


def _cron(expression: str, zone: ZoneInfo, after_ms: int) -> Iterator[int]:
    try:
        found = CronSim(expression, datetime.fromtimestamp(after_ms // 1000, zone))
    except (CronSimError, ValueError, OverflowError) as error:
        raise _refusal(expression, str(error) or "malformed") from error
    return (int(at.timestamp() * 1000) for at in found)


def _refusal(expression: str, why: str) -> BadRequest:
    """Return the error that says why there are no ticks: one that fits in other months is well formed."""
    fields = expression.split()
    fields[-2:-1] = ["*"]
    try:
        CronSim(" ".join(fields), datetime.fromtimestamp(0, UTC))
    except (CronSimError, ValueError, OverflowError):
        return BadRequest(f"{expression!r} is no cron expression: {why[:1].lower()}{why[1:]}")
    return BadRequest(f"cron expression {expression!r} never fires: {why[:1].lower()}{why[1:]}")


@lru_cache(maxsize=64)
def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:  # a folder of the database is an OSError
        raise BadRequest(f"there is no time zone {name!r}") from error
