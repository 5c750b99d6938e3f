"""Subscriptions that begin without their client's asking: with the connection, and by the server API."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from gapless.broker import permissions
from gapless.broker.recovery import Start
from gapless.broker.terms import NOTHING_ASKED, Asked, Terms
from gapless.broker.tokens import Grant
from gapless.core.errors import Unavailable
from gapless.core.limits import SUBSCRIBED_BYTES_MAX
from gapless.core.stream import Position
from gapless.protocol.messages import NO_PAYLOAD, Push, Reply, Subscribe, SubscribeResult

if TYPE_CHECKING:
    from gapless.server.session import Session, Work

__all__ = [
    "Beginning",
    "ends_ms",
    "find",
    "fitting",
    "found",
    "result_of",
    "subscribe_by_server",
    "terms_of",
]


class Beginning(NamedTuple):
    """A server-side subscription that is about to begin; `since` is where it is to go on, if anywhere."""

    channel: str
    terms: Terms
    since: Position | None

    @classmethod
    def of(cls, session: "Session", channel: str, grant: Grant | None, since: Position | None) -> "Beginning":
        """Return the one that `grant`, or else the namespace, gives; a position counts where recoverable.

        Raises:
            UnknownChannel, BadRequest: there is no such namespace, or the name is malformed.
            PermissionDenied: it is the system's own.
        """
        permissions.refuse_system(channel)
        terms = terms_of(session, channel, grant, server_side=True)
        return cls(channel, terms, since if terms.recoverable else None)


def terms_of(
    session: "Session",
    channel: str,
    grant: Grant | None,
    *,
    asked: Asked = NOTHING_ASKED,
    server_side: bool = False,
) -> Terms:
    """Return what a subscription of `session` is like; others are told nothing of who watches."""
    namespace = session.node.broker.namespaces.of(channel).namespace
    ends = ends_ms(session, grant)
    terms = Terms.of(namespace, grant, asked=asked, server_side=server_side, ends_ms=ends)
    if session.claims.watches:
        return terms._replace(presence=False, join_leave=False, watches=True)
    return terms


def ends_ms(session: "Session", grant: Grant | None) -> int:
    """Return when a subscription under `grant` is over unless it is prolonged; 0: never."""
    if grant is None or not grant.expires_ms:
        return 0
    return grant.expires_ms + session.node.options.expired_sub_close_delay_ms


def result_of(session: "Session", terms: Terms, start: Start, *, recovering: bool) -> SubscribeResult:
    """Return what a client is told of its subscription. Only what it can prolong is told to expire."""
    grant = terms.grant
    told = grant is not None and not terms.server_side and not grant.renewable
    expires_ms = grant.expires_ms if grant is not None and told else 0
    return SubscribeResult(
        expires=expires_ms > 0,
        ttl=session.node.ttl_seconds(expires_ms) if expires_ms else 0,
        recoverable=terms.recoverable,
        positioned=terms.positioned,
        epoch=start.epoch if terms.positioned else "",
        offset=start.offset if terms.positioned else 0,
        was_recovering=recovering,
        recovered=start.recovered,
        data=grant.data if grant is not None else NO_PAYLOAD,
    )


# With the connection --------------------------------------------------------------------------


def found(session: "Session", beginnings: Sequence[Beginning]) -> list[Start] | None:
    """Return where they start, or None when the store must be asked."""
    starts = []
    for channel, _, since in beginnings:
        start = session.node.broker.start_now(channel, session, since)
        if start is None:
            return None
        starts.append(start)
    return starts


async def find(session: "Session", beginnings: Sequence[Beginning]) -> list[Start]:
    """Return where they start, asking the store one by one: so many pages are not held at once.

    Raises:
        Unavailable: the store does not answer, or has just begun a new generation.
    """
    broker, room_bytes = session.node.broker, SUBSCRIBED_BYTES_MAX
    asked: dict[str, Start] = {}
    for channel, _, since in beginnings:
        if broker.start_now(channel, session, since) is None:
            start = await broker.start(channel, session, since)
            asked[channel], room_bytes = _within(start, room_bytes)
    starts = []
    for channel, _, since in beginnings:
        held = asked.get(channel) or broker.start_now(channel, session, since)
        if held is None or not broker.holds(channel, held):
            raise Unavailable("the store has begun a new generation; try again")
        starts.append(held)
    return starts


def fitting(session: "Session", starts: Sequence[Start]) -> Iterator[Start]:
    """Leave as many first pages as one reply may carry; what is left out follows as publications."""
    room_bytes = 0 if session.paused else SUBSCRIBED_BYTES_MAX
    for start in starts:
        start, room_bytes = _within(start, room_bytes)
        yield start


def _within(start: Start, room_bytes: int) -> tuple[Start, int]:
    size_bytes = sum(map(len, start.publications))
    return (start.bare(), room_bytes) if size_bytes > room_bytes else (start, room_bytes - size_bytes)


# Later ----------------------------------------------------------------------------------------


def subscribe_by_server(
    session: "Session", channel: str, grant: Grant, since: Position | None
) -> "Work | None":
    """Subscribe `session` to a channel; what it follows already stays where it is, under the new grant.

    Raises:
        UnknownChannel, BadRequest: there is no such namespace, or the name is malformed.
        LimitExceeded: the connection follows as many channels as it may, or the channel is full.
        Unavailable: the store does not answer, or the client is subscribing to it just now.
    """
    beginning = Beginning.of(session, channel, grant, since)
    if not session.connected or channel in session.subscribing:
        return _subscribe_later(session, channel, grant, since)
    if channel in session.subscriptions:
        session.regrant(session.subscriptions[channel], grant)
        return None
    session.check_channels(1)
    start = session.node.broker.start_now(channel, session, beginning.since)
    if start is None:
        return _subscribe_later(session, channel, grant, since)
    _enter(session, beginning, start)
    return None


async def _subscribe_later(session: "Session", channel: str, grant: Grant, since: Position | None) -> None:
    await session.settled()
    if not session.open or not session.connected:
        return
    if channel in session.subscribing:
        raise Unavailable(f"the connection is being subscribed to {channel!r} just now; try again")
    if channel in session.subscriptions:
        session.regrant(session.subscriptions[channel], grant)
        return
    session.check_channels(1)
    beginning = Beginning.of(session, channel, grant, since)  # namespaces may be others meanwhile
    session.subscribing[channel] = None
    try:
        start = await session.node.broker.start(channel, session, beginning.since)
        _enter(session, beginning, start)
    finally:
        session.subscribed(channel)


def _enter(session: "Session", beginning: Beginning, start: Start) -> None:
    session.node.broker.hub.settle()
    session.node.broker.check_room(beginning.channel, beginning.terms)
    if start.publications:  # the push has no place for them: they follow
        start = start.bare()
    told = result_of(session, beginning.terms, start, recovering=False)
    push = Subscribe(told.recoverable, told.epoch, told.offset, told.positioned, told.data)
    if session.open:
        session.write_part(
            session.wire.codec.reply(Reply(push=Push(channel=beginning.channel, subscribe=push)))
        )
    session.enter(beginning.channel, start, beginning.terms)
