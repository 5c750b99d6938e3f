"""Who is where, across nodes: entered in the store as subscriptions come and go, and asked of it.

A node that is alone keeps it all in its own table, and asks no store. What other nodes are told of who comes
and goes are hints (semantics 6). Who is there through a node that dies is seen off by whoever finds that.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator
from typing import Final

import msgspec
from msgspec import Struct

from gapless.broker.channel import Channel, Subscription
from gapless.broker.hub import Hub
from gapless.broker.telling import Telling, is_new
from gapless.core.errors import GaplessError
from gapless.core.limits import PRESENCE_BATCH_MAX, PRESENCE_BATCH_MS
from gapless.ports import Clock, Presence, Present, Streams
from gapless.protocol.messages import ClientInfo, Join, Leave, Push, payload

__all__ = ["NODES", "Attendance"]

# In which the nodes themselves are: no channel of anybody's, since nobody may name a namespace so.
NODES: Final = "gapless.nodes"

log: Final = logging.getLogger("gapless.nodes")

_Key = tuple[str, str]  # channel, client


class _Entry(Struct, frozen=True, omit_defaults=True):
    """What is told of somebody, in the store and on the bus: `ClientInfo` in plain bytes.

    `presence`: they are seen by who asks. `join_leave`: others are told when they go.
    """

    user: str
    client: str
    conn_info: bytes = b""
    chan_info: bytes = b""
    presence: bool = False
    join_leave: bool = False

    @classmethod
    def of(cls, subscription: Subscription) -> "_Entry":
        info = subscription.info
        infos = bytes(info.conn_info), bytes(info.chan_info)
        return cls(info.user, info.client, *infos, subscription.presence, subscription.join_leave)

    def info(self) -> ClientInfo:
        return ClientInfo(self.user, self.client, payload(self.conn_info), payload(self.chan_info))


class _Change(Struct, frozen=True, array_like=True):
    """Somebody came to a channel, or went."""

    channel: str
    came: bool
    who: _Entry


class _Changed(Struct, frozen=True):
    """What a node tells the others: who came and went through it. `number` rises."""

    number: int
    changes: list[_Change]


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(_Entry).decode


class Attendance:
    """Who is where through this node, and through the others. `push` gives a join or leave to a channel.

    `began` counts how often all who are here were entered. `missed` is called when the store had given this
    node up: then the others have not waited for it to hear what they told.
    """

    def __init__(
        self,
        hub: Hub,
        store: Streams,
        telling: Telling,
        clock: Clock,
        *,
        soon: Callable[[Callable[[], object]], object],
        push: Callable[[Channel, Push], None],
    ) -> None:
        self.began = 0
        self.missed: Callable[[], object] = lambda: None
        self._hub = hub
        self._store = store if isinstance(store, Presence) else None
        self._telling = telling
        self._clock = clock
        self._soon = soon
        self._push = push
        self._is_entered = False  # the store is told of each change
        self._is_known = False  # and has said so, when it was asked last, that it knows of all before
        self._changes: dict[_Key, bytes | None] = {}  # what it is still to be told
        self._flight: dict[_Key, bytes | None] = {}  # what it is being told
        self._flushing: asyncio.Task[None] | None = None
        self._is_due = False
        self._hints: list[_Change] = []
        self._number = 0
        telling.hear(_Changed, self._hear)

    # Coming and going ---------------------------------------------------------------------

    def came(self, subscription: Subscription) -> None:
        """Note that somebody came who is seen, or of whom others are told."""
        entry = _Entry.of(subscription)
        name = subscription.channel.name
        if self._is_entered:
            self._change((name, entry.client), _encode(entry))
        if subscription.join_leave:
            self._push(subscription.channel, Push(channel=name, join=Join(subscription.info)))
            self._hint(_Change(name, True, entry))

    def went(self, subscription: Subscription) -> None:
        """Note that somebody went."""
        entry = _Entry.of(subscription)
        name = subscription.channel.name
        if self._is_entered:
            self._change((name, entry.client), None)
        if subscription.join_leave:
            self._push(subscription.channel, Push(channel=name, leave=Leave(subscription.info)))
            self._hint(_Change(name, False, entry))

    def _hint(self, change: _Change) -> None:
        if self._telling.is_alone:
            return
        if not self._hints:
            self._soon(self._tell)
        self._hints.append(change)

    def _tell(self) -> None:
        hints, self._hints = self._hints, []
        for first in range(0, len(hints), PRESENCE_BATCH_MAX):
            self._number += 1
            self._telling.tell(_Changed(self._number, hints[first : first + PRESENCE_BATCH_MAX]))

    def _hear(self, node: str, changed: _Changed) -> None:
        news: dict[str, bool] = {}
        for change in changed.changes:
            channel = self._hub.channels.get(change.channel)
            if channel is None:
                continue
            if change.channel not in news:
                news[change.channel] = is_new(channel.told, node, changed.number)
            if news[change.channel]:
                self._push(channel, change_push(change))

    # Looking ------------------------------------------------------------------------------

    def here(self, channel: str) -> dict[str, ClientInfo]:
        """Return who is in a channel through this node, by client id."""
        followed = self._hub.channels.get(channel)
        readers = followed.subscriptions if followed is not None else ()
        return {each.reader.info.client: each.info for each in readers if each.presence}

    @property
    def asks(self) -> bool:
        """Tell whether the store is to be asked who is there, or this node knows."""
        return self._store is not None and not self._telling.is_alone

    async def present(self, channel: str) -> dict[str, ClientInfo]:
        """Return who is in a channel, through whichever node.

        Raises:
            Unavailable: the store does not answer.
        """
        if self._store is None or self._telling.is_alone:
            return self.here(channel)
        found = await self._store.present(channel)
        gone = {key for key, entry in (*self._flight.items(), *self._changes.items()) if entry is None}
        present = {}
        for client, told in found.items():
            entry = _read(told)
            if entry is not None and entry.presence and (channel, client) not in gone:
                present[client] = entry.info()
        return present | self.here(channel)

    async def nodes(self) -> dict[str, bytes]:
        """Return the nodes that the store knows to live, with the card of each."""
        if self._store is None or self._telling.is_alone:
            return {}
        return await self._store.present(NODES)

    # The store ----------------------------------------------------------------------------

    async def beat(self, ttl_ms: int, card: bytes) -> None:
        """Say that this node lives, as `card` says; see those off who were there through one that does not.

        All who are here are entered anew if the store had given this node up, or it was alone till now.

        Raises:
            Unavailable: the store does not answer.
        """
        if self._store is None or self._telling.is_alone:
            self._is_entered = False
            return
        node = self._telling.node
        if not self._is_entered:
            await self._store.end(node)  # what it had entered when it was not alone may be untrue by now
        is_known, self._is_known = self._is_known and self._is_entered, False  # unless it is answered
        lived = await self._store.beat(node, ttl_ms)
        self._is_known = True
        if not lived or not is_known:
            self._enter_all(card)
        if not lived:
            self.missed()
        await self._flush()
        await self._bury(self._store)

    def _enter_all(self, card: bytes) -> None:
        """Tell the store of all who are here; who is just being entered, and went, departs after that."""
        self._is_entered = True
        self.began += 1
        here = {(NODES, self._telling.node): card, **dict(self._all())}
        gone = [key for key in (*self._flight, *self._changes) if key not in here]
        self._changes = {**dict.fromkeys(gone), **here}

    async def end(self) -> None:
        """Leave: nobody is here any more."""
        if self._flushing is not None:
            self._flushing.cancel()
            await asyncio.wait([self._flushing])
        was_entered, self._is_entered = self._is_entered, False
        if self._store is not None and was_entered:
            try:
                await self._store.end(self._telling.node)
            except GaplessError as error:
                log.warning("the store was not told that this node stops: %s", error)

    def _all(self) -> Iterator[tuple[_Key, bytes]]:
        for channel in self._hub.channels.values():
            for each in channel.subscriptions:
                if each.presence or each.join_leave:
                    yield (channel.name, each.reader.info.client), _encode(_Entry.of(each))

    def _change(self, key: _Key, entry: bytes | None) -> None:
        self._changes.pop(key, None)
        self._changes[key] = entry
        if not self._is_due:
            self._is_due = True
            self._clock.after(PRESENCE_BATCH_MS, self._flush_soon)

    def _flush_soon(self) -> None:
        self._is_due = False
        if self._is_entered and (self._flushing is None or self._flushing.done()):
            self._flushing = asyncio.get_running_loop().create_task(self._flush_quietly())

    async def _flush_quietly(self) -> None:
        try:
            await self._flush()
        except GaplessError as error:
            log.debug("who came and went is told to the store later: %s", error)

    async def _flush(self) -> None:
        """Tell the store who came and went; what it was not told is told with the next beat."""
        assert self._store is not None
        node = self._telling.node
        while self._changes and not self._flight:
            keys = list(self._changes)[:PRESENCE_BATCH_MAX]
            self._flight = flight = {key: self._changes.pop(key) for key in keys}
            try:
                departed = [key for key, entry in flight.items() if entry is None]
                entered = [Present(*key, entry) for key, entry in flight.items() if entry is not None]
                if departed:
                    await self._store.depart(node, departed)
                if entered:
                    await self._store.enter(node, entered)
            except BaseException:
                self._changes = {**flight, **self._changes}
                raise
            finally:
                self._flight = {}

    async def _bury(self, store: Presence) -> None:
        while True:
            buried = await store.bury(PRESENCE_BATCH_MAX)
            for channel, client, told in buried:
                if channel == NODES:
                    log.warning("node %s is gone", client)
                    continue
                entry = _read(told)
                if entry is not None and entry.join_leave:
                    self._see_off(_Change(channel, False, entry))
            if len(buried) < PRESENCE_BATCH_MAX:
                return

    def _see_off(self, change: _Change) -> None:
        channel = self._hub.channels.get(change.channel)
        if channel is not None:
            self._push(channel, change_push(change))
        self._hint(change)


def _read(told: bytes) -> _Entry | None:
    """Return what the store was told of somebody; None for what another version or program has told it."""
    try:
        return _decode(told)
    except msgspec.MsgspecError as error:
        log.warning("an entry of who is there is not understood: %s", error)
        return None


def change_push(change: _Change) -> Push:
    """Return what subscribers are told of a change."""
    info = change.who.info()
    if change.came:
        return Push(channel=change.channel, join=Join(info))
    return Push(channel=change.channel, leave=Leave(info))
