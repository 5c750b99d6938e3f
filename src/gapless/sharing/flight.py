"""Calls that were made of a store in another process, until they are answered."""

from collections.abc import Callable, Sequence
from typing import Any

from msgspec import structs

from gapless.core.errors import GaplessError, OutcomeUnknown, StoreError, TooManyRequests, Unavailable
from gapless.core.stream import Entry, Outcome
from gapless.ports import Told
from gapless.sharing.calls import Call, Verb

__all__ = ["Flight", "Flown", "Origins"]


class Flight:
    """One call; `answer` is told its result or error, `told` how far it is, if it tells.

    `since_ns` is when it began to wait for an owner.
    """

    __slots__ = ("answer", "call", "entries", "is_given_up", "since_ns", "size", "told", "verb", "was_said")

    def __init__(
        self,
        verb: Verb,
        call: Call,
        answer: Callable[[Any], None],
        entries: Sequence[Entry] | None = None,
        told: Told | None = None,
    ) -> None:
        self.verb = verb
        self.call = call
        self.answer = answer
        self.entries = entries
        self.told = told
        self.size = _weigh(entries) if entries else 0
        self.since_ns = 0
        self.was_said = False  # to an owner who may have carried it out
        self.is_given_up = False  # by its caller: no other owner is asked

    def arguments(self) -> dict[str, Any]:
        """Return what the method of the port is called with."""
        arguments = {name: getattr(self.call, name) for name in self.verb.arguments}
        return arguments if self.told is None else arguments | {"told": self.told}

    def is_repeatable(self) -> bool:
        """Tell whether it does no harm, and is answered alike, when it is carried out twice."""
        return self.verb.is_repeatable(self.call)

    def lost(self, why: str) -> StoreError | Unavailable:
        """Return what is told when nothing more will be heard of it."""
        if self.was_said and not self.verb.only_reads:
            return OutcomeUnknown(f"it may or may not be stored: {why}")
        return Unavailable(why)

    def lanes(self) -> set[tuple[int, str]]:
        """Return whose messages to which streams it has."""
        return {(id(e.origin), e.stream) for e in self.entries or () if e.origin is not None}

    def is_behind(self, failed: set[tuple[int, str]]) -> bool:
        """Tell whether a message of the same origin that stood before it has failed."""
        return bool(failed) and not failed.isdisjoint(self.lanes())


def _weigh(entries: Sequence[Entry]) -> int:
    return sum([len(entry.data) + len(entry.meta) for entry in entries])


class Flown:
    """How much is in flight, as a writer's queue counts it."""

    def __init__(self, entries_max: int, bytes_max: int) -> None:
        self._entries_max = entries_max
        self._bytes_max = bytes_max
        self._entries = self._bytes = 0

    def check(self, entries: Sequence[Entry]) -> None:
        """Make sure that there is room for these.

        Raises:
            TooManyRequests: there is none.
        """
        if (
            self._entries + len(entries) > self._entries_max
            or self._bytes + _weigh(entries) > self._bytes_max
        ):
            raise TooManyRequests("too much waits for the process that owns the store")

    def add(self, flight: Flight) -> None:
        """Count a call in."""
        self._entries += len(flight.entries or ())
        self._bytes += flight.size

    def remove(self, flight: Flight) -> None:
        """Count a call out."""
        self._entries -= len(flight.entries or ())
        self._bytes -= flight.size


class Origins:
    """Numbers for whoever appends to a stream, good until one of those appends was told to be refused.

    So the owner can refuse what was on its way behind that, and nothing else.
    """

    def __init__(self) -> None:
        self._marks: dict[tuple[int, str], list[int]] = {}  # the number, and how many entries are in flight
        self._next = 0

    def marked(self, entries: Sequence[Entry]) -> list[Entry]:
        """Return entries as they are said: numbers for origins, and nothing that is the caller's own."""
        return [
            entry
            if entry.origin is None and entry.context is None
            else structs.replace(entry, origin=self._mark(entry), context=None)
            for entry in entries
        ]

    def _mark(self, entry: Entry) -> int | None:
        if entry.origin is None:
            return None
        lane = id(entry.origin), entry.stream
        mark = self._marks.get(lane)
        if mark is None:
            self._next += 1
            mark = self._marks[lane] = [self._next, 0]
        mark[1] += 1
        return mark[0]

    def told(self, entries: Sequence[Entry], marked: Sequence[Entry], outcomes: Sequence[Outcome]) -> None:
        """Hear what became of entries, which were said as `marked`."""
        for entry, said, outcome in zip(entries, marked, outcomes, strict=True):
            if entry.origin is None:
                continue
            lane = id(entry.origin), entry.stream
            mark = self._marks.get(lane)
            if mark is not None and mark[0] == said.origin:
                mark[1] -= 1
                refused = isinstance(outcome, GaplessError) and type(outcome) is not Unavailable
                if refused or not mark[1]:
                    del self._marks[lane]
