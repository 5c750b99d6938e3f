"""What each command of the client protocol does. A handler answers at once, or returns the work that will."""

from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import Any, Final

from gapless import __version__
from gapless.broker import permissions
from gapless.broker.recovery import Start
from gapless.broker.tokens import Claims
from gapless.core.errors import (
    AlreadySubscribed,
    BadRequest,
    GaplessError,
    LimitExceeded,
    NotAvailable,
    PositionLost,
    TokenExpired,
    Unauthorized,
    Unavailable,
)
from gapless.core.stream import Position, Stored
from gapless.protocol.codes import Disconnect
from gapless.protocol.messages import (
    ClientInfo,
    ConnectRequest,
    ConnectResult,
    HistoryRequest,
    HistoryResult,
    PingRequest,
    PingResult,
    PresenceRequest,
    PresenceResult,
    PresenceStatsRequest,
    PresenceStatsResult,
    PublishRequest,
    PublishResult,
    RefreshRequest,
    RefreshResult,
    Reply,
    RpcRequest,
    SendRequest,
    SubRefreshRequest,
    SubscribeRequest,
    SubscribeResult,
    UnsubscribeRequest,
    UnsubscribeResult,
)
from gapless.protocol.meta import Meta, is_json
from gapless.server.session import Session

__all__ = ["HANDLERS", "Handler"]

Work = Coroutine[Any, Any, None]
Handler = Callable[[Session, int, Any], Work | None]

REJECT_UNRECOVERED: Final = 2  # SubscribeRequest.flag: rather an error than a start from the head
NAME_CHARACTERS_MAX: Final = 16
VERSION_CHARACTERS_MAX: Final = 64
SERVER_VERSION: Final = f"gapless {__version__}"


# Connection -----------------------------------------------------------------------------------


def connect(session: Session, id: int, request: ConnectRequest) -> None:
    """Grant the connection, or end it: nothing else may follow a refused connect."""
    if len(request.name) > NAME_CHARACTERS_MAX or len(request.version) > VERSION_CHARACTERS_MAX:
        raise BadRequest(f"name has up to {NAME_CHARACTERS_MAX} characters, version {VERSION_CHARACTERS_MAX}")
    node = session.node
    try:
        claims = _claims(session, request.token)
    except TokenExpired:
        raise
    except Unauthorized:
        session.disconnected(Disconnect.INVALID_TOKEN)
        return
    if claims is None:
        session.disconnected(Disconnect.BAD_REQUEST)
        return
    session.info = ClientInfo(user=claims.user, client=node.new_client_id(), conn_info=claims.info)
    session.meta = (Meta(info=session.info).encoded(), Meta(info=session.info, binary=True).encoded())
    session.granted(_closes_ms(session, claims))
    result = ConnectResult(
        client=session.info.client,
        version=SERVER_VERSION,
        expires=claims.expires_ms > 0,
        ttl=_ttl_seconds(session, claims),
        ping=node.options.ping_interval_ms // 1000,
        pong=node.options.pong_timeout_ms > 0,
    )
    session.send(Reply(id, connect=result))


def refresh(session: Session, id: int, request: RefreshRequest) -> None:
    """Prolong the connection with a new token of the same user."""
    claims = session.node.verify(request.token, session.node.clock.now_ms())
    if claims.user != session.info.user:
        session.disconnected(Disconnect.INVALID_TOKEN)
        return
    session.granted(_closes_ms(session, claims))
    result = RefreshResult(
        client=session.info.client,
        version=SERVER_VERSION,
        expires=claims.expires_ms > 0,
        ttl=_ttl_seconds(session, claims),
    )
    session.send(Reply(id, refresh=result))


def _claims(session: Session, token: str) -> Claims | None:
    """Return who connects, or None for somebody without a token where one is needed."""
    options = session.node.options
    if token:
        return session.node.verify(token, session.node.clock.now_ms())
    anonymous = options.insecure or options.allow_anonymous_connect_without_token
    return Claims(user="") if anonymous else None


def _closes_ms(session: Session, claims: Claims) -> int:
    return claims.expires_ms + session.node.options.expired_close_delay_ms if claims.expires_ms else 0


