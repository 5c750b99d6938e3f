"""Taking away what a channel keeps, so that no node serves it any more: not from its tails either."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from msgspec import Struct

from gapless.broker.feeds import STREAMS, Feed, find_copy, find_message
from gapless.core.errors import NotAvailable
from gapless.core.limits import OFFSET_MAX
from gapless.core.stream import Head, Heads

if TYPE_CHECKING:
    from gapless.broker.broker import Broker

__all__ = ["Erased", "Removing"]


class Erased(Struct, frozen=True):
    """Told to other nodes: messages of a channel were erased."""

    channel: str


class _Trimmed(Struct, frozen=True):
    """Told to other nodes: a channel is kept from just above `floor`, and ends at `last`."""

    channel: str
    epoch: str
    floor: int
    last: int


class Removing:
    """Trims channels and erases messages. Whoever keeps some of it in memory is told by `hear_erased`.

    `hear_any_erased` is called when it is not known of which channels messages were erased.

    `told_surely` lets all other nodes hear of it before the eraser does; whoever knows the nodes sets it.
    """

    def __init__(self, broker: "Broker") -> None:
        self.hear_erased: list[Callable[[str], object]] = []
        self.hear_any_erased: list[Callable[[], object]] = []
        self.told_surely: Callable[[Erased], Awaitable[object]] = _told
        self._broker = broker
        broker.attendance.missed = self.forget_all
        broker.telling.hear(Erased, lambda node, erased: self.forget(erased.channel))
        broker.telling.hear(_Trimmed, self._trimmed)

    # Trimming -----------------------------------------------------------------------------

    async def remove_history(self, channel: str) -> None:
        """Drop what a channel keeps; its end stays, so readers who had read that far miss nothing.

        Raises:
            NotAvailable: the channel keeps no history.
        """
        namespace = self._broker.namespaces.of(channel).namespace
        if not namespace.history or namespace.name == STREAMS:
            raise NotAvailable(f"channel {channel!r} keeps no history that can be removed")
        await self.trim(channel, OFFSET_MAX)

    async def trim(self, channel: str, through: int) -> Heads:
        """Drop what a channel keeps up to and including an offset."""
        heads = await self._broker.store.trim(channel, through)
        self._hold_against(channel, heads)
        floor, last = heads.heads[channel]
        self._broker.telling.tell(_Trimmed(channel, heads.epoch, floor, last))
        return heads

    def _trimmed(self, node: str, trimmed: _Trimmed) -> None:
        heads = Heads(trimmed.epoch, {trimmed.channel: Head(trimmed.floor, trimmed.last)})
        self._hold_against(trimmed.channel, heads)

    def _hold_against(self, channel: str, heads: Heads) -> None:
        followed = self._broker.hub.channels.get(channel)
        if followed is not None and followed.epoch == heads.epoch:
            self._broker.placing.hold_against(followed, heads)

    # Erasing ------------------------------------------------------------------------------

    async def erase(self, channel: str, offset: int) -> bool:
        """Remove one message for good; its offset stays. False if there is no such message (any more).

        Raises:
            NotAvailable: the channel keeps no history.
            Unavailable: the store does not answer, or a node that lives does not say that it heard of it; the
                message may be erased then, and a repeat tells the others again.
        """
        rules = self._broker.namespaces.of(channel)
        if not rules.namespace.history:
            raise NotAvailable(f"channel {channel!r} keeps no history")
        if rules.feed is not None:
            await self._erase_copy(rules.feed, channel, offset)
        try:
            erased = await self._broker.store.erase(channel, offset)
        finally:  # whoever gave up waiting may have erased it all the same
            self.erased(channel)
        await self.told_surely(Erased(channel))
        return erased

    async def _erase_copy(self, feed: Feed, channel: str, offset: int) -> None:
        """Erase what a feed has of a message, before the message: it is what tells of the copy."""
        store = self._broker.store
        message = await find_message(store, channel, offset)
        copied = await find_copy(store, feed, channel, message) if message is not None else 0
        if copied:
            await self.erase(feed.stream(channel), copied)

    def erased(self, channel: str) -> None:
        """Note that messages of a channel were erased by this node, and tell the others once."""
        self.forget(channel)
        self._broker.telling.tell(Erased(channel))

    def forget(self, channel: str) -> None:
        """Hear that messages of a channel were erased: nobody is to be given them any more."""
        hub = self._broker.hub
        followed = hub.channels.get(channel)
        if followed is not None:
            hub.flush(followed)
            hub.forget_tails(followed)
        for hear in self.hear_erased:
            hear(channel)

    def forget_all(self) -> None:
        """Hear that messages of any channel may have been erased."""
        for channel in list(self._broker.hub.channels):
            self.forget(channel)
        for hear in self.hear_any_erased:
            hear()


async def _told(erased: Erased) -> None:
    """Leave it at what was told once."""
