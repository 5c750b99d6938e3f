"""Opening a file: every check that stands before its first use, and the beginning of a new generation."""

import logging
from pathlib import Path
from typing import Final, NamedTuple

import apsw

from gapless.backends import FILE_MODE
from gapless.backends.sqlite import schema, upgrading, wal
from gapless.backends.sqlite.witness import Seen, fate
from gapless.core.errors import StoreRefused
from gapless.core.lineage import Fate, Generation

__all__ = [
    "HEADER_BYTES",
    "Versions",
    "begin_generation",
    "beside",
    "check_content",
    "check_files",
    "check_header",
    "check_log",
    "connect",
    "known_generations",
    "prepare",
    "recover",
    "refusal",
    "seal",
]

log: Final = logging.getLogger("gapless.store")


class Versions(NamedTuple):
    """The `user_version` of a database, and the first one in the log beside it; -1: there is none."""

    database: int
    log: int


MAGIC = b"SQLite format 3\0"
HEADER_BYTES = 100
APPLICATION_ID_AT = 68


def beside(path: Path, suffix: str) -> Path:
    """Return the path of a file that goes with the database."""
    return path.with_name(path.name + suffix)


def check_files(path: Path) -> Versions:
    """Look at what is on the disk, before SQLite would act on it.

    Raises:
        StoreRefused: the database is another program's or damaged, or a file beside it is not its own.
    """
    journal = beside(path, "-journal")
    size = path.stat().st_size if path.exists() else 0
    header = b""
    if size:
        with path.open("r+b") as file:  # SQLite would open what may not be written for reading
            header = file.read(HEADER_BYTES)
    is_being_made = size <= schema.PAGE_BYTES and journal.exists()
    if header and not is_being_made:
        check_header(path, header)
        if journal.exists() and journal.stat().st_size:
            raise StoreRefused(f"{journal} does not belong to the database beside it: move it away")
    log = beside(path, "-wal")
    found = Versions(wal.user_version(header) if header else -1, wal.first_version(log))
    if found.log >= 0 and (found.database < found.log - 1 or found.database == found.log):
        wal.refuse_mix(log)
    return found


def check_header(path: Path, header: bytes) -> None:
    """Make sure that a file begins as a database of ours does.

    Raises:
        StoreRefused: it is another program's, or damaged.
    """
    if len(header) < HEADER_BYTES or not header.startswith(MAGIC):
        raise StoreRefused(f"{path} is no SQLite database, or its header is damaged: restore a backup")
    if int.from_bytes(header[APPLICATION_ID_AT : APPLICATION_ID_AT + 4], "big") != schema.APPLICATION_ID:
        raise StoreRefused(f"{path} is a SQLite database, but not of gapless: choose another file")


def connect(path: Path, vfs: str | None, user_version: int) -> apsw.Connection:
    """Open the file in SQLite, for this process alone; a new one is marked as ours."""
    if vfs is None:
        path.touch(FILE_MODE)  # SQLite gives its log the same mode
    connection = apsw.Connection(str(path), vfs=vfs)
    try:
        # Closing a file that is refused, or that failed, must leave its -wal as it is.
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        # Or a statement that a partial index might serve is planned anew whenever it is bound (20 µs).
        connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
        schema.configure(connection, user_version)
    except BaseException:
        connection.close(True)
        raise
    return connection


def prepare(path: Path) -> None:
    """Bring a file that is to become the database into the mode in which that is opened.

    Amid that change a kill leaves a journal beside the file, with which it would be refused.

    Raises:
        StoreRefused: it cannot be read or written.
    """
    try:
        connection = apsw.Connection(str(path))
        try:
            schema.rows(connection.execute("pragma journal_mode = wal"))
        finally:
            connection.close(True)
    except apsw.Error as error:
        raise refusal(path, error) from error


def seal(connection: apsw.Connection) -> None:
    """Write the last transaction before a checkpoint: it tells a whole log from a part of one (wal.py)."""
    version = schema.number(connection.execute("pragma user_version"))
    connection.execute(f"pragma user_version = {version + 1}")


def recover(connection: apsw.Connection, path: Path, found: Versions) -> None:
    """Bring what is in the `-wal` into the database, and make sure that nothing is missing from either.

    Raises:
        StoreRefused: something acknowledged cannot be reached.
    """
    if check_log(connection, path, found):
        seal(connection)
    connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    check_content(connection, path)


def check_log(connection: apsw.Connection, path: Path, found: Versions) -> bool:
    """Tell whether the `-wal` holds something, all of which is there.

    Raises:
        StoreRefused: it is not this database's, or damaged.
    """
    log = beside(path, "-wal")
    frames, _ = connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_NOOP)
    if frames <= 0:
        return False
    if found.database > schema.number(connection.execute("pragma user_version")):
        wal.refuse_mix(log)
    wal.check_tail(log, frames)
    return True


def check_content(connection: apsw.Connection, path: Path) -> None:
    """Make sure that a file whose `-wal` is empty is whole, and of a version that is known.

    Raises:
        StoreRefused: it is not.
    """
    pages = schema.number(connection.execute("pragma page_count"))
    if path.stat().st_size < pages * schema.PAGE_BYTES:
        raise StoreRefused(f"{path} is cut short: restore a backup")
    if not schema.is_new(connection):
        schema.check(connection)


def begin_generation(
    connection: apsw.Connection, epoch: str, seen: Seen | None, generations_max: int
) -> list[Generation]:
    """Write the generation `epoch`, and return it after those before it."""
    connection.execute("begin immediate")
    upgraded = ""
    if schema.is_new(connection):
        schema.create(connection)
    else:
        upgraded = upgrading.upgrade(connection)
    generations = known_generations(connection)
    seq = schema.number(connection.execute("select seq from store"))
    new = Generation(epoch, seq, fate(seen, generations, seq))
    connection.execute(
        "insert into generations (id, cut_seq, fate) values (?, ?, ?)", (new.id, new.cut_seq, str(new.fate))
    )
    connection.execute(
        "delete from generations where number <= (select max(number) from generations) - ?",
        (generations_max,),
    )
    version = schema.number(connection.execute("pragma user_version"))
    connection.execute(f"pragma user_version = {version + 1}")
    connection.execute("commit")
    if upgraded:
        log.info("%s was upgraded %s", connection.filename, upgraded)
    return [*generations, new][-generations_max:]


def known_generations(connection: apsw.Connection) -> list[Generation]:
    """Return the generations that the file knows, oldest first.

    Raises:
        StoreRefused: one is damaged.
    """
    query = "select id, cut_seq, fate from generations order by number"
    try:
        told = schema.rows(connection.execute(query))
        return [Generation(id, cut_seq, Fate(fate)) for id, cut_seq, fate in told]
    except ValueError as error:
        raise StoreRefused(f"{connection.filename} is damaged ({error}): restore a backup") from error


def refusal(path: Path, error: apsw.Error | OSError) -> StoreRefused:
    """Say in our words why SQLite, or the system, does not open the file."""
    match error:
        case apsw.BusyError():
            why = "is open in another process"
        case apsw.CantOpenError() | apsw.ReadOnlyError() | apsw.PermissionsError() | PermissionError():
            why = "may not be read and written by this user"
        case apsw.FullError():
            why = "cannot be opened: the disk is full"
        case apsw.NotADBError() | apsw.CorruptError() | apsw.SQLError() | apsw.ConstraintError():
            why = f"is damaged ({error}): restore a backup"
        case _:
            why = f"cannot be opened: {error}"
    return StoreRefused(f"{path} {why}")
