"""The model: streams in memory, gone with the process. The shortest code that keeps every promise.

What another backend would find on its disk is in `Kept`: opened over the same `Kept`, or
over an older copy of it, the model restarts as that backend would.
"""

import asyncio
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from heapq import heappop, heappush
from typing import Final, Self

from msgspec import Struct

from gapless.backends import KEY_HOUR_MS, Options, store_clock, tell
from gapless.backends.memory.jobs import KeptJobs
from gapless.core.errors import (
    BadRequest,
    GaplessError,
    KeyConflict,
    LimitExceeded,
    PositionConflict,
    StoreFailed,
    TooManyRequests,
    Unavailable,
)
from gapless.core.fences import Fences
from gapless.core.groups import StreamOptions
from gapless.core.limits import PAGE_BYTES_MAX, PAGE_MESSAGES_MAX
from gapless.core.lineage import Fate, Generation, Link, lost, why_lost
from gapless.core.membership import Membership
from gapless.core.roster import Roster
from gapless.core.stream import (
    Done,
    Entry,
    Head,
    Heads,
    Message,
    Outcome,
    Page,
    Position,
    Retention,
    Stored,
    check_version,
    is_stale,
)
from gapless.ports import Durability, Statistics, Streams

__all__ = ["Kept", "MemoryStreams"]

NEVER_MS: Final = 2**62
UNLIMITED: Final = Retention()


