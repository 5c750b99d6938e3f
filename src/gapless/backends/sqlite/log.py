"""What happens inside the database when it is written: appends, trims and housekeeping."""

from collections.abc import Iterable, Sequence
from typing import Any

import apsw
from msgspec import Struct

from gapless.backends import Options
from gapless.backends.sqlite.checksum import checksum, erased_checksum, is_erased
from gapless.backends.sqlite.keyed import Index, key_id
from gapless.backends.sqlite.keys import Digests, Keys, digest
from gapless.backends.sqlite.membership import Memberships
from gapless.backends.sqlite.queues.writing import Queueing
from gapless.backends.sqlite.schema import Insert, first
from gapless.backends.sqlite.stream import Stream
from gapless.backends.sqlite.streams import Streams
from gapless.backends.sqlite.work import WHOLE, Undo, Work
from gapless.core.errors import (
    BadRequest,
    GaplessError,
    LimitExceeded,
    PositionConflict,
    StoreDamaged,
    StoreFull,
    TooManyRequests,
    Unavailable,
)
from gapless.core.fences import Fences
from gapless.core.lineage import Generation, Link, holds
from gapless.core.stream import Entry, Head, Heads, Position, Stored, check_version, is_stale

__all__ = ["Erase", "Log", "Order", "Outcome", "Trim"]

INSERT = Insert("log", "(?, ?, ?, ?, ?, ?, ?, ?, null)")
INSERT_KEYED = Insert("log", "(?, ?, ?, ?, ?, ?, ?, ?, ?)")
KEYED_COLUMNS = 9
FIND = 'select seq, time_ms, crc, data, meta from log where stream = ? and "offset" = ?'
ERASE = "update log set crc = ?, data = x'', meta = x'' where seq = ?"

# Rows that a transaction deletes for each that it appends, so that trimming keeps up.
DELETED_PER_ENTRY = 2
# Rows deleted at once, at most, for an entry that finds its group full.
DELETED_FOR_ROOM = 512


class Trim(Struct, frozen=True):
    """Drop a stream's messages through an offset."""

    stream: str
    through: int


class Erase(Struct, frozen=True):
    """Remove one message for good; its offset stays."""

    stream: str
    offset: int


Order = Entry | Trim | Erase | Work
Outcome = Stored | Heads | bool | GaplessError | Any  # what a `Work` returns


