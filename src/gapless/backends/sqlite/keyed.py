"""Messages by their keys: a partial index over the log, which SQLite keeps with its rows.

What drops a row takes it out of the index. What erases one leaves it there: it still is its key's last.
"""

from hashlib import blake2b
from itertools import pairwise
from typing import Final

import apsw
from msgspec import Struct

from gapless.backends.sqlite.checksum import erased_checksum
from gapless.backends.sqlite.schema import first, rows
from gapless.backends.sqlite.stream import Stream

__all__ = ["START", "Index", "Place", "Slice", "key_id"]

LAST = (
    'select "offset" from log indexed by log_keyed'
    ' where stream = ? and keyed = ? and "offset" > ? order by "offset" desc limit 1'
)
IN_ORDER = (
    'select keyed, "offset", seq from log indexed by log_keyed where stream = ? and keyed is not null'
    ' and (keyed, "offset") >= (?, ?) order by keyed, "offset" limit ?'
)
SUPERSEDE = "update log set crc = ?, data = x'', meta = x'', keyed = null where seq = ?"

# Rows of the index that a transaction looks at to compact, beside the appends that wait for it.
SLICE_ROWS: Final = 256

Place = tuple[bytes, int]
"""A place in a stream's index: what stands for a key, and an offset."""
START: Final[Place] = (b"", 0)


class Slice(Struct, frozen=True):
    """How many messages a step of a compaction removed, and where the next begins, if there is one."""

    removed: int
    next: Place | None


class Index:
    """The index. What changes it happens inside the caller's transaction, with all rows in the table."""

    def __init__(self, cursor: apsw.Cursor) -> None:
        self._cursor = cursor

    def last(self, stream: Stream, key: str) -> int:
        """Return the offset of the last message with a key, 0 if there is none."""
        row = first(self._cursor.execute(LAST, (stream.id, key_id(key), stream.floor)))
        return row[0] if row else 0

    def compact(self, stream: Stream, through: int, start: Place) -> Slice:
        """Remove what later messages supersede, up to an offset, in the next stretch of the index.

        The rows stay, as those of erased messages do: a lost one can still be told from them, and `find` goes
        by their times.
        """
        found = rows(self._cursor.execute(IN_ORDER, (stream.id, *start, SLICE_ROWS + 1)))
        superseded = [
            (offset, seq)
            for (id, offset, seq), (next_id, _, _) in pairwise(found)
            if id == next_id and stream.floor < offset <= through
        ]
        removed = sum([self._remove(stream, *row) for row in superseded])
        return Slice(removed, found[-1][:2] if len(found) > SLICE_ROWS else None)

    def _remove(self, stream: Stream, offset: int, seq: int) -> bool:
        time_ms, crc = first(self._cursor.execute("select time_ms, crc from log where seq = ?", (seq,)))
        erased = erased_checksum(stream.id, offset, time_ms)
        self._cursor.execute(SUPERSEDE, (erased, seq))
        return bool(crc != erased)


def key_id(key: str) -> bytes:
    """Return 16 bytes that stand for a key: no two keys have the same ones, so that these are compared."""
    return blake2b(key.encode(), digest_size=16).digest()
