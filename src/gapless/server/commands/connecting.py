"""The commands about the connection itself: connect, refresh."""

import logging
from collections.abc import Awaitable, Mapping, Sequence
from typing import Final

from msgspec import structs

from gapless import __version__
from gapless.broker import permissions
from gapless.broker.namespaces import Namespaces
from gapless.broker.recovery import Start
from gapless.broker.tokens import Claims, Grant
from gapless.core.errors import (
    BadRequest,
    GaplessError,
    PermissionDenied,
    TokenExpired,
    Unauthorized,
    Unavailable,
)
from gapless.core.stream import Position
from gapless.protocol.codes import Disconnect
from gapless.protocol.hooks import Connecting
from gapless.protocol.messages import (
    ClientInfo,
    ConnectRequest,
    ConnectResult,
    RefreshRequest,
    RefreshResult,
    Reply,
)
from gapless.server import hooking, subscribing
from gapless.server.commands.rights import hooked
from gapless.server.hooks import Hooks
from gapless.server.session import Session, Work
from gapless.server.subscribing import Beginning

__all__ = ["connect", "refresh"]

log: Final = logging.getLogger("gapless.session")

NAME_CHARACTERS_MAX: Final = 16
VERSION_CHARACTERS_MAX: Final = 64
SERVER_VERSION: Final = f"gapless {__version__}"
ANONYMOUS: Final = Claims(user="")
PLAIN: Final = Grant()


# Connect --------------------------------------------------------------------------------------


def connect(session: Session, id: int, request: ConnectRequest) -> Work | None:
    """Grant the connection, or end it: nothing else may follow a refused connect."""
    if len(request.name) > NAME_CHARACTERS_MAX or len(request.version) > VERSION_CHARACTERS_MAX:
        raise BadRequest(f"name has up to {NAME_CHARACTERS_MAX} characters, version {VERSION_CHARACTERS_MAX}")
    session.sdk = session.node.sdk(request.name, request.version)
    fetched = session.node.tokens.ready(request.token) if request.token else None
    if fetched is not None:
        return _connect_with_key(session, id, request, fetched)
    return _connect(session, id, request)


async def _connect_with_key(
    session: Session, id: int, request: ConnectRequest, fetched: Awaitable[None]
) -> None:
    await fetched
    work = _connect(session, id, request)
    if work is not None:
        await work


def _connect(session: Session, id: int, request: ConnectRequest) -> Work | None:
    hooks = session.node.hooks
    if hooks is not None and hooks.has("connect"):
        return _connect_by_hook(session, id, request, hooks)
    claims = _authenticated(session, request.token)
    return _admit(session, id, request, claims) if claims is not None else None


async def _connect_by_hook(session: Session, id: int, request: ConnectRequest, hooks: Hooks) -> None:
    """Let a hook decide who connects, or, of somebody with a token, what goes with the connection."""
    claims = _authenticated(session, request.token) if request.token else None
    if not session.open:
        return
    if claims is not None and claims.watches:  # the console is none of the application's business
        work = _admit(session, id, request, claims)
        if work is not None:
            await work
        return
    session.info = ClientInfo(client=session.node.new_client_id(), user=claims.user if claims else "")
    session.claims = claims or ANONYMOUS
    asked = Connecting(
        **hooking.who(session, request.data),
        token=claims is not None,
        name=request.name,
        version=request.version,
        headers={**(session.headers or {}), **request.headers},
        channels=list(request.subs),
    )
    decision = await hooking.decided(session, id, hooks, asked)
    if decision is None:
        return
    if decision.decided:
        claims = _decided(session, hooking.claims_of(session.claims, decision, session.node.clock.now_ms()))
        if claims is not None and asked.token and claims.user != asked.user:
            log.error("hook connect: answered user %r for a token of user %r", claims.user, asked.user)
            raise Unavailable("the hook answered another user than the token's")
    elif claims is None:
        claims = _authenticated(session, "")
    work = _admit(session, id, request, claims) if claims is not None else None
    if work is not None:
        await work


def _decided(session: Session, claims: Claims) -> Claims | None:
    """Return what a hook decided, or end the connection of a user that is blocked."""
    try:
        session.node.revocations.check_user(claims.user, session.node.clock.now_ms())
    except PermissionDenied:
        session.disconnected(Disconnect.PERMISSION_DENIED)
        return None
    return claims


