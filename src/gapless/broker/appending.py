"""Handing entries to a store in the order of their publishers, also where other nodes append too."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from gapless.core.errors import GaplessError, TooManyRequests, Unavailable
from gapless.core.limits import LANE_ENTRIES_MAX
from gapless.core.stream import Done, Entry, Outcome
from gapless.ports import Streams

__all__ = ["Appending", "in_lanes"]

Appending = Callable[[Sequence[Entry], Done], None]
Landed = Callable[[Entry, Outcome], object]


class Lane:
    """What one stream has in flight, and what waits to join the next append."""

    __slots__ = ("in_flight", "stopped", "waiting")

    def __init__(self) -> None:
        self.in_flight = 0
        self.stopped: set[int] = set()  # origins whose append failed in this flight
        self.waiting: deque[tuple[Entry, Landed]] = deque()


class Lanes:
    """At most one append in flight per stream: two could land in either order on a shared store.

    After a failure, what the same origin had queued behind it is refused: a later message must not
    overtake one that may have to be sent again.
    """

    def __init__(self, store: Streams) -> None:
        self._store = store
        self._lanes: dict[str, Lane] = {}

    def append(self, entries: Sequence[Entry], done: Done) -> None:
        """Append each now if its stream is free, else with the next append; `done` is told when all landed.

        Raises:
            TooManyRequests: too many wait for one of the streams; nothing was queued.
        """
        for lane in filter(None, (self._lanes.get(entry.stream) for entry in entries)):
            if len(lane.waiting) + len(entries) > LANE_ENTRIES_MAX:
                raise TooManyRequests(f"{LANE_ENTRIES_MAX} messages wait for this stream already")
        lanes = [self._lanes.setdefault(entry.stream, Lane()) for entry in entries]
        gathered = _Gathered(entries, done)
        for index, (lane, entry) in enumerate(zip(lanes, entries, strict=True)):
            lane.waiting.append((entry, partial(gathered.take, index)))
        for lane in lanes:
            if lane.waiting and not lane.in_flight:
                self._launch(lane)

    def _launch(self, lane: Lane) -> None:
        batch, lane.waiting = lane.waiting, deque()
        lane.in_flight = len(batch)
        for entry, done in batch:
            try:
                self._store.append((entry,), partial(self._landed_alone, lane, done))
            except GaplessError as error:
                asyncio.get_running_loop().call_soon(self._landed, lane, done, entry, error)

    def _landed_alone(
        self, lane: Lane, done: Landed, entries: Sequence[Entry], outcomes: Sequence[Outcome]
    ) -> None:
        self._landed(lane, done, entries[0], outcomes[0])

    def _landed(self, lane: Lane, done: Landed, entry: Entry, outcome: Outcome) -> None:
        lane.in_flight -= 1
        if isinstance(outcome, GaplessError) and entry.origin is not None:
            lane.stopped.add(id(entry.origin))
        _answer(entry, done, outcome)
        if not lane.in_flight:
            self._turn(lane, entry.stream)

    def _turn(self, lane: Lane, stream: str) -> None:
        """Begin the next flight, without what is to be refused; answers may append again meanwhile."""
        refused = [pair for pair in lane.waiting if id(pair[0].origin) in lane.stopped]
        lane.waiting = deque(pair for pair in lane.waiting if id(pair[0].origin) not in lane.stopped)
        lane.stopped.clear()
        for entry, done in refused:
            earlier = Unavailable("an earlier message of this connection failed; nothing was stored")
            _answer(entry, done, earlier)
        if lane.waiting and not lane.in_flight:
            self._launch(lane)
        elif not lane.in_flight:
            self._lanes.pop(stream, None)


class _Gathered:
    """Outcomes that land one by one, told together."""

    __slots__ = ("_done", "_entries", "_missing", "_outcomes")

    def __init__(self, entries: Sequence[Entry], done: Done) -> None:
        self._entries = entries
        self._done = done
        self._missing = len(entries)
        self._outcomes: list[Any] = [None] * len(entries)

    def take(self, index: int, entry: Entry, outcome: Outcome) -> None:
        self._outcomes[index] = outcome
        self._missing -= 1
        if not self._missing:
            self._done(self._entries, self._outcomes)


def _answer(entry: Entry, done: Landed, outcome: Outcome) -> None:
    """Tell one publisher; whatever that runs into, the stream's others go on."""
    try:
        done(entry, outcome)
    except Exception as error:
        context = {"message": "a callback of append failed", "exception": error}
        asyncio.get_running_loop().call_exception_handler(context)


def in_lanes(store: Streams) -> Appending:
    """Return how to append: through lanes on a shared store that does not keep the order by itself."""
    return Lanes(store).append if store.shared and not store.in_order else store.append
