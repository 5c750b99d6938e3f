"""What a subscriber that presents a position is answered (semantics 3).

`recovered` means: your position is true, and everything after it is held now.
"""

import asyncio
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Final, NamedTuple

from gapless.broker.catch_up import CatchUp
from gapless.broker.channel import Channel, Cohort, Wire
from gapless.broker.hub import Hub
from gapless.broker.namespaces import RecoveryMode
from gapless.broker.placing import Placing
from gapless.core.errors import BinaryMessage, PositionLost, Unavailable
from gapless.core.histogram import Histogram
from gapless.core.limits import PAGE_BYTES_MAX, PAGE_MESSAGES_MAX, SUBSCRIBED_BYTES_MAX
from gapless.core.lineage import reason
from gapless.core.stream import Message, Page, Position
from gapless.ports import Streams

__all__ = ["RECOVERIES", "Presented", "Recovery", "Start"]

# How a presented position is answered: from the tail, the store, with the newest of a cache, or refused.
RECOVERIES: Final = ("tail", "store", "cache", "lost")
SIZES: Final = (0, 1, 10, 100, 300, 1_000, 10_000, 100_000)


class Presented(NamedTuple):
    """What became of a position that was presented: how it was answered, one of `RECOVERIES`.

    `last` is where the channel ended then, `missed` how many messages lay between, and `why` says why the
    position was lost; it is empty if it holds.
    """

    since: Position
    how: str
    last: int
    missed: int = 0
    why: str = ""


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
    presented: Presented | None = None

    def bare(self) -> "Start":
        """Return the start without its page: all of it is to follow as ordinary publications."""
        return self._replace(through=self.offset, publications=())


class _Shared:
    """A page that is being read, for all who need it or the end of it; it is encoded once for each wire."""

    task: "asyncio.Task[Page]"

    def __init__(self, forgotten: int) -> None:
        self.forgotten = forgotten  # by the channel, when it was asked for
        self.encoded: dict[Cohort, list[bytes] | None] = {}


