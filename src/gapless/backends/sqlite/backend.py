"""The loop's side of the store: the queue's limits, and who is told what."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeVar

from gapless.backends import Options, Slices, store_clock, tell
from gapless.backends.sqlite.compacting import CompactKeys
from gapless.backends.sqlite.database import Database
from gapless.backends.sqlite.disk import Disk, strongest
from gapless.backends.sqlite.emitting import StoreAll
from gapless.backends.sqlite.groups_calls import SqliteGroups
from gapless.backends.sqlite.keyed import START, Slice
from gapless.backends.sqlite.log import Erase, Order, Outcome, Trim
from gapless.backends.sqlite.offline import approve, in_thread
from gapless.backends.sqlite.opening import beside
from gapless.backends.sqlite.presence import SqlitePresence
from gapless.backends.sqlite.queues.port import SqliteQueues
from gapless.backends.sqlite.reader import Reader
from gapless.backends.sqlite.swapping import PARTIAL, remove, sync
from gapless.backends.sqlite.work import Work
from gapless.backends.sqlite.writer import Ask, Chore, Lift, Listener, Queued, Writer
from gapless.core.errors import (
    GaplessError,
    OutcomeUnknown,
    StoreError,
    StoreFailed,
    TooManyRequests,
    Unavailable,
)
from gapless.core.jobs import Emit, Enqueued
from gapless.core.lineage import Generation
from gapless.core.stream import Done, Entry, Heads, Page, Position, Stored
from gapless.core.stream import Outcome as Appended
from gapless.ports import Checked, Compacted, Statistics, Store, Told

__all__ = ["Backend"]

Answer = TypeVar("Answer")


class Backend(SqliteQueues, SqliteGroups, SqlitePresence, Store):
    """Streams, queues and groups in one SQLite file, which this process alone has open."""

    _path: Path
    _disk: Disk

    def __init__(self, options: Options) -> None:
        super().__init__()
        self._roster_now_ms = options.now_ms or store_clock()
        self._options = options
        self._loop = asyncio.get_running_loop()
        self._opened: asyncio.Future[Database] = self._loop.create_future()
        self._end: asyncio.Future[None] = self._loop.create_future()
        self._error: StoreError | None = None
        self._queue_entries = 0
        self._queue_bytes = 0
        self._reads = 0
        self._percentiles_ns = 0, 0
        listener = Listener(
            partial(_resolve, self._opened),
            self._on_committed,
            self._on_answered,
            self._on_cared,
            self._on_ended,
            self._on_forsaken,
        )
        self._writer = Writer(options, listener)

    @classmethod
    async def open(cls, address: str, options: Options, vfs: str | None = None) -> Self:
        """Open the file `address`, or make it; `vfs` names the SQLite VFS to use.

        Raises:
            ConfigError: there is no file name.
            StoreRefused: the file may not be opened as it is; the message says why and what to do.
        """
        strongest(address)
        store = cls(options)
        store._writer.start(Path(address), vfs)
        try:
            database = await asyncio.shield(store._opened)
        except asyncio.CancelledError:
            store._opened.cancel()
            store._writer.finish()
            raise
        store._path = database.path
        store._disk = database.disk
        store.epoch = database.epoch
        store.durability = database.durability
        return store

    def append(self, entries: Sequence[Entry], done: Done) -> None:
        size = sum([len(entry.data) + len(entry.meta) for entry in entries])
        self._order(entries, len(entries), size, done)

    def _order(self, orders: Sequence[Order], weight: int, size: int, waits: Any) -> None:
        self._check_open()
        if (
            self._queue_entries + weight > self._options.writer_entries_max
            or self._queue_bytes + size > self._options.writer_bytes_max
        ):
            raise TooManyRequests("the writer's queue is full")
        self._queue_entries += weight
        self._queue_bytes += size
        self._writer.order((orders, weight, size, waits))

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
        limits = limit_messages, limit_bytes
        if before is not None:
            return await self._ask(
                lambda reader, now_ms: reader.before(stream, before, *limits, now_ms, keyed)
            )
        return await self._ask(lambda reader, now_ms: reader.after(stream, after, *limits, now_ms, keyed))

    async def heads(self, streams: Sequence[str]) -> Heads:
        return await self._ask(lambda reader, now_ms: reader.heads(streams, now_ms))

    async def find(self, stream: str, at_ms: int) -> Position:
        return await self._ask(lambda reader, now_ms: reader.find(stream, at_ms, now_ms))

    async def generations(self) -> list[Generation]:
        return await self._ask(lambda reader, now_ms: reader.generations())

    async def trim(self, stream: str, through: int) -> Heads:
        future: asyncio.Future[Heads] = self._loop.create_future()
        self._order((Trim(stream, through),), 1, 0, future)
        return await future

    async def erase(self, stream: str, offset: int) -> bool:
        future: asyncio.Future[bool] = self._loop.create_future()
        self._order((Erase(stream, offset),), 1, 0, future)
        return await future

    async def last_keyed(self, stream: str, keyed: str) -> int:
        return await self._ask(lambda reader, now_ms: reader.last_keyed(stream, keyed, now_ms))

    async def compact_keys(self, stream: str, through: int) -> int:
        removed, start = 0, START
        while True:
            done: Slice = await self.work(CompactKeys(stream, through, start))
            removed += done.removed
            if done.next is None:
                return removed
            start = done.next

    async def work(self, work: Work) -> Any:
        """Have a call of another port carried out, in the order of all calls."""
        future: asyncio.Future[Any] = self._loop.create_future()
        self._order((work,), work.weight, work.size, future)
        return await future

    async def store_all(self, emits: Sequence[Emit]) -> tuple[Stored | Enqueued, ...]:
        stored: tuple[Stored | Enqueued, ...] = await self.work(StoreAll(emits))
        return stored

    def statistics(self) -> Statistics:
        recent_ns = sorted(self._writer.recent_ns)
        p50, p99 = (recent_ns[len(recent_ns) * part // 100] if recent_ns else 0 for part in (50, 99))
        self._percentiles_ns = p50, p99
        return self.counts()

    def counts(self) -> Statistics:
        """Return the statistics with the percentiles of when they were asked for last: that costs little."""
        writer = self._writer
        p50, p99 = self._percentiles_ns
        return Statistics(
            commits=writer.commits,
            entries=writer.entries,
            entries_max=writer.entries_max,
            commit_ns_sum=writer.commit_ns_sum,
            commit_ns_max=writer.commit_ns_max,
            commit_ns_p50=p50,
            commit_ns_p99=p99,
            queue_entries=self._queue_entries,
            queue_bytes=self._queue_bytes,
            reads=self._reads,
        )

    async def close(self) -> None:
        if self._error is None:
            self._error = StoreFailed("the store is closed")
            self._writer.finish()
        await asyncio.shield(self._end)
        self._writer.join()

    # Care ---------------------------------------------------------------------------------

    async def aside(self, name: str) -> str:
        return str(beside(self._path, PARTIAL + name))

    async def free_bytes(self) -> int:
        return self._disk.spare_bytes()

    async def backup(self, to: str, told: Told) -> None:
        await self._care(lambda database: database.backup(Path(to)), told)
        try:
            await asyncio.to_thread(sync, Path(to))
        except BaseException:
            remove(Path(to))
            raise

    async def check(self, told: Told) -> Checked:
        return await self._care(lambda database: database.check(), told)

    async def compact(self, told: Told) -> Compacted:
        return await self._care(lambda database: database.compact(), told)

    async def restore(self, source: str, *, keep: bool, told: Told) -> None:
        try:
            await in_thread(approve(Path(source)), told)
            await asyncio.to_thread(sync, Path(source))
            swap = asyncio.ensure_future(
                self._care(lambda database: database.restore(Path(source), keep=keep), told)
            )
            try:
                await asyncio.shield(swap)
            except asyncio.CancelledError:
                await swap  # what has begun is finished, and told as done
        finally:
            remove(Path(source))

    async def _care(self, begin: Callable[[Database], Slices[Answer]], told: Told) -> Answer:
        self._check_open()
        future: asyncio.Future[Answer] = self._loop.create_future()
        self._writer.care(Chore(begin, future, told))
        return await future

    def _on_cared(self, chore: Chore, epoch: str, answer: Any) -> None:
        self.epoch = epoch
        _resolve(chore.future, answer)

    def _check_open(self) -> None:
        if self._error is not None:
            raise StoreFailed(str(self._error))

    async def _ask(self, question: Callable[[Reader, int], Answer]) -> Answer:
        self._check_open()
        future: asyncio.Future[Answer] = self._loop.create_future()
        self._writer.ask((question, future))
        return await future

    def _on_committed(self, taken: list[Queued], outcomes: list[Outcome], woken: set[str]) -> None:
        for _, weight, size, _ in taken:
            self._queue_entries -= weight
            self._queue_bytes -= size
        tell(self._loop, self._answers(taken, outcomes))
        self.wake(woken)

    def _answers(
        self, taken: list[Queued], outcomes: Sequence[Outcome]
    ) -> Iterator[tuple[Sequence[Entry], Done, Sequence[Appended]]]:
        start, all_stored = 0, set(map(type, outcomes)) == {Stored}
        for orders, _, _, waits in taken:
            if isinstance(orders, Lift):
                continue
            told: Any = outcomes[start : start + len(orders)]
            start += len(orders)
            if isinstance(waits, asyncio.Future):
                _resolve(waits, told[0])
            else:
                entries: Any = orders
                if not all_stored:
                    self._lift(entries, told)
                yield entries, waits, told

    def _lift(self, entries: Sequence[Entry], outcomes: Sequence[Outcome]) -> None:
        for entry, outcome in zip(entries, outcomes, strict=True):
            # What was refused only for what stood before it stops nothing itself.
            refused = isinstance(outcome, GaplessError) and type(outcome) is not Unavailable
            if refused and entry.origin is not None:
                self._writer.order((Lift(entry.origin, entry.stream), 0, 0, None))

    def _on_answered(self, answers: list[tuple[Ask, Any]]) -> None:
        for (_, future), answer in answers:
            _resolve(future, answer)

    def _on_ended(self, in_flight: list[Queued], error: StoreError | None) -> None:
        self._error = self._error or error
        queued = list(self._writer.orders)
        self._writer.orders.clear()
        self._queue_entries = self._queue_bytes = 0
        unknown: Outcome = OutcomeUnknown(f"it may or may not be stored: {error}")
        outcomes = [unknown] * _count(in_flight) + [StoreFailed(str(error))] * _count(queued)
        tell(self._loop, self._answers(in_flight + queued, outcomes))
        for _, future in self._writer.asks:
            _resolve(future, StoreFailed(str(error)))
        for chore in self._writer.chores:
            _resolve(chore.future, StoreFailed(str(error or "the store is closed")))
        self._end.set_result(None)
        if error is not None:
            self._options.failed(error)

    def _on_forsaken(self) -> None:
        """Hear, in the writer's thread, that the loop has ended, and nobody has closed the store."""


def _count(queued: Sequence[Queued]) -> int:
    return sum(len(orders) for orders, *_ in queued if not isinstance(orders, Lift))


def _resolve(future: "asyncio.Future[Any]", result: Any) -> None:
    if future.done():
        return
    if isinstance(result, BaseException):
        future.set_exception(result)
    else:
        future.set_result(result)
