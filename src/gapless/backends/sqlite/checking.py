"""Every row of a database held against its checksum, its neighbours and the head of its stream, in slices."""

import struct
from collections.abc import Generator, Iterator
from typing import Any

import apsw

from gapless.backends.sqlite.checksum import checksum, is_erased
from gapless.backends.sqlite.queues.checking import check_jobs
from gapless.backends.sqlite.schema import first, rows
from gapless.ports import Checked

__all__ = ["Progress", "check"]

Progress = tuple[int, int]
"""How much is done, of how much in all."""

# A slice: so many rows or bytes of messages are read, then others have their turn.
ROWS = 256
ROW_BYTES = 512 * 1024
# So many offsets are counted in the index, which is cheaper.
COUNTED = 4_096
STREAMS = 64
FINDINGS_TOLD_MAX = 100
# For so many streams it is remembered which row came last.
STREAMS_REMEMBERED_MAX = 100_000
UNKNOWN = -1
# What SQLite cannot read, or what is no text.
UNREADABLE = (apsw.Error, UnicodeDecodeError)

MESSAGES = (
    'select l.seq, l.stream, l."offset", l.time_ms, l.crc, l.data, l.meta, l.before, s.name, s.floor, s.last,'
    " l.keyed is null or l.seq = (select k.seq from log k indexed by log_keyed"
    ' where k.stream = l.stream and k.keyed = l.keyed and k."offset" = l."offset")'
    " from log l left join streams s on s.id = l.stream where l.seq > ? order by l.seq"
)
# What stands in the index, beside the row that it points to.
KEYED = (
    'select k.stream, k.keyed, k."offset",'
    ' (l.stream, l.keyed, l."offset") is (k.stream, k.keyed, k."offset")'
    " from log k indexed by log_keyed left join log l on l.seq = k.seq"
    ' where k.keyed is not null and (k.stream, k.keyed, k."offset") > (?, ?, ?)'
    ' order by k.stream, k.keyed, k."offset" limit ?'
)
HEADS = "select id, name, floor, last from streams where id > ? order by id limit ?"
HEAD = "select floor, last from streams where id = ?"
KEPT = 'select count(*) from log where stream = ? and "offset" > ? and "offset" <= ?'
OFFSETS = 'select "offset" from log where stream = ? and "offset" > ? and "offset" <= ? order by "offset"'
# The pages of log and jobs are read row by row, those of what is held for a time may be many.
SMALL = (
    "select name from sqlite_schema where type = 'table' and name not in ('log', 'jobs', 'job_bodies')"
    " and name not like 'keys_%' and name not like 'settled_%' and name not like 'requested_%'"
)


class Findings:
    """What is wrong: all counted, the first told."""

    def __init__(self) -> None:
        self.wrong = 0
        self.told: list[str] = []

    def add(self, what: str) -> None:
        """Note one."""
        self.wrong += 1
        if len(self.told) < FINDINGS_TOLD_MAX:
            self.told.append(what)


def check(connection: apsw.Connection, *, whole: bool) -> Generator[Progress, None, Checked]:
    """Read every row; `whole` lets SQLite check the structure of all tables first, which has no slices.

    Raises nothing for what is damaged: that is a finding.
    """
    findings = Findings()
    _structure(connection, findings, whole=whole)
    rows_in_all, streams_in_all = _extent(connection, findings)
    total = rows_in_all + streams_in_all
    log = _Log(connection, findings)
    for done in log.slices():
        yield min(done, rows_in_all), total
    heads = _Heads(connection, findings)
    for done in heads.slices():
        yield rows_in_all + min(done, streams_in_all), total
    for _ in _keyed(connection, findings):
        yield total, total
    for _ in check_jobs(connection, findings.add):
        yield total, total
    return Checked(log.messages, heads.streams, findings.wrong, findings.told)


def _structure(connection: apsw.Connection, findings: Findings, *, whole: bool) -> None:
    try:
        if whole:
            told = rows(connection.execute("pragma integrity_check"))
        else:
            tables = [name for (name,) in rows(connection.execute(SMALL))]
            told = [row for name in tables for row in rows(connection.execute(f"pragma quick_check({name})"))]
    except apsw.Error as error:
        told = [(str(error),)]
    for (line,) in told:
        if line != "ok":
            findings.add(f"SQLite finds: {line}")


def _extent(connection: apsw.Connection, findings: Findings) -> Progress:
    """Return about how many rows and streams there are, without counting them."""
    query = (
        "select (select seq from store), (select max(seq) from log), (select min(seq) from log),"
        " (select count(*) from streams)"
    )
    try:
        seq, newest, oldest, streams = first(connection.execute(query))
    except apsw.Error as error:
        findings.add(f"SQLite cannot read the file: {error}")
        return 0, 0
    if seq is None or (newest or 0) > seq:
        findings.add(f"the store's head says {seq} messages, but there is number {newest}")
    return (newest - oldest + 1 if newest is not None else 0), streams


