"""The queue of appends: what waits joins the next call, and no stream is in two calls at once."""

import asyncio
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import chain
from typing import Any, Final

from gapless.backends import Options, tell
from gapless.backends.redis.calls import Calls
from gapless.backends.redis.encoding import encode, entry_of, stored_of
from gapless.core.errors import GaplessError, OutcomeUnknown, StoreFailed, TooManyRequests, Unavailable
from gapless.core.limits import CALL_LATE_MS
from gapless.core.stream import Done, Entry, Outcome, Stored
from gapless.ports import Statistics

__all__ = ["Writer"]

# One call holds up everybody else's: a batch of so many takes about 2 ms inside Redis.
CALL_ENTRIES_MAX: Final = 128
CALL_BYTES_MAX: Final = 1024 * 1024
# While one is on its way, another is made ready.
FLIGHTS_MAX: Final = 2
RECENT_COMMITS: Final = 1_024

Origin = tuple[Any, str]


class _Queued:
    """What was appended by one call of `append`."""

    __slots__ = ("done", "entries", "number", "size")

    def __init__(self, entries: Sequence[Entry], done: Done, size: int, number: int) -> None:
        self.entries = entries
        self.done = done
        self.size = size
        self.number = number


class _Flight:
    """One call of the function: what was queued, and which of its entries are sent (None: all)."""

    def __init__(self, taken: list[_Queued], streams: set[str], begun_ns: int) -> None:
        self.taken = taken
        self.streams = streams
        self.begun_ns = begun_ns
        self.refused: set[int] = set()  # of those, the entries that stand behind a refused one
        self.told: Any = None

    def entries(self) -> list[Entry]:
        return list(chain.from_iterable(queued.entries for queued in self.taken))


