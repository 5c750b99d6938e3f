"""What happened to the connections of a node lately: why a client missed or recovered what it did.

A bounded log, to which sessions append what they do where there is a console; a connection that watches with
it leaves no story. Nothing is looked up or sorted when something happens: what is told is made when somebody
looks, of one pass over the log.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from typing import Final

from msgspec import Struct

from gapless.broker.channel import Subscription
from gapless.broker.recovery import Presented, Start
from gapless.core.limits import STORY_EVENTS_MAX, STORY_EVENTS_PER_CONNECTION_MAX, STORY_NOISE_MAX
from gapless.core.stream import Position
from gapless.ports import Clock

__all__ = ["By", "Event", "Stories", "Story", "What"]

_POSITIONS_PER_EVENT: Final = 4  # so many take the room of an event
_NO_POSITIONS: Final[Mapping[str, Position]] = {}


class What(StrEnum):
    """What happened."""

    CONNECTED = "connected"
    SUBSCRIBED = "subscribed"
    RECOVERED = "recovered"
    LOST = "lost"
    UNSUBSCRIBED = "unsubscribed"
    STALLED = "stalled"
    RESUMED = "resumed"
    DISCONNECTED = "disconnected"


class By(StrEnum):
    """Who ended a connection; the network: it broke without a word."""

    SERVER = "server"
    CLIENT = "client"
    NETWORK = "network"


class Event(Struct, eq=False):
    """Something that happened to a connection; `nth` of its story.

    `positions` are how far it was given channels by then. A socket that stalls again and again is one event,
    of so many `times`; of none: it does not count.
    """

    story: "Story"
    what: What
    at_ms: int
    nth: int
    channel: str = ""
    offset: int = 0
    presented: Presented | None = None
    took_ms: int = 0
    code: int = 0
    reason: str = ""
    by: By | None = None
    positions: Mapping[str, Position] = _NO_POSITIONS
    times: int = 1

    @property
    def is_told(self) -> bool:
        """Whether it is among the newest of its story, or how that began."""
        newest = self.story.count - STORY_EVENTS_PER_CONNECTION_MAX + 1
        return self.times > 0 and (self.nth > newest or self.nth == 1)


class Story(Struct, eq=False):
    """What happened to one connection. `number` rises with each that begins, `count` with each event."""

    client: str
    user: str
    address: str
    binary: bool
    sdk: tuple[str, str]
    began_ms: int
    number: int
    stories: "Stories"
    count: int = 1
    ended_ms: int = 0  # it has not
    stall: Event | None = None
    resumption: Event | None = None

    def entered(self, channel: str, start: Start, began_ms: int) -> None:
        """Note that a subscription was answered, which was asked for at `began_ms`; 0: just now."""
        presented = start.presented
        event = self._event(What.SUBSCRIBED)
        event.channel, event.offset = channel, start.offset
        if presented is not None:
            event.what = What.LOST if presented.why else What.RECOVERED
            event.presented = presented
            event.took_ms = event.at_ms - began_ms if began_ms else 0
        self.stories.add(event)

    def left(self, subscription: Subscription, code: int, reason: str) -> None:
        """Note that a subscription is about to end."""
        event = self._event(What.UNSUBSCRIBED)
        event.channel, event.code, event.reason = subscription.channel.name, code, reason
        event.positions = _positions((subscription,))
        self.stories.add(event)

    def stalled(self) -> None:
        """Note that its socket is full. What stalls all the time pushes nothing else out."""
        if self.stall is not None and self.resumption is not None and self.resumption.nth == self.count:
            self.stall.times += 1
            self.resumption.times = 0
            return
        self.stall = self._event(What.STALLED)
        self.stories.add(self.stall)

    def resumed(self) -> None:
        """Note that its socket has drained."""
        if self.resumption is not None and self.resumption.nth == self.count:
            self.resumption.times, self.resumption.at_ms = 1, self.stories.clock.now_ms()
            return
        self.resumption = self._event(What.RESUMED)
        self.stories.add(self.resumption)

    def ended(self, subscriptions: Iterable[Subscription], code: int, reason: str, by: By) -> None:
        """Note that it is about to end, and where its subscriptions stand."""
        event = self._event(What.DISCONNECTED)
        event.code, event.reason, event.by = code, reason, by
        event.positions = _positions(subscriptions)
        self.ended_ms = event.at_ms
        self.stories.add(event)

    def _event(self, what: What) -> Event:
        self.count += 1
        return Event(self, what, self.stories.clock.now_ms(), self.count)


class Stories:
    """The last events of a node; what has no room any more goes, the oldest first."""

    def __init__(self, clock: Clock, *, events_max: int = STORY_EVENTS_MAX) -> None:
        self.clock = clock
        self.begun = 0
        self._events_max = events_max
        self._log: deque[Event] = deque()
        self._positions = 0  # that the events hold
        self._noise = 0  # events that are not told any more

    def begin(
        self, client: str, user: str, address: str, binary: bool, sdk: tuple[str, str], at_ms: int
    ) -> Story:
        """Begin the story of a connection that is granted."""
        self.begun += 1
        story = Story(client, user, address, binary, sdk, at_ms, self.begun, self)
        self.add(Event(story, What.CONNECTED, at_ms, 1))
        return story

    def add(self, event: Event) -> None:
        """Append what happened."""
        log = self._log
        log.append(event)
        if event.positions:
            self._positions += len(event.positions)
        if event.nth > STORY_EVENTS_PER_CONNECTION_MAX:
            self._add_noise()
        while len(log) + self._positions // _POSITIONS_PER_EVENT > self._events_max:
            self._positions -= len(log.popleft().positions)

    def _add_noise(self) -> None:
        """Note that an event is not told any more; when these are many, let them go, not other stories."""
        self._noise += 1
        if self._noise > STORY_NOISE_MAX:
            self._noise = 0
            told = [event for event in self._log if event.is_told]
            self._log.clear()
            self._log.extend(told)
            self._positions = sum(len(event.positions) for event in told)

    def newest(self) -> Iterator[Event]:
        """Return what is remembered, the newest first."""
        return (event for event in reversed(self._log) if event.nth == event.times == 1 or event.is_told)

    def __len__(self) -> int:
        return len(self._log)


def _positions(subscriptions: Iterable[Subscription]) -> dict[str, Position]:
    """Return where subscriptions stand in what is kept."""
    return {
        subscription.channel.name: Position(subscription.channel.epoch, subscription.stands)
        for subscription in subscriptions
        if subscription.channel.rules.namespace.history
    }
