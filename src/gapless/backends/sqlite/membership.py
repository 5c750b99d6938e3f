"""Declared streams, groups and their members in the database. `core.membership` decides, here it is kept."""

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

import apsw
import msgspec

from gapless.backends.sqlite.schema import first, number, rows
from gapless.core.errors import BadRequest, LimitExceeded, UnknownStream
from gapless.core.fences import Fences
from gapless.core.groups import Assigned, GroupInfo, StreamOptions
from gapless.core.limits import DECLARED_STREAMS_MAX, GROUPS_MAX
from gapless.core.membership import Hold, Membership
from gapless.core.stream import Position

__all__ = ["Memberships", "Reader"]

# Groups that the writer holds in memory.
CACHED_MAX = 256

HOLDS = (
    'select holder, is_leaving, fence, epoch, "offset" from holds where reader_group = ? order by "partition"'
)
MEMBERS = "select name, session_until_ms from members where reader_group = ? order by id"
SAVE_HOLD = "insert or replace into holds values (?, ?, ?, ?, ?, ?, ?)"
SAVE_MEMBER = (
    "insert into members (reader_group, name, session_until_ms) values (?, ?, ?)"
    " on conflict do update set session_until_ms = excluded.session_until_ms"
)
MOVE = 'update holds set epoch = ?, "offset" = ? where reader_group = ? and "partition" = ?'


class Reader(Membership):
    """A group, with its number in the tables."""

    id: int = 0


class Memberships:
    """All groups and declared streams. Everything happens inside the caller's transaction."""

    def __init__(self, cursor: apsw.Cursor) -> None:
        self._cursor = cursor
        self.reload()

    def reload(self) -> None:
        """Forget what was not committed."""
        self._cached: dict[tuple[str, str], Reader] = {}

    # Declared streams

    def declare(self, name: str, options: StreamOptions, encoded: bytes) -> bool:
        """See `Groups.declare_stream`."""
        before = self._options(name)
        if before is None and self._count("declared_streams") >= DECLARED_STREAMS_MAX:
            raise LimitExceeded(f"there are {DECLARED_STREAMS_MAX} streams")
        if before is not None and before.partitions != options.partitions:
            raise BadRequest(f"{name!r} has {before.partitions} partitions, which never changes")
        insert = "insert or replace into declared_streams values (?, ?)"
        self._cursor.execute(insert, (name, encoded))
        return before is None

    def _options(self, name: str) -> StreamOptions | None:
        row = first(self._cursor.execute("select options from declared_streams where name = ?", (name,)))
        return None if row is None else msgspec.json.decode(row[0], type=StreamOptions)

    def declared(self) -> dict[str, StreamOptions]:
        """Return every declared stream."""
        told = rows(self._cursor.execute("select name, options from declared_streams order by name"))
        return {name: msgspec.json.decode(options, type=StreamOptions) for name, options in told}

    def undeclare(self, name: str) -> None:
        """See `Groups.drop_stream`."""
        if self._options(name) is None:
            raise UnknownStream(f"there is no stream {name!r}")
        self._cursor.execute("delete from declared_streams where name = ?", (name,))
        for _, source, group in self._all(name):
            self.drop(source, group)

    def _count(self, table: str) -> int:
        return number(self._cursor.execute(f"select count(*) from {table}"))

    # Groups

    def find(self, source: str, group: str) -> Reader | None:
        """Return a group."""
        reader = self._cached.get((source, group))
        if reader is None:
            query = "select id from reader_groups where source = ? and name = ?"
            row = first(self._cursor.execute(query, (source, group)))
            if row is not None:
                reader = self._keep(source, group, self._load(row[0]))
        return reader

    def _load(self, id: int) -> Reader:
        holds = [
            Hold(holder, bool(is_leaving), fence, None if epoch is None else Position(epoch, offset))
            for holder, is_leaving, fence, epoch, offset in rows(self._cursor.execute(HOLDS, (id,)))
        ]
        return Reader(holds, dict(rows(self._cursor.execute(MEMBERS, (id,)))), id)

    def _keep(self, source: str, group: str, reader: Reader) -> Reader:
        if len(self._cached) >= CACHED_MAX:
            for names in list(islice(self._cached, CACHED_MAX // 8)):
                del self._cached[names]
        self._cached[source, group] = reader
        return reader

    def find_or_make(self, source: str, group: str, partitions: int) -> Reader:
        """Return a group of so many partitions, begun when it is new.

        Raises:
            BadRequest: it has another number of partitions.
            LimitExceeded: there are GROUPS_MAX.
        """
        reader = self.find(source, group)
        if reader is None:
            if self._count("reader_groups") >= GROUPS_MAX:
                raise LimitExceeded(f"there are {GROUPS_MAX} groups")
            self._cursor.execute("insert into reader_groups (source, name) values (?, ?)", (source, group))
            reader = Reader(
                [Hold() for _ in range(partitions)],
                {},
                number(self._cursor.execute("select last_insert_rowid()")),
            )
            self._keep(source, group, reader)
            self._save(reader, range(partitions))
        if len(reader.holds) != partitions:
            raise BadRequest(f"{group!r} was begun with {len(reader.holds)} partitions of {source!r}")
        return reader

    def heartbeat(self, reader: Reader, member: str, until_ms: int, now_ms: int, fences: Fences) -> Assigned:
        """See `Groups.heartbeat`."""
        change = reader.heartbeat(member, until_ms, now_ms, fences)
        self._forget(reader, change.gone)
        self._cursor.execute(SAVE_MEMBER, (reader.id, member, until_ms))
        self._save(reader, change.partitions)
        return reader.assigned(member)

    def leave(self, reader: Reader, member: str) -> None:
        """See `Groups.leave`."""
        change = reader.leave(member)
        self._forget(reader, change.gone)
        self._save(reader, change.partitions)

    def move(self, reader: Reader, partition: int, position: Position) -> None:
        """Let the group stand elsewhere, under the same fence."""
        reader.holds[partition].position = position
        self._cursor.execute(MOVE, (*position, reader.id, partition))

    def seek(self, reader: Reader, positions: Mapping[int, Position | None], fences: Fences) -> None:
        """See `Groups.seek`."""
        reader.seek(positions, fences)
        self._save(reader, positions)

    def drop(self, source: str, group: str) -> None:
        """Forget a group that is there."""
        reader = self.find(source, group)
        assert reader is not None
        del self._cached[source, group]
        for statement in (
            "delete from holds where reader_group = ?",
            "delete from members where reader_group = ?",
            "delete from reader_groups where id = ?",
        ):
            self._cursor.execute(statement, (reader.id,))

    def look(self, source: str, now_ms: int) -> list[GroupInfo]:
        """See `Groups.groups`."""
        return [self._load(id).look(of, group, now_ms) for id, of, group in self._all(source)]

    def _all(self, source: str) -> list[Any]:
        query = "select id, source, name from reader_groups where ?1 in ('', source) order by source, name"
        return rows(self._cursor.execute(query, (source,)))

    def _forget(self, reader: Reader, gone: Iterable[str]) -> None:
        self._cursor.executemany(
            "delete from members where reader_group = ? and name = ?", [(reader.id, one) for one in gone]
        )

    def _save(self, reader: Reader, partitions: Iterable[int]) -> None:
        self._cursor.executemany(SAVE_HOLD, [_row(reader, partition) for partition in partitions])


def _row(reader: Reader, partition: int) -> tuple[Any, ...]:
    hold = reader.holds[partition]
    epoch, offset = hold.position or (None, None)
    return reader.id, partition, hold.holder, hold.is_leaving, hold.fence, epoch, offset