class Writer:
    """Appends in the order of the calls, in as few functions as there is time for."""

    def __init__(self, calls: Calls, options: Options) -> None:
        self._calls = calls
        self._options = options
        self._loop = asyncio.get_running_loop()
        self._queue: deque[_Queued] = deque()
        self._flights: deque[_Flight] = deque()
        self._number = 0
        # Origins of refused entries: what they had queued by then, up to which number, is refused too.
        self._stopped: dict[Origin, int] = {}
        self._is_departing = False
        self._is_closed = False
        self._entries_max = min(options.commit_entries_max, CALL_ENTRIES_MAX)
        self._bytes_max = min(options.commit_bytes_max, CALL_BYTES_MAX)
        self._queue_entries = self._queue_bytes = 0
        self._commits = self._entries = self._largest = 0
        self._commit_ns_sum = self._commit_ns_max = 0
        self._recent_ns: deque[int] = deque(maxlen=RECENT_COMMITS)

    # In -----------------------------------------------------------------------------------

    def append(self, entries: Sequence[Entry], done: Done) -> None:
        """See `Streams.append`."""
        if self._is_closed:
            raise StoreFailed("the store is closed")
        size = 0
        for entry in entries:
            size += len(entry.data) + len(entry.meta)
        if (
            self._queue_entries + len(entries) > self._options.writer_entries_max
            or self._queue_bytes + size > self._options.writer_bytes_max
        ):
            raise TooManyRequests("the writer's queue is full")
        self._enqueue(entries, done, size)

    def _enqueue(self, entries: Sequence[Entry], done: Done, size: int) -> None:
        self._number += 1
        self._queue.append(_Queued(entries, done, size, self._number))
        self._queue_entries += len(entries)
        self._queue_bytes += size
        self._be_departing()

    async def drain(self) -> None:
        """Wait for what was appended before."""
        if self._queue or self._flights:
            over = asyncio.Event()
            self._enqueue((), lambda *_: over.set(), 0)
            await over.wait()

    async def close(self) -> None:
        """Take nothing more, and wait for what was appended."""
        self._is_closed = True
        await self.drain()

    # Out ----------------------------------------------------------------------------------

    def _be_departing(self) -> None:
        if self._queue and not self._is_departing:
            self._is_departing = True
            self._loop.call_soon(self._depart)

    def _depart(self) -> None:
        self._is_departing = False
        while self._queue and len(self._flights) < FLIGHTS_MAX:
            flight = self._board()
            if not flight.taken:
                return
            self._flights.append(flight)
            self._send(flight)

    def _board(self) -> _Flight:
        """Take what goes next, up to the first of which a stream is on its way already."""
        flight = _Flight([], set(), self._options.elapsed_ns())
        busy: set[str] = set().union(*(other.streams for other in self._flights))
        count = size = 0
        while self._queue and count < self._entries_max and size < self._bytes_max:
            queued = self._queue[0]
            streams = _streams(queued.entries)
            if not busy.isdisjoint(streams):
                break
            flight.taken.append(self._queue.popleft())
            flight.streams.update(streams)
            count += len(queued.entries)
            size += queued.size
        return flight

    def _send(self, flight: _Flight) -> None:
        entries = flight.entries()
        if self._stopped:
            flight.refused = set(self._behind(flight))
            entries = [entry for i, entry in enumerate(entries) if i not in flight.refused]
        if not entries:
            self._loop.call_soon(self._arrive, flight, ["", 0, []])
            return
        deadline_ms = self._calls.time_ms() + CALL_LATE_MS
        told = encode([entry_of(entry, self._options) for entry in entries])
        try:
            self._calls.send(
                partial(self._arrive, flight),
                "append",
                deadline_ms,
                self._calls.opener,
                told,
                _origins(entries),
            )
        except Unavailable as error:
            self._loop.call_soon(self._arrive, flight, error)

    def _behind(self, flight: _Flight) -> Iterator[int]:
        """Find the entries that were queued behind a refused one of their origin."""
        i = 0
        for queued in flight.taken:
            for entry in queued.entries:
                if queued.number <= self._stopped.get((entry.origin, entry.stream), 0):
                    yield i
                i += 1
        # In the order of their numbers: no entry is left that is behind those.
        while self._stopped and (first := next(iter(self._stopped.items())))[1] <= flight.taken[-1].number:
            del self._stopped[first[0]]

    # Answers ------------------------------------------------------------------------------

    def _arrive(self, flight: _Flight, told: Any) -> None:
        flight.told = told
        while self._flights and self._flights[0].told is not None:
            self._tell(self._flights.popleft())
        self._be_departing()

    def _tell(self, flight: _Flight) -> None:
        entries = flight.entries()
        outcomes = _outcomes(flight, len(entries))
        if entries:
            self._count(flight, len(entries))
        failed = isinstance(flight.told, GaplessError)
        for entry, outcome in zip(entries, outcomes, strict=True):
            # What was refused only for what stood before it stops nothing itself.
            refused = isinstance(outcome, GaplessError) and (failed or type(outcome) is not Unavailable)
            if refused and entry.origin is not None:
                self._stop((entry.origin, entry.stream))
        tell(self._loop, _shared_out(flight.taken, outcomes))

    def _stop(self, origin: Origin) -> None:
        """Refuse what an origin has queued by now for a stream."""
        self._stopped.pop(origin, None)
        self._stopped[origin] = self._number

    def _count(self, flight: _Flight, count: int) -> None:
        commit_ns = self._options.elapsed_ns() - flight.begun_ns
        self._queue_entries -= count
        self._queue_bytes -= sum([queued.size for queued in flight.taken])
        self._commits += 1
        self._entries += count
        self._largest = max(self._largest, count)
        self._commit_ns_sum += commit_ns
        self._commit_ns_max = max(self._commit_ns_max, commit_ns)
        self._recent_ns.append(commit_ns)

    def statistics(self, reads: int) -> Statistics:
        """See `Streams.statistics`."""
        recent_ns = sorted(self._recent_ns)
        p50, p99 = (recent_ns[len(recent_ns) * part // 100] if recent_ns else 0 for part in (50, 99))
        return Statistics(
            commits=self._commits,
            entries=self._entries,
            entries_max=self._largest,
            commit_ns_sum=self._commit_ns_sum,
            commit_ns_max=self._commit_ns_max,
            commit_ns_p50=p50,
            commit_ns_p99=p99,
            queue_entries=self._queue_entries,
            queue_bytes=self._queue_bytes,
            reads=reads,
        )


def _streams(entries: Iterable[Entry]) -> set[str]:
    streams = set()
    for entry in entries:
        streams.add(entry.stream)
        if entry.also is not None:
            streams.add(entry.also.stream)
    return streams


def _origins(entries: Iterable[Entry]) -> bytes:
    """Number the origins within their streams; nothing where no entry has any."""
    numbers: dict[Origin, int] = {}
    told = [
        0 if entry.origin is None else numbers.setdefault((entry.origin, entry.stream), len(numbers) + 1)
        for entry in entries
    ]
    return encode(told) if numbers else b""


def _outcomes(flight: _Flight, count: int) -> list[Outcome]:
    if isinstance(flight.told, GaplessError):
        error: GaplessError = flight.told
        if isinstance(error, OutcomeUnknown):
            error = OutcomeUnknown(f"it may or may not be stored: {error}")
        return [error] * count
    epoch, time_ms, answers = flight.told
    epoch = epoch and epoch.decode()
    outcomes: list[Outcome] = [
        Stored(epoch, answer, time_ms) if type(answer) is int else stored_of(answer) for answer in answers
    ]
    for i in sorted(flight.refused):
        outcomes.insert(i, Unavailable("an earlier message of the same origin was refused"))
    return outcomes


def _shared_out(
    taken: Iterable[_Queued], outcomes: Sequence[Outcome]
) -> Iterator[tuple[Sequence[Entry], Done, Sequence[Outcome]]]:
    start = 0
    for queued in taken:
        end = start + len(queued.entries)
        yield queued.entries, queued.done, outcomes[start:end]
        start = end
