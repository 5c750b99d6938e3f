"""The commands about one subscription: subscribe, unsubscribe, sub_refresh."""

from collections.abc import Awaitable
from typing import Final

from gapless.broker import permissions
from gapless.broker.recovery import Start
from gapless.broker.terms import Asked, Terms
from gapless.broker.tokens import Grant
from gapless.core.errors import (
    AlreadySubscribed,
    BadRequest,
    NotAvailable,
    PermissionDenied,
    PositionLost,
    TokenExpired,
    Unauthorized,
)
from gapless.core.stream import Position
from gapless.protocol.codes import Disconnect, Unsubscribe
from gapless.protocol.hooks import Subscribing
from gapless.protocol.messages import (
    Reply,
    SubRefreshRequest,
    SubRefreshResult,
    SubscribeRequest,
    UnsubscribeRequest,
    UnsubscribeResult,
)
from gapless.server import hooking
from gapless.server.commands import rights
from gapless.server.hooks import Hooks
from gapless.server.session import Session, Work
from gapless.server.subscribing import result_of, terms_of

__all__ = ["sub_refresh", "subscribe", "unsubscribe"]

REJECT_UNRECOVERED: Final = 2  # SubscribeRequest.flag: rather an error than a start from the head


def subscribe(session: Session, id: int, request: SubscribeRequest) -> Work | None:
    """Follow a channel, from its end or from the position that the client presents."""
    channel = request.channel
    session.node.broker.namespaces.of(channel)
    if not session.claims.watches:
        permissions.refuse_system(channel)
    if request.type or request.phase:
        raise NotAvailable("map and shared-poll subscriptions are not available")
    if channel in session.subscriptions or channel in session.subscribing:
        raise AlreadySubscribed(f"already subscribed to {channel!r}")
    session.check_channels(1)
    hooks = rights.hooked(session, channel)
    if hooks is not None:
        session.subscribing[channel] = None
        return _begin_by_hook(session, id, request, hooks)
    if not request.token or session.claims.watches:
        return _begin(session, id, request, rights.follow(session, channel))
    fetched = session.node.tokens.ready(request.token, subscription=True)
    if fetched is not None:
        session.subscribing[channel] = None
        return _begin_with_key(session, id, request, fetched)
    return _begin_with_token(session, id, request)


async def _begin_by_hook(session: Session, id: int, request: SubscribeRequest, hooks: Hooks) -> None:
    """Let a hook decide, after the token if there is one; nothing is read or told before."""
    channel, node, began_ms = request.channel, session.node, session.node.clock.now_ms()
    try:
        grant = None
        if request.token:
            fetched = node.tokens.ready(request.token, subscription=True)
            if fetched is not None:
                await fetched
            grant = _tokens_grant(session, channel, request.token)
        elif not node.options.insecure:
            permissions.limited_to(node.broker.namespaces, channel, session.info.user)
        if not session.open:
            return
        who = hooking.who(session, request.data)
        asked = Subscribing(**who, channel=channel, token=grant is not None)
        decision = await hooking.decided(session, id, hooks, asked)
        if decision is None:
            return
        if decision.decided:
            grant = hooking.grant_of(grant or Grant(), decision, node.clock.now_ms())
        elif grant is None:
            grant = rights.follow(session, channel)
        work = _begin(session, id, request, grant, began_ms)
        if work is not None:
            await work
    finally:
        session.subscribed(channel)


async def _begin_with_key(
    session: Session, id: int, request: SubscribeRequest, fetched: Awaitable[None]
) -> None:
    began_ms = session.node.clock.now_ms()
    try:
        await fetched
        work = _begin_with_token(session, id, request, began_ms)
        if work is not None:
            await work
    finally:
        session.subscribed(request.channel)


def _tokens_grant(session: Session, channel: str, token: str) -> Grant | None:
    try:
        return _granted(session, channel, token)
    except TokenExpired:
        raise
    except Unauthorized as error:
        raise PermissionDenied(str(error)) from error


def _begin_with_token(session: Session, id: int, request: SubscribeRequest, began_ms: int = 0) -> Work | None:
    grant = _tokens_grant(session, request.channel, request.token)
    return _begin(session, id, request, grant, began_ms) if session.open else None


def _granted(session: Session, channel: str, token: str) -> Grant | None:
    """Return what a subscription token grants; one that is not for this one ends the connection."""
    claims = session.node.tokens.subscription(token, session.node.clock.now_ms())
    if not rights.is_meant(session, channel, claims):
        session.disconnected(Disconnect.INVALID_TOKEN)
        return None
    rights.check_holds(session, claims.grant)
    return claims.grant


