"""The tables, and the settings under which alone the file is trusted.

The log is a sequential table with one narrow index, so that a checkpoint writes few pages.
Idempotency keys stand in further tables, one per hour of store time (`keys.py`).
"""

from collections.abc import Sequence
from itertools import chain
from typing import Any

import apsw
from msgspec import json

from gapless.core.errors import StoreRefused

__all__ = [
    "APPLICATION_ID",
    "LOG_KEYED",
    "NUMBERS",
    "PAGE_BYTES",
    "QUEUEING",
    "READING",
    "RETENTION_GROUPS",
    "VERSION",
    "Insert",
    "array",
    "check",
    "configure",
    "create",
    "first",
    "is_new",
    "number",
    "rows",
]

APPLICATION_ID = 0x67706C73  # "gpls", in the file's header
VERSION = 3  # `upgrading` knows the way from each before
# Measured at 120 rows of 100 bytes a commit: 266,000 rows/s; with 8 KiB pages 155,000, with 16 KiB 113,000.
PAGE_BYTES = 4096

ROWS_AT_ONCE = 32  # more gain little
_encode = json.Encoder().encode

Pragmas = dict[str, str | int]

# Set and read back one by one: joined PRAGMAs run lazily and leave `synchronous` unset.
BEFORE_WAL: Pragmas = {"page_size": PAGE_BYTES, "locking_mode": "exclusive"}
ALWAYS: Pragmas = {
    "journal_mode": "wal",
    "synchronous": 2,  # FULL: every commit is on the disk before it is answered
    "fullfsync": 1,  # macOS: through the drive's cache
    "wal_autocheckpoint": 0,
    "cache_size": -64 * 1024,  # KiB
    "temp_store": 2,
    "cell_size_check": 1,
    "trusted_schema": 0,
}

# Streams that share a limit of bytes; `bytes` are those of their rows in the log.
RETENTION_GROUPS = """create table retention_groups (
        id integer primary key,
        name text not null unique,
        bytes integer not null
    ) strict"""
# Messages by their keys. It costs those that have none nothing, but for a thirtieth of a µs when deleted.
LOG_KEYED = 'create index log_keyed on log (stream, keyed, "offset") where keyed is not null'
# Declared streams, and the groups that read streams. A member's `id` rises in the order of joining; the
# holder of a partition is a member, or '' if nobody has it.
READING = (
    """create table declared_streams (
        name text primary key,
        options blob not null
    ) strict, without rowid""",
    """create table reader_groups (
        id integer primary key,
        source text not null,
        name text not null,
        unique (source, name)
    ) strict""",
    """create table members (
        id integer primary key,
        reader_group integer not null,
        name text not null,
        session_until_ms integer not null,
        unique (reader_group, name)
    ) strict""",
    """create table holds (
        reader_group integer not null,
        "partition" integer not null,
        holder text not null,
        is_leaving integer not null,
        fence text not null,
        epoch text,
        "offset" integer,
        primary key (reader_group, "partition")
    ) strict, without rowid""",
)
# Jobs: the narrow row that changes, and apart from it what does not. `state` is 0 waiting, 1 leased, 2 dead,
# 3 done. `rank` is 9 less the priority, and 20 more in a fair queue, or 10 more for a job behind the head of
# its key's line. Lines are ordered by `first_ms` and `place`. `due_ms` is when a waiting job can be claimed,
# and when a lease ends. At `ends_ms` one that waits expires, and one that is dead or done goes. `generation`
# gave the `fence`. What was settled or claimed lately is in further tables, by minute (`queues/answers.py`).
QUEUEING = (
    """create table queues (
        id integer primary key,
        name text not null unique,
        options blob not null,
        is_paused integer not null
    ) strict""",
    """create table jobs (
        number integer primary key,
        queue integer not null,
        key text,
        priority integer not null,
        is_unique integer not null,
        state integer not null,
        rank integer not null,
        due_ms integer not null,
        first_ms integer not null,
        is_lined integer not null,
        place integer not null,
        attempt integer not null,
        strikes integer not null,
        is_alone integer not null,
        fence integer not null,
        generation integer not null,
        ends_ms integer,
        worker text not null
    ) strict""",
    "create index jobs_ready on jobs (queue, rank, due_ms, place) where state = 0",
    "create index jobs_leased on jobs (queue, due_ms) where state = 1",
    "create index jobs_line on jobs (queue, key, first_ms, place) where is_lined",
    "create index jobs_fair on jobs (queue, key, rank, due_ms, place) where state = 0 and rank >= 20",
    "create index jobs_ends on jobs (queue, ends_ms) where ends_ms is not null",
    "create index jobs_ended on jobs (queue, state) where state > 1",
    """create table job_bodies (
        number integer primary key,
        epoch text not null,
        enqueued_ms integer not null,
        crc integer not null,
        message_id text,
        unique_name text,
        expires_ms integer not null,
        headers blob not null,
        data blob not null
    ) strict""",
    """create table job_notes (
        number integer primary key,
        ended_ms integer not null,
        reason text not null,
        details text not null,
        result blob
    ) strict""",
    """create table unique_jobs (
        queue integer not null,
        name text not null,
        number integer not null,
        until_ms integer not null,
        primary key (queue, name)
    ) strict, without rowid""",
    # Of fair queues: which fence a key was given last.
    """create table served_keys (
        queue integer not null,
        key text,
        fence integer not null
    ) strict""",
    "create index served_keys_key on served_keys (queue, key)",
    """create table schedules (
        name text primary key,
        queue text not null,
        spec blob not null,
        last_ms integer not null
    ) strict, without rowid""",
)
TABLES = (
    """create table store (
        id integer primary key check (id = 0),
        version integer not null,
        seq integer not null,
        floor integer not null,
        ground integer, -- the generation that raised the floor
        time_ms integer not null,
        fence integer not null default 0 -- the number of the last one given
    ) strict""",
    """create table generations (
        number integer primary key,
        id text not null unique,
        cut_seq integer not null,
        fate text not null
    ) strict""",
    # `name` is null once the stream is forgotten; it stays until its rows are deleted, through offset
    # `deleted`. `total` counts the bytes ever appended. Housekeeping next looks at it at `due_ms`.
    # `keep_group` is a group's id, 0: none.
    """create table streams (
        id integer primary key,
        name text unique,
        floor integer not null,
        last integer not null,
        deleted integer not null,
        total integer not null,
        keep_count integer not null,
        ttl_ms integer not null,
        meta_ttl_ms integer not null,
        age_ms integer not null,
        keep_bytes integer not null,
        updated_ms integer not null,
        due_ms integer,
        version integer not null default 0,
        version_epoch text not null default '',
        keep_group integer not null default 0,
        group_bytes integer not null default 0
    ) strict""",
    "create index streams_due on streams (due_ms) where due_ms is not null",
    """create table lineage (
        stream integer not null,
        generation integer not null,
        first_offset integer not null,
        primary key (stream, generation)
    ) strict, without rowid""",
    RETENTION_GROUPS,
    # `before` counts the stream's bytes before this row, `crc` covers all but `seq` and `before`. A message
    # that was erased leaves its row, without data and meta and with a `crc` of its own (`checksum.py`).
    # `keyed` stands for the message's key (`keyed.py`).
    """create table log (
        seq integer primary key,
        stream integer not null,
        "offset" integer not null,
        time_ms integer not null,
        before integer not null,
        crc integer not null,
        data blob not null,
        meta blob not null,
        keyed blob
    ) strict""",
    'create unique index log_offset on log (stream, "offset")',
    LOG_KEYED,
    """create table key_hours (
        hour integer primary key,
        keys integer not null
    ) strict""",
    *READING,
    *QUEUEING,
    f"insert into store values (0, {VERSION}, 0, 0, null, 0, 0)",
)

