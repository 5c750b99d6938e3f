"""`gapless backup` and `gapless restore`."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Final

import click
import msgspec

from gapless.backends import FILE_MODE, offline
from gapless.cli.calling import Server, as_json, at_server
from gapless.cli.caring import at, done_at, done_here, done_with, store_option, watched
from gapless.cli.progress import Tell, progress
from gapless.core.errors import GaplessError, StoreError, UsageError

__all__ = ["backup", "restore"]

PART_BYTES = 1024 * 1024


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@store_option
@click.option("--overwrite", is_flag=True, help="Replace FILE if there is one.")
@at_server
@as_json
def backup(server: Server, file: Path, store: str | None, overwrite: bool, as_json: bool) -> None:
    """Copy the store into FILE: complete, as it stands at the end, while everything goes on.

    FILE is there once it is whole and on the disk; until then it is called FILE.partial.
    """
    if file.exists() and not overwrite:
        raise UsageError(f"{file} exists: choose another name, or say --overwrite")
    if not os.access(file.absolute().parent, os.W_OK | os.X_OK):
        raise UsageError(f"{file.absolute().parent} is no folder that may be written to")
    partial = file.with_name(file.name + ".partial")
    try:
        if store is not None:
            to = str(partial.absolute())
            slices = offline(store).backup(to)
            done_with(store, slices, lambda care, told: care.backup(to, told), "copying", "pages")
        else:
            _fetch(server, partial)
        os.replace(partial, file)
        _sync(file.absolute().parent)
    except OSError as error:
        raise StoreError(f"{partial} cannot be written: {error.strerror}") from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
    size_bytes = file.stat().st_size
    if as_json:
        click.echo(msgspec.json.encode({"file": str(file), "bytes": size_bytes}))
    else:
        click.echo(f"{file}: {size_bytes:,} bytes, {at(server, store)} as it is now")


def _fetch(server: Server, partial: Path) -> None:
    job = done_at(server, "backup", "copying", "pages")
    try:
        partial.touch(FILE_MODE)
        with partial.open("wb") as file, progress("downloading", "bytes") as tell:
            _download(server, job, file, tell)
            os.fsync(file.fileno())
    except BaseException:
        with suppress(GaplessError):
            server.call("store/cancel", {"id": job["id"]})
        raise


def _download(server: Server, job: dict[str, Any], file: BinaryIO, tell: Tell) -> None:
    def take(part: bytes, total: int) -> None:
        try:
            file.write(part)
            file.flush()
        except OSError as error:
            raise StoreError(f"{file.name} cannot be written: {error.strerror}") from error
        tell(file.tell(), total)

    server.download(f"/store/backup/{job['id']}", take)
    if file.tell() != job["result"]["bytes"]:
        raise StoreError(f"{server.url} ended before the backup was whole: try again")


# A running server knows what was decided, and keeps it through a restore.
FORGOTTEN: Final = "Warning: who was revoked or blocked since the backup was made may come again"


@click.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@store_option
@click.option("--discard", is_flag=True, help="Do not keep the present store beside it.")
@at_server
@as_json
def restore(server: Server, file: Path, store: str | None, discard: bool, as_json: bool) -> None:
    """Check FILE, a backup, and put it in the place of the store, which a server has open, or nobody.

    If anything was appended since FILE was made, all readers who come back are told so (`recovered: false`),
    also those who had read no further. The store that was there is kept as <name>.before-restore; an older
    one of that name goes, also with --discard.
    """
    if store is not None:
        done_here(offline(store).restore(str(file), keep=not discard), "restoring", "bytes")
        click.echo(FORGOTTEN, err=True)
    else:
        _send(server, file, discard=discard)
    if as_json:
        click.echo(msgspec.json.encode({"file": str(file), "bytes": file.stat().st_size}))
    else:
        click.echo(f"{file} was checked, and is now {at(server, store)}")


def _send(server: Server, file: Path, *, discard: bool) -> None:
    size_bytes = file.stat().st_size
    server.call("store/room", {"bytes": size_bytes})  # an answer while the body is on its way may be lost
    with file.open("rb") as opened, progress("uploading", "bytes") as tell:
        path = f"/store/restore?discard={int(discard)}"
        job = server.upload(path, _parts(opened, size_bytes, tell), size_bytes)
    watched(server, job, "restoring", "bytes")


def _parts(file: BinaryIO, size: int, tell: Tell) -> Iterator[bytes]:
    while part := file.read(PART_BYTES):
        yield part
        tell(file.tell(), size)


def _sync(folder: Path) -> None:
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
