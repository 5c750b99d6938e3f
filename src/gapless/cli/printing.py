"""What commands print: documents and lines for machines, tables for people."""

import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import click
import msgspec

from gapless.core.durations import spelled

__all__ = ["ago", "document", "line", "one_line", "payload", "printable", "table", "when"]

SHOWN_CHARACTERS: Final = 60
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def document(told: Any) -> None:
    """Print JSON: what the server answered, or a list of it."""
    click.echo(msgspec.json.encode(told))


def line(told: bytes) -> None:
    """Print a line of what goes on for long, at once."""
    sys.stdout.buffer.write(told + b"\n")
    sys.stdout.buffer.flush()


def one_line(told: bytes) -> bytes:
    """Take the line breaks out of JSON, in which they can only be white space."""
    return msgspec.json.format(told, indent=-1) if b"\n" in told else told


def table(head: Sequence[str], rows: Iterable[Sequence[object]], *, err: bool = False) -> None:
    """Print a table; numbers stand on the right. Without rows nothing is printed."""
    found = [list(row) for row in rows]
    if not found:
        return
    cells = [list(head), *([printable(str(cell)) for cell in row] for row in found)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    right = [isinstance(cell, int | float) for cell in found[0]]
    for number, row in enumerate(cells):
        placed = (
            cell.rjust(width) if on_right else cell.ljust(width)
            for cell, width, on_right in zip(row, widths, right, strict=True)
        )
        click.secho("  ".join(placed).rstrip(), bold=number == 0, err=err)


def printable(text: str) -> str:
    """Return what a terminal may be given of a text that others chose."""
    return text if text.isprintable() else text.encode("unicode_escape").decode()


def payload(body: bytes) -> str:
    """Return the beginning of a payload, on one line."""
    text = printable(body.decode(errors="backslashreplace"))
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"


def when(time_ms: int) -> str:
    """Write a time (milliseconds since the Unix epoch) in UTC; nothing for 0."""
    if not time_ms:
        return ""
    return (_EPOCH + timedelta(milliseconds=time_ms)).isoformat(" ", "seconds").removesuffix("+00:00") + "Z"


def ago(duration_ms: int) -> str:
    """Write a duration in seconds and larger units."""
    return spelled(duration_ms // 1_000 * 1_000)