class Log:
    """The writer's view of the streams, of which it alone owns the heads."""

    def __init__(
        self,
        cursor: apsw.Cursor,
        streams: Streams,
        options: Options,
        generations: Sequence[Generation],
        now_ms: int,
    ) -> None:
        self._start_ms = now_ms
        self._cursor = cursor
        self._streams = streams
        self._keys = Keys(cursor, options.key_window_ms)
        self.index = Index(cursor)
        self.memberships = Memberships(cursor)
        self._options = options
        self._generations = generations
        self._epoch = generations[-1].id
        self._bytes_max = options.message_bytes_max
        self.is_full = False
        self.queues = Queueing(cursor, self, self._keys, options, self._epoch)
        self._stopped: set[tuple[Any, str]] = set()
        self._stopped_before = self._stopped  # this transaction
        self._begin()

    def _begin(self) -> None:
        query = "select seq, time_ms, fence from store"
        self.seq: int
        self.time_ms: int
        self.seq, self.time_ms, fence = first(self._cursor.execute(query))
        self.fences = Fences(self._epoch, fence, max(self._start_ms, self.time_ms))
        self._stored: tuple[int, int, int | None, int] | None = None  # written anew with the next transaction
        self._touched: dict[str, Stream] = {}
        self._grouped: dict[int, Stream] = {}  # may have dropped rows that count for a group still
        self._rows: list[tuple[Any, ...]] = []
        self._any_keyed = False  # among these rows
        self._links: list[tuple[int, int | None, int]] = []

    def reload(self) -> None:
        """Forget what was not committed."""
        self._streams.reload()
        self._keys.reload()
        self.memberships.reload()
        self.queues.reload()
        self._stopped = self._stopped_before
        self._begin()

    def go_on_from(self, former: "Log") -> None:
        """Know whom the log of the file that was here before has stopped, and what it counted."""
        self._stopped = former._stopped
        self.queues.go_on_from(former.queues)

    def stop(self, orders: Iterable[Order]) -> None:
        """Hear that all of them were refused: what their origins have queued behind them is, too."""
        self._stopped |= {
            (order.origin, order.stream)
            for order in orders
            if isinstance(order, Entry) and order.origin is not None
        }

    def lift(self, origin: Any, stream: str) -> None:
        """Hear that the origin was told of its refused entry: what it queues now is not behind that."""
        self._stopped.discard((origin, stream))

    def is_due(self, now_ms: int) -> bool:
        """Tell whether there is housekeeping to do."""
        return min(self._streams.due_ms, self._keys.due_ms()) <= now_ms or self.queues.is_due(now_ms)

    def write(self, orders: Iterable[Order], now_ms: int, *, budget: int, is_full: bool) -> list[Outcome]:
        """Carry out orders and housekeeping in the transaction that is open; delete about `budget` rows.

        Raises:
            apsw.Error, Undo: nothing of it holds; roll back, then `reload`.
        """
        self.time_ms = now_ms
        self.is_full = is_full
        self._stopped_before = set(self._stopped)
        if self._streams.due_ms <= now_ms:
            budget = self._streams.tend(now_ms, budget)
        self._keys.drop_due(now_ms)
        self.queues.keep_house()
        outcomes = [self._outcome(order) for order in orders]
        self._flush_rows()
        if self._links:
            self._cursor.executemany("insert into lineage values (?, ?, ?)", self._links)
            unknown = self._streams.generation - self._options.generations_max
            self._cursor.executemany(
                "delete from lineage where stream = ? and generation <= ?",
                [(stream, unknown) for stream, _, _ in self._links],
            )
            self._links.clear()
        self._touched.clear()
        self._grouped.clear()
        self._streams.flush(now_ms, budget + DELETED_PER_ENTRY * len(outcomes))
        self._keys.flush(now_ms)
        stored = self.seq, self._streams.floor, self._streams.ground, self.fences.last
        if self._stored != stored:
            self._stored = stored
            update = "update store set seq = ?, floor = ?, ground = ?, fence = ?, time_ms = ?"
            self._cursor.execute(update, (*stored, now_ms))
        return outcomes

    def _outcome(self, order: Order) -> Outcome:
        if not isinstance(order, Entry):
            return self._carry_out(order)
        if self._stopped and (order.origin, order.stream) in self._stopped:
            return Unavailable("an earlier message of the same origin was refused")
        try:
            return self.admit(order)
        except GaplessError as error:
            if order.origin is not None:
                self._stopped.add((order.origin, order.stream))
            return error

    def _carry_out(self, order: Trim | Erase | Work) -> Outcome:
        if isinstance(order, Trim):
            return self._trim(order)
        if isinstance(order, Erase):
            return self._erase(order)
        if WHOLE in order.refused:
            return order.refused[WHOLE]
        try:
            return order.carry_out(self)
        except Undo as undo:
            order.refused = {**order.refused, undo.item: undo.error}
            raise
        except GaplessError as error:
            return error

    def admit(self, entry: Entry) -> Stored:
        """Append in the transaction that is open.

        Raises:
            GaplessError: it is refused; nothing has changed then.
        """
        key = None if entry.key is None else digest(entry)
        stream = self._check(entry, key)
        if isinstance(stream, Stored):
            return stream
        offset, also = 0, None
        if not entry.transient:
            offset = self._append(entry, stream)
            if entry.also is not None:
                # Looked up only now: a stream that is new is numbered when it is written to.
                last = self._append(entry.also, self._stream(entry.also.stream))
                also = Stored(self._epoch, last, self.time_ms)
        stored = Stored(self._epoch, offset, self.time_ms, True, also)
        if key:
            self._keys.hold(key, stored)
        return stored

    def _check(self, entry: Entry, key: Digests | None) -> Stream | Stored:
        """Return where an entry goes, or the answer that it has without being stored."""
        if key and (held := self._keys.find(key)):
            return held
        stream = self._touched.get(entry.stream) or self._stream(entry.stream)
        if entry.version or entry.expected or entry.expected_keyed is not None:
            if _is_stale(entry, stream):
                return Stored(self._epoch, stream.last, self.time_ms, fresh=False)
            self._check_expected(entry, stream)
        if len(entry.data) > self._bytes_max or len(entry.meta) > self._bytes_max:
            raise BadRequest(f"the message is over {self._bytes_max} bytes")
        if key and self._keys.held() >= self._options.keys_max:
            raise TooManyRequests("too many idempotency keys are held")
        if self.is_full and (key or not entry.transient):
            raise StoreFull("the disk is full; trim streams or make room")
        if not entry.transient:
            if entry.retention.group:
                self._check_group(entry, stream)
            if entry.also is not None:
                self._check_also(entry, stream, entry.also)
        return stream

    def _check_expected(self, entry: Entry, stream: Stream) -> None:
        expected = entry.expected
        if expected and not (expected.offset == stream.last and self._holds(expected, stream)):
            raise PositionConflict(f"the stream ends at {stream.last}")
        if entry.keyed is not None and entry.expected_keyed is not None:
            last = self.index.last(self.settled(entry.stream), entry.keyed)
            if last != entry.expected_keyed:
                raise PositionConflict(f"the last message with key {entry.keyed!r} is at {last}")

    def _check_also(self, entry: Entry, stream: Stream, also: Entry) -> None:
        """Hold what is stored with an entry against the limits."""
        if also.stream == entry.stream:
            raise BadRequest("what is stored with a message goes to another stream")
        if len(also.data) > self._bytes_max or len(also.meta) > self._bytes_max:
            raise BadRequest(f"the message is over {self._bytes_max} bytes")
        if also.retention.group:
            shared = also.retention.group == entry.retention.group
            beside = self._grows(entry, stream) if shared else 0
            self._check_group(also, self._stream(also.stream), beside)

    def _check_group(self, entry: Entry, stream: Stream, beside: int = 0) -> None:
        """Make sure that the entry, and its stream if that joins, finds room in its group."""
        keep = entry.retention
        group = self._streams.groups.named(keep.group)
        assert group is not None
        if group.bytes + self._grows(entry, stream) + beside > keep.group_bytes:
            self._flush_rows()
            self._grouped[stream.id] = stream
            self._streams.make_room(self._grouped.values(), DELETED_FOR_ROOM, self.time_ms)
            self._grouped.clear()
            if group.bytes + self._grows(entry, stream) + beside > keep.group_bytes:
                raise LimitExceeded(f"what {keep.group!r} keeps is at its limit of {keep.group_bytes} bytes")

    def _grows(self, entry: Entry, stream: Stream) -> int:
        """How many bytes the entry's group gains by it."""
        joining = 0
        if stream.group is not self._streams.groups.named(entry.retention.group) and stream.total:
            self._flush_rows()
            joining = self._streams.stored_bytes(stream)
        return joining + len(entry.data) + len(entry.meta)

    def _append(self, entry: Entry, stream: Stream) -> int:
        if entry.retention is not stream.retention and entry.retention != stream.retention:
            self._flush_rows()
            self._streams.retain(stream, self.time_ms)
            self._streams.change_retention(stream, entry.retention)
        if entry.stream not in self._touched:
            self._touch(stream, entry.stream)
        self.seq += 1
        offset = stream.last = stream.last + 1
        data, meta, time_ms = entry.data, entry.meta, self.time_ms
        crc = checksum(stream.id, offset, time_ms, data, meta)
        row = (self.seq, stream.id, offset, time_ms, stream.total, crc, data, meta)
        if entry.keyed is None:
            self._rows.append(row)
        else:
            self._rows.append((*row, key_id(entry.keyed)))
            self._any_keyed = True
        stream.total += len(data) + len(meta)
        stream.updated_ms = time_ms
        if stream.group is not None:
            self._streams.groups.weigh(stream.group, len(data) + len(meta))
            self._grouped[stream.id] = stream
        if entry.version:
            self._streams.hold_version(stream, entry.version, entry.version_epoch)
        return offset

    def _touch(self, stream: Stream, name: str) -> None:
        self._touched[name] = stream
        if stream.is_new and stream.lineage:
            self._links.append((stream.id, self._streams.ground, stream.last))
        self._streams.changed(stream)
        if not stream.lineage or stream.lineage[-1].gen != self._epoch:
            stream.lineage.append(Link(self._epoch, stream.last + 1))
            self._links.append((stream.id, self._streams.generation, stream.last + 1))

    def _trim(self, order: Trim) -> Heads:
        stream = self._stream(order.stream)
        if order.stream in self._touched or not stream.is_new:
            self._flush_rows()
            self._streams.retain(stream, self.time_ms)
            stream.floor = max(stream.floor, min(order.through, stream.last))
            self._streams.changed(stream)
            self._grouped[stream.id] = stream
        return Heads(self._epoch, {order.stream: stream.head})

    def _erase(self, order: Erase) -> bool | StoreDamaged:
        stream = self._stream(order.stream)
        if not stream.floor < order.offset <= stream.last:
            return False
        self._flush_rows()
        row = first(self._cursor.execute(FIND, (stream.id, order.offset)))
        if row is None:
            return StoreDamaged(f"message {order.offset} of {order.stream!r} is lost")
        seq, time_ms, *rest = row
        if is_erased(stream.id, order.offset, time_ms, *rest):
            return False
        # Or SQLite would leave the bytes in the pages that become free.
        first(self._cursor.execute("pragma secure_delete = on"))
        self._cursor.execute(ERASE, (erased_checksum(stream.id, order.offset, time_ms), seq))
        first(self._cursor.execute("pragma secure_delete = fast"))
        return True

    def settled(self, name: str) -> Stream:
        """Return a stream as it stands, with all its rows in the table."""
        stream = self._stream(name)
        self._flush_rows()
        self._streams.retain(stream, self.time_ms)
        return stream

    def _stream(self, name: str) -> Stream:
        return self._touched.get(name) or self._streams.find_or_make(name, self.time_ms)

    def _flush_rows(self) -> None:
        if self._any_keyed:
            rows = [row if len(row) == KEYED_COLUMNS else (*row, None) for row in self._rows]
            INSERT_KEYED.execute(self._cursor, rows)
            self._any_keyed = False
        elif self._rows:
            INSERT.execute(self._cursor, self._rows)
        self._rows.clear()

    def is_past(self, name: str, position: Position) -> bool:
        """Tell whether a stream is past a position of its own timeline, be that kept still or not."""
        stream = self._stream(name)
        return holds(position, Head(0, stream.last), self._generations, stream.lineage)

    def _holds(self, position: Position, stream: Stream) -> bool:
        return holds(position, stream.head, self._generations, stream.lineage)


def _is_stale(entry: Entry, stream: Stream) -> bool:
    if not entry.version or entry.transient:
        return False
    check_version(entry)
    return is_stale(entry, stream.version, stream.version_epoch)
