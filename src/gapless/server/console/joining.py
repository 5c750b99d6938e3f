"""Which connection another one continues: a reconnect has a new client id.

Whoever comes back with a position continues a connection that was given the channel up to there, at least:
the server may have sent more than arrived, and takes what was cut for alive until a pong is missing. Of
several the likeliest is taken, by the same rules on every node. Of a user only the user's own may be it.
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from gapless.core.limits import STORY_CANDIDATES_MAX, STORY_SCANNED_MAX
from gapless.core.stream import Position
from gapless.server.console.stories import Event, Stories, Story

if TYPE_CHECKING:
    from gapless.server.session import Session
    from gapless.server.sessions import Sessions

__all__ = ["Candidate", "Joining", "Sought", "likeliest"]

_LATE_MS: Final = 1_000  # what is due is noticed a little later


class Sought(Struct):
    """Who came back, when, and with which position: what is sought is the connection before.

    `number` and `began_ms` are those of its story, which `node` has.
    """

    node: str
    client: str
    user: str
    address: str
    name: str
    version: str
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
    return max(found, key=lambda candidate: (candidate.rank, candidate.client)).client if found else ""


class Joining:
    """Finds earlier connections among the stories of a node."""

    def __init__(self, stories: Stories, sessions: "Sessions") -> None:
        self._stories = stories
        self._sessions = sessions

    def sought(self, event: Event, story: Story) -> Sought | None:
        """Return what there is to seek, if `event` is that somebody came back."""
        presented, who = event.presented, story.who
        if presented is None or not presented.since.offset:
            return None
        return Sought(
            self._sessions.broker.node,
            who.client,
            who.user,
            who.address,
            who.name,
            who.version,
            story.number,
            story.began_ms,
            event.at_ms,
            event.channel,
            *presented.since,
        )

    def before(self, sought: Sought) -> Candidate | None:
        """Return the likeliest that this node knows of."""
        fitting = (
            Candidate(_rank(sought, story, position), story.who.client)
            for story, position in self._followers(sought)
            if self._fits(sought, story) and position.offset >= sought.offset
        )
        found = islice(fitting, STORY_CANDIDATES_MAX)
        return max(found, key=lambda candidate: (candidate.rank, candidate.client), default=None)

    def _followers(self, sought: Sought) -> Iterator[tuple[Story, Position]]:
        """Return who followed the channel, and how far, those who left last first; then who does still."""
        left = self._left_by_user(sought) if sought.user else self._left_by_anybody(sought.channel)
        yield from islice(left, STORY_SCANNED_MAX)
        for session in islice(self._here(sought), STORY_SCANNED_MAX):
            subscription = session.subscriptions.get(sought.channel)
            if session.story is not None and subscription is not None:
                yield session.story, Position(subscription.channel.epoch, subscription.stands)

    def _left_by_user(self, sought: Sought) -> Iterator[tuple[Story, Position]]:
        for story in reversed(self._stories.of_user.get(sought.user, {})):
            for event in reversed(story.events):
                if sought.channel in event.positions:
                    yield story, event.positions[sought.channel]
                    break

    def _left_by_anybody(self, channel: str) -> Iterator[tuple[Story, Position]]:
        for event, story in self._stories.who_left(channel):
            yield story, event.positions[channel]

    def _here(self, sought: Sought) -> "Iterator[Session]":
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
        if story.who.user != sought.user or story.who.client == sought.client:
            return False
        if sought.node == self._sessions.broker.node:
            is_before = story.number < sought.number
        else:
            is_before = story.began_ms <= sought.began_ms
        ended_ms = story.ended_ms or self._sessions.clock.now_ms()
        return is_before and ended_ms <= sought.at_ms + self._noticed_ms()

    def _noticed_ms(self) -> int:
        """Return how long a connection that was cut may be taken for alive."""
        options = self._sessions.options
        silent_ms = options.ping_interval_ms + options.pong_timeout_ms
        return max(silent_ms, options.stuck_close_delay_ms) + _LATE_MS


def _rank(sought: Sought, story: Story, position: Position) -> list[int]:
    """Return how likely it is: from the same place and SDK, at the very position, over, and only just."""
    who = story.who
    return [
        int(who.address == sought.address),
        int((who.name, who.version) == (sought.name, sought.version)),
        int(position == (sought.epoch, sought.offset)),
        int(story.ended_ms > 0),
        story.ended_ms or story.began_ms,
        story.number,
    ]
