"""What happened to the connections of a node lately: why a client missed or recovered what it did.

A bounded ring of events, those of one connection together. Sessions record here what they do where there is
a console; a connection that watches with it leaves no story. What is told of it is made when somebody looks.
"""

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from typing import Final, NamedTuple

from msgspec import Struct

from gapless.broker.channel import Subscription
from gapless.broker.recovery import Presented, Start
from gapless.core.limits import STORY_EVENTS_MAX, STORY_EVENTS_PER_CONNECTION_MAX
from gapless.core.stream import Position
from gapless.ports import Clock

__all__ = ["By", "Event", "Stories", "Story", "What", "Who"]

_POSITIONS_PER_EVENT: Final = 4  # an event with so many positions takes the room of two


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


class Event(Struct, eq=False, gc=False):
    """Something that happened to a connection. `positions`: how far it was given its channels by then.

    `number` rises on a node. A socket that stalls again and again is one event, of so many `times`.
    """

    what: What
    at_ms: int
    number: int
    channel: str = ""
    offset: int = 0
    presented: Presented | None = None
    took_ms: int = 0
    code: int = 0
    reason: str = ""
    by: By | None = None
    positions: Mapping[str, Position] = {}
    times: int = 1

    @property
    def weight(self) -> int:
        """How many events it takes the room of."""
        return 1 + len(self.positions) // _POSITIONS_PER_EVENT


class Who(NamedTuple):
    """Whose story it is."""

    client: str
    user: str
    address: str
    binary: bool
    name: str
    version: str


class Story:
    """One connection's events, the oldest first. `number` and `began_ms` are those of its beginning."""

    __slots__ = ("_stories", "began_ms", "ended_ms", "events", "number", "who")

    def __init__(self, stories: "Stories", who: Who, began_ms: int, number: int) -> None:
        self.who = who
        self.began_ms = began_ms
        self.ended_ms = 0  # it has not
        self.number = number
        self.events: list[Event] = []
        self._stories = stories

    def entered(self, channel: str, start: Start, began_ms: int) -> None:
        """Note that a subscription was answered, which was asked for at `began_ms`; 0: just now."""
        presented = start.presented
        event = self._stories.event(What.SUBSCRIBED, channel, start.offset)
        if presented is not None:
            event.what = What.LOST if presented.why else What.RECOVERED
            event.presented = presented
            event.took_ms = event.at_ms - began_ms if began_ms else 0
        self._stories.add(self, event)

    def left(self, subscription: Subscription, code: int, reason: str) -> None:
        """Note that a subscription is about to end."""
        event = self._stories.event(What.UNSUBSCRIBED, subscription.channel.name)
        event.code, event.reason = code, reason
        event.positions = _positions((subscription,))
        self._stories.add(self, event)

    def stalled(self) -> None:
        """Note that its socket is full. What stalls all the time pushes nothing else out."""
        if [event.what for event in self.events[-2:]] == [What.STALLED, What.RESUMED]:
            self._stories.drop(self, self.events[-1])
            self.events[-1].times += 1
        else:
            self._stories.add(self, self._stories.event(What.STALLED))

    def resumed(self) -> None:
        """Note that its socket has drained."""
        self._stories.add(self, self._stories.event(What.RESUMED))

    def ended(self, subscriptions: Iterable[Subscription], code: int, reason: str, by: By) -> None:
        """Note that it is about to end, and where its subscriptions stand."""
        event = self._stories.event(What.DISCONNECTED)
        event.code, event.reason, event.by = code, reason, by
        event.positions = _positions(subscriptions)
        self.ended_ms = event.at_ms
        self._stories.add(self, event)


class Stories:
    """The stories of a node, and its last events; what has no room any more goes, the oldest first."""

    def __init__(self, clock: Clock, *, events_max: int = STORY_EVENTS_MAX) -> None:
        self.of_client: dict[str, Story] = {}
        self.of_user: dict[str, dict[Story, None]] = {}
        self._clock = clock
        self._events_max = events_max
        self._events: OrderedDict[Event, Story] = OrderedDict()  # the oldest first
        self._left: dict[str, dict[Event, Story]] = {}  # by channel: who followed it, and does no more
        self._weight = 0
        self._number = 0

    def begin(self, who: Who) -> Story:
        """Begin the story of a connection that was granted."""
        event = self.event(What.CONNECTED)
        story = Story(self, who, event.at_ms, event.number)
        self.add(story, event)
        return story

    def event(self, what: What, channel: str = "", offset: int = 0) -> Event:
        """Return an event of this moment, to be added."""
        self._number += 1
        return Event(what, self._clock.now_ms(), self._number, channel, offset)

    def add(self, story: Story, event: Event) -> None:
        """Add what happened to a connection. How its story began stays the longest."""
        events = story.events
        if not events:
            self._enter(story)
        events.append(event)
        self._events[event] = story
        self._weight += event.weight
        for channel in event.positions:
            self._left.setdefault(channel, {})[event] = story
        if len(events) > STORY_EVENTS_PER_CONNECTION_MAX:
            self.drop(story, events[events[0].what is What.CONNECTED])
        while self._weight > self._events_max:
            oldest, of = next(iter(self._events.items()))
            self.drop(of, oldest)

    def drop(self, story: Story, event: Event) -> None:
        """Forget an event, and the story with its last one."""
        del self._events[event]
        story.events.remove(event)
        self._weight -= event.weight
        for channel in event.positions:
            left = self._left[channel]
            del left[event]
            if not left:
                del self._left[channel]
        if not story.events:
            self._leave(story)

    def _enter(self, story: Story) -> None:
        self.of_client[story.who.client] = story
        if story.who.user:
            self.of_user.setdefault(story.who.user, {})[story] = None

    def _leave(self, story: Story) -> None:
        del self.of_client[story.who.client]
        same = self.of_user.get(story.who.user, {})
        same.pop(story, None)
        if not same:
            self.of_user.pop(story.who.user, None)

    def newest(self) -> Iterator[tuple[Event, Story]]:
        """Return all events, the newest first."""
        return reversed(self._events.items())

    def who_left(self, channel: str) -> Iterator[tuple[Event, Story]]:
        """Return who followed a channel and does no more, the last who left first."""
        return reversed(self._left.get(channel, {}).items())

    def __len__(self) -> int:
        return len(self._events)


def _positions(subscriptions: Iterable[Subscription]) -> dict[str, Position]:
    """Return where subscriptions stand in what is kept."""
    return {
        subscription.channel.name: Position(subscription.channel.epoch, subscription.stands)
        for subscription in subscriptions
        if subscription.channel.rules.namespace.history
    }
