"""What a subscriber that presents a position is answered (semantics 3).

`recovered` means: your position is true, and everything after it is held now.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from gapless.broker.catch_up import CatchUp
from gapless.broker.channel import Channel, Wire
from gapless.broker.hub import Hub
from gapless.broker.namespaces import RecoveryMode
from gapless.broker.placing import Placing
from gapless.core.errors import BinaryMessage, PositionLost, Unavailable
from gapless.core.histogram import Histogram
from gapless.core.limits import PAGE_BYTES_MAX, PAGE_MESSAGES_MAX, SUBSCRIBED_BYTES_MAX
from gapless.core.stream import Page, Position
from gapless.ports import Streams

__all__ = ["RECOVERIES", "Recovery", "Start"]

# How a presented position is answered: from the tail, the store, with the newest of a cache, or refused.
RECOVERIES: Final = ("tail", "store", "cache", "lost")
SIZES: Final = (0, 1, 10, 100, 300, 1_000, 10_000, 100_000)


class Start(NamedTuple):
    """Where a subscription starts: what its reply says, the first page, and how far that page goes.

    `offset` is the one requested after a recovery, so that a client whose connection breaks
    between the reply and the publications asks again from where it truly stands.
    """

    epoch: str
    offset: int
    through: int
    recovered: bool = False
    publications: Sequence[bytes] = ()

    def bare(self) -> "Start":
        """Return the start without its page: all of it is to follow as ordinary publications."""
        return self._replace(through=self.offset, publications=())


class Recovery:
    """Decides whether a presented position holds, and finds what follows it."""

    def __init__(self, hub: Hub, catch_up: CatchUp, placing: Placing, store: Streams) -> None:
        self._hub = hub
        self._catch_up = catch_up
        self._placing = placing
        self._store = store
        self.outcomes = dict.fromkeys(RECOVERIES, 0)
        self.sizes = Histogram(SIZES)  # how many messages the recovered had missed

    def _recovered(self, how: str, missed: int) -> None:
        self.outcomes[how] += 1
        self.sizes.observe(missed)

    def start_now(self, channel: Channel, wire: Wire, since: Position | None) -> Start | None:
        """Answer from what this node holds, or None when the store must be asked."""
        self._hub.flush(channel)
        if not channel.rules.namespace.history:
            return Start("", 0, channel.sent)
        if not channel.epoch:
            return None
        if since is None:
            return Start(channel.epoch, channel.sent, channel.sent)
        if since.epoch != channel.epoch or channel.rules.namespace.force_recovery_mode is RecoveryMode.CACHE:
            return None
        publications = self._catch_up.slice(
            channel, channel.cohort(wire), since.offset, bytes_max=SUBSCRIBED_BYTES_MAX
        )
        if publications is None:
            return None
        self._recovered("tail", channel.sent - since.offset)
        return Start(channel.epoch, since.offset, since.offset + len(publications), True, publications)

    async def start(self, channel: Channel, wire: Wire, since: Position | None) -> Start:
        """Answer, asking the store where this node does not know.

        Raises:
            Unavailable: the store does not answer, or has just begun a new generation.
        """
        await self._placing.place(channel)
        start = self.start_now(channel, wire, since)
        if start is not None:
            return start
        assert since is not None
        if channel.rules.namespace.force_recovery_mode is RecoveryMode.CACHE:
            return await self._newest(channel, wire, since)
        if since.offset and not since.epoch:
            return self._refused(channel)  # offsets alone do not tell one timeline from another
        try:
            page = await self._store.read(
                channel.name,
                after=Position(since.epoch or channel.epoch, since.offset),
                limit_messages=PAGE_MESSAGES_MAX,
                limit_bytes=SUBSCRIBED_BYTES_MAX,
            )
        except PositionLost:
            return self._refused(channel)
        publications = self._encode(channel, wire, page)
        self._recovered("store", page.head - since.offset)
        return Start(page.epoch, since.offset, page.through, True, publications)

    def _refused(self, channel: Channel) -> Start:
        """Return the head and no publications: an application that reloads must not see them twice."""
        self._hub.flush(channel)
        if not channel.epoch:
            raise Unavailable("the store has begun a new generation; try again")
        self.outcomes["lost"] += 1
        return Start(channel.epoch, channel.sent, channel.sent)

    async def _newest(self, channel: Channel, wire: Wire, since: Position) -> Start:
        """Return the newest message alone; it is all that a cache promises."""
        end = Position(channel.epoch, channel.live + 1)
        try:
            page = await self._store.read(
                channel.name, before=end, limit_messages=1, limit_bytes=PAGE_BYTES_MAX
            )
        except PositionLost:  # this node's own: the client presented nothing that could be lost
            self._placing.foreign()
            raise Unavailable("the store has begun a new generation; try again") from None
        publications = self._encode(channel, wire, page)
        self.outcomes["cache"] += 1
        newest = page.messages[-1].offset if page.messages else page.through  # what follows it was erased
        level = since.epoch == page.epoch and newest <= since.offset <= page.through
        if level or not publications:
            return Start(page.epoch, page.through, page.through, level)
        return Start(page.epoch, newest - 1, page.through, True, publications)

    def _encode(self, channel: Channel, wire: Wire, page: Page) -> list[bytes]:
        if page.epoch != channel.epoch:
            self._placing.foreign()
            raise Unavailable("the store has begun a new generation; try again")
        publications = self._catch_up.learn(channel, channel.cohort(wire), page)
        if publications is None:
            raise BinaryMessage(f"a publication of channel {channel.name!r} is not JSON")
        return publications
