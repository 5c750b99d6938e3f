"""What was done and what was seen, event by event: written down as it happens, put in order later."""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from msgspec import Struct

__all__ = ["Event", "History", "Publish", "Recorder", "Track", "load"]


class Event(Struct, frozen=True, omit_defaults=True):
    """Something that happened. `what` says which of the fields mean something.

    - A publisher: `invoke` and then `ok`, `fail` (refused for good) or `unknown`, by `id` and `channel`,
      again and again with a `key`; `origin` is the connection, on which `number` counts. `ok` may tell
      `epoch` and `offset`, and which `node` said so.
    - A subscriber: `subscribed` at `epoch` and `offset`, maybe `since` a position that `recovered` or not;
      `delivered`; `unsubscribed` and `disconnected` with a `code`; `refused` with one.
    - A reader of the history: `head`, where a channel ends; `stood`, the `ids` of all that it held after the
      store was rewound; in the end `held` for each message, and `read`.
    - Who may see nothing of a channel: `stranger`; who may no longer: `revoked`.
    - Faults: `fault` names one in `id`, `healed` ends it; `killed` names a `node`. `rewound`: from here on
      the store may have lost something, so it is a new one.
    """

    at_ms: int
    who: str
    what: str
    id: str = ""
    channel: str = ""
    epoch: str = ""
    offset: int = 0
    since: tuple[str, int] | None = None
    recovered: bool = False
    key: bool = False
    origin: str = ""
    number: int = 0
    code: int = 0
    node: str = ""
    time_ms: int = 0
    ids: tuple[str, ...] = ()


class Recorder:
    """Takes events in, in their order, by a clock that never falls."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.counts: Counter[str] = Counter()
        self._start_ns = time.monotonic_ns()

    def __call__(
        self,
        who: str,
        what: str,
        id: str = "",
        channel: str = "",
        position: tuple[str, int] = ("", 0),
        **rest: object,
    ) -> None:
        """Write down an event; `position` is its epoch and offset."""
        at_ms = (time.monotonic_ns() - self._start_ns) // 1_000_000
        event = Event(at_ms, who, what, id, channel, *position, **rest)  # type: ignore[arg-type]
        self.events.append(event)
        self.counts[what] += 1

    def keep(self, path: Path) -> None:
        """Write all of it to a file, a line for each event."""
        path.write_bytes(b"".join(msgspec.json.encode(event) + b"\n" for event in self.events))


def load(path: Path) -> list[Event]:
    """Return what was kept."""
    return [msgspec.json.decode(line, type=Event) for line in path.read_bytes().splitlines()]


@dataclass
class Publish:
    """One message that somebody published, whatever became of it. Places are those of events."""

    id: str
    channel: str
    origin: str
    number: int
    key: bool
    invoked: int
    invoked_ms: int
    outcomes: list[str] = field(default_factory=list)
    acked: Event | None = None
    answered: int = 0
    failed: bool = False  # a node said so, not the loss of a connection


@dataclass
class Track:
    """What one subscriber was told of a channel, from a start of which nothing was promised, without a break.

    `resumed` are the positions that were accepted: (place, since, epoch). `told` is where it ended by
    the word that something was lost.
    """

    who: str
    channel: str
    start: int
    epoch: str
    items: list[tuple[int, str, int, str]] = field(default_factory=list)  # place, epoch, offset, id
    resumed: list[tuple[int, tuple[str, int], str]] = field(default_factory=list)
    live: bool = True

    @property
    def last(self) -> int:
        """Return how far it has read."""
        return self.items[-1][2] if self.items else self.start


class History:
    """Events, and what checkers want to know of them at a glance."""

    def __init__(self, events: Sequence[Event]) -> None:
        self.events = events
        self.publishes: dict[str, Publish] = {}
        self.tracks: list[Track] = []
        self.held: dict[str, dict[int, str]] = defaultdict(dict)
        self.held_ms: dict[str, int] = {}
        self.epoch: dict[str, str] = {}  # of what is held in the end, by channel
        self.seen: dict[str, int] = {}  # where an epoch is named first
        self.stood: dict[str, list[tuple[int, set[str]]]] = defaultdict(list)  # by channel
        self.rewound: list[int] = []
        self.killed: dict[str, list[int]] = defaultdict(list)
        self._open: dict[tuple[str, str], Track] = {}
        self._takes: dict[str, Callable[[int, Event], None]] = {
            "invoke": self._invoked,
            "ok": self._answered,
            "fail": self._answered,
            "unknown": self._answered,
            "subscribed": self._subscribed,
            "delivered": self._delivered,
            "unsubscribed": self._silenced,
            "disconnected": self._silenced,
            "held": self._holds,
            "read": self._was_read,
            "stood": lambda place, event: self.stood[event.channel].append((place, set(event.ids))),
            "rewound": lambda place, event: self.rewound.append(place),
            "killed": lambda place, event: self.killed[event.node].append(place),
        }
        for place, event in enumerate(events):
            self._take(place, event)

    def of(self, *whats: str) -> Iterator[tuple[int, Event]]:
        """Return events of some kinds, each with its place."""
        return ((place, event) for place, event in enumerate(self.events) if event.what in whats)

    def offsets(self, channel: str) -> dict[str, int]:
        """Return where messages are held in the end."""
        return {id: offset for offset, id in self.held[channel].items()}

    def ending(self) -> list[Track]:
        """Return the tracks on which subscribers are in the end."""
        return list(self._open.values())

    def rewound_since(self, place: int, until: int | None = None) -> bool:
        """Tell whether the store was rewound after a place, up to another."""
        end = len(self.events) if until is None else until
        return any(place < rewound < end for rewound in self.rewound)

    def _take(self, place: int, event: Event) -> None:
        if event.epoch:
            self.seen.setdefault(event.epoch, place)
        take = self._takes.get(event.what)
        if take is not None:
            take(place, event)

    def _invoked(self, place: int, event: Event) -> None:
        publish = Publish(
            event.id, event.channel, event.origin, event.number, event.key, place, event.time_ms
        )
        self.publishes.setdefault(event.id, publish)

    def _delivered(self, place: int, event: Event) -> None:
        track = self._open[event.who, event.channel]
        track.items.append((place, event.epoch, event.offset, event.id))

    def _holds(self, place: int, event: Event) -> None:
        self.held[event.channel][event.offset] = event.id
        self.held_ms[event.id] = event.time_ms

    def _was_read(self, place: int, event: Event) -> None:
        self.epoch[event.channel] = event.epoch

    def _answered(self, place: int, event: Event) -> None:
        publish = self.publishes[event.id]
        publish.outcomes.append(event.what)
        publish.answered = place
        publish.failed = event.what != "ok" and event.code != 0
        if event.what == "ok" and publish.acked is None:
            publish.acked = event

    def _subscribed(self, place: int, event: Event) -> None:
        where = (event.who, event.channel)
        if event.since is not None and event.recovered and where in self._open:
            track = self._open[where]
            track.resumed.append((place, event.since, event.epoch))
            track.epoch, track.live = event.epoch, True
            return
        self._open[where] = Track(event.who, event.channel, event.offset, event.epoch)
        self.tracks.append(self._open[where])

    def _silenced(self, place: int, event: Event) -> None:
        for (who, channel), track in self._open.items():
            if who == event.who and event.channel in ("", channel):
                track.live = False
