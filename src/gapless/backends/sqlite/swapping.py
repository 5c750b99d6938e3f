"""A file put in the place of a closed database, so that a power cut leaves the one or the other.

What was there is kept under another name, with what lay beside it, until somebody lets it go.
"""

import os
from pathlib import Path
from shutil import copymode

from gapless.backends.sqlite.opening import beside

__all__ = ["BEFORE", "FORMER", "PARTIAL", "let_go", "place", "put_back", "remove", "remove_leftovers", "sync"]

BEFORE = ".before-restore"
# Temporary files beside a database begin like this; what a crash leaves of them goes at the next opening.
PARTIAL = ".care-"
# What a compaction makes way for is such a file: all of it is in the new one.
FORMER = f"{PARTIAL}former"
# What SQLite would act on if it stayed beside another database.
LOGS = ("-wal", "-journal")


def place(new: Path, path: Path, former: str = BEFORE) -> None:
    """Put the file `new`, which lies in the same folder and is on the disk, in the place of `path`.

    It gets the mode of what was there, which is then called `path` with the suffix `former`; an older one of
    that name goes. In each moment `path` names a whole database. A log of the former one stays until the new
    one is in place: in between the two do not fit each other, which is told at the next opening.

    Raises:
        OSError: it is not done, as where the file system has no hard links.
    """
    let_go(path, former)
    logs = [suffix for suffix in LOGS if beside(path, suffix).exists()]
    if path.exists():
        copymode(path, new)
        os.link(path, beside(path, former))
        for suffix in logs:
            os.link(beside(path, suffix), beside(path, former + suffix))
        sync(path.parent)
    os.replace(new, path)
    try:
        for suffix in logs:
            beside(path, suffix).unlink()
        sync(path.parent)
    except BaseException:
        put_back(path, former)
        raise


def put_back(path: Path, former: str) -> None:
    """Undo `place`: the former database again stands where it stood, and never without its log."""
    for suffix in LOGS:
        beside(path, suffix).unlink(missing_ok=True)
    for suffix in (*LOGS, ""):
        if beside(path, former + suffix).exists():
            os.replace(beside(path, former + suffix), beside(path, suffix))
    sync(path.parent)


def let_go(path: Path, former: str = BEFORE) -> None:
    """Remove the database that another one has taken the place of."""
    remove(beside(path, former))


def remove(path: Path) -> None:
    """Remove a database and its logs, if they are there."""
    for suffix in ("", *LOGS):
        beside(path, suffix).unlink(missing_ok=True)


def remove_leftovers(path: Path) -> None:
    """Remove the temporary files beside a database that nobody works with."""
    for left in path.parent.iterdir():
        if left.name.startswith(path.name + PARTIAL):
            left.unlink()


def sync(path: Path) -> None:
    """Wait until a file, or a folder's list of files, is on the disk."""
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)
