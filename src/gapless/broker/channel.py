"""A channel as one node sees it: its live position, its level subscribers, and its tail.

A subscription is a position. Those that are level with the channel share its position
and stand in a cohort: live delivery is one loop of socket writes. Who is behind has a position of
its own and reads pages until it meets the live one.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from gapless.broker.namespaces import SYSTEM, Rules
from gapless.broker.terms import NO_TERMS, Terms
from gapless.broker.tokens import Grant
from gapless.core.errors import BinaryMessage
from gapless.core.limits import TAIL_MESSAGES_MAX
from gapless.core.stream import Message
from gapless.core.tail import Tail
from gapless.protocol.codec import Codec
from gapless.protocol.codes import Disconnect, Unsubscribe
from gapless.protocol.messages import ClientInfo

__all__ = ["Channel", "Cohort", "Reader", "Subscription", "Wire"]

log: Final = logging.getLogger("gapless.broker")


class Wire(Protocol):
    """How a kind of connection is written to: the codec, and what makes bytes for the socket of its parts."""

    codec: Codec
    ping: bytes  # ready for the socket

    def frames(self, parts: Sequence[bytes]) -> bytes:
        """Return `parts` (encoded replies and pushes, in order) as what the socket is to send."""


class Reader(Protocol):
    """A connection, as the hub sees it."""

    wire: Wire
    paused: bool
    write: Callable[[bytes], object]
    subscriptions: "dict[str, Subscription]"

    @property
    def info(self) -> ClientInfo:
        """Who reads."""

    def unsubscribed(self, subscription: "Subscription", code: Unsubscribe) -> None:
        """Tell the client that the server ended `subscription`, and forget it."""

    def disconnected(self, code: Disconnect) -> None:
        """End the connection."""

    def flush(self) -> None:
        """Write the replies that wait for the end of the tick."""

    def over(self, subscription: "Subscription") -> bool:
        """Tell whether the time of the reader, or of its subscription, is over; then it is ended."""


class Subscription:
    """One reader's way through one channel.

    `offset` is how far its socket was given the stream while it is not `level`; a level one
    stands where its channel does. `skipping` marks one that missed what came while its socket was
    full, because its namespace says so. The other fields are those of its `Terms`.
    """

    __slots__ = (
        "active",
        "channel",
        "ends_ms",
        "grant",
        "join_leave",
        "level",
        "offset",
        "presence",
        "push_join_leave",
        "reader",
        "server_side",
        "skipping",
    )

    def __init__(
        self, channel: "Channel", reader: Reader, *, offset: int = 0, terms: Terms = NO_TERMS
    ) -> None:
        self.channel = channel
        self.reader = reader
        self.offset = offset
        self.presence = terms.presence
        self.join_leave = terms.join_leave
        self.push_join_leave = terms.push_join_leave
        self.server_side = terms.server_side
        self.grant: Grant | None = terms.grant
        self.ends_ms = terms.ends_ms
        self.level = False
        self.skipping = False
        self.active = True

    @property
    def stands(self) -> int:
        """How far its socket was given the stream, level or not."""
        if not self.level:
            return self.offset
        return self.channel.sent - self.channel.cohort(self.reader.wire).owed.get(self, 0)

    @property
    def info(self) -> ClientInfo:
        """Return who reads, with what the grant says of it."""
        info = self.reader.info
        if self.grant is None or not self.grant.info:
            return info
        return ClientInfo(info.user, info.client, info.conn_info, self.grant.info)


class Cohort:
    """The level subscribers of one channel that share a wire, and the tail encoded for it."""

    __slots__ = ("members", "owed", "prefix", "tail", "wire")

    def __init__(self, wire: Wire, channel: str, tail: Tail | None) -> None:
        self.wire = wire
        self.prefix = wire.codec.push_prefix(channel)
        self.tail = tail
        self.members: dict[Subscription, Callable[[bytes], object]] = {}
        self.owed: dict[Subscription, int] = {}  # level too, but to be told first how many they missed

    def join(self, subscription: "Subscription", missed: int = 0) -> None:
        """Make the subscription level; `missed` is what its next publication tells."""
        subscription.level = True
        if missed:
            self.owed[subscription] = missed
        else:
            self.members[subscription] = subscription.reader.write

    def leave(self, subscription: "Subscription", sent: int) -> None:
        """Give the subscription a position of its own, or none of the cohort's any more."""
        subscription.level = False
        subscription.offset = sent - self.owed.pop(subscription, 0)
        self.members.pop(subscription, None)

    def frames(self, publications: Sequence[bytes]) -> bytes:
        """Return `publications` as pushes, ready to be written."""
        push = self.wire.codec.push
        return self.wire.frames([push(self.prefix, publication) for publication in publications])


