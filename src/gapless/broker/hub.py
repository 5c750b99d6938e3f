"""The hub: live fan-out on one node.

Everything that happened to a channel within one loop tick is encoded once per protocol and written once
per subscriber. Order within a tick: publications first, then the replies that wait for them.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from gapless.broker.channel import Channel, Cohort, Reader, Subscription
from gapless.broker.namespaces import RecoveryMode, Rules, SlowConsumer
from gapless.core.limits import PAGE_BYTES_MAX, TAIL_BYTES_MAX
from gapless.core.stream import Message
from gapless.ports import Bus
from gapless.protocol.codes import Disconnect
from gapless.protocol.meta import with_tag

__all__ = ["DROPPED_TAG", "Hub"]

DROPPED_TAG: Final = "gapless-dropped"


class Hub:
    """The channels that somebody follows on this node, and what they are given at the end of the tick.

    The plain numbers are what metrics are made of: `followed` channels have a subscriber, of the
    `subscriptions` so many are `level`; `deliveries` are messages to subscribers, `dropped` messages
    that slow ones went without, `joins_dropped` joins and leaves.
    """

    def __init__(self, soon: Callable[[Callable[[], object]], object], bus: Bus | None = None) -> None:
        self.channels: dict[str, Channel] = {}
        self.followed = self.subscriptions = self.level = 0
        self.deliveries = self.delivered_bytes = 0
        self.dropped = self.joins_dropped = 0
        self.tail_bytes = 0
        self._soon = soon
        self._bus = bus
        self._dirty: list[Channel] = []
        self._replying: list[Reader] = []
        self._scheduled = False
        self._writing = False
        self._stalled: list[Reader] = []

    def channel(self, name: str, rules: Rules) -> Channel:
        """Return the channel, made when first followed."""
        channel = self.channels.get(name)
        if channel is None:
            channel = self.channels[name] = Channel(name, rules)
            if self._bus is not None:
                self._bus.follow(name)
        return channel

    def add(self, subscription: Subscription) -> None:
        """Count a subscription among its channel's; it is behind until it joins."""
        channel = subscription.channel
        self.followed += not channel.subscriptions
        self.subscriptions += 1
        channel.subscriptions[subscription] = None

    def discard(self, subscription: Subscription) -> bool:
        """Forget a subscription; tell whether it was there."""
        channel = subscription.channel
        if subscription not in channel.subscriptions:
            return False
        del channel.subscriptions[subscription]
        self.subscriptions -= 1
        self.followed -= not channel.subscriptions
        subscription.active = False
        self.part(subscription)
        return True

    def join(self, subscription: Subscription, missed: int = 0) -> None:
        """Make a subscription level; `missed` is what its next publication tells."""
        self.level += 1
        subscription.channel.cohort(subscription.reader.wire).join(subscription, missed)

    def part(self, subscription: Subscription) -> None:
        """Give a subscription a position of its own, unless it has one."""
        if subscription.level:
            self.level -= 1
            channel = subscription.channel
            channel.cohort(subscription.reader.wire).leave(subscription, channel.sent)

    def remove(self, channel: Channel) -> None:
        """Forget a channel that nobody follows."""
        assert not channel.subscriptions
        del self.channels[channel.name]
        if self._bus is not None:
            self._bus.unfollow(channel.name)
        self.forget_tails(channel)

    def forget_tails(self, channel: Channel) -> None:
        """Let go of what a channel's cohorts hold; the tails they get are as long as its rules say now."""
        channel.forgotten += 1
        for cohort in channel.cohorts.values():
            if cohort.tail is not None:
                self.tail_bytes -= cohort.tail.bytes
            cohort.tail = channel.new_tail()

    # The tick -----------------------------------------------------------------------------

    def take(self, channel: Channel, message: Message) -> None:
        """Take in the message that follows the channel's live position."""
        channel.take(message)
        self._mark(channel)

    def pass_on(self, channel: Channel, message: Message) -> None:
        """Deliver a message that no stream holds, to whoever is level now."""
        channel.pending.append(message)
        self._mark(channel)

    def reply_later(self, reader: Reader) -> None:
        """Have `reader` flushed at the end of the tick, after the publications."""
        self._replying.append(reader)
        self._schedule()

    def _mark(self, channel: Channel) -> None:
        if len(channel.pending) == 1:
            self._dirty.append(channel)
            self._schedule()

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._soon(self._tick)

    def _tick(self) -> None:
        self._scheduled = False
        self.settle()

    def settle(self) -> None:
        """Write now what waits for the end of the tick: something is to follow it."""
        channels, self._dirty = self._dirty, []
        for channel in channels:
            self.flush(channel)
        readers, self._replying = self._replying, []
        for reader in readers:
            reader.flush()

    # Fan-out ------------------------------------------------------------------------------

    def flush(self, channel: Channel) -> None:
        """Give the cohorts what the channel took in since the last time."""
        if not channel.pending:
            return
        pending, channel.pending = channel.pending, []
        for messages in _batches(pending):
            self._deliver(channel, messages)
        channel.flushed()

    def _deliver(self, channel: Channel, messages: Sequence[Message]) -> None:
        stored = [message for message in messages if message.offset]
        for cohort in channel.cohorts.values():
            publications = channel.encode(cohort, messages)
            if publications is None:
                self._refuse(cohort)
                continue
            if cohort.tail is not None and stored:
                kept = [p for p, m in zip(publications, messages, strict=True) if m.offset]
                self._keep(cohort, stored, kept)
            told = self._tell_missed(channel, cohort, messages[0], publications[1:]) if cohort.owed else ()
            if cohort.members:
                self._write(cohort, cohort.frames(publications), len(publications) if channel.counted else 0)
            for subscription in told:
                cohort.join(subscription)
        channel.sent = stored[-1].offset if stored else channel.sent
        if not channel.rules.namespace.history:
            channel.sent += len(messages)
        self._settle_stalled()

    def _write(self, cohort: Cohort, data: bytes, count: int) -> None:
        self._writing = True
        for write in cohort.members.values():
            write(data)
        self._writing = False
        if count:
            readers = len(cohort.members)
            self.deliveries += count * readers
            self.delivered_bytes += len(data) * readers

    def _keep(self, cohort: Cohort, stored: Sequence[Message], publications: Sequence[bytes]) -> None:
        tail = cohort.tail
        assert tail is not None
        before = tail.bytes
        first, last = stored[0].offset, stored[-1].offset
        if last - first + 1 == len(stored) and first == tail.last + 1:
            tail.extend(publications)
        else:
            tail.restart(last)
        self.weigh(tail.bytes - before)

    def weigh(self, grown_bytes: int) -> None:
        """Note that a tail has grown, and make room when all together hold too much.

        What tails let go of by themselves is found out only then.
        """
        self.tail_bytes += grown_bytes
        if self.tail_bytes <= TAIL_BYTES_MAX:
            return
        tails = [
            cohort.tail
            for channel in self.channels.values()
            for cohort in channel.cohorts.values()
            if cohort.tail is not None
        ]
        if sum(tail.bytes for tail in tails) > TAIL_BYTES_MAX:
            for tail in tails:
                tail.drop((tail.last - tail.floor + 1) // 2)
        self.tail_bytes = sum(tail.bytes for tail in tails)

    def _tell_missed(
        self, channel: Channel, cohort: Cohort, first: Message, rest: Sequence[bytes]
    ) -> Iterable[Subscription]:
        """Give those who missed some the first publication tagged with how many; return them."""
        owed, cohort.owed = cohort.owed, {}
        self._writing = True
        for subscription, missed in owed.items():
            meta = with_tag(first.meta, DROPPED_TAG, str(missed))
            tagged = channel.encode(cohort, [Message(first.offset, first.time_ms, first.data, meta)])
            assert tagged is not None
            subscription.reader.write(cohort.frames([*tagged, *rest]))
        self._writing = False
        return owed

    def _refuse(self, cohort: Cohort) -> None:
        """Part with readers whose protocol cannot carry the payload."""
        for subscription in [*cohort.members, *cohort.owed]:
            subscription.reader.disconnected(Disconnect.INAPPROPRIATE_PROTOCOL)

    # Slow readers -------------------------------------------------------------------------

    def stall(self, reader: Reader) -> None:
        """Take a reader whose socket is full out of its cohorts (after the loop, if it filled inside one)."""
        if self._writing:
            self._stalled.append(reader)
        else:
            self._leave_cohorts(reader)

    def _settle_stalled(self) -> None:
        stalled, self._stalled = self._stalled, []
        for reader in stalled:
            if reader.paused:
                self._leave_cohorts(reader)

    def _leave_cohorts(self, reader: Reader) -> None:
        for subscription in list(reader.subscriptions.values()):
            if not subscription.level:
                continue
            self.part(subscription)
            namespace = subscription.channel.rules.namespace
            if namespace.when_slow is SlowConsumer.DISCONNECT:
                reader.disconnected(Disconnect.SLOW)
                return
            cache = namespace.force_recovery_mode is RecoveryMode.CACHE
            subscription.skipping = cache or namespace.when_slow is SlowConsumer.DROP

    def skip(self, subscription: Subscription) -> None:
        """Take back a reader that missed something: it gets the newest of a cache, else is told how many."""
        channel = subscription.channel
        subscription.skipping = False
        missed = channel.sent - subscription.offset
        namespace = channel.rules.namespace
        if missed and namespace.history and namespace.force_recovery_mode is RecoveryMode.CACHE:
            subscription.offset = channel.sent - 1
            return
        self.dropped += missed
        self.join(subscription, missed)


def _batches(messages: Sequence[Message]) -> Iterator[Sequence[Message]]:
    """Cut what one tick brought into pieces, so that a socket that fills is noticed in time."""
    start = size = 0
    for index, message in enumerate(messages):
        message_bytes = len(message.data) + len(message.meta)
        size += message_bytes
        if size > PAGE_BYTES_MAX and index > start:
            yield messages[start:index]
            start, size = index, message_bytes
    yield messages[start:] if start else messages
