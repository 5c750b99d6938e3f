"""How who is behind gets level: page by page, from the tail or the store, with back-pressure.

One path for messages: a reader that reconnected, one whose socket was full, and a node that missed a
ring of the bus all read on from where they stand.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, Final

from gapless.broker.channel import Channel, Cohort, Reader, Subscription
from gapless.broker.hub import Hub
from gapless.core.errors import GaplessError, PositionLost, Unavailable
from gapless.core.limits import PAGE_BYTES_MAX, PAGE_MESSAGES_MAX
from gapless.core.stream import Message, Page, Position
from gapless.ports import Clock, Streams
from gapless.protocol.codes import Disconnect

__all__ = ["CatchUp"]

log: Final = logging.getLogger("gapless.broker")


class CatchUp:
    """Moves subscriptions and channels on to where their streams stand.

    `lost` is called with subscriptions whose position no longer holds, `foreign` when the
    store answers for another generation than this node knows.
    """

    def __init__(
        self,
        hub: Hub,
        store: Streams,
        clock: Clock,
        *,
        lost: Callable[[Iterable[Subscription]], None],
        foreign: Callable[[], None],
    ) -> None:
        self._hub = hub
        self._store = store
        self._clock = clock
        self._lost = lost
        self._foreign = foreign
        self._tasks: set[asyncio.Task[None]] = set()
        self._held_up_channels: dict[Channel, None] = {}  # the store did not answer, so they are behind
        self.held_up: dict[Subscription, None] = {}

    def go_on(self) -> None:
        """Read on where the store did not answer, which it does again."""
        channels, self._held_up_channels = self._held_up_channels, {}
        readers, self.held_up = self.held_up, {}
        for channel in channels:
            self.reaches(channel, channel.known)
            self._overtake(channel)
        for subscription in readers:
            self.advance(subscription)

    # A node that is behind ----------------------------------------------------------------

    def heard(self, channel: Channel, message: Message) -> None:
        """Take in a stored message if it continues what this node has; else read what lies between."""
        if channel.epoch and message.offset == channel.live + 1:
            self._hub.take(channel, message)
            if channel.ahead and not channel.healing:  # which the store ended, as it did not answer
                self._overtake(channel)
        else:
            self.reaches(channel, message.offset)

    def reaches(self, channel: Channel, offset: int) -> None:
        """Hear that the stream reaches `offset`. Late, lost or doubled: no harm."""
        channel.known = max(channel.known, offset)
        if channel.epoch and channel.known > channel.live and not channel.healing:
            channel.healing = True
            self._start(self._heal(channel))

    async def _heal(self, channel: Channel) -> None:
        try:
            await self._read_up(channel, channel.epoch)
        except Unavailable:
            self._held_up_channels[channel] = None
            return
        finally:
            channel.healing = False
        self._overtake(channel)
        self.reaches(channel, channel.known)

    async def _read_up(self, channel: Channel, epoch: str) -> None:
        while channel.epoch == epoch and channel.known > channel.live:
            forgotten = channel.forgotten
            page = await self._page(channel, Position(epoch, channel.live))
            if channel.epoch == epoch:
                self._take_page(channel, page)
                if channel.forgotten != forgotten:
                    self._hub.forget_tails(channel)
                self._overtake(channel)

    def _overtake(self, channel: Channel) -> None:
        """Let those who read ahead go on; whom this node has not reached yet wait again."""
        ahead, channel.ahead = channel.ahead, []
        for subscription in ahead:
            self.advance(subscription)

    def _take_page(self, channel: Channel, page: Page | None) -> None:
        if page is None:
            self._lost(channel.subscriptions)
            channel.stand("", 0)
            return
        for message in page.messages:
            if message.offset > channel.live:
                self._hub.take(channel, message)
        self._hub.flush(channel)
        channel.live = max(channel.live, page.through)
        channel.known = max(channel.known, page.head)
        channel.flushed()

    # A subscription that is behind --------------------------------------------------------

    def resume(self, reader: Reader) -> None:
        """Let a reader whose socket drained go on from where it stands."""
        for subscription in list(reader.subscriptions.values()):
            if not subscription.level:
                self.advance(subscription)

    def advance(self, subscription: Subscription) -> None:
        """Send what follows the position until it is level, the socket is full, or the store must be read.

        The last slice and the join happen in one go, so that nothing comes between them.
        """
        channel, reader = subscription.channel, subscription.reader
        self._hub.flush(channel)
        while subscription.active and not subscription.level and not reader.paused:
            if subscription.skipping:
                self._hub.skip(subscription)
            elif subscription.offset == channel.sent:
                self._hub.join(subscription)
            elif subscription.offset > channel.sent:
                channel.ahead.append(subscription)
                self.reaches(channel, subscription.offset)
                return
            elif not self._send_slice(subscription):
                self._wait(subscription)
                return

    def _send_slice(self, subscription: Subscription) -> bool:
        channel = subscription.channel
        cohort = channel.cohort(subscription.reader.wire)
        publications = self.slice(channel, cohort, subscription.offset, bytes_max=PAGE_BYTES_MAX)
        if not publications:  # it is not level, so something follows: if not here, then in the store
            return False
        if subscription.reader.over(subscription):
            return True
        self._send(subscription, publications, subscription.offset + len(publications))
        return True

    def slice(self, channel: Channel, cohort: Cohort, offset: int, *, bytes_max: int) -> list[bytes] | None:
        """Return what follows `offset` from the tail, or None when the store must be asked."""
        if cohort.tail is None or channel.expired(self._clock.now_ms()):
            return None
        return cohort.tail.page(offset, bytes_max)

    def _send(self, subscription: Subscription, publications: Sequence[bytes], through: int) -> None:
        reader = subscription.reader
        subscription.offset = through
        if publications:
            frames = subscription.channel.cohort(reader.wire).frames(publications)
            if subscription.channel.counted:
                self._hub.deliveries += len(publications)
                self._hub.delivered_bytes += len(frames)
            reader.write(frames)

    def _wait(self, subscription: Subscription) -> None:
        channel, offset = subscription.channel, subscription.offset
        waiting = channel.behind.setdefault(offset, [])
        waiting.append(subscription)
        if len(waiting) == 1:
            self._start(self._fetch(channel, offset))

    async def _fetch(self, channel: Channel, offset: int) -> None:
        """Read the page after `offset` once, for all who wait there."""
        epoch, forgotten = channel.epoch, channel.forgotten
        try:
            page = await self._page(channel, Position(epoch, offset))
        except Unavailable:
            self.held_up |= dict.fromkeys(channel.behind.pop(offset, ()))
            return
        except Exception:  # a bug; nobody is left behind without a word
            self._lost(channel.behind.pop(offset, ()))
            raise
        waiting = [s for s in channel.behind.pop(offset, ()) if s.active and not s.level]
        if page is None or channel.epoch != epoch:
            self._lost(waiting)
            return
        encoded: dict[Cohort, list[bytes] | None] = {}
        for subscription in waiting:
            if subscription.reader.paused or subscription.offset != offset:
                continue  # it reads on from where it stands when its socket drains
            cohort = channel.cohort(subscription.reader.wire)
            if cohort not in encoded:
                encoded[cohort] = self.learn(channel, cohort, page, forgotten)
            self._send_page(subscription, page, encoded[cohort])

    def _send_page(self, subscription: Subscription, page: Page, publications: list[bytes] | None) -> None:
        if publications is None:
            subscription.reader.disconnected(Disconnect.INAPPROPRIATE_PROTOCOL)
            return
        if subscription.reader.over(subscription):
            return
        self._send(subscription, publications, page.through)
        self.advance(subscription)

    # The store ----------------------------------------------------------------------------

    def learn(self, channel: Channel, cohort: Cohort, page: Page, forgotten: int) -> list[bytes] | None:
        """Encode a page for a cohort (None if it cannot be); keep what of it leads up to the tail.

        `forgotten` is the channel's when the page was asked for. If tails were let go of since, then what is
        erased may be in the page.
        """
        publications = channel.encode(cohort, page.messages)
        dense = len(page.messages) == page.through - page.after and channel.forgotten == forgotten
        tail = cohort.tail
        if publications and dense and tail is not None and page.after < tail.floor <= page.through:
            before = tail.bytes
            tail.prepend(publications[: tail.floor - page.after])
            self._hub.weigh(tail.bytes - before)
        return publications

    async def _page(self, channel: Channel, after: Position) -> Page | None:
        """Read on; None when the position is lost, or nothing follows where something must.

        Raises:
            Unavailable: the store does not answer now.
        """
        try:
            page = await self._store.read(
                channel.name, after=after, limit_messages=PAGE_MESSAGES_MAX, limit_bytes=PAGE_BYTES_MAX
            )
        except PositionLost:
            return None
        except GaplessError as error:
            if isinstance(error, Unavailable) and error.temporary:
                log.debug("channel %s cannot be read now: %s", channel.name, error)
                raise
            log.warning("channel %s cannot be read: %s", channel.name, error)
            return None
        if page.epoch != channel.epoch:
            self._foreign()
            return None
        assert page.after == after.offset
        return page if page.through > page.after else None

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Give up what is being read."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
