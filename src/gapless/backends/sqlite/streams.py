"""All streams of the file: the heads, what retention leaves of each, and the rows to delete."""

from collections.abc import Iterable
from itertools import islice
from typing import Any

import apsw

from gapless.backends.sqlite.groups import Groups
from gapless.backends.sqlite.schema import first, number, rows
from gapless.backends.sqlite.stream import NOW, Stream
from gapless.core.limits import STREAMS_CACHED_MAX
from gapless.core.lineage import Link
from gapless.core.stream import Retention

__all__ = ["Streams"]

FOREVER_MS = 1 << 62
# Each so many messages the time of one is remembered once it was looked for; of one stream so many are.
LANDMARK_STRIDE = 1_024
LANDMARKS_MAX = 1_024
# How many streams that fell due are looked at in one transaction.
DUE_STREAMS_MAX = 32

HOT = (
    "id, name, floor, last, deleted, total,"
    " keep_count, ttl_ms, meta_ttl_ms, age_ms, keep_bytes, updated_ms, due_ms"
)
# Written only when they change, and that is rare.
COLD = "version, version_epoch, keep_group, group_bytes"
COLUMNS = f"{HOT}, {COLD}"
INSERT = f"insert into streams ({HOT}) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
UPDATE = (
    "update streams set name = ?2, floor = ?3, last = ?4, deleted = ?5, total = ?6, keep_count = ?7,"
    " ttl_ms = ?8, meta_ttl_ms = ?9, age_ms = ?10, keep_bytes = ?11, updated_ms = ?12, due_ms = ?13"
    " where id = ?1"
)
UPDATE_COLD = (
    "update streams set version = ?2, version_epoch = ?3, keep_group = ?4, group_bytes = ?5 where id = ?1"
)
GENERATION = "select number, id from generations order by number desc limit 1"
FLOOR = "select floor, ground, (select id from generations where number = ground) from store"
LINEAGE = (
    "select g.id, l.first_offset from lineage l join generations g on g.number = l.generation"
    " where l.stream = ? order by l.generation"
)
# From offset ?4 on as far as `COLUMN` is below ?3, in strides of which each is half the one before: all in
# one statement, since half of the time would be Python's otherwise. A lost row counts as old:
# reading it is what reports the damage.
WALK = """with recursive walk(below, stride) as (
        values (?4, ?5)
        union all
        select
            below + iif(
                below + stride <= ?2 and coalesce(
                    (select COLUMN from log where stream = ?1 and "offset" = below + stride), -1
                ) < ?3,
                stride,
                0
            ),
            stride >> 1
        from walk where stride > 0
    )
    select below from walk where stride = 0"""


