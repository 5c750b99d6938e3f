"""Which connection another one continues: a reconnect has a new client id.

Whoever comes back with a position continues a connection that was given the channel up to there, at least:
the server may have sent more than arrived, and takes what was cut for alive until a pong is missing. Of
several the likeliest is taken, by the same rules on every node. Of a user only the user's own may be it.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from operator import attrgetter
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from gapless.core.limits import STORY_CANDIDATES_MAX
from gapless.core.stream import Position
from gapless.server.console.stories import Event, Stories, Story

if TYPE_CHECKING:
    from gapless.server.session import Session
    from gapless.server.sessions import Sessions

__all__ = ["Candidate", "Sought", "before", "likeliest", "sought"]

_at_ms: Final = attrgetter("at_ms")
_LATE_MS: Final = 1_000  # what is due is noticed a little later

Follower = tuple[Story, Position]


class Sought(Struct):
    """Who came back, when, and with which position: what is sought is the connection before.

    `number` and `began_ms` are those of its story, which `node` has.
    """

    node: str
    client: str
    user: str
    address: str
    sdk: tuple[str, str]
    number: int
    began_ms: int
    at_ms: int
    channel: str
    epoch: str
    offset: int


class Candidate(Struct):
    """A connection that it may be; the one with the highest rank is."""

    rank: list[int]
    client: str


def likeliest(candidates: Iterable[Candidate | None]) -> str:
    """Return the client id of the likeliest; nothing if there is none."""
    found = [candidate for candidate in candidates if candidate is not None]
    return max(found, key=_order).client if found else ""


def _order(candidate: Candidate) -> tuple[list[int], str]:
    return candidate.rank, candidate.client


def sought(event: Event, node: str) -> Sought | None:
    """Return what there is to seek, if `event` is that somebody came back who had read something."""
    presented, story = event.presented, event.story
    if presented is None or not presented.since.offset:
        return None
    return Sought(
        node,
        story.client,
        story.user,
        story.address,
        story.sdk,
        story.number,
        story.began_ms,
        event.at_ms,
        event.channel,
        *presented.since,
    )


def before(stories: Stories, sessions: "Sessions", wanted: Sequence[Sought]) -> list[Candidate | None]:
    """Return for each the likeliest that this node knows of."""
    seeking = _Seeking(stories, sessions, wanted)
    return [seeking.likeliest(each) for each in wanted]


class _Seeking:
    """Looks through who left the channels in question, once for all who are sought; then at who is there."""

    def __init__(self, stories: Stories, sessions: "Sessions", wanted: Sequence[Sought]) -> None:
        self._sessions = sessions
        options = sessions.options
        silent_ms = options.ping_interval_ms + options.pong_timeout_ms
        self._noticed_ms = max(silent_ms, options.stuck_close_delay_ms) + _LATE_MS  # that one was cut
        self._left: dict[tuple[str, str], list[Event]] = {(each.channel, each.user): [] for each in wanted}
        self._look_through(stories, wanted)

    def _look_through(self, stories: Stories, wanted: Sequence[Sought]) -> None:
        """Collect who left, the newest first, until there are enough of each who may be meant."""
        missing = dict.fromkeys(self._left, STORY_CANDIDATES_MAX)
        first_ms = {
            (each.channel, each.user): each.at_ms for each in sorted(wanted, key=_at_ms, reverse=True)
        }
        channels = {each.channel for each in wanted}
        for event in stories.newest():
            for channel in channels.intersection(event.positions) if event.positions else ():
                key = channel, event.story.user
                if key in missing:
                    self._left[key].append(event)
                    missing[key] -= event.at_ms <= first_ms[key] + self._noticed_ms
                    if not missing[key]:
                        del missing[key]
            if not missing:
                return

    def likeliest(self, sought: Sought) -> Candidate | None:
        """Return the likeliest of those who may be it."""
        followers = chain(self._who_left(sought), self._who_is_here(sought))
        fitting = (
            Candidate(_rank(sought, story, position), story.client)
            for story, position in followers
            if self._fits(sought, story) and position.offset >= sought.offset
        )
        return max(fitting, key=_order, default=None)

    def _who_left(self, sought: Sought) -> Iterator[Follower]:
        """Return who had left the channel by then, or was found to have soon after; the last comes first."""
        left = self._left[sought.channel, sought.user]
        first = bisect_left(left, -sought.at_ms - self._noticed_ms, key=lambda event: -event.at_ms)
        for event in left[first : first + STORY_CANDIDATES_MAX]:
            yield event.story, event.positions[sought.channel]

    def _who_is_here(self, sought: Sought) -> Iterator[Follower]:
        """Return who follows the channel, unless it is clear by now that all of them live."""
        if self._sessions.clock.now_ms() > sought.at_ms + self._noticed_ms:
            return
        for session in islice(self._sessions_here(sought), STORY_CANDIDATES_MAX):
            subscription = session.subscriptions.get(sought.channel)
            if session.story is not None and subscription is not None:
                yield session.story, Position(subscription.channel.epoch, subscription.stands)

    def _sessions_here(self, sought: Sought) -> "Iterator[Session]":
        sessions = self._sessions
        if sought.user:
            yield from reversed(sessions.of(sought.user))
            return
        channel = sessions.broker.hub.channels.get(sought.channel)
        for subscription in reversed(channel.subscriptions if channel is not None else {}):
            session = sessions.by_client.get(subscription.reader.info.client)
            if session is not None:
                yield session

    def _fits(self, sought: Sought, story: Story) -> bool:
        """Tell whether a connection was there before, is of the same user, and had ended or soon did."""
        if story.user != sought.user or story.client == sought.client:
            return False
        if sought.node == self._sessions.broker.node:
            is_before = story.number < sought.number
        else:
            is_before = story.began_ms <= sought.began_ms
        ended_ms = story.ended_ms or self._sessions.clock.now_ms()
        return is_before and ended_ms <= sought.at_ms + self._noticed_ms


def _rank(sought: Sought, story: Story, position: Position) -> list[int]:
    """Return how likely it is: from the same place and SDK, at the very position, over, and only just."""
    return [
        int(story.address == sought.address),
        int(tuple(story.sdk) == tuple(sought.sdk)),
        int(position == (sought.epoch, sought.offset)),
        int(story.ended_ms > 0),
        story.ended_ms or story.began_ms,
        story.number,
    ]
