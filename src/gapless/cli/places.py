"""Places in a channel as a person writes them: a position, or a time."""

import re
from datetime import UTC, datetime
from typing import Final

import click

from gapless.backends import store_clock
from gapless.core.durations import milliseconds
from gapless.core.stream import Position

__all__ = ["position", "since_ms", "told"]

_DAYS: Final = re.compile(r"(\d+)d(.*)")


def position(ctx: click.Context, param: click.Parameter, value: str | None) -> Position | None:
    """Read a position as it is printed."""
    if value is None:
        return None
    epoch, _, offset = value.rpartition(":")
    if not epoch or not (offset.isascii() and offset.isdigit()) or int(offset) >= 2**63:
        raise click.BadParameter(f"{value!r} is no position; write epoch:offset", ctx, param)
    return Position(epoch, int(offset))


def told(position: Position) -> str:
    """Write a position so that it can be read back."""
    return f"{position.epoch}:{position.offset}"


def since_ms(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
    """Read a time: how long ago (`90s`, `10m`, `2d`), or when (RFC 3339; without a zone it is UTC)."""
    if value is None:
        return None
    days = _DAYS.fullmatch(value)
    try:
        ago_ms = int(days[1]) * 86_400_000 + milliseconds(days[2] or "0") if days else milliseconds(value)
        return max(0, store_clock()() - ago_ms)
    except ValueError:
        pass
    try:
        when = datetime.fromisoformat(value)
    except ValueError as error:
        text = f"{value!r} is no time; write how long ago (10m, 2h, 3d) or when (2026-01-31T12:00:00Z)"
        raise click.BadParameter(text, ctx, param) from error
    return int((when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() * 1000)
