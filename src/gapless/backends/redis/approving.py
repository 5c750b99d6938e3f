"""What is looked at before a store is opened: whose keys these are, and what time it is there."""

import re
from typing import Final

import hiredis

from gapless.backends.redis.connection import Connection, Lost
from gapless.backends.redis.errors import translated
from gapless.core.errors import StoreRefused, Unavailable

__all__ = ["approve"]

SCANNED_AT_ONCE: Final = 10_000
# How far the clocks of a node and of its store may be apart.
APART_MS_MAX: Final = 5 * 60_000


async def approve(connection: Connection, tag: str, wall_ms: int | None) -> None:
    """Make sure that no other program uses the prefix, and that this process' clock agrees with the server's.

    Raises:
        StoreRefused: somebody else's keys are there, or the clocks are far apart.
        Unavailable: the connection was lost.
    """
    try:
        if wall_ms is not None:
            await _check_clock(connection, wall_ms)
        if not await _is_begun(connection, tag):
            found = await _foreign(connection, tag)
            # Another node may have begun the store meanwhile.
            if found and not await _is_begun(connection, tag):
                raise StoreRefused(
                    f"keys that begin with {tag} are of another program ({found}); choose another prefix"
                )
    except hiredis.ReplyError as error:
        raise translated(str(error)) from error
    except Lost as error:
        raise Unavailable(str(error)) from error


async def _check_clock(connection: Connection, wall_ms: int) -> None:
    seconds, micros = await connection.call("TIME")
    apart_ms = wall_ms - (int(seconds) * 1_000 + int(micros) // 1_000)
    if abs(apart_ms) > APART_MS_MAX:
        raise StoreRefused(
            f"this machine's clock and that of Redis are {abs(apart_ms) // 1_000} s apart"
            f" (Redis is {'behind' if apart_ms > 0 else 'ahead'}): set both right"
        )


async def _is_begun(connection: Connection, tag: str) -> bool:
    return bool(await connection.call("EXISTS", f"{tag}:meta"))


async def _foreign(connection: Connection, tag: str) -> str:
    """Return a key that begins as the store's do."""
    pattern = re.sub(r"([*?\[\]\\^-])", r"\\\1", tag) + "*"
    cursor = b"0"
    while True:
        cursor, found = await connection.call("SCAN", cursor, "MATCH", pattern, "COUNT", SCANNED_AT_ONCE)
        if found:
            return str(found[0].decode(errors="replace"))
        if cursor == b"0":
            return ""