def _admit(session: Session, id: int, request: ConnectRequest, claims: Claims) -> Work | None:
    """Grant a connection to somebody who is known."""
    grants = _grants(session, claims, request)
    if len(grants) > session.node.options.channel_limit:
        session.disconnected(Disconnect.CHANNEL_LIMIT)
        return None
    beginnings = _beginnings(session, grants, request) if grants else []
    single = session.node.options.single_connection and claims.user and not claims.watches
    if single:
        for other in session.node.of(claims.user):
            if other is not session:
                other.disconnected(Disconnect.CONNECTION_LIMIT)
    if not _within_limits(session, claims):
        return None
    session.identify(claims)
    if single and session.node.singling is not None:
        session.node.singling.announce(session)
    starts = subscribing.found(session, beginnings)
    if starts is None:
        return _grant_later(session, id, beginnings, session.node.broker.namespaces)
    _grant(session, id, beginnings, starts)
    return None


def _beginnings(
    session: Session, grants: Mapping[str, Grant | None], request: ConnectRequest
) -> list[Beginning]:
    positions = {
        channel: Position(asked.epoch, asked.offset)
        for channel, asked in request.subs.items()
        if asked.recover
    }
    return [
        Beginning.of(session, channel, grant, positions.get(channel)) for channel, grant in grants.items()
    ]


def _within_limits(session: Session, claims: Claims) -> bool:
    """Tell whether the user may have one connection more, or end it."""
    node, user = session.node, claims.user
    most = 0 if claims.watches else node.options.user_connection_limit
    if most and user and sum(other is not session for other in node.of(user)) >= most:
        session.disconnected(Disconnect.CONNECTION_LIMIT)
    elif not node.limiting.connects(session.allowance, user):
        session.disconnected(Disconnect.TOO_MANY_REQUESTS)
    return session.open


def _authenticated(session: Session, token: str) -> Claims | None:
    """Return who connects, or end the connection."""
    node = session.node
    options = node.options
    if not token:
        if options.insecure or options.allow_anonymous_connect_without_token:
            return ANONYMOUS
        session.disconnected(Disconnect.BAD_REQUEST)
        return None
    claims = _believed(session, token)
    if claims is None:
        return None
    if options.insecure and not claims.watches:
        return structs.replace(claims, expires_ms=0) if claims.expires_ms else claims
    if 0 < claims.expires_ms <= node.clock.now_ms():
        raise TokenExpired("the connection that the token grants has expired")
    if not claims.user and options.disallow_anonymous_connection_tokens:
        session.disconnected(Disconnect.PERMISSION_DENIED)
        return None
    return claims


def _believed(session: Session, token: str) -> Claims | None:
    """Return what a token says if its signature holds and nobody revoked it, or end the connection.

    Raises:
        TokenExpired: it held once.
    """
    node, now_ms = session.node, session.node.clock.now_ms()
    try:
        claims = node.tokens.connection(token, now_ms)
        node.revocations.check(claims.user, claims.token_id, claims.issued_ms, now_ms)
    except TokenExpired:
        raise
    except Unauthorized as error:
        log.info("token refused", extra={"reason": str(error)})
        session.disconnected(Disconnect.INVALID_TOKEN)
    except PermissionDenied:
        session.disconnected(Disconnect.PERMISSION_DENIED)
    else:
        return claims
    return None


def _grants(session: Session, claims: Claims, request: ConnectRequest) -> Mapping[str, Grant | None]:
    """Return the channels that the server subscribes the connection to.

    Those of its token, the user's own, and what the client asks to have back and may follow by itself:
    nobody granted that, so it lasts only as long as it may.
    """
    personal = session.node.options.personal_channel(claims.user)
    if claims.watches:
        return claims.subscriptions
    if not personal and not request.subs:
        return claims.subscriptions
    grants: dict[str, Grant | None] = dict(claims.subscriptions)
    if personal:
        grants.setdefault(personal, PLAIN)
    for channel in request.subs:
        if channel not in grants and _follows(session, channel, claims.user):
            grants[channel] = None
    return grants


def _follows(session: Session, channel: str, user: str) -> bool:
    namespaces = session.node.broker.namespaces
    try:
        namespaces.of(channel)
        permissions.refuse_system(channel)
        if hooked(session, channel) is not None:
            return False  # whoever subscribes by itself there asks the hook
        return session.node.options.insecure or permissions.subscribes(namespaces, channel, user)
    except GaplessError:  # no such namespace any more, or not this user's: it is not given back
        return False