# No Struct: those take ten times as long to write to.
@dataclass(slots=True)
class _Log:
    """One stream: `messages` holds what follows offset `ground`, emptied where `erased`.

    Of what lies at or below `floor`, which is dropped, the last few may be there still.
    """

    floor: int
    last: int
    ground: int
    retention: Retention = UNLIMITED
    updated_ms: int = 0
    wakes_ms: int = 0  # nothing is dropped for its age before
    due_ms: int = 0  # when `Kept.due` next looks at it; 0: never
    bytes: int = 0  # counted where the retention limits bytes
    version: int = 0
    version_epoch: str = ""
    messages: list[Message] = field(default_factory=list)
    erased: dict[int, int] = field(default_factory=dict)  # how many bytes were there
    gen: str = ""  # of the last message
    lineage: list[Link] = field(default_factory=list)
    keys: dict[int, str] = field(default_factory=dict)  # by offset
    keyed: dict[str, list[int]] = field(default_factory=dict)  # offsets by key, the first may be dropped

    def of(self, offset: int) -> Message:
        """Return a message that is kept."""
        return self.messages[offset - self.ground - 1]

    def weigh(self) -> int:
        """Count the bytes of what is kept, and of what was erased of it."""
        kept = self.messages[self.floor - self.ground :]
        return sum([len(message.data) + len(message.meta) for message in kept], sum(self.erased.values()))

    def last_keyed(self, key: str) -> int:
        """Return the offset of the last message with a key that is kept, 0 if there is none."""
        return self.keyed[key][-1] if key in self.keyed else 0

    def drop_key(self, offset: int) -> None:
        """Let the index go of a message that is dropped, at once or with others of its key."""
        key = self.keys.pop(offset, None)
        if key is None:
            return
        offsets = self.keyed[key]
        if offsets[-1] == offset:
            del self.keyed[key]
        elif offsets[len(offsets) // 2] <= offset:
            del offsets[: bisect_right(offsets, offset)]

    def erase(self, offset: int) -> bool:
        """Empty a message; tell whether it was not before."""
        if offset in self.erased:
            return False
        message = self.of(offset)
        self.erased[offset] = len(message.data) + len(message.meta)
        self.messages[offset - self.ground - 1] = Message(offset, message.time_ms, b"")
        return True


class _Key(Struct, frozen=True):
    payload: bytes
    stored: Stored
    gone_ms: int


@dataclass(slots=True)
class Kept:
    """Everything a store keeps from one incarnation to the next."""

    generations: list[Generation] = field(default_factory=list)
    seq: int = 0
    floor: int = 0
    ground: list[Link] = field(default_factory=list)  # the lineage of what does not exist
    time_ms: int = 0
    streams: dict[str, _Log] = field(default_factory=dict)
    due: list[tuple[int, str]] = field(default_factory=list)  # heap; one live item per stream with a meta_ttl
    keys: dict[tuple[str, str], _Key] = field(default_factory=dict)  # oldest first
    groups: dict[str, int] = field(default_factory=dict)  # bytes by retention's group
    fences: Fences = field(default_factory=lambda: Fences("", 0, 0))
    jobs: KeptJobs = field(default_factory=KeptJobs)
    declared: dict[str, StreamOptions] = field(default_factory=dict)
    readers: dict[tuple[str, str], Membership] = field(default_factory=dict)  # by source and group


class MemoryStreams(Streams):
    """Streams in memory."""

    durability = Durability.MEMORY

    def __init__(self, options: Options, kept: Kept | None = None, fate: Fate = Fate.CLEAN) -> None:
        """Begin a new generation over `kept`; `fate` tells whether `kept` lacks anything acknowledged."""
        self._loop = asyncio.get_running_loop()
        self._options = options
        self._bytes_max = options.message_bytes_max
        self._clock = options.now_ms or store_clock()
        self._kept = kept = Kept() if kept is None else kept
        self.epoch = options.token()
        kept.fences = Fences(self.epoch, kept.fences.last, self._now_ms())
        kept.generations.append(Generation(self.epoch, kept.seq, fate))
        del kept.generations[: -options.generations_max]
        self._queue: list[tuple[Sequence[Entry], Done]] = []
        self._queue_entries = 0
        self._queue_bytes = 0
        self._reads = 0
        self._waiters: list[asyncio.Future[None]] = []
        self._stopped: set[tuple[object, str]] = set()
        self._closed = False
        self._who = Roster()  # not of what is kept: who was there has to be told anew
        self._commits = self._entries = self._entries_max = 0

    @classmethod
    async def open(cls, address: str, options: Options) -> Self:
        """Open an empty store; `address` means nothing."""
        return cls(options)

    def append(self, entries: Sequence[Entry], done: Done) -> None:
        self._check_open()
        size = sum([len(entry.data) + len(entry.meta) for entry in entries])
        if (
            self._queue_entries + len(entries) > self._options.writer_entries_max
            or self._queue_bytes + size > self._options.writer_bytes_max
        ):
            raise TooManyRequests("the writer's queue is full")
        if not self._queue:
            self._loop.call_soon(self._commit)
        self._queue.append((entries, done))
        self._queue_entries += len(entries)
        self._queue_bytes += size

    def _commit(self) -> None:
        queue, count = self._queue, self._queue_entries
        self._queue, self._queue_entries, self._queue_bytes = [], 0, 0
        now_ms = self._now_ms()
        self._drop_forgotten(now_ms)
        outcomes = [(entries, done, self._take(entries, now_ms)) for entries, done in queue]
        self._commits += 1
        self._entries += count
        self._entries_max = max(self._entries_max, count)
        self._stopped.clear()
        tell(self._loop, outcomes)
        for waiter in self._waiters:
            waiter.set_result(None)
        self._waiters.clear()

    async def _drain(self) -> None:
        if self._queue:
            waiter = self._loop.create_future()
            self._waiters.append(waiter)
            await asyncio.shield(waiter)

    def _take(self, entries: Sequence[Entry], now_ms: int) -> list[Outcome]:
        outcomes: list[Outcome] = []
        for entry in entries:
            try:
                if self._stopped and (entry.origin, entry.stream) in self._stopped:
                    raise Unavailable("an earlier message of the same origin was refused")
                outcomes.append(self.admit(entry, now_ms))
            except GaplessError as error:
                if entry.origin is not None:
                    self._stopped.add((entry.origin, entry.stream))
                outcomes.append(error)
        return outcomes

    def admit(self, entry: Entry, now_ms: int) -> Stored:
        """Append at once; what was queued before has to be committed.

        Raises:
            GaplessError: it is refused; nothing has changed then.
        """
        key, size = entry.key, len(entry.data) + len(entry.meta)
        if key is not None and (held := self._held(entry, now_ms)):
            return held
        log = self._kept.streams.get(entry.stream)
        if log is None or log.wakes_ms <= now_ms:
            log = self._log(entry.stream, now_ms)
        if entry.version or entry.expected or entry.expected_keyed is not None:
            if self._is_stale(entry, log):
                return Stored(self.epoch, log.last, now_ms, fresh=False)
            self._check_expected(entry, log)
        if size > self._bytes_max or key is not None or entry.retention.group or entry.also is not None:
            self._check_limits(entry)
        if entry.transient:
            stored = Stored(self.epoch, 0, now_ms)
        else:
            offset = self._write(entry, log, now_ms, size)
            also = None if entry.also is None else self._beside(entry.also, now_ms)
            stored = Stored(self.epoch, offset, now_ms, True, also)
        if key is not None:
            self._hold(entry, stored)
        return stored

    def _is_stale(self, entry: Entry, log: _Log) -> bool:
        if not entry.version or entry.transient:
            return False
        check_version(entry)
        return is_stale(entry, log.version, log.version_epoch)

    def _check_expected(self, entry: Entry, log: _Log) -> None:
        if entry.expected and not (
            entry.expected.offset == log.last and not self._why_lost(entry.expected, log)
        ):
            raise PositionConflict(f"the stream ends at {log.last}")
        if entry.keyed is not None and entry.expected_keyed is not None:
            last = log.last_keyed(entry.keyed)
            if last != entry.expected_keyed:
                raise PositionConflict(f"the last message with key {entry.keyed!r} is at {last}")

    def _check_limits(self, entry: Entry) -> None:
        self._check_size(entry)
        if entry.key is not None and len(self._kept.keys) >= self._options.keys_max:
            raise TooManyRequests("too many idempotency keys are held")
        if not entry.transient:
            self._check_group(entry)
            if entry.also is not None:
                self._check_also(entry, entry.also)

    def _check_also(self, entry: Entry, also: Entry) -> None:
        if also.stream == entry.stream:
            raise BadRequest("what is stored with a message goes to another stream")
        self._check_size(also)
        shared = also.retention.group == entry.retention.group
        self._check_group(also, self._grows(entry) if shared else 0)

    def _check_size(self, entry: Entry) -> None:
        if len(entry.data) > self._bytes_max or len(entry.meta) > self._bytes_max:
            raise BadRequest(f"the message is over {self._bytes_max} bytes")

    def _check_group(self, entry: Entry, beside: int = 0) -> None:
        keep = entry.retention
        if (
            keep.group
            and self._kept.groups.get(keep.group, 0) + self._grows(entry) + beside > keep.group_bytes
        ):
            raise LimitExceeded(f"what {keep.group!r} keeps is at its limit of {keep.group_bytes} bytes")

    def _grows(self, entry: Entry) -> int:
        """How many bytes the entry's group gains by it, and by its stream if that joins."""
        log = self._kept.streams.get(entry.stream)
        joining = log.weigh() if log is not None and log.retention.group != entry.retention.group else 0
        return joining + len(entry.data) + len(entry.meta)

    def _held(self, entry: Entry, now_ms: int) -> Stored | None:
        keys = self._kept.keys
        while keys and keys[oldest := next(iter(keys))].gone_ms <= now_ms:
            del keys[oldest]
        held = keys.get((entry.stream, entry.key or ""))
        if held is not None and held.payload != _digest(entry):
            raise KeyConflict("the idempotency key belongs to another payload")
        return None if held is None else held.stored

    def _hold(self, entry: Entry, stored: Stored) -> None:
        keys = self._kept.keys
        gone_ms = (stored.time_ms // KEY_HOUR_MS + 1) * KEY_HOUR_MS + self._options.key_window_ms
        again = Stored(stored.epoch, stored.offset, stored.time_ms, fresh=False)
        keys[entry.stream, entry.key or ""] = _Key(_digest(entry), again, gone_ms)

    def _beside(self, also: Entry, now_ms: int) -> Stored:
        log = self._log(also.stream, now_ms)
        return Stored(self.epoch, self._write(also, log, now_ms, len(also.data) + len(also.meta)), now_ms)

    def _write(self, entry: Entry, log: _Log, now_ms: int, size: int) -> int:
        keep = entry.retention
        self._kept.seq += 1
        log.last = last = log.last + 1
        log.messages.append(Message(last, now_ms, entry.data, entry.meta))
        if not log.updated_ms:
            self._kept.streams[entry.stream] = log
        log.updated_ms = now_ms
        if log.retention is not keep:
            self._retain(entry.stream, log, keep)
        elif keep.bytes or keep.group:
            self._grow(log, size)
        if entry.keyed is not None:
            log.keys[last] = entry.keyed
            log.keyed.setdefault(entry.keyed, []).append(last)
        if entry.version:
            log.version, log.version_epoch = entry.version, entry.version_epoch
        if log.gen != self.epoch:
            log.gen = self.epoch
            log.lineage.append(Link(self.epoch, last))
        if keep.count and last - log.floor > keep.count:
            self._raise_floor(log, last - keep.count)
        while keep.bytes and log.bytes > keep.bytes and log.floor + 1 < last:
            self._raise_floor(log, log.floor + 1)
        return last

    def _retain(self, stream: str, log: _Log, keep: Retention) -> None:
        """Keep so much from now on; what the stream holds counts in the group that it is in then."""
        self._grow(log, -log.bytes)
        log.retention = keep
        log.wakes_ms = 0
        if keep.bytes or keep.group:
            self._grow(log, log.weigh())
        if keep.meta_ttl_ms and not 0 < log.due_ms <= log.updated_ms + keep.meta_ttl_ms:
            log.due_ms = log.updated_ms + keep.meta_ttl_ms
            heappush(self._kept.due, (log.due_ms, stream))

    async def read(
        self,
        stream: str,
        *,
        after: Position | None = None,
        before: Position | None = None,
        limit_messages: int,
        limit_bytes: int,
        keyed: str | None = None,
    ) -> Page:
        assert after is None or before is None
        self._reads += 1
        log = self._look(stream)
        limit_messages = min(limit_messages, PAGE_MESSAGES_MAX)
        limit_bytes = min(limit_bytes, PAGE_BYTES_MAX)
        if before:
            start, end = log.floor, max(min(before.offset - 1, log.last), log.floor)
            self._check_holds(Position(before.epoch, end), log)
        else:
            if after:
                self._check_holds(after, log)
            start, end = after.offset if after else log.floor, log.last
        offsets: Sequence[int] = range(start + 1, end + 1)
        if keyed is not None:
            offsets = log.keyed.get(keyed, [])
            offsets = offsets[bisect_right(offsets, start) : bisect_right(offsets, end)]
        messages, edge = self._page(log, offsets[::-1] if before else offsets, limit_messages, limit_bytes)
        if before:
            messages.reverse()
            return Page(self.epoch, start if edge is None else edge, end, log.floor, log.last, messages)
        return Page(self.epoch, start, end if edge is None else edge - 1, log.floor, log.last, messages)

    def _page(
        self, log: _Log, offsets: Sequence[int], limit_messages: int, limit_bytes: int
    ) -> tuple[list[Message], int | None]:
        """Return what one page has room for, and the first of the offsets that it does not cover."""
        messages: list[Message] = []
        for offset in offsets[:PAGE_MESSAGES_MAX]:
            if len(messages) == limit_messages:
                return messages, offset
            if offset not in log.erased:
                message = log.of(offset)
                limit_bytes -= len(message.data) + len(message.meta)
                if limit_bytes < 0 and messages:
                    return messages, offset
                messages.append(message)
        return messages, offsets[PAGE_MESSAGES_MAX] if len(offsets) > PAGE_MESSAGES_MAX else None

    async def heads(self, streams: Sequence[str]) -> Heads:
        logs = {stream: self._look(stream) for stream in streams}
        return Heads(self.epoch, {stream: Head(log.floor, log.last) for stream, log in logs.items()})

    async def find(self, stream: str, at_ms: int) -> Position:
        log = self._look(stream)
        kept = range(log.floor + 1, log.last + 1)
        return Position(self.epoch, log.floor + bisect_left(kept, at_ms, key=lambda at: log.of(at).time_ms))

    async def trim(self, stream: str, through: int) -> Heads:
        self._check_open()
        await self._drain()
        log = self._look(stream)
        self._raise_floor(log, max(log.floor, min(through, log.last)))
        return await self.heads([stream])

    async def erase(self, stream: str, offset: int) -> bool:
        self._check_open()
        await self._drain()
        log = self._look(stream)
        return log.floor < offset <= log.last and log.erase(offset)

    async def last_keyed(self, stream: str, keyed: str) -> int:
        return self._look(stream).last_keyed(keyed)

    async def compact_keys(self, stream: str, through: int) -> int:
        self._check_open()
        await self._drain()
        log = self._look(stream)
        removed = 0
        for offsets in log.keyed.values():
            superseded = bisect_right(offsets, through, hi=len(offsets) - 1)
            for offset in offsets[bisect_right(offsets, log.floor) : superseded]:
                removed += log.erase(offset)
                del log.keys[offset]
            del offsets[:superseded]
        return removed

    async def generations(self) -> list[Generation]:
        self._check_open()
        return list(self._kept.generations)

    def statistics(self) -> Statistics:
        return Statistics(
            commits=self._commits,
            entries=self._entries,
            entries_max=self._entries_max,
            commit_ns_sum=0,
            commit_ns_max=0,
            commit_ns_p50=0,
            commit_ns_p99=0,
            queue_entries=self._queue_entries,
            queue_bytes=self._queue_bytes,
            reads=self._reads,
        )

    async def close(self) -> None:
        self._closed = True
        await self._drain()

    def _check_open(self) -> None:
        if self._closed:
            raise StoreFailed("the store is closed")

    def _now_ms(self) -> int:
        self._kept.time_ms = max(self._kept.time_ms, self._clock())
        return self._kept.time_ms

    def _look(self, stream: str) -> _Log:
        self._check_open()
        now_ms = self._now_ms()
        self._drop_forgotten(now_ms)
        return self._log(stream, now_ms)

    def _log(self, stream: str, now_ms: int) -> _Log:
        """Return the stream as it stands now; one that does not exist is made, but not kept."""
        kept = self._kept
        log = kept.streams.get(stream)
        if log is None:
            return _Log(kept.floor, kept.floor, kept.floor, lineage=list(kept.ground))
        if log.wakes_ms <= now_ms:
            self._drop_old(log, now_ms)
        return log

    def _drop_old(self, log: _Log, now_ms: int) -> None:
        ttl_ms, age_ms = log.retention.ttl_ms, log.retention.age_ms
        floor = log.floor
        if ttl_ms and log.updated_ms + ttl_ms <= now_ms:
            floor = log.last
        while age_ms and floor < log.last and log.of(floor + 1).time_ms + age_ms <= now_ms:
            floor += 1
        self._raise_floor(log, floor)
        oldest_ms = log.of(floor + 1).time_ms if floor < log.last else now_ms
        log.wakes_ms = min(log.updated_ms + (ttl_ms or NEVER_MS), oldest_ms + (age_ms or NEVER_MS))

    def _drop_forgotten(self, now_ms: int) -> None:
        kept = self._kept
        while kept.due and kept.due[0][0] <= now_ms:
            due_ms, stream = heappop(kept.due)
            log = kept.streams.get(stream)
            if log is None or log.due_ms != due_ms:
                continue
            meta_ttl_ms = log.retention.meta_ttl_ms
            if meta_ttl_ms == 0:
                log.due_ms = 0
            elif log.updated_ms + meta_ttl_ms > now_ms:
                log.due_ms = log.updated_ms + meta_ttl_ms
                heappush(kept.due, (log.due_ms, stream))
            else:
                kept.floor = max(kept.floor, log.last)
                kept.ground = [Link(self.epoch, kept.floor)]
                self._grow(log, -log.bytes)
                del kept.streams[stream]

    def _raise_floor(self, log: _Log, floor: int) -> None:
        """Drop what is at or below `floor`. Memory is given back once it is an eighth of what is kept."""
        if log.bytes or log.erased or log.keys:
            dropped_bytes = 0
            for offset in range(log.floor + 1, floor + 1):
                if log.keys:
                    log.drop_key(offset)
                message = log.of(offset)
                dropped_bytes += len(message.data) + len(message.meta) + log.erased.pop(offset, 0)
            if log.bytes:
                self._grow(log, -dropped_bytes)
        log.floor = floor
        if floor - log.ground > (log.last - floor) >> 3:
            del log.messages[: floor - log.ground]
            log.ground = floor

    def _grow(self, log: _Log, grown_bytes: int) -> None:
        log.bytes += grown_bytes
        group, groups = log.retention.group, self._kept.groups
        if group:
            groups[group] = groups.get(group, 0) + grown_bytes

    def _why_lost(self, position: Position, log: _Log) -> str:
        return why_lost(position, Head(log.floor, log.last), self._kept.generations, log.lineage)

    def _check_holds(self, position: Position, log: _Log) -> None:
        why = self._why_lost(position, log)
        if why:
            raise lost(position, why)


def _digest(entry: Entry) -> bytes:
    return blake2b(entry.data, digest_size=16).digest()
