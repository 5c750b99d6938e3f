"""Every use case of channels, once: publish, subscribe, history, presence."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Final, TypedDict, Unpack

import msgspec

from gapless.broker.appending import Appending, in_lanes
from gapless.broker.arrivals import Arrivals
from gapless.broker.catch_up import CatchUp
from gapless.broker.channel import Channel, Reader, Subscription
from gapless.broker.feeds import STREAMS
from gapless.broker.hub import Hub
from gapless.broker.namespaces import DataFormat, Namespaces, Rules
from gapless.broker.permissions import hide_system
from gapless.broker.placing import Placing
from gapless.broker.presence import Attendance
from gapless.broker.recovery import Recovery, Start
from gapless.broker.removing import Removing
from gapless.broker.telling import Telling, is_new
from gapless.broker.terms import NO_TERMS, Terms
from gapless.core.depth import too_deep
from gapless.core.errors import BadRequest, GaplessError, LimitExceeded, NotAvailable, UnknownChannel
from gapless.core.limits import (
    CHECK_INTERVAL_MS,
    IDEMPOTENCY_KEY_BYTES_MAX,
    JSON_DEPTH_MAX,
    MESSAGE_BYTES_MAX,
    OFFSET_MAX,
    PAGE_BYTES_MAX,
)
from gapless.core.stream import Done, Entry, Message, Outcome, Position, Stored
from gapless.ports import Bus, Clock, Streams
from gapless.protocol.messages import ClientInfo, Push, Reply

__all__ = ["Answer", "Broker", "History", "PublishOptions"]

Answer = Callable[[Outcome], object]
"""Told once, on the loop, what became of a publication: after it was handed to this node's subscribers."""

# Too short to be nested too deep, and no larger than any message may be.
SHALLOW_BYTES: Final = 2 * JSON_DEPTH_MAX

log: Final = logging.getLogger("gapless.broker")


class PublishOptions(TypedDict, total=False):
    """What goes with a publication.

    `meta` is an encoded `protocol.meta.Meta`; `binary` says, as it must too, that the payload is not JSON.
    A `key` with an `owner` is the same only if both are: what one user sends takes no other's message away.
    """

    meta: bytes
    binary: bool
    key: str | None
    owner: str | None
    skip_history: bool
    origin: Any


class History(msgspec.Struct):
    """A stretch of a channel's history, and where the channel stands."""

    epoch: str
    offset: int
    messages: list[Message]


