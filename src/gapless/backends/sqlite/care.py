"""Care of an open database, in slices that the writer puts between its commits.

Each is a generator that yields how far it is. One that is closed leaves nothing half done behind.
"""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import apsw

from gapless.backends import FILE_MODE, Slices
from gapless.backends.sqlite.schema import PAGE_BYTES, number, rows
from gapless.backends.sqlite.swapping import remove, sync
from gapless.core.errors import StoreError, StoreFull

__all__ = ["copy", "rewrite"]

# Copied in one slice: a third of a millisecond.
PAGES = 64
# The copy is thrown away when it fails, and is brought to the disk by `sync` when it is whole.
COPYING = ("journal_mode = off", "synchronous = off", "locking_mode = exclusive")


def copy(connection: apsw.Connection, to: Path, free_bytes: Callable[[], int]) -> Slices[None]:
    """Copy the database into a new file; what this connection writes meanwhile is in it too.

    It is given up while the disk still has room for the store: `free_bytes` tells how much it may take.

    Raises:
        StoreFull: the disk is too full for it.
        StoreError: it cannot be written or read.
    """
    needed_bytes = number(connection.execute("pragma page_count")) * PAGE_BYTES
    if free_bytes() < needed_bytes:
        raise StoreFull(
            f"{to} needs {needed_bytes:,} bytes, and {max(0, free_bytes()):,} are free: make room"
        )
    try:
        yield from _copy(connection, to, free_bytes)
    except apsw.FullError as error:
        _throw_away(to)
        raise StoreFull(f"the disk is full: {to} was removed again; make room") from error
    except (apsw.Error, OSError) as error:
        _throw_away(to)
        raise StoreError(f"the store cannot be copied to {to}: {error}") from error
    except BaseException:
        _throw_away(to)
        raise


def _throw_away(to: Path) -> None:
    """Remove what is of no use; that it cannot be removed is no reason to close the store."""
    with suppress(OSError):
        remove(to)


def _copy(connection: apsw.Connection, to: Path, free_bytes: Callable[[], int]) -> Slices[None]:
    remove(to)
    to.touch(FILE_MODE)
    target = apsw.Connection(str(to))
    try:
        for pragma in COPYING:
            rows(target.execute(f"pragma {pragma}"))
        with target.backup("main", connection, "main") as backup:
            while not backup.step(PAGES):  # no commit may follow the last
                if free_bytes() < 0:
                    raise StoreFull(f"the disk is nearly full: {to} was removed again; make room")
                yield backup.page_count - backup.remaining, backup.page_count
    finally:
        target.close(True)


def rewrite(connection: apsw.Connection, to: Path, free_bytes: Callable[[], int]) -> None:
    """Write the database anew, without unused room, into a file that is on the disk afterwards.

    Raises:
        StoreFull: there is no room for it.
        StoreError: it cannot be written or read.
    """
    pages = number(connection.execute("pragma page_count"))
    needed_bytes = (pages - number(connection.execute("pragma freelist_count"))) * PAGE_BYTES
    if free_bytes() < needed_bytes:
        raise StoreFull(f"the smaller file needs {needed_bytes:,} bytes beside the present one: make room")
    version = number(connection.execute("pragma user_version"))
    try:
        remove(to)
        to.touch(FILE_MODE)
        connection.execute("vacuum into ?", (str(to),))
        target = apsw.Connection(str(to))
        try:
            # Its pages stand elsewhere: no log of the former file may pass for one of this.
            target.execute(f"pragma user_version = {version + 2}")
        finally:
            target.close(True)
        sync(to)
    except apsw.FullError as error:
        _throw_away(to)
        raise StoreFull("the disk is full: make room") from error
    except (apsw.Error, OSError) as error:
        _throw_away(to)
        raise StoreError(f"the store cannot be written anew: {error}") from error
