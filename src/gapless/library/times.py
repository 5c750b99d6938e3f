"""Durations and times as users of the library write them."""

from datetime import UTC, datetime, timedelta
from typing import Final

from gapless.core.durations import milliseconds
from gapless.core.errors import BadRequest

__all__ = ["Duration", "Instant", "duration_ms", "instant_ms", "moment"]

Duration = str | timedelta | int | float
"""`"30s"`, `"1h30m"`, `"250ms"`, `"7d"`; a timedelta; or a number of seconds."""
Instant = datetime | int
"""A time with its zone, or milliseconds since the Unix epoch."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)


def duration_ms(value: Duration) -> int:
    """Return a duration in milliseconds, rounded to the nearest.

    Raises:
        BadRequest: it is none, or negative.
    """
    try:
        ms = milliseconds(value) if isinstance(value, str) else round(_seconds(value) * 1000)
    except (TypeError, ValueError, OverflowError):
        ms = -1
    if ms < 0:
        raise BadRequest(
            f'{value!r} is no duration: write "30s", "1h30m", "7d", a timedelta or a number of seconds'
        )
    return ms


def _seconds(value: timedelta | float) -> float:
    return value.total_seconds() if isinstance(value, timedelta) else value


def instant_ms(value: Instant) -> int:
    """Return a time in milliseconds since the Unix epoch.

    Raises:
        BadRequest: it is none, or has no time zone.
    """
    if isinstance(value, datetime) and value.tzinfo is not None:
        return (value - _EPOCH) // _MILLISECOND
    if isinstance(value, int) and value >= 0:
        return value
    raise BadRequest(
        f"{value!r} is no time: give a datetime with its zone, or milliseconds since the Unix epoch"
    )


def moment(time_ms: int) -> datetime:
    """Return milliseconds since the Unix epoch as a time in UTC."""
    return _EPOCH + timedelta(milliseconds=time_ms)
