"""Places in a channel as a person writes them: a position, or a time."""

from datetime import UTC, datetime

import click
from msgspec import Struct

from gapless.backends import store_clock
from gapless.core.durations import milliseconds
from gapless.core.stream import Position

__all__ = ["Place", "duration", "place", "position", "since_ms", "time", "told"]


def position(ctx: click.Context, param: click.Parameter, value: str | None) -> Position | None:
    """Read a position as it is printed."""
    if value is None:
        return None
    found = _position(value)
    if found is None:
        raise click.BadParameter(f"{value!r} is no position; write epoch:offset", ctx, param)
    return found


def _position(value: str) -> Position | None:
    epoch, _, offset = value.rpartition(":")
    if not epoch or not (offset.isascii() and offset.isdigit()) or int(offset) >= 2**63:
        return None
    return Position(epoch, int(offset))


def told(position: Position) -> str:
    """Write a position so that it can be read back."""
    return f"{position.epoch}:{position.offset}"


def since_ms(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
    """Read a time: how long ago (`90s`, `10m ago`, `2d`), or when (RFC 3339; without a zone it is UTC)."""
    if value is None:
        return None
    try:
        return _since_ms(value)
    except ValueError as error:
        text = f"{value!r} is no time; write how long ago (10m, 2h, 3d) or when (2026-01-31T12:00:00Z)"
        raise click.BadParameter(text, ctx, param) from error


def _since_ms(value: str) -> int:
    try:
        return max(0, store_clock()() - milliseconds(value.removesuffix(" ago")))
    except ValueError:
        return _when_ms(value)


def _when_ms(value: str) -> int:
    when = datetime.fromisoformat(value)
    return int((when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() * 1000)


def duration(value: str) -> int:
    """Read a duration in milliseconds: `300ms`, `90s`, `1h30m`, `7d`."""
    try:
        return milliseconds(value)
    except ValueError as error:
        raise click.BadParameter(f"{value!r} is no duration; write 300ms, 90s, 1h30m or 7d") from error


def time(value: str) -> int:
    """Read a time, past or to come, in milliseconds since the Unix epoch (RFC 3339; without a zone: UTC)."""
    try:
        return _when_ms(value)
    except ValueError as error:
        raise click.BadParameter(f"{value!r} is no time; write 2026-01-31T12:00:00Z") from error


class Place(Struct, frozen=True):
    """Where to begin in a stream; one field is set. `after` is a position, as it is printed."""

    edge: str | None = None
    offset: int | None = None
    at_ms: int | None = None
    after: Position | None = None


def place(value: str) -> Place:
    """Read an end, an offset, a position or a time."""
    if value in ("earliest", "latest"):
        return Place(edge=value)
    if value.isascii() and value.isdigit() and int(value) < 2**63:
        return Place(offset=int(value))
    try:
        return Place(at_ms=_since_ms(value))
    except ValueError:
        pass
    after = _position(value)
    if after is None:
        wanted = "earliest, latest, an offset, epoch:offset, or a time (10m, 2026-01-31T12:00Z)"
        raise click.BadParameter(f"{value!r} is no place; write {wanted}")
    return Place(after=after)