# What a statement is given at once by `array`: half the time of one statement for each.
NUMBERS = "(select value from json_each(?))"

Row = tuple[int, ...]


def configure(connection: apsw.Connection, user_version: int) -> None:
    """Set every PRAGMA and read it back; mark a new file as ours, with `user_version` in its header.

    Raises:
        StoreRefused: one does not hold.
    """
    _set(connection, BEFORE_WAL)
    if is_new(connection) and number(connection.execute("pragma user_version")) == 0:
        connection.execute("begin immediate")
        connection.execute(f"pragma application_id = {APPLICATION_ID}")
        connection.execute(f"pragma user_version = {user_version}")
        connection.execute("commit")
    _set(connection, ALWAYS)
    # No copy of a message stays in a page that is written anyway, or erasing it would leave that.
    connection.execute("pragma secure_delete = fast").fetchall()


def _set(connection: apsw.Connection, pragmas: Pragmas) -> None:
    for name, wanted in pragmas.items():
        connection.execute(f"pragma {name} = {wanted}").fetchall()
        got = first(connection.execute(f"pragma {name}"))
        if got != (wanted,):
            raise StoreRefused(f"SQLite does not accept {name} = {wanted} for this file: it answers {got}")


def create(connection: apsw.Connection) -> None:
    """Make the tables, in the transaction that is open."""
    for statement in TABLES:
        connection.execute(statement)


def is_new(connection: apsw.Connection) -> bool:
    """Tell whether the file has no tables yet."""
    return first(connection.execute("select 1 from sqlite_schema")) is None


def check(connection: apsw.Connection) -> None:
    """Make sure that these are our tables, of a version that is known.

    Raises:
        StoreRefused: they are another program's, or a newer gapless made them.
    """
    if number(connection.execute("pragma application_id")) != APPLICATION_ID:
        raise StoreRefused("the file is a SQLite database, but not of gapless")
    row = first(connection.execute("select version from store"))
    if row is None:
        raise StoreRefused("the file is damaged: restore a backup")
    if row[0] > VERSION:
        raise StoreRefused(
            f"the file is of version {row[0]}, made by a newer gapless; this one knows {VERSION}"
        )


def first(cursor: apsw.Cursor) -> Any:
    """Return the first row of a result, if it has one.

    The result is read to its end: a statement that stands open would keep a checkpoint from its work.
    """
    return next(iter(rows(cursor)), None)


def rows(cursor: apsw.Cursor) -> list[Any]:
    """Return all rows of a result."""
    return list(cursor)


class Insert:
    """A statement that writes rows, many of them at once.

    APSW looks a statement up anew for each row that it is executed with, and puts it behind all others it
    keeps: a hundred rows push every other statement out, to be prepared again. That cost 1 µs a job.
    """

    def __init__(self, into: str, row: str) -> None:
        self._one = f"insert into {into} values {row}"
        self._many = f"insert into {into} values {', '.join([row] * ROWS_AT_ONCE)}"

    def execute(self, cursor: apsw.Cursor, written: Sequence[Sequence[Any]]) -> None:
        """Write rows, each of which has a value for every question mark."""
        rest = len(written) - len(written) % ROWS_AT_ONCE
        for start in range(0, rest, ROWS_AT_ONCE):
            cursor.execute(self._many, tuple(chain.from_iterable(written[start : start + ROWS_AT_ONCE])))
        cursor.executemany(self._one, written[rest:])


def array(numbers: Sequence[int]) -> str:
    """Return numbers as NUMBERS takes them."""
    return _encode(numbers).decode()


def number(cursor: apsw.Cursor) -> int:
    """Return the one integer that a query always gives."""
    [value] = first(cursor)
    assert isinstance(value, int)
    return value