class Recovery:
    """Decides whether a presented position holds, and finds what follows it."""

    def __init__(self, hub: Hub, catch_up: CatchUp, placing: Placing, store: Streams) -> None:
        self._hub = hub
        self._catch_up = catch_up
        self._placing = placing
        self._store = store
        # By the channel, and what it has forgotten: who comes after an erasure shares nothing older.
        self._reads: dict[tuple[Channel, int], dict[Position, _Shared]] = {}
        self.outcomes = dict.fromkeys(RECOVERIES, 0)
        self.sizes = Histogram(SIZES)  # how many messages the recovered had missed

    def _recovered(self, channel: Channel, since: Position, how: str, last: int) -> Presented:
        missed = last - since.offset
        if channel.counted:
            self.outcomes[how] += 1
            self.sizes.observe(missed)
        return Presented(since, how, last, missed)

    def start_now(
        self, channel: Channel, wire: Wire, since: Position | None, *, counted: str = "tail"
    ) -> Start | None:
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
        presented = self._recovered(channel, since, counted, channel.sent)
        through = since.offset + len(publications)
        return Start(channel.epoch, since.offset, through, True, publications, presented)

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
            return self._refused(channel, since, "it names no generation")
        try:
            shared, page = await self._read(
                channel, wire, Position(since.epoch or channel.epoch, since.offset)
            )
        except PositionLost as error:
            return self._refused(channel, since, reason(error))
        if channel.sent >= page.through:  # with what was learned from the page, the tail may reach back to it
            start = self.start_now(channel, wire, since, counted="store")
            if start is not None:
                return start
        publications = self._encode_shared(channel, wire, shared, page)
        skipped = bisect_right(page.messages, since.offset, key=lambda message: message.offset)
        presented = self._recovered(channel, since, "store", page.head)
        return _first_page(page, presented, page.messages[skipped:], publications[skipped:])

    async def _read(self, channel: Channel, wire: Wire, since: Position) -> tuple[_Shared, Page]:
        """Read the page after a position, or return one with it that others of this moment read.

        Raises:
            PositionLost: it does not hold.
        """
        reads = self._reads.get((channel, channel.forgotten), {})
        before = [at for at in reads if at == since or at.epoch == since.epoch == channel.epoch]
        nearest = max((at for at in before if at.offset <= since.offset), default=None)
        if nearest is not None:
            shared = reads[nearest]
            try:
                page = await asyncio.shield(shared.task)
            except PositionLost:
                if nearest == since:
                    raise
            else:
                # Of another generation, it tells nothing of a position that was not asked for.
                if nearest == since or (page.epoch == since.epoch and since.offset < page.through):
                    return shared, page
        reads = self._reads.get((channel, channel.forgotten), {})
        shared = reads.get(since) or self._begin(channel, wire, since)
        return shared, await asyncio.shield(shared.task)

    def _begin(self, channel: Channel, wire: Wire, since: Position) -> _Shared:
        key = channel, channel.forgotten
        shared = _Shared(channel.forgotten)
        shared.task = asyncio.get_running_loop().create_task(self._learn(channel, wire, since, shared))
        self._reads.setdefault(key, {})[since] = shared

        def ended(task: "asyncio.Task[Page]") -> None:
            if not task.cancelled():
                task.exception()  # whoever asked may be gone
            del self._reads[key][since]
            if not self._reads[key]:
                del self._reads[key]

        shared.task.add_done_callback(ended)
        return shared

    async def _learn(self, channel: Channel, wire: Wire, since: Position, shared: _Shared) -> Page:
        """Read a page, and keep what leads up to the tail before anybody else can ask for it."""
        page = await self._store.read(
            channel.name, after=since, limit_messages=PAGE_MESSAGES_MAX, limit_bytes=PAGE_BYTES_MAX
        )
        if page.epoch == channel.epoch:
            cohort = channel.cohort(wire)
            shared.encoded[cohort] = self._catch_up.learn(channel, cohort, page, shared.forgotten)
        return page

    async def close(self) -> None:
        """Give up what is being read."""
        tasks = [shared.task for reads in self._reads.values() for shared in reads.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _refused(self, channel: Channel, since: Position, why: str) -> Start:
        """Return the head and no publications: an application that reloads must not see them twice."""
        self._hub.flush(channel)
        if not channel.epoch:
            raise Unavailable("the store has begun a new generation; try again")
        self.outcomes["lost"] += channel.counted
        presented = Presented(since, "lost", channel.sent, why=why)
        return Start(channel.epoch, channel.sent, channel.sent, presented=presented)

    async def _newest(self, channel: Channel, wire: Wire, since: Position) -> Start:
        """Return the newest message alone; it is all that a cache promises."""
        end, forgotten = Position(channel.epoch, channel.live + 1), channel.forgotten
        try:
            page = await self._store.read(
                channel.name, before=end, limit_messages=1, limit_bytes=PAGE_BYTES_MAX
            )
        except PositionLost:  # this node's own: the client presented nothing that could be lost
            self._placing.foreign()
            raise Unavailable("the store has begun a new generation; try again") from None
        publications = self._encode(channel, wire, page, forgotten)
        self.outcomes["cache"] += 1
        newest = page.messages[-1].offset if page.messages else page.through  # what follows it was erased
        level = since.epoch == page.epoch and newest <= since.offset <= page.through
        if level or not publications:
            presented = Presented(since, "cache", page.head, why="" if level else "the cache holds nothing")
            return Start(page.epoch, page.through, page.through, level, presented=presented)
        presented = Presented(since, "cache", page.head, missed=1)
        return Start(page.epoch, newest - 1, page.through, True, publications, presented)

    def _encode_shared(self, channel: Channel, wire: Wire, shared: _Shared, page: Page) -> list[bytes]:
        cohort = channel.cohort(wire)
        if shared.encoded.get(cohort) is None or page.epoch != channel.epoch:
            shared.encoded[cohort] = self._encode(channel, wire, page, shared.forgotten)
        return shared.encoded[cohort] or []

    def _encode(self, channel: Channel, wire: Wire, page: Page, forgotten: int) -> list[bytes]:
        if page.epoch != channel.epoch:
            self._placing.foreign()
            raise Unavailable("the store has begun a new generation; try again")
        publications = self._catch_up.learn(channel, channel.cohort(wire), page, forgotten)
        if publications is None:
            raise BinaryMessage(f"a publication of channel {channel.name!r} is not JSON")
        return publications


def _first_page(
    page: Page, presented: Presented, messages: Sequence[Message], publications: Sequence[bytes]
) -> Start:
    """Return a recovery with as much of a page as its reply may carry; the rest follows as publications."""
    sizes = accumulate(map(len, publications))
    fitting = max(1, sum(size <= SUBSCRIBED_BYTES_MAX for size in sizes))
    through = page.through if fitting >= len(publications) else messages[fitting - 1].offset
    first = publications[:fitting]
    return Start(page.epoch, presented.since.offset, through, True, first, presented)