async def _grant_later(
    session: Session, id: int, beginnings: Sequence[Beginning], namespaces: Namespaces
) -> None:
    began_ms = session.node.clock.now_ms()
    starts = await subscribing.find(session, beginnings)
    if session.node.broker.namespaces is not namespaces:
        raise Unavailable("the node goes on with other namespaces; try again")
    if not session.expired():
        _grant(session, id, beginnings, starts, began_ms)


def _grant(
    session: Session,
    id: int,
    beginnings: Sequence[Beginning],
    starts: Sequence[Start],
    began_ms: int = 0,
) -> None:
    node, claims = session.node, session.claims
    for beginning in beginnings:
        node.broker.check_room(beginning.channel, beginning.terms)
    session.headers = None
    session.granted()
    expires_ms = 0 if claims.renewable else claims.expires_ms  # what the server renews, no client can
    result = ConnectResult(
        client=session.info.client,
        version=SERVER_VERSION,
        expires=expires_ms > 0,
        ttl=node.ttl_seconds(expires_ms),
        data=claims.data,
        ping=node.options.ping_interval_ms // 1000,
        pong=node.options.pong_timeout_ms > 0,
        time=node.clock.now_ms() if node.options.connect_include_server_time else 0,
    )
    if beginnings:
        _answer(session, id, result, beginnings, starts, began_ms)
    else:
        session.send(Reply(id, connect=result))


def _answer(
    session: Session,
    id: int,
    result: ConnectResult,
    beginnings: Sequence[Beginning],
    starts: Sequence[Start],
    began_ms: int,
) -> None:
    """Write the reply with what was subscribed to, then let each subscription read on."""
    session.node.broker.hub.settle()
    if not session.open:
        return
    fitting = list(subscribing.fitting(session, starts))
    subs = {}
    for (channel, terms, since), start in zip(beginnings, fitting, strict=True):
        told = subscribing.result_of(session, terms, start, recovering=since is not None)
        subs[channel] = (told, start.publications)
    session.write_part(session.wire.codec.connected(id, result, subs))
    for (channel, terms, _), start in zip(beginnings, fitting, strict=True):
        session.enter(channel, start, terms, began_ms)


# Refresh --------------------------------------------------------------------------------------


def refresh(session: Session, id: int, request: RefreshRequest) -> Work | None:
    """Prolong the connection with a new token of the same user."""
    if not request.token:
        session.disconnected(Disconnect.BAD_REQUEST)
        return None
    fetched = session.node.tokens.ready(request.token)
    if fetched is not None:
        return _refresh_with_key(session, id, request, fetched)
    _refresh(session, id, request)
    return None


async def _refresh_with_key(
    session: Session, id: int, request: RefreshRequest, fetched: Awaitable[None]
) -> None:
    await fetched
    _refresh(session, id, request)


def _refresh(session: Session, id: int, request: RefreshRequest) -> None:
    claims = _prolonging(session, request.token)
    if claims is None:
        return
    session.identify(claims)
    result = RefreshResult(
        client=session.info.client,
        version=SERVER_VERSION,
        expires=claims.expires_ms > 0,
        ttl=session.node.ttl_seconds(claims.expires_ms),
    )
    session.send(Reply(id, refresh=result))


def _prolonging(session: Session, token: str) -> Claims | None:
    """Return what a new token says, or end the connection.

    A client whose token is old, or grants other channels than before, is to connect anew.
    """
    node = session.node
    try:
        claims = _believed(session, token)
    except TokenExpired:
        session.disconnected(Disconnect.EXPIRED)
        return None
    if claims is None:
        return None
    if (claims.user, claims.watches) != (session.info.user, session.claims.watches):
        session.disconnected(Disconnect.INVALID_TOKEN)
    elif 0 < claims.expires_ms <= node.clock.now_ms():
        session.disconnected(Disconnect.EXPIRED)
    elif not session.claims.by_hook and claims.subscriptions.keys() != session.claims.subscriptions.keys():
        session.disconnected(Disconnect.INSUFFICIENT_STATE)
    else:
        return _prolonged(session.claims, claims, insecure=node.options.insecure and not claims.watches)
    return None


def _prolonged(before: Claims, claims: Claims, *, insecure: bool) -> Claims:
    """Return what a connection goes on with; what a hook gave stays."""
    expires_ms = 0 if insecure else claims.expires_ms
    if not before.by_hook:
        return structs.replace(claims, expires_ms=expires_ms, info=claims.info or before.info)
    return structs.replace(
        before,
        expires_ms=expires_ms,
        renewable=False,
        token_id=claims.token_id,
        issued_ms=claims.issued_ms,
        exp_ms=claims.exp_ms,
    )
