"""Reading a channel to and fro, for people who scroll: page by page, from a position or from a time.

A position is exclusive: `before` and `after` leave out the message that it names, `around` has it in the
middle. A time (milliseconds) means the position just before the first kept message stored at that time or
later; it is a question and no claim to have read anything, so one that is older than all that is kept
means the oldest that is.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from gapless.broker.broker import Broker
from gapless.broker.newest import Newest, Scroll
from gapless.core.errors import (
    PositionLost,
    PositionTrimmed,
    TimelineGone,
    TooManyRequests,
    Unavailable,
)
from gapless.core.limits import (
    NEWEST_BYTES_MAX,
    NEWEST_MESSAGES_MAX,
    OFFSET_MAX,
    PAGE_BYTES_MAX,
    SCROLL_READS_MAX,
)
from gapless.core.lineage import holds
from gapless.core.stream import Head, Page, Position

__all__ = ["Encode", "Scrolling"]

Encode = Callable[[str, Page], list[bytes]]
"""Make an item of each message of a page of the channel."""

# A position that was found by its time may be of another generation before it is read from.
_FINDS_MAX: Final = 3


class Scrolling:
    """Pages of one node's channels, as items that `encode` makes."""

    def __init__(self, broker: Broker, encode: Encode) -> None:
        self._broker = broker
        self._store = broker.store
        self._encode = encode
        self._held: dict[str, Newest] = {}  # used last, last
        self._held_bytes = 0
        self._following: dict[Newest, asyncio.Task[bool]] = {}
        self._reading = 0
        self._forgotten = 0
        broker.removing.hear_erased.append(self.forget)
        broker.removing.hear_any_erased.append(self.forget_all)

    # Pages --------------------------------------------------------------------------------

    async def newest(self, channel: str, size: int) -> Scroll:
        """Return the newest `size` items, most often without reading them again.

        Raises:
            UnknownChannel, BadRequest: there is no such namespace or partition, or the name is malformed.
            NotAvailable: the channel keeps no history.
            TooManyRequests: too many wait for the store.
        """
        await self._broker.check_kept(channel)
        newest = self._held.get(channel)
        if newest is None or not newest.serves(size) or not await self._followed(channel, newest):
            return await self._read_newest(channel, size)
        return newest.last(size) if newest.serves(size) else await self._read_newest(channel, size)

    async def before(self, channel: str, point: Position | int, size: int) -> Scroll:
        """Return the `size` items just before a position or a time; none where that is older than all.

        Raises as `newest` does, and:
            TimelineGone: the position is of a timeline that the store does not continue.
        """
        await self._broker.check_kept(channel)
        if not isinstance(point, int):
            point = point._replace(offset=point.offset - 1)
        return self._scroll(
            channel, await self._at(channel, point, lambda at: self._up_to(channel, at, size))
        )

    async def after(self, channel: str, point: Position | int, size: int) -> Scroll:
        """Return the `size` items just after a position or a time.

        Raises as `before` does, and:
            PositionTrimmed: what followed the position is no longer kept.
        """
        await self._broker.check_kept(channel)
        return self._scroll(channel, await self._at(channel, point, lambda at: self._from(channel, at, size)))

    async def around(self, channel: str, point: Position | int, size: int) -> Scroll:
        """Return up to half of `size` items after a position or time, and the rest from before it.

        Raises as `after` does.
        """
        await self._broker.check_kept(channel)
        return self._scroll(
            channel, await self._at(channel, point, lambda at: self._about(channel, at, size))
        )

    def forget(self, channel: str) -> None:
        """Hear that a message of the channel was erased: nothing of it may be told any more."""
        self._forgotten += 1
        self._let_go(channel)

    def forget_all(self) -> None:
        """Hear that messages of any channel may have been erased."""
        for channel in list(self._held):
            self.forget(channel)
        self._forgotten += 1

    def _scroll(self, channel: str, page: Page) -> Scroll:
        items = self._encode(channel, page)
        return Scroll(page.epoch, page.after, page.through, page.floor, page.head, items)

    # Reading ------------------------------------------------------------------------------

    async def _at(
        self, channel: str, point: Position | int, read: Callable[[Position | None], Awaitable[Page]]
    ) -> Page:
        """Read at a position, or at the one that a time means now; None is the oldest that is kept."""
        if not isinstance(point, int):
            return await read(point)
        for _ in range(_FINDS_MAX):
            found = await self._store.find(channel, point)
            try:
                return await read(found)
            except PositionTrimmed:  # since it was found: all that is kept is of that time or later
                page = await read(None)
                if page.epoch == found.epoch:
                    return page
            except PositionLost:
                continue
        raise Unavailable("the store has begun a new generation; try again")

    async def _from(self, channel: str, at: Position | None, size: int) -> Page:
        if at is None:
            return await self._read(channel, size)
        try:
            return await self._read(channel, size, after=at)
        except PositionLost:
            epoch, head = await self._standing(channel, at)
            if at.offset >= head.floor:
                raise _gone(epoch, head) from None
            raise PositionTrimmed(
                f"nothing at or below offset {head.floor} is kept any more", epoch=epoch, offset=head.floor
            ) from None

    async def _up_to(self, channel: str, at: Position | None, size: int) -> Page:
        assert at is not None, "what is trimmed is no obstacle before it"
        try:
            return await self._read(channel, size, before=at._replace(offset=at.offset + 1))
        except PositionLost:
            epoch, head = await self._standing(channel, at)
            if at.offset > head.floor:
                raise _gone(epoch, head) from None
            return Page(epoch, head.floor, head.floor, head.floor, head.last, [])

    async def _about(self, channel: str, at: Position | None, size: int) -> Page:
        newer = await self._from(channel, at, max(1, size // 2))
        at = at or Position(newer.epoch, newer.after)
        if size == 1:
            newer = Page(newer.epoch, newer.after, newer.after, newer.floor, newer.head, [])
        older = await self._up_to(channel, at, size - len(newer.messages))
        if older.epoch != newer.epoch:
            raise Unavailable("the store has begun a new generation; try again")
        after = min(older.after, newer.after)  # the older side may have been trimmed meanwhile
        messages = older.messages + newer.messages
        return Page(newer.epoch, after, newer.through, older.floor, older.head, messages)

    async def _standing(self, channel: str, lost: Position) -> tuple[str, Head]:
        """Tell where a stream stands in which a position was lost, unless its whole timeline was."""
        heads = await self._store.heads([channel])
        head = heads.heads[channel]
        origin = Position(lost.epoch, 0)
        if not holds(origin, Head(0, 0), await self._store.generations(), ()):
            raise _gone(heads.epoch, head)
        return heads.epoch, head

    async def _read(
        self, channel: str, size: int, *, after: Position | None = None, before: Position | None = None
    ) -> Page:
        if self._reading >= SCROLL_READS_MAX:
            raise TooManyRequests("too many wait for the store")
        self._reading += 1
        try:
            return await self._store.read(
                channel, after=after, before=before, limit_messages=size, limit_bytes=PAGE_BYTES_MAX
            )
        finally:
            self._reading -= 1

    # The newest ---------------------------------------------------------------------------

    async def _read_newest(self, channel: str, size: int) -> Scroll:
        forgotten = self._forgotten
        try:
            page = await self._read(channel, size, before=Position(self._store.epoch, OFFSET_MAX))
        except PositionLost:  # this node's own
            raise Unavailable("the store has begun a new generation; try again") from None
        scroll = self._scroll(channel, page)
        if forgotten == self._forgotten:
            self._let_go(channel)
            self._held[channel] = newest = Newest(page, scroll.items)
            self._weigh(newest.bytes)
        return scroll

    async def _followed(self, channel: str, newest: Newest) -> bool:
        """Take in what was stored since; tell whether `newest` holds. All who ask in a tick share a read."""
        following = self._following.get(newest)
        if following is None:
            following = asyncio.get_running_loop().create_task(self._follow(channel, newest))
            following.add_done_callback(_look)
            self._following[newest] = following
        return await asyncio.shield(following)

    async def _follow(self, channel: str, newest: Newest) -> bool:
        await asyncio.sleep(0)
        del self._following[newest]  # who asks from now on may know of what this read does not see
        try:
            page = await self._read(
                channel, NEWEST_MESSAGES_MAX, after=Position(newest.epoch, newest.through)
            )
        except PositionLost:
            page = None
        if page is None or page.epoch != newest.epoch or page.through < page.head:
            if self._held.get(channel) is newest:
                self._let_go(channel)
            return False
        before = newest.bytes
        newest.extend(page, self._encode(channel, page))
        if self._held.get(channel) is newest:
            self._held[channel] = self._held.pop(channel)
            self._weigh(newest.bytes - before)
        return True

    def _let_go(self, channel: str) -> None:
        newest = self._held.pop(channel, None)
        if newest is not None:
            self._held_bytes -= newest.bytes

    def _weigh(self, added_bytes: int) -> None:
        """Hold all that is kept to its limit; what was used longest ago goes first."""
        self._held_bytes += added_bytes
        while self._held_bytes > NEWEST_BYTES_MAX:
            self._let_go(next(iter(self._held)))


def _gone(epoch: str, head: Head) -> TimelineGone:
    return TimelineGone(
        "the position is of a timeline that is gone; start again from the head",
        epoch=epoch,
        offset=head.last,
    )


def _look(following: "asyncio.Task[bool]") -> None:
    """Look at the outcome, which nobody may have waited for."""
    if not following.cancelled():
        following.exception()
