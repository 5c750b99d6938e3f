"""Reading, one page at a time, between commits. Nothing here writes."""

from collections.abc import Sequence
from contextlib import closing

import apsw

from gapless.backends.sqlite.checksum import checksum, is_erased
from gapless.backends.sqlite.keyed import Index, key_id
from gapless.backends.sqlite.stream import Stream
from gapless.backends.sqlite.streams import Streams
from gapless.core.errors import StoreDamaged
from gapless.core.limits import PAGE_BYTES_MAX, PAGE_MESSAGES_MAX
from gapless.core.lineage import Generation, lost, why_lost
from gapless.core.stream import Heads, Message, Page, Position

__all__ = ["Reader"]

FORWARD = (
    'select "offset", time_ms, crc, data, meta from log where stream = ? and "offset" between ? and ?'
    ' order by "offset" limit ?'
)
BACKWARD = FORWARD.replace(" limit", " desc limit")
FORWARD_KEYED = (
    'select "offset", time_ms, crc, data, meta from log indexed by log_keyed'
    ' where stream = ? and keyed = ? and "offset" between ? and ? order by "offset"'
)
BACKWARD_KEYED = FORWARD_KEYED + " desc"


class Reader:
    """Answers readers, as the store stands at `now_ms`."""

    def __init__(
        self, connection: apsw.Connection, streams: Streams, generations: Sequence[Generation]
    ) -> None:
        self._connection = connection
        self._index = Index(connection.cursor())
        self._streams = streams
        self._generations = generations
        self._epoch = generations[-1].id

    def _stream(self, name: str, now_ms: int) -> Stream:
        return self._streams.find(name, now_ms) or self._streams.nonexistent(name)

    def after(
        self,
        name: str,
        position: Position | None,
        messages_max: int,
        bytes_max: int,
        now_ms: int,
        keyed: str | None = None,
    ) -> Page:
        """Return the page that follows a position, or the oldest one."""
        stream = self._stream(name, now_ms)
        if position is not None:
            self._check_holds(position, stream)
        start = stream.floor if position is None else position.offset
        limits = messages_max, bytes_max
        if keyed is None:
            end, messages = self._rows(FORWARD, stream, start + 1, stream.last, 1, limits)
        else:
            edge, messages = self._keyed_rows(FORWARD_KEYED, stream, keyed, start + 1, stream.last, limits)
            end = stream.last + 1 if edge is None else edge
        return Page(self._epoch, start, end - 1, stream.floor, stream.last, messages)

    def before(
        self,
        name: str,
        position: Position,
        messages_max: int,
        bytes_max: int,
        now_ms: int,
        keyed: str | None = None,
    ) -> Page:
        """Return the page that ends just below a position."""
        stream = self._stream(name, now_ms)
        end = max(min(position.offset - 1, stream.last), stream.floor)
        self._check_holds(Position(position.epoch, end), stream)
        limits = messages_max, bytes_max
        if keyed is None:
            start, messages = self._rows(BACKWARD, stream, stream.floor + 1, end, -1, limits)
        else:
            edge, messages = self._keyed_rows(BACKWARD_KEYED, stream, keyed, stream.floor + 1, end, limits)
            start = stream.floor if edge is None else edge
        messages.reverse()
        return Page(self._epoch, start, end, stream.floor, stream.last, messages)

    def _rows(
        self, query: str, stream: Stream, low: int, high: int, step: int, limits: tuple[int, int]
    ) -> tuple[int, list[Message]]:
        """Return the messages that one page has room for, and the first offset that it does not cover."""
        room, size = min(limits[0], PAGE_MESSAGES_MAX), min(limits[1], PAGE_BYTES_MAX)
        count = min(PAGE_MESSAGES_MAX, high - low + 1)
        offset = low if step > 0 else high
        end = offset + count * step
        messages: list[Message] = []
        with closing(self._connection.cursor()) as cursor:
            rows = cursor.execute(query, (stream.id, low, high, count))
            while offset != end and len(messages) < room:
                row = next(rows, None)
                if row is None or row[0] != offset:
                    raise self._damaged(stream, offset)
                _, time_ms, crc, data, meta = row
                if crc == checksum(stream.id, offset, time_ms, data, meta):
                    size -= len(data) + len(meta)
                    if size < 0 and messages:
                        break
                    messages.append(Message(offset, time_ms, data, meta))
                elif not is_erased(stream.id, offset, time_ms, crc, data, meta):
                    raise self._damaged(stream, offset)
                offset += step
        return offset, messages

    def _keyed_rows(
        self, query: str, stream: Stream, key: str, low: int, high: int, limits: tuple[int, int]
    ) -> tuple[int | None, list[Message]]:
        """Return what one page has room for, and the first message with the key that it does not cover."""
        room, size = min(limits[0], PAGE_MESSAGES_MAX), min(limits[1], PAGE_BYTES_MAX)
        messages: list[Message] = []
        with closing(self._connection.cursor()) as cursor:
            rows = cursor.execute(query, (stream.id, key_id(key), low, high))
            for seen, (offset, time_ms, crc, data, meta) in enumerate(rows):
                if len(messages) == room or seen == PAGE_MESSAGES_MAX:
                    return offset, messages
                if crc == checksum(stream.id, offset, time_ms, data, meta):
                    size -= len(data) + len(meta)
                    if size < 0 and messages:
                        return offset, messages
                    messages.append(Message(offset, time_ms, data, meta))
                elif not is_erased(stream.id, offset, time_ms, crc, data, meta):
                    raise self._damaged(stream, offset)
        return None, messages

    def last_keyed(self, name: str, key: str, now_ms: int) -> int:
        """Return the offset of the last message with a key, 0 if there is none."""
        return self._index.last(self._stream(name, now_ms), key)

    def _damaged(self, stream: Stream, offset: int) -> StoreDamaged:
        return StoreDamaged(f"message {offset} of {stream.name!r} is lost or fails its checksum")

    def heads(self, names: Sequence[str], now_ms: int) -> Heads:
        """Tell where streams stand."""
        return Heads(self._epoch, {name: self._stream(name, now_ms).head for name in names})

    def find(self, name: str, at_ms: int, now_ms: int) -> Position:
        """Return the position just before the first kept message stored at or after `at_ms`."""
        stream = self._stream(name, now_ms)
        return Position(self._epoch, self._streams.first_at(stream, at_ms) - 1)

    def generations(self) -> list[Generation]:
        """List the generations that are known."""
        return list(self._generations)

    def _check_holds(self, position: Position, stream: Stream) -> None:
        why = why_lost(position, stream.head, self._generations, stream.lineage)
        if why:
            raise lost(position, why)