def _begin(
    session: Session, id: int, request: SubscribeRequest, grant: Grant | None, began_ms: int = 0
) -> Work | None:
    """Begin what was asked for at `began_ms`; 0: just now."""
    channel = request.channel
    terms = _terms(session, request, grant)
    since = Position(request.epoch, request.offset) if request.recover and terms.recoverable else None
    start = session.node.broker.start_now(channel, session, since)
    if start is not None:
        _enter(session, id, request, terms, start, began_ms)
        return None
    session.subscribing.setdefault(channel)
    return _begin_later(session, id, request, terms, since, began_ms or session.node.clock.now_ms())


def _terms(session: Session, request: SubscribeRequest, grant: Grant | None) -> Terms:
    """Return what the subscription is like: who may read history may ask for recovery, as in Centrifugo."""
    channel = request.channel
    namespace = session.node.broker.namespaces.of(channel).namespace
    recover, positioned = request.recoverable or request.recover, request.positioned
    if not (recover or positioned or request.join_leave):
        return Terms.of(namespace) if grant is None else terms_of(session, channel, grant)
    reads = rights.sees(session, channel, "history")
    asked = Asked(
        recoverable=recover and (namespace.allow_recovery or reads),
        positioned=positioned and (namespace.allow_positioning or reads),
        join_leave=request.join_leave and namespace.join_leave and rights.sees(session, channel, "presence"),
    )
    return terms_of(session, channel, grant, asked=asked)


async def _begin_later(
    session: Session,
    id: int,
    request: SubscribeRequest,
    terms: Terms,
    since: Position | None,
    began_ms: int,
) -> None:
    channel = request.channel
    try:
        start = await session.node.broker.start(channel, session, since)
        if terms.grant is not None:
            rights.check_holds(session, terms.grant)
        if not session.expired():
            _enter(session, id, request, terms, start, began_ms)
    finally:
        session.subscribed(channel)


def _enter(
    session: Session, id: int, request: SubscribeRequest, terms: Terms, start: Start, began_ms: int
) -> None:
    recovering = request.recover and terms.recoverable
    session.node.broker.hub.settle()
    if not session.open:
        return
    session.node.broker.check_room(request.channel, terms)
    if session.paused and start.publications:
        start = start.bare()
    if recovering and not start.recovered and request.flag & REJECT_UNRECOVERED:
        if session.story is not None:
            session.story.entered(request.channel, start, began_ms)
        raise PositionLost("the position cannot be recovered")
    result = result_of(session, terms, start, recovering=recovering)
    session.write_part(session.wire.codec.subscribed(id, result, start.publications))
    session.enter(request.channel, start, terms, began_ms)


def unsubscribe(session: Session, id: int, request: UnsubscribeRequest) -> None:
    """Stop following a channel; harmless where none is followed."""
    session.node.broker.namespaces.of(request.channel)
    subscription = session.subscriptions.pop(request.channel, None)
    if subscription is not None:
        if session.story is not None:
            session.story.left(subscription, 0, "unsubscribed by the client")
        session.node.broker.leave(subscription)
    session.send(Reply(id, unsubscribe=UnsubscribeResult()))


def sub_refresh(session: Session, id: int, request: SubRefreshRequest) -> Work | None:
    """Prolong a subscription with a new token."""
    subscription = session.subscriptions.get(request.channel)
    rights.check_acting(session)
    if request.type:
        raise NotAvailable("map and shared-poll subscriptions are not available")
    if subscription is None:
        raise PermissionDenied(f"not subscribed to {request.channel!r}")
    if subscription.server_side:
        session.disconnected(Disconnect.BAD_REQUEST)
        return None
    if not request.token:
        raise BadRequest("a subscription is prolonged with a token")
    fetched = session.node.tokens.ready(request.token, subscription=True)
    if fetched is not None:
        return _prolong_with_key(session, id, request, fetched)
    _prolong(session, id, request)
    return None


async def _prolong_with_key(
    session: Session, id: int, request: SubRefreshRequest, fetched: Awaitable[None]
) -> None:
    await fetched
    _prolong(session, id, request)


def _prolong(session: Session, id: int, request: SubRefreshRequest) -> None:
    subscription = session.subscriptions.get(request.channel)
    if subscription is None:
        raise PermissionDenied(f"not subscribed to {request.channel!r}")
    try:
        grant = _granted(session, request.channel, request.token)
    except TokenExpired:
        # The client subscribes again; an error alone would keep the SDKs from it.
        session.unsubscribed(subscription, Unsubscribe.EXPIRED)
        raise
    except (Unauthorized, PermissionDenied):
        session.disconnected(Disconnect.INVALID_TOKEN)
        return
    if grant is not None:
        session.regrant(subscription, grant)
        ttl = session.node.ttl_seconds(grant.expires_ms)
        session.send(Reply(id, sub_refresh=SubRefreshResult(expires=grant.expires_ms > 0, ttl=ttl)))