class _Log:
    """The rows in the order in which they were appended."""

    def __init__(self, connection: apsw.Connection, findings: Findings) -> None:
        self._connection = connection
        self._findings = findings
        self.messages = 0
        self._before: dict[int, tuple[int, int]] = {}  # of a stream: the last offset seen, bytes through it

    def slices(self) -> Iterator[int]:
        """Read on; yield how far that is."""
        at, start = -(1 << 63), None
        while True:
            size, taken = 0, 0
            try:
                cursor = self._connection.cursor()
                try:
                    for row in cursor.execute(MESSAGES, (at,)):
                        at = row[0]
                        start = at if start is None else start
                        self._row(*row)
                        taken += 1
                        size += len(row[5] or b"") + len(row[6] or b"")
                        if taken >= ROWS or size >= ROW_BYTES:
                            break
                finally:
                    cursor.close()
            except UNREADABLE as error:
                self._findings.add(f"SQLite cannot read the messages after number {at}: {error}")
                taken = 0
            self.messages += taken
            yield at - (start or 0)
            if not taken:
                return

    def _row(
        self,
        seq: int,
        stream: int,
        offset: int,
        time_ms: int,
        crc: int,
        data: Any,
        meta: Any,
        before: int,
        *head: Any,
    ) -> None:
        name, floor, last, is_indexed = head
        where = f"message {offset} of {name!r}"
        try:
            erased = is_erased(stream, offset, time_ms, crc, data, meta)
            sound = erased or crc == checksum(stream, offset, time_ms, data, meta)
        except (TypeError, struct.error):
            erased = sound = False
        if not sound:
            self._findings.add(f"{where} (number {seq}) fails its checksum")
            self._before.pop(stream, None)
            return
        if last is None:
            self._findings.add(f"message {offset} (number {seq}) belongs to no stream")
            return
        if offset > last:
            self._findings.add(f"{where} lies beyond the end of its stream, {last}")
        if not is_indexed:
            self._findings.add(f"{where} is not found by its key")
        previous, through = self._before.get(stream, (offset - 1, UNKNOWN))
        if offset <= previous or (offset > previous + 1 and previous >= floor):
            self._findings.add(f"{where} follows message {previous}")
        elif offset == previous + 1 and through not in (UNKNOWN, before):
            self._findings.add(f"{where} says that {before} bytes lie before it, and not {through}")
        if len(self._before) >= STREAMS_REMEMBERED_MAX:
            self._before.clear()
        # How many bytes an erased message had is gone with it.
        self._before[stream] = offset, UNKNOWN if erased else before + len(data) + len(meta)


def _keyed(connection: apsw.Connection, findings: Findings) -> Iterator[None]:
    """Hold the index by keys against the messages, in slices."""
    at: tuple[int, bytes, int] = (0, b"", 0)
    while True:
        try:
            found = rows(connection.execute(KEYED, (*at, ROWS)))
        except UNREADABLE as error:
            findings.add(f"SQLite cannot read the index by keys: {error}")
            return
        for stream, _, offset, agrees in found:
            if not agrees:
                findings.add(f"the index by keys has message {offset} of stream {stream} where it is not")
        if len(found) < ROWS:
            return
        at = found[-1][:3]
        yield


class _Heads:
    """The streams, and whether what lies between floor and end is there."""

    def __init__(self, connection: apsw.Connection, findings: Findings) -> None:
        self._connection = connection
        self._findings = findings
        self.streams = 0
        self._counted = 0  # in this slice

    def slices(self) -> Iterator[int]:
        """Look at more streams; yield how many were seen."""
        at = 0
        while True:
            try:
                heads = rows(self._connection.execute(HEADS, (at, STREAMS)))
            except UNREADABLE as error:
                self._findings.add(f"SQLite cannot read the streams after number {at}: {error}")
                return
            yield self.streams
            for stream, name, floor, last in heads:
                at = stream
                self.streams += 1
                if not 0 <= floor <= last:
                    self._findings.add(f"stream {name!r} has its floor at {floor} and its end at {last}")
                    continue
                for _ in self._offsets(stream, name):
                    yield self.streams
            if not heads:
                return

    def _offsets(self, stream: int, name: str | None) -> Iterator[None]:
        at, end, last = -1, 0, 1
        while end < last:
            try:
                # Read anew for each slice: the stream lives on between them.
                head = first(self._connection.execute(HEAD, (stream,)))
                if head is None:
                    return
                at, last = max(at, head[0]), head[1]
                end = min(at + COUNTED, last)
                [kept] = first(self._connection.execute(KEPT, (stream, at, end)))
                if kept != end - at:
                    self._missing(stream, name, at, end)
            except apsw.Error as error:
                self._findings.add(f"SQLite cannot read the index of {name!r} after {at}: {error}")
            self._counted += end - at
            at = end
            if self._counted >= COUNTED:
                self._counted = 0
                yield

    def _missing(self, stream: int, name: str | None, after: int, through: int) -> None:
        expected = after + 1
        for (offset,) in [*rows(self._connection.execute(OFFSETS, (stream, after, through))), (through + 1,)]:
            if offset > expected:
                gap = f"message {expected}" if offset == expected + 1 else f"messages {expected}–{offset - 1}"
                self._findings.add(f"{gap} of {name!r} missing")
            expected = offset + 1