def _ttl_seconds(session: Session, claims: Claims) -> int:
    return max(1, (claims.expires_ms - session.node.clock.now_ms()) // 1000) if claims.expires_ms else 0


# Subscriptions --------------------------------------------------------------------------------


def subscribe(session: Session, id: int, request: SubscribeRequest) -> Work | None:
    """Follow a channel, from its end or from the position that the client presents."""
    channel = request.channel
    session.node.broker.namespaces.of(channel)
    if request.type or request.phase:
        raise NotAvailable("map and shared-poll subscriptions are not available")
    if channel in session.subscriptions or channel in session.subscribing:
        raise AlreadySubscribed(f"already subscribed to {channel!r}")
    if len(session.subscriptions) + len(session.subscribing) >= session.node.options.channel_limit:
        raise LimitExceeded(f"a connection follows up to {session.node.options.channel_limit} channels")
    _may_subscribe(session, channel)
    recoverable = session.node.broker.recovers(channel, asked=request.recoverable or request.recover)
    since = Position(request.epoch, request.offset) if request.recover and recoverable else None
    start = session.node.broker.start_now(channel, session, since)
    if start is not None:
        _enter(session, id, request, start)
        return None
    attempt = session.subscribing[channel] = object()
    return _subscribe_later(session, id, request, since, attempt)


async def _subscribe_later(
    session: Session, id: int, request: SubscribeRequest, since: Position | None, attempt: object
) -> None:
    channel = request.channel
    try:
        start = await session.node.broker.start(channel, session, since)
        if session.subscribing.get(channel) is not attempt:
            raise Unavailable("the client unsubscribed meanwhile")
        if session.open:
            _enter(session, id, request, start)
    finally:
        if session.subscribing.get(channel) is attempt:
            del session.subscribing[channel]


def _enter(session: Session, id: int, request: SubscribeRequest, start: Start) -> None:
    broker, channel = session.node.broker, request.channel
    namespace = broker.namespaces.of(channel).namespace
    recoverable = broker.recovers(channel, asked=request.recoverable or request.recover)
    recovering = request.recover and recoverable
    broker.hub.settle()
    if not session.open:
        return
    if session.paused and start.publications:
        start = start.bare()
    if recovering and not start.recovered and request.flag & REJECT_UNRECOVERED:
        raise PositionLost("the position cannot be recovered")
    asked = request.positioned and namespace.allow_positioning
    positioned = recoverable or (namespace.history and (namespace.force_positioning or asked))
    result = SubscribeResult(
        recoverable=recoverable,
        positioned=positioned,
        epoch=start.epoch if positioned else "",
        offset=start.offset if positioned else 0,
        was_recovering=recovering,
        recovered=start.recovered,
    )
    session.write(session.wire.frames([session.wire.codec.subscribed(id, result, start.publications)]))
    insecure, user = session.node.options.insecure, session.info.user
    may_see = insecure or permissions.allowed(namespace, "presence", user, subscribed=True)
    curious = request.join_leave and may_see
    join_leave = namespace.join_leave and (curious or namespace.force_push_join_leave)
    if session.open:  # the write may have been one too many for its namespaces
        broker.enter(channel, session, start, join_leave=join_leave)


def _may_subscribe(session: Session, channel: str) -> None:
    if not session.node.options.insecure:
        permissions.check_subscribe(session.node.broker.namespaces, channel, session.info.user)


def unsubscribe(session: Session, id: int, request: UnsubscribeRequest) -> None:
    """Stop following a channel; harmless where none is followed."""
    session.node.broker.namespaces.of(request.channel)
    session.subscribing.pop(request.channel, None)
    subscription = session.subscriptions.pop(request.channel, None)
    if subscription is not None:
        session.node.broker.leave(subscription)
    session.send(Reply(id, unsubscribe=UnsubscribeResult()))


def sub_refresh(session: Session, id: int, request: SubRefreshRequest) -> None:
    """Refuse: subscriptions here do not expire."""
    raise NotAvailable("subscriptions do not expire here")


# Messages -------------------------------------------------------------------------------------


def publish(session: Session, id: int, request: PublishRequest) -> None:
    """Publish to a channel; answered once the message is stored and handed to this node's subscribers."""
    _may(session, request.channel, "publish")
    data = bytes(request.data)
    if not data:
        raise BadRequest("a publication needs data")
    binary = session.wire.codec.binary and not is_json(data)
    session.node.broker.publish(
        request.channel,
        data,
        partial(_published, session, id),
        meta=session.meta[binary],
        binary=binary,
        origin=session,
    )


def _published(session: Session, id: int, outcome: Stored | GaplessError) -> None:
    if not session.open:
        return
    if isinstance(outcome, GaplessError):
        session.refuse(id, outcome)
    else:
        session.send(Reply(id, publish=PublishResult()))


def history(session: Session, id: int, request: HistoryRequest) -> Work:
    """Read what a channel keeps; so much at once, as what no socket has taken yet is in memory."""
    cap = session.node.options.history_max_publication_limit
    limit = cap if request.limit < 0 else min(request.limit, cap)
    session.awaited_messages += limit
    return _read_history(session, id, request, limit)


async def _read_history(session: Session, id: int, request: HistoryRequest, limit: int) -> None:
    broker, codec = session.node.broker, session.wire.codec
    try:
        if not session.node.options.insecure:
            _may_look(session, request.channel, "history")
        since = Position(request.since.epoch, request.since.offset) if request.since is not None else None
        held = await broker.history(request.channel, limit=limit, since=since, reverse=request.reverse)
        publications = [codec.publication(message) for message in held.messages]
        result = HistoryResult(epoch=held.epoch, offset=held.offset)
        if session.open:
            session.send_part(codec.history(id, result, publications))
    finally:
        session.awaited_messages -= limit


# Presence -------------------------------------------------------------------------------------


def presence(session: Session, id: int, request: PresenceRequest) -> None:
    """Tell who is subscribed."""
    session.send(Reply(id, presence=PresenceResult(_present(session, request.channel))))


def presence_stats(session: Session, id: int, request: PresenceStatsRequest) -> None:
    """Tell how many are subscribed."""
    clients = _present(session, request.channel)
    users = {info.user for info in clients.values()}
    session.send(Reply(id, presence_stats=PresenceStatsResult(len(clients), len(users))))


def _present(session: Session, channel: str) -> dict[str, ClientInfo]:
    if not session.node.options.insecure:
        _may_look(session, channel, "presence")
    return session.node.broker.presence(channel)


def _may_look(session: Session, channel: str, verb: str) -> None:
    """Let nobody read by another command what it may not subscribe to."""
    if channel not in session.subscriptions:
        permissions.limited(session.node.broker.namespaces, channel, session.info.user)
    _may(session, channel, verb)


def _may(session: Session, channel: str, verb: str) -> None:
    if not session.node.options.insecure:
        # A subscription that waits for the store has been granted: what follows it in the frame relies on it.
        subscribed = channel in session.subscriptions or channel in session.subscribing
        namespaces = session.node.broker.namespaces
        permissions.check(namespaces, channel, verb, session.info.user, subscribed=subscribed)


# The rest -------------------------------------------------------------------------------------


def ping(session: Session, id: int, request: PingRequest) -> None:
    """Answer."""
    session.send(Reply(id, ping=PingResult()))


def send(session: Session, id: int, request: SendRequest) -> None:
    """Part with the client: nobody here would take its message, and it expects no answer."""
    session.disconnected(Disconnect.NOT_AVAILABLE)


def rpc(session: Session, id: int, request: RpcRequest) -> None:
    """Refuse: no method is registered."""
    raise NotAvailable(f"no method {request.method!r} is registered")


HANDLERS: Final[Mapping[type[Any], Handler]] = {
    ConnectRequest: connect,
    SubscribeRequest: subscribe,
    UnsubscribeRequest: unsubscribe,
    PublishRequest: publish,
    PresenceRequest: presence,
    PresenceStatsRequest: presence_stats,
    HistoryRequest: history,
    PingRequest: ping,
    SendRequest: send,
    RpcRequest: rpc,
    RefreshRequest: refresh,
    SubRefreshRequest: sub_refresh,
}
