"""Durations as Go writes them, and with it Centrifugo's configuration: `300ms`, `1h30m`, `1.5s`.

Days and weeks are understood too, `7d` and `2w`, and never written: what is written Centrifugo reads.
"""

import re
from decimal import Decimal
from typing import Final

__all__ = ["milliseconds", "spelled"]

_GO_MS: Final = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000}
_UNITS_MS: Final = {**_GO_MS, "d": 86_400_000, "w": 7 * 86_400_000}
_PART: Final = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ms|s|m|h|d|w)")
_WHOLE: Final = re.compile(rf"(?:{_PART.pattern})+")


def milliseconds(text: str) -> int:
    """Return the duration in whole milliseconds; `0` needs no unit.

    Raises:
        ValueError: it is not a duration, or not of whole milliseconds.
    """
    if text == "0":
        return 0
    if not _WHOLE.fullmatch(text):
        raise ValueError(f"{text!r} is no duration")
    total_ms = sum(Decimal(number) * _UNITS_MS[unit] for number, unit in _PART.findall(text))
    if total_ms != int(total_ms):
        raise ValueError(f"{text!r} is not of whole milliseconds")
    return int(total_ms)


def spelled(duration_ms: int) -> str:
    """Write a duration in the largest of Go's units that it is whole in: 5_400_000 is `1h30m`."""
    written = ""
    for unit, unit_ms in sorted(_GO_MS.items(), key=lambda item: -item[1]):
        count, duration_ms = divmod(duration_ms, unit_ms)
        written += f"{count}{unit}" if count else ""
    return written or "0s"
