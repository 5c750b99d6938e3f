"""Many payloads at once: lines of a file or of standard input, sent so many to a request."""

import os
import stat
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO, Final

import click
import msgspec

from gapless.cli.progress import progress
from gapless.core.errors import BadRequest, GaplessError, UsageError
from gapless.protocol.messages import Payload
from gapless.protocol.messages import payload as as_payload
from gapless.protocol.meta import is_json

__all__ = ["STDIN", "batches", "load", "opened", "payload", "skip_option"]

STDIN: Final = "-"
LINES_AT_ONCE: Final = 500
BYTES_AT_ONCE: Final = 256 * 1024

skip_option: Final = click.option(
    "--skip", type=click.IntRange(0), default=0, help="Pass over so many lines, which were loaded before."
)


def payload(line: bytes) -> Payload:
    """Return a line as JSON; what is not JSON is a text.

    Raises:
        BadRequest: it is neither.
    """
    try:
        return as_payload(line if is_json(line) else msgspec.json.encode(line.decode()))
    except UnicodeDecodeError as error:
        raise BadRequest("what is sent must be JSON or UTF-8 text") from error


def batches(lines: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Yield lines, so many at once as fit into a request."""
    batch: list[bytes] = []
    size_bytes = 0
    for line in lines:
        if batch and (len(batch) == LINES_AT_ONCE or size_bytes + len(line) > BYTES_AT_ONCE):
            yield batch
            batch, size_bytes = [], 0
        batch.append(line)
        size_bytes += len(line)
    if batch:
        yield batch


@contextmanager
def opened(file: str) -> Iterator[IO[bytes]]:
    """Open a file to be read, or standard input (`-`).

    Raises:
        UsageError: it cannot be read.
    """
    if file == STDIN:
        yield sys.stdin.buffer
        return
    try:
        lines = Path(file).open("rb")  # noqa: SIM115, RUF100
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}") from error
    with lines:
        yield lines


def load(
    lines: IO[bytes], verb: str, unit: str, send: Callable[[list[bytes], int], None], *, skip: int = 0
) -> int:
    """Send each line after the first `skip`; return the number of the last.

    `send` takes the lines of a request, and how many there are before them. Who interrupts it is told where
    to go on, and so is who has to mend a line.
    """
    size_bytes = _size_bytes(lines)
    done, done_bytes = skip, sum(len(line) for line in islice(lines, skip))
    try:
        with progress(verb, "bytes" if size_bytes else unit) as tell:
            for batch in batches(line.rstrip(b"\r\n") for line in lines):
                _send(send, batch, done)
                done += len(batch)
                done_bytes += sum(map(len, batch)) + len(batch)
                if size_bytes:
                    tell(min(done_bytes, size_bytes), size_bytes)
                else:
                    tell(done - skip, None)
    except KeyboardInterrupt:
        click.echo(f"to go on: --skip {done}", err=True)
        raise
    return done


def _send(send: Callable[[list[bytes], int], None], batch: list[bytes], before: int) -> None:
    try:
        send(batch, before)
    except GaplessError as error:
        rest = f"; those before are stored: mend it, then go on with --skip {before}" if before else ""
        raise type(error)(f"lines {before + 1} to {before + len(batch)}: {error}{rest}") from error


def _size_bytes(lines: IO[bytes]) -> int:
    try:
        status = os.fstat(lines.fileno())
    except OSError:
        return 0
    return status.st_size if stat.S_ISREG(status.st_mode) else 0