class Streams:
    """The streams. What changes one happens inside the caller's transaction."""

    def __init__(self, cursor: apsw.Cursor) -> None:
        self._cursor = cursor
        self.groups = Groups(cursor)
        self.generation, self._epoch = first(self._cursor.execute(GENERATION))
        # Not read again by `reload`: readers were told of what was not committed too, so it never falls.
        self.floor, self.ground, self._ground_epoch = first(self._cursor.execute(FLOOR))
        self.reload()

    def reload(self) -> None:
        """Forget what was not committed."""
        self.groups.reload()
        self._cached: dict[str, Stream] = {}
        self._changed: dict[int, Stream] = {}
        self._changed_cold: dict[int, Stream] = {}
        self._next_id = number(self._cursor.execute("select coalesce(max(id), 0) + 1 from streams"))
        self.due_ms = self._next_due_ms()

    def _next_due_ms(self) -> int:
        query = f"select coalesce(min(due_ms), {FOREVER_MS}) from streams where due_ms is not null"
        return number(self._cursor.execute(query))

    # Finding a stream

    def find(self, name: str, now_ms: int) -> Stream | None:
        """Return a stream as a reader may see it now; None if there is none. Writes nothing."""
        self._shed()
        stream = self._cached.get(name) or self._load(name)
        if stream is None:
            return None
        if stream.is_forgotten(now_ms):
            self._raise_floor(stream)
            return None
        self._settle(stream, now_ms)
        return stream

    def find_or_make(self, name: str, now_ms: int) -> Stream:
        """Return a stream to append to; a new one is written once it is marked as changed."""
        stream = self._cached.get(name) or self._load(name)
        if stream is not None and stream.is_forgotten(now_ms):
            self._forget(stream)
            stream = None
        if stream is None:
            return self.nonexistent(name)
        self._settle(stream, now_ms)
        return stream

    def nonexistent(self, name: str) -> Stream:
        """Return a stream as it would begin."""
        stream = Stream(self._next_id, name, self.floor)
        if self._ground_epoch is not None:
            stream.lineage.append(Link(self._ground_epoch, self.floor))
        return stream

    def _raise_floor(self, forgotten: Stream) -> None:
        self.floor = max(self.floor, forgotten.last)
        self.ground, self._ground_epoch = self.generation, self._epoch

    def _load(self, name: str) -> Stream | None:
        row = first(self._cursor.execute(f"select {COLUMNS} from streams where name = ?", (name,)))
        if row is None:
            return None
        stream = self._made(row)
        self._cached[name] = stream
        return stream

    def _made(self, row: tuple[Any, ...]) -> Stream:
        (
            id,
            name,
            floor,
            last,
            deleted,
            total,
            count,
            ttl_ms,
            meta_ttl_ms,
            age_ms,
            size,
            updated_ms,
            due_ms,
            version,
            version_epoch,
            group_id,
            group_bytes,
        ) = row
        stream = Stream(id, name, floor)
        stream.last, stream.deleted, stream.total = last, deleted, total
        stream.group = group = self.groups.of(group_id)
        stream.retention = Retention(
            count, ttl_ms, meta_ttl_ms, age_ms, size, group.name if group else "", group_bytes
        )
        stream.version, stream.version_epoch = version, version_epoch
        stream.updated_ms, stream.due_ms = updated_ms, due_ms or 0
        stream.lineage = [Link(*link) for link in rows(self._cursor.execute(LINEAGE, (id,)))]
        stream.is_new = False
        return stream

    # Changing one

    def changed(self, stream: Stream) -> None:
        """Write the stream at the end of this transaction."""
        self._changed[stream.id] = stream
        if stream.is_new and stream.name is not None:
            self._cached[stream.name] = stream
            self._next_id = max(self._next_id, stream.id + 1)

    def hold_version(self, stream: Stream, version: int, version_epoch: str) -> None:
        """Remember the version that the stream took."""
        stream.version, stream.version_epoch = version, version_epoch
        self._changed_cold[stream.id] = stream

    def change_retention(self, stream: Stream, retention: Retention) -> None:
        """Let the stream be kept otherwise from now on. All its rows must be in the table."""
        held = stream.retention
        stream.retention = retention
        if (held.group, held.group_bytes) != (retention.group, retention.group_bytes):
            self._changed_cold[stream.id] = stream
            size = self.stored_bytes(stream)
            if stream.group is not None:
                self.groups.weigh(stream.group, -size)
            stream.group = self.groups.named(retention.group)
            if stream.group is not None:
                self.groups.weigh(stream.group, size)

    def stored_bytes(self, stream: Stream) -> int:
        """How many bytes of a stream are in the table, dropped ones too."""
        return stream.total - self._before(stream, stream.deleted + 1)

    def _before(self, stream: Stream, offset: int) -> int:
        """How many of a stream's bytes stand before an offset; a row that was lost counts with the next."""
        query = 'select before from log where stream = ? and "offset" >= ? order by "offset" limit 1'
        row = first(self._cursor.execute(query, (stream.id, offset)))
        return row[0] if row else stream.total

    def retain(self, stream: Stream, now_ms: int) -> None:
        """Apply the retention that the last message brought. All rows of the stream must be in the table."""
        keep = stream.retention
        self._settle(stream, now_ms)
        if keep.count and stream.last - stream.floor > keep.count:
            stream.floor = stream.last - keep.count
        if keep.bytes and stream.last - stream.floor > 1:
            self._see_first(stream)
            if stream.total - stream.first_before > keep.bytes:
                above = self.first_at_least(stream, "before", stream.total - keep.bytes)
                stream.floor = min(above, stream.last) - 1

    def _settle(self, stream: Stream, now_ms: int) -> None:
        """Apply what time has done."""
        keep = stream.retention
        if stream.floor == stream.last:
            return
        if keep.ttl_ms and stream.updated_ms + keep.ttl_ms <= now_ms:
            stream.floor = stream.last
        elif keep.age_ms:
            self._see_first(stream)
            if stream.first_ms + keep.age_ms <= now_ms:
                stream.floor = self.first_at_least(stream, "time_ms", now_ms - keep.age_ms + 1) - 1

    def _see_first(self, stream: Stream) -> None:
        if stream.first_offset != stream.floor + 1:
            stream.first_offset = stream.floor + 1
            stream.first_ms = self._column(stream, "time_ms", stream.first_offset)
            stream.first_before = self._column(stream, "before", stream.first_offset)

    def first_at(self, stream: Stream, at_ms: int) -> int:
        """Return the first kept offset stored at `at_ms` or later, or the one after the last.

        Times of landmarks are remembered, so that a long stream is walked no further than a short one.
        """
        stride = LANDMARK_STRIDE
        while (stream.last - stream.floor) // stride > LANDMARKS_MAX:
            stride *= 2
        old, end = stream.floor // stride, stream.last // stride
        while old < end:
            middle = (old + end + 1) // 2
            if self._time_of(stream, middle * stride) < at_ms:
                old = middle
            else:
                end = middle - 1
        start = max(stream.floor, old * stride)
        return self._walk(stream, "time_ms", at_ms, start, min(stream.last, (old + 1) * stride))

    def _time_of(self, stream: Stream, landmark: int) -> int:
        time_ms = stream.landmarks.get(landmark)
        if time_ms is None:
            time_ms = self._column(stream, "time_ms", landmark)
            if len(stream.landmarks) > 2 * LANDMARKS_MAX:  # most of them are off the disk by now
                stream.landmarks.clear()
            if time_ms >= 0:
                stream.landmarks[landmark] = time_ms
        return time_ms

    def first_at_least(self, stream: Stream, column: str, value: int) -> int:
        """Return the first kept offset whose `column` has reached `value`, or the one after the last.

        The column must not fall from row to row.
        """
        return self._walk(stream, column, value, stream.floor, stream.last)

    def _walk(self, stream: Stream, column: str, value: int, start: int, end: int) -> int:
        stride = (
            1 << (end - start).bit_length() >> 1
        )  # the largest power of two that does not go beyond the end
        query = WALK.replace("COLUMN", column)
        return number(self._cursor.execute(query, (stream.id, end, value, start, stride))) + 1

    def _column(self, stream: Stream, column: str, offset: int) -> int:
        query = f'select {column} from log where stream = ? and "offset" = ?'
        row = first(self._cursor.execute(query, (stream.id, offset)))
        return row[0] if row else -1  # as in WALK

    # Housekeeping

    def tend(self, now_ms: int, budget: int) -> int:
        """Look at streams that fell due; delete up to `budget` rows, and return how much is left of that."""
        query = f"select {COLUMNS} from streams where due_ms <= ? order by due_ms limit {DUE_STREAMS_MAX}"
        for row in rows(self._cursor.execute(query, (now_ms,))):
            stream = self._cached.get(row[1]) or self._made(row)
            if stream.is_forgotten(now_ms):
                self._forget(stream)
            self._settle(stream, now_ms)
            budget -= self._delete(stream, min(stream.backlog(), budget))
            if stream.name is None and stream.deleted == stream.last:
                self._cursor.execute("delete from lineage where stream = ?", (stream.id,))
                self._cursor.execute("delete from streams where id = ?", (stream.id,))
            else:
                stream.schedule(now_ms)
                self._write([stream])
        self.due_ms = self._next_due_ms()
        return budget

    def _forget(self, stream: Stream) -> None:
        """Let the name go; what is left of the stream is deleted by and by."""
        self._raise_floor(stream)
        if stream.name is not None:
            self._cached.pop(stream.name, None)
        stream.name = None
        stream.floor = stream.last
        stream.retention = Retention()
        stream.due_ms = NOW
        self._write([stream])

    def _delete(self, stream: Stream, count: int) -> int:
        if count <= 0:
            return 0
        if stream.group is not None:
            start, end = stream.deleted + 1, stream.deleted + 1 + count
            self.groups.weigh(stream.group, self._before(stream, start) - self._before(stream, end))
        self._cursor.execute(
            'delete from log where stream = ? and "offset" > ? and "offset" <= ?',
            (stream.id, stream.deleted, stream.deleted + count),
        )
        stream.deleted += count
        return count

    def flush(self, now_ms: int, budget: int) -> None:
        """Write the streams that changed, and delete up to `budget` of the rows that they dropped."""
        changed = self._changed.values()
        for stream in changed:
            self.retain(stream, now_ms)
        due = [stream for stream in changed if stream.backlog()]
        if due:
            for stream in changed if any(stream.group is None for stream in due) else due:
                budget -= self._delete(stream, min(stream.joining(), budget))
        for stream in changed:
            stream.schedule(now_ms)
        self._write(self._changed.values())
        self._changed.clear()
        if self._changed_cold:
            self._write_cold()
        self.groups.flush()
        self._shed()

    def make_room(self, streams: Iterable[Stream], budget: int, now_ms: int) -> None:
        """Delete up to `budget` of the rows that streams dropped. All their rows must be in the table."""
        for stream in streams:
            self.retain(stream, now_ms)
            if deleted := self._delete(stream, min(stream.floor - stream.deleted, budget)):
                self._changed[stream.id] = stream
                budget -= deleted

    def _shed(self) -> None:
        """Let go of heads cached long ago; not inside a transaction, which may have changed them."""
        if len(self._cached) > STREAMS_CACHED_MAX:
            for name in list(islice(self._cached, STREAMS_CACHED_MAX // 8)):
                del self._cached[name]

    def _write(self, streams: Iterable[Stream]) -> None:
        inserts: list[Any] = []
        updates: list[Any] = []
        for stream in streams:
            keep = stream.retention
            row = (
                stream.id, stream.name, stream.floor, stream.last, stream.deleted, stream.total,
                keep.count, keep.ttl_ms, keep.meta_ttl_ms, keep.age_ms, keep.bytes,
                stream.updated_ms, stream.due_ms or None,
            )  # fmt: skip
            if stream.due_ms:
                self.due_ms = min(self.due_ms, stream.due_ms)
            (inserts if stream.is_new else updates).append(row)
            stream.is_new = False
        if inserts:
            self._cursor.executemany(INSERT, inserts)
        if updates:
            self._cursor.executemany(UPDATE, updates)

    def _write_cold(self) -> None:
        rows = [
            (s.id, s.version, s.version_epoch, s.group.id if s.group else 0, s.retention.group_bytes)
            for s in self._changed_cold.values()
        ]
        self._cursor.executemany(UPDATE_COLD, rows)
        self._changed_cold.clear()