class Broker:
    """One node's channels over one store. `node` is its id: no two over one store have the same.

    `check_ms` tells after how long to hold the channels against the store the next time.
    """

    def __init__(
        self,
        store: Streams,
        clock: Clock,
        namespaces: Namespaces,
        *,
        soon: Callable[[Callable[[], object]], object],
        node: str = "",
        bus: Bus | None = None,
        message_bytes_max: int = MESSAGE_BYTES_MAX,
        check_ms: Callable[[], int] = lambda: CHECK_INTERVAL_MS,
    ) -> None:
        self.namespaces = namespaces
        self.store = store
        self._bus = bus or store.bus
        self.telling = Telling(self._bus, node)
        self.hub = Hub(soon, self._bus)
        self.placing = Placing(self.hub, store, clock, reaches=self._reaches)
        self.catch_up = CatchUp(self.hub, store, clock, lost=self.placing.lose, foreign=self.placing.foreign)
        self.recovery = Recovery(self.hub, self.catch_up, self.placing, store)
        self.arrivals = Arrivals(clock, store.heads, self._bus)
        self.attendance = Attendance(self.hub, store, self.telling, clock, soon=soon, push=self._tell)
        self.node = node
        self.streams: frozenset[str] = frozenset()  # names that stand for streams, so not for channels
        self.is_partition: Callable[[str], bool] = lambda channel: False  # whoever has streams sets these
        self.find_partition: Callable[[str], Awaitable[bool]] = _has_no_partition
        self._clock = clock
        self._append = in_lanes(store)
        self._message_bytes_max = message_bytes_max
        self.removing = Removing(self)
        self.publications = self.answered = 0  # taken, and how many of them have their outcome
        self.own = 0  # publications that are the system's own
        self.rings = 0  # heard of other nodes
        self.is_cut_off = False  # the store did not answer when it was asked last
        self._passed_on = 0  # without being stored
        self._watching: set[Subscription] = set()
        self._check_ms = check_ms
        self._checking: asyncio.Task[None] | None = None
        self._closed = False
        if self._bus is not None:
            self._bus.listen(self._rung)

    async def open(self) -> None:
        """Learn the store's generation, and begin to hold this node against the store."""
        await self.placing.check_generation()
        self._check_later()

    async def close(self) -> None:
        """Stop reading and checking; the store is the caller's to close."""
        self._closed = True
        if self._checking is not None:
            self._checking.cancel()
        await self.recovery.close()
        await self.catch_up.close()
        await self.placing.close()

    # Publish ------------------------------------------------------------------------------

    def append_by(self, way: Callable[[Appending], Appending]) -> None:
        """Append by another way from now on, which is told the one before."""
        self._append = way(self._append)

    def publish(self, channel: str, data: bytes, answer: Answer, **options: Unpack[PublishOptions]) -> None:
        """Publish `data`; `answer` is told when it is stored, or at once where there is no history.

        Raises:
            UnknownChannel, BadRequest: nothing was queued.
            TooManyRequests, StoreFailed: the store takes nothing now; nothing was queued.
        """
        entry = self.entry(channel, data, **options)
        entry.context = answer
        self._hand_over((entry,), self._answer)

    def entry(
        self,
        channel: str,
        data: bytes,
        *,
        meta: bytes = b"",
        binary: bool = False,
        key: str | None = None,
        owner: str | None = None,
        skip_history: bool = False,
        origin: Any = None,
    ) -> Entry:
        """Check a publication, and return it as `append` takes it.

        Raises:
            UnknownChannel: there is no such namespace.
            BadRequest: the name, the payload or the key is not what it has to be; or the name is a stream's.
        """
        rules = self.namespaces.of(channel)
        if channel in self.streams:
            raise _is_stream(channel)
        if len(data) > SHALLOW_BYTES or not rules.any_data:
            self._check_payload(rules, data, binary=binary)
        if key is not None and not 0 < len(key.encode()) <= IDEMPOTENCY_KEY_BYTES_MAX:
            raise BadRequest(f"an idempotency key has 1 to {IDEMPOTENCY_KEY_BYTES_MAX} bytes")
        if key is not None and owner is not None:
            key = f"\0{len(owner)} {owner} {key}"
        return Entry(
            channel,
            data,
            rules.retention,
            meta=meta,
            key=key,
            transient=skip_history or rules.transient,
            also=None if rules.feed is None else rules.feed.copy(channel, data, meta),
            origin=origin,
        )

    def plain_entry(self, channel: str, data: bytes) -> Entry:
        """Do as `entry` does with JSON and no options, in half the time."""
        rules = self.namespaces.of(channel)
        if channel in self.streams:
            raise _is_stream(channel)
        if len(data) > SHALLOW_BYTES or not rules.any_data:
            self._check_payload(rules, data, binary=False)
        also = None if rules.feed is None else rules.feed.copy(channel, data, b"")
        return Entry(channel, data, rules.retention, transient=rules.transient, also=also)

    def _check_payload(self, rules: Rules, data: bytes, *, binary: bool) -> None:
        hide_system(rules.namespace.name)
        if rules.namespace.name == STREAMS:
            raise NotAvailable("this is a partition of a stream: append to the stream")
        if len(data) > self._message_bytes_max:
            raise BadRequest(f"a payload has up to {self._message_bytes_max} bytes")
        if not binary and too_deep(data, JSON_DEPTH_MAX):
            raise BadRequest(f"a payload is nested up to {JSON_DEPTH_MAX} deep")
        match rules.namespace.publication_data_format:
            case DataFormat.JSON if binary:
                raise BadRequest("this namespace takes JSON payloads only")
            case DataFormat.JSON_OBJECT if binary or not data.lstrip().startswith(b"{"):
                raise BadRequest("this namespace takes JSON objects only")

    def append(self, entries: Sequence[Entry], done: Done, *, own: bool = False) -> None:
        """Publish several, together and in order; `done` is told once all were handed to their subscribers.

        They may be the system's `own`.

        Raises:
            TooManyRequests, StoreFailed: the store takes nothing now; nothing was queued.
        """
        self._hand_over(entries, partial(self._landed, done))
        if own:
            self.own += len(entries)

    async def appended(self, entries: Sequence[Entry], *, own: bool = False) -> Sequence[Outcome]:
        """Publish several as `append` does, and return what became of each."""
        landed: asyncio.Future[Sequence[Outcome]] = asyncio.get_running_loop().create_future()

        def done(entries: Sequence[Entry], outcomes: Sequence[Outcome]) -> None:
            if not landed.done():  # whoever waits may be gone
                landed.set_result(outcomes)

        self.append(entries, done, own=own)
        return await landed

    def _hand_over(self, entries: Sequence[Entry], landed: Done) -> None:
        if _pass_through(entries):
            passed = Stored(self.placing.epoch, 0, self._clock.now_ms())
            landed(entries, [passed] * len(entries))
        else:
            self._append(entries, landed)
        self.publications += len(entries)

    def _landed(self, done: Done, entries: Sequence[Entry], outcomes: Sequence[Outcome]) -> None:
        self._fan_out(entries, outcomes)
        done(entries, outcomes)

    def landed(self, entries: Sequence[Entry], outcomes: Sequence[Outcome]) -> None:
        """Give what was stored together with something else to those who follow it."""
        self.publications += len(entries)
        self._fan_out(entries, outcomes)

    def _answer(self, entries: Sequence[Entry], outcomes: Sequence[Outcome]) -> None:
        self._fan_out(entries, outcomes)
        entries[0].context(outcomes[0])

    def _fan_out(self, entries: Sequence[Entry], outcomes: Sequence[Outcome]) -> None:
        channels, bus = self.hub.channels, self._bus
        unheard = bus is None or bus.alone
        kept_unheard = unheard or (bus is not None and bus.rings_appends)
        self.answered += len(entries)
        if self.arrivals.waiting:
            self._ring(entries, outcomes)
        for entry, outcome in zip(entries, outcomes, strict=True):
            channel = channels.get(entry.stream)
            if entry.also is not None and type(outcome) is Stored and outcome.also is not None:
                self._spread(channels.get(entry.also.stream), entry.also, outcome.also)
            if channel is None and (unheard if entry.transient else kept_unheard):
                continue
            if type(outcome) is Stored and outcome.fresh:
                self._spread(channel, entry, outcome)

    def _ring(self, entries: Sequence[Entry], outcomes: Sequence[Outcome]) -> None:
        """Wake who waits for a message of these streams."""
        for entry, outcome in zip(entries, outcomes, strict=True):
            if type(outcome) is Stored and outcome.fresh:
                self.arrivals.ring(entry.stream)
                if entry.also is not None:
                    self.arrivals.ring(entry.also.stream)

    def _spread(self, channel: Channel | None, entry: Entry, stored: Stored) -> None:
        """Give a message that holds to those who follow it here, and tell the other nodes."""
        message = Message(stored.offset, stored.time_ms, entry.data, entry.meta)
        bus = self._bus
        if entry.transient:
            if channel is not None:
                self.hub.pass_on(channel, message)
            if bus is not None and not bus.alone:
                self._passed_on += 1
                bus.ring(entry.stream, Position(self.node, self._passed_on), message)
            return
        if channel is not None and stored.epoch == self.placing.epoch:
            self.catch_up.heard(channel, message)
        elif channel is not None:
            self.placing.foreign()
        if bus is not None and not bus.alone and not bus.rings_appends:
            bus.ring(entry.stream, Position(stored.epoch, stored.offset), message)

    def knock(self, name: str) -> None:
        """Wake who waits for `name`, which is no stream, here and at the other nodes."""
        self.arrivals.ring(name)
        if self._bus is not None and not self._bus.alone:
            self._bus.ring(name, Position(self.placing.epoch, 0), None)

    def _rung(self, name: str, last: Position, message: Message | None) -> None:
        """Hear of another node's append. The ring is believed only where it continues what this node has.

        What is not stored is passed on unless something later of that node was.
        """
        self.rings += 1
        self.arrivals.ring(name)
        channel = self.hub.channels.get(name)
        if channel is None:
            return
        if message is not None and not message.offset:
            if is_new(channel.passed, last.epoch, last.offset):
                self.hub.pass_on(channel, message)
        elif last.epoch != self.placing.epoch:
            self.placing.foreign()
        elif message is not None:
            self.catch_up.heard(channel, message)
        else:
            self.catch_up.reaches(channel, last.offset)

    def _reaches(self, channel: Channel, offset: int) -> None:
        self.catch_up.reaches(channel, offset)

    # Subscribe ----------------------------------------------------------------------------

    def start_now(self, channel: str, reader: Reader, since: Position | None) -> Start | None:
        """Return where a subscription starts, or None when the store must be asked (`start`)."""
        entered = self._known(channel)
        return None if entered is None else self.recovery.start_now(entered, reader.wire, since)

    async def start(self, channel: str, reader: Reader, since: Position | None) -> Start:
        """Return where a subscription starts.

        Raises:
            UnknownChannel: there is no such partition of a stream.
            Unavailable: the store does not answer, or has just begun a new generation.
        """
        if self._known(channel) is None and not await self.find_partition(channel):
            raise _no_partition(channel)
        entered = self._channel(channel)
        entered.starting += 1  # or the channel could be let go of meanwhile, and be another one afterwards
        try:
            return await self.recovery.start(entered, reader.wire, since)
        finally:
            entered.starting -= 1
            if not entered.subscriptions:
                self.placing.idle(entered)

    def check_room(self, channel: str, terms: Terms = NO_TERMS) -> None:
        """Refuse one subscriber more than the namespace has room for in a channel, on this node.

        For who watches there is always room.

        Raises:
            LimitExceeded: so many are there.
            UnknownChannel, BadRequest: there is no such namespace, or the name is malformed.
        """
        most = self.namespaces.of(channel).namespace.subscribers_max
        followed = self.hub.channels.get(channel)
        if not most or followed is None or terms.watches:
            return
        if len(followed.subscriptions) >= most + sum(each.channel is followed for each in self._watching):
            raise LimitExceeded(f"channel {channel!r} has up to {most} subscribers")

    def holds(self, channel: str, start: Start) -> bool:
        """Tell whether `start`, which the store gave some time ago, is one to enter at still."""
        held = self.hub.channels.get(channel)
        return held is not None and held.epoch == start.epoch

    def enter(self, channel: str, reader: Reader, start: Start, terms: Terms = NO_TERMS) -> Subscription:
        """Let the subscription read on from `start`. Call it once the reply was written, before any await."""
        entered = self._channel(channel)
        subscription = Subscription(entered, reader, offset=start.through, terms=terms)
        subscription.skipping = not entered.rules.namespace.history  # no store to read on from
        self.hub.add(subscription)
        if terms.watches:
            self._watching.add(subscription)
        reader.subscriptions[channel] = subscription
        self.catch_up.advance(subscription)
        stays = subscription in entered.subscriptions  # what was sent may have been too much for its socket
        if stays and (subscription.presence or subscription.join_leave):
            self.attendance.came(subscription)
        return subscription

    def leave(self, subscription: Subscription) -> None:
        """End a subscription. Harmless when it has ended."""
        if not self.hub.discard(subscription):
            return
        self._watching.discard(subscription)
        channel = subscription.channel
        if subscription.presence or subscription.join_leave:
            self.attendance.went(subscription)
        if not channel.subscriptions:
            self.placing.idle(channel)

    def _channel(self, name: str) -> Channel:
        channel = self._known(name)
        if channel is None:
            raise _no_partition(name)
        return channel

    def _known(self, name: str) -> Channel | None:
        """Return a channel, begun if it is not there; None: a partition that this node has not heard of."""
        channel = self.hub.channels.get(name)
        if channel is None:
            rules = self.namespaces.of(name)
            if rules.namespace.name == STREAMS and not self.is_partition(name):
                return None
            channel = self.hub.channel(name, rules)
            self.placing.idle(channel)  # until somebody has subscribed
        return channel

    def _tell(self, channel: Channel, push: Push) -> None:
        """Push a join or leave, after what was published before it; a slow reader goes without."""
        self.hub.flush(channel)
        frames: dict[Any, bytes] = {}
        for subscription in list(channel.subscriptions):  # a write may end a connection that is too slow
            reader = subscription.reader
            if not subscription.active or not subscription.push_join_leave:
                continue
            if reader.paused:
                self.hub.joins_dropped += 1
            else:
                if reader.wire not in frames:
                    frames[reader.wire] = reader.wire.frames([reader.wire.codec.reply(Reply(push=push))])
                reader.write(frames[reader.wire])

    # Look ---------------------------------------------------------------------------------

    async def check_kept(self, channel: str) -> None:
        """Let it be known if a channel has no history.

        Raises:
            UnknownChannel: there is no such namespace, or partition of a stream.
            NotAvailable: the channel keeps no history.
        """
        namespace = self.namespaces.of(channel).namespace
        if namespace.name == STREAMS and not await self.find_partition(channel):
            raise _no_partition(channel)
        if not namespace.history:
            raise NotAvailable(f"channel {channel!r} keeps no history")

    async def history(
        self, channel: str, *, limit: int, since: Position | None = None, reverse: bool = False
    ) -> History:
        """Read up to `limit` messages after `since`, or before it in `reverse`; 0 reads the position only.

        Raises:
            NotAvailable: the channel keeps no history.
            PositionLost: what lies after `since` cannot be told.
        """
        await self.check_kept(channel)
        if limit <= 0:
            heads = await self.store.heads([channel])
            return History(heads.epoch, heads.heads[channel].last, [])
        messages: list[Message] = []
        at = since
        if since == Position("", 0):
            at = Position(self.placing.epoch, 0)
        if reverse and at is None:
            at = Position(self.placing.epoch, OFFSET_MAX)
        while True:
            page = await self.store.read(
                channel,
                after=None if reverse else at,
                before=at if reverse else None,
                limit_messages=limit - len(messages),
                limit_bytes=PAGE_BYTES_MAX,
            )
            messages += reversed(page.messages) if reverse else page.messages
            exhausted = page.after <= page.floor if reverse else page.through >= page.head
            if exhausted or page.after == page.through or len(messages) >= limit:
                return History(page.epoch, page.head, messages)
            at = Position(page.epoch, page.after + 1 if reverse else page.through)

    def presence_now(self, channel: str) -> dict[str, ClientInfo] | None:
        """Return who is subscribed, by client id, or None where the store must be asked (`presence`).

        Raises:
            NotAvailable: the namespace does not track presence.
        """
        if not self.namespaces.of(channel).namespace.presence:
            raise NotAvailable(f"channel {channel!r} does not track presence")
        return None if self.attendance.asks else self.attendance.here(channel)

    async def presence(self, channel: str) -> dict[str, ClientInfo]:
        """Return who is subscribed, through whichever node, by client id.

        Raises:
            NotAvailable: the namespace does not track presence.
            Unavailable: the store does not answer.
        """
        present = self.presence_now(channel)
        return await self.attendance.present(channel) if present is None else present

    # The store, held against --------------------------------------------------------------

    def _check_later(self) -> None:
        if not self._closed:
            self._clock.after(self._clock.glance_ms(self._check_ms()), self._check_soon)

    def _check_soon(self) -> None:
        if not self._closed:
            self._checking = asyncio.get_running_loop().create_task(self._check())

    async def _check(self) -> None:
        try:
            await self.placing.check()
        except GaplessError as error:
            if not self.is_cut_off:
                log.warning("the store could not be checked: %s", error)
            self.is_cut_off = True
        else:
            if self.is_cut_off:
                log.info("the store answers again")
            self.is_cut_off = False
            self.catch_up.go_on()
        finally:
            self._check_later()


def _pass_through(entries: Sequence[Entry]) -> bool:
    """Tell whether no store has to see any of them."""
    for entry in entries:
        if not entry.transient or entry.key is not None or entry.retention.count:
            return False
    return True


async def _has_no_partition(channel: str) -> bool:
    return False


def _no_partition(channel: str) -> UnknownChannel:
    return UnknownChannel(f"{channel!r} is no partition of a stream that there is")


def _is_stream(channel: str) -> BadRequest:
    return BadRequest(f"{channel!r} is a stream, which a channel of that name would not reach: append to it")