class Channel:
    """What a node holds of a channel that somebody follows here.

    `live` is the newest offset taken in without a hole, `sent` what the cohorts were given (they differ
    only within a tick), `known` the newest offset heard of. Without history the
    numbers count what this node delivered. `epoch` is empty until the store told where it stands. `forgotten`
    counts how often the tails were let go of: what was read before may be erased by now. What happens in
    a channel of the system's own is not `counted`: numbers are of those whom it serves.
    """

    __slots__ = (
        "ahead",
        "behind",
        "cohorts",
        "counted",
        "epoch",
        "forgotten",
        "healing",
        "idle_since_ms",
        "known",
        "live",
        "name",
        "passed",
        "pending",
        "published_ms",
        "rules",
        "sent",
        "starting",
        "subscriptions",
        "told",
    )

    def __init__(self, name: str, rules: Rules) -> None:
        self.name = name
        self.rules = rules
        self.counted = not name.startswith(SYSTEM)
        self.epoch = ""
        self.live = self.sent = self.known = 0
        self.published_ms = 0
        self.idle_since_ms = 0
        self.forgotten = 0
        self.starting = 0  # subscribers that wait for the store
        self.healing = False
        self.pending: list[Message] = []
        self.cohorts: dict[Wire, Cohort] = {}
        self.subscriptions: dict[Subscription, None] = {}
        self.behind: dict[int, list[Subscription]] = {}  # by the offset they wait to read on from
        self.passed: dict[str, int] = {}  # what other nodes passed on without storing it: the last of each
        self.told: dict[str, int] = {}  # and of who came and went there
        self.ahead: list[Subscription] = []  # read more of the store than this node has taken in

    def cohort(self, wire: Wire) -> Cohort:
        """Return the cohort of `wire`, made when first needed."""
        cohort = self.cohorts.get(wire)
        if cohort is None:
            cohort = self.cohorts[wire] = Cohort(wire, self.name, self.new_tail())
        return cohort

    def new_tail(self) -> Tail | None:
        """Return an empty tail that starts at what was sent; None without history."""
        namespace = self.rules.namespace
        return Tail(self.sent, min(namespace.history_size, TAIL_MESSAGES_MAX)) if namespace.history else None

    def stand(self, epoch: str, offset: int) -> None:
        """Start over at a position: what was taken in before is of another timeline, or unknown."""
        self.epoch = epoch
        self.live = self.sent = offset
        self.known = max(self.known, offset) if epoch else 0
        self.pending = []
        for cohort in self.cohorts.values():
            if cohort.tail is not None:
                cohort.tail.restart(offset)

    def take(self, message: Message) -> None:
        """Take in the message that follows `live`, to be sent at the end of the tick."""
        assert message.offset > self.live
        self.live = message.offset
        self.published_ms = message.time_ms
        self.pending.append(message)

    def flushed(self) -> None:
        """Note that the cohorts have all that was taken in; a tail that met a hole starts after it."""
        if not self.rules.namespace.history:
            return
        self.sent = self.live
        for cohort in self.cohorts.values():
            if cohort.tail is not None and cohort.tail.last != self.sent:
                cohort.tail.restart(self.sent)

    def encode(self, cohort: Cohort, messages: Sequence[Message]) -> list[bytes] | None:
        """Encode publications for a cohort; None when its protocol cannot carry one (binary data in JSON).

        One that no codec makes sense of is no different: its readers are parted with instead of missing it.
        """
        publication = cohort.wire.codec.publication
        try:
            # The first publication of a stream names its epoch, as Centrifugo's does.
            return [publication(m, epoch=self.epoch if m.offset == 1 else "") for m in messages]
        except BinaryMessage:
            return None
        except Exception:
            log.exception("messages of channel %r cannot be encoded", self.name)
            return None

    def expired(self, now_ms: int) -> bool:
        """Tell whether the stream's time to live has passed, so that the tail is no longer true."""
        ttl_ms = self.rules.namespace.history_ttl_ms
        return bool(self.published_ms) and 0 < ttl_ms <= now_ms - self.published_ms
