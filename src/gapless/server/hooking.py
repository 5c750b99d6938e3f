"""What a session asks of hooks, and what it makes of their answers."""

import logging
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec.structs import replace

from gapless.broker.channel import Subscription
from gapless.broker.tokens import Claims, Grant, Override
from gapless.core.errors import GaplessError, PermissionDenied, Unavailable
from gapless.core.limits import HOOK_RETRY_MS
from gapless.protocol.codes import Disconnect, Unsubscribe
from gapless.protocol.hooks import (
    Decision,
    Disconnecting,
    Granted,
    HookAsked,
    HookName,
    Refreshing,
    Subscribing,
)
from gapless.protocol.messages import Error, Payload, Reply
from gapless.protocol.meta import is_json

if TYPE_CHECKING:
    from gapless.server.hooks import Hooks
    from gapless.server.session import Session

__all__ = ["claims_of", "decided", "grant_of", "left", "may_read", "payload_of", "renew", "who"]

log: Final = logging.getLogger("gapless.hooks")


def who(session: "Session", data: Payload | None = None) -> dict[str, Any]:
    """Return the fields of a question that say who asks."""
    said = {"client": session.info.client, **_kept(session.claims)}
    if session.wire.codec.binary:
        said["protocol"] = "protobuf"
    if data is not None and len(data):
        binary = session.wire.codec.binary and not is_json(bytes(data))
        said["b64data" if binary else "data"] = bytes(data) if binary else data
    return said


def _kept(claims: Claims) -> dict[str, Any]:
    said: dict[str, Any] = {"user": claims.user}
    for name, kept in (("info", claims.info), ("meta", claims.meta)):
        if len(kept):
            said[name] = msgspec.json.decode(bytes(kept))
    return said


async def decided(session: "Session", id: int, hooks: "Hooks", asked: HookAsked) -> Decision | None:
    """Return what a hook decides; None if the client was refused, or the connection is over.

    Raises:
        Unavailable: nothing was decided.
    """
    decision = await hooks.ask(asked)
    if session.expired():
        return None
    if decision.ending is not None:
        session.disconnected((decision.ending.code, decision.ending.reason))
        return None
    if decision.refusal is not None:
        refusal = decision.refusal
        session.node.counts.errors[refusal.code] += 1
        told = refusal.message or "permission denied"
        session.send(Reply(id, error=Error(refusal.code, told, refusal.temporary)))
        return None
    return decision


def claims_of(before: Claims, decision: Decision, now_ms: int) -> Claims:
    """Return what a connection has that a hook decided on; what is left out stays as it was."""
    expires_ms = now_ms + decision.expires_in_ms if decision.expires_in_ms else before.expires_ms
    issued = {channel: grant_of(Grant(), each, now_ms) for channel, each in decision.subscriptions.items()}
    return replace(
        before,
        user=before.user if decision.user is None else decision.user,
        expires_ms=expires_ms,
        info=decision.info if len(decision.info) else before.info,
        meta=decision.meta if len(decision.meta) else before.meta,
        data=decision.data,
        subscriptions={**before.subscriptions, **issued} if issued else before.subscriptions,
        queues={**before.queues, **decision.queues} if decision.queues else before.queues,
        streams={**before.streams, **decision.streams} if decision.streams else before.streams,
        issued_ms=before.issued_ms or now_ms,
        by_hook=True,
        renewable=bool(decision.expires_in_ms),
    )


def grant_of(before: Grant, granted: Granted, now_ms: int) -> Grant:
    """Return what a subscription has that a hook decided on; what is left out stays as it was."""
    override = before.override
    if granted.override:
        override = replace(override, **granted.override)
    return replace(
        before,
        info=granted.info if len(granted.info) else before.info,
        data=granted.data if len(granted.data) else before.data,
        override=override if override != Override() else before.override,
        expires_ms=now_ms + granted.expires_in_ms if granted.expires_in_ms else before.expires_ms,
        issued_ms=now_ms if before.issued_ms is None else before.issued_ms,
        renewable=bool(granted.expires_in_ms),
    )


def payload_of(session: "Session", decision: Decision) -> bytes:
    """Return an answer for the client. Raises Unavailable: it is binary, and the client speaks JSON."""
    data = decision.body()
    if decision.b64data is not None and not session.wire.codec.binary and not is_json(data):
        log.error("a hook answered bytes that are no JSON to a client that speaks JSON")
        raise Unavailable("the hook's answer cannot be told to a client that speaks JSON")
    return data


async def may_read(hooks: "Hooks", claims: Claims, channel: str, *, token: bool) -> bool:
    """Tell whether somebody without a connection may read a channel, by a `token` or a hook; else rules say.

    Raises:
        PermissionDenied: the hook refuses.
        Unavailable: nothing was decided.
    """
    asked = Subscribing(**_kept(claims), channel=channel, transport="http", token=token)
    decision = await hooks.ask(asked)
    if decision.refusal is not None or decision.ending is not None:
        raise PermissionDenied((decision.refusal and decision.refusal.message) or "permission denied")
    return decision.decided or token


def left(session: "Session", code: int, reason: str) -> None:
    """Let the hook know, if there is one, that a connection is over; of the console's it heard nothing."""
    hooks = session.node.hooks
    if session.claims.watches:
        return
    if hooks is not None and session.connected and hooks.has("disconnect"):
        hooks.tell(Disconnecting(**who(session), code=code, reason=reason))


# What hooks granted for a time ----------------------------------------------------------------


def renew(session: "Session", now_ms: int) -> None:
    """Ask for what a hook gave a time that is over; note when to look again."""
    times: list[tuple[int, Subscription | None]] = [
        (subscription.grant.expires_ms, subscription)
        for subscription in session.subscriptions.values()
        if subscription.grant is not None and subscription.grant.renewable
    ]
    if session.claims.renewable:
        times.append((session.claims.expires_ms, None))
    due = [each for expires_ms, each in times if expires_ms <= now_ms]
    later = [expires_ms for expires_ms, _ in times if expires_ms > now_ms]
    session.renew_ms = min([*later, now_ms + HOOK_RETRY_MS] if due else later, default=0)
    hooks = session.node.hooks
    for each in due:
        if hooks is not None and hooks.has(*_place(each)):
            session.start(0, _renew(session, hooks, each))
        else:
            _end(session, each)


def _place(subscription: Subscription | None) -> tuple[HookName, str]:
    return ("refresh", "") if subscription is None else ("sub_refresh", subscription.channel.name)


async def _renew(session: "Session", hooks: "Hooks", subscription: Subscription | None) -> None:
    """Have the time of the connection, or of one subscription, prolonged or ended."""
    hook, channel = _place(subscription)
    try:
        decision = await hooks.ask(Refreshing(**who(session), channel=channel))
    except GaplessError as error:
        log.warning("hook %s %s: %s; it is asked again", hook, channel, error)
        return
    now_ms = session.node.clock.now_ms()
    gone = subscription is not None and session.subscriptions.get(channel) is not subscription
    if not session.open or gone:
        return
    if decision.ending is not None:
        session.disconnected((decision.ending.code, decision.ending.reason))
    elif not decision.decided or decision.refusal is not None:
        _end(session, subscription)
    elif subscription is None:
        before = replace(session.claims, expires_ms=0)
        session.identify(replace(claims_of(before, decision, now_ms), user=before.user))
    else:
        before_it = replace(subscription.grant or Grant(), expires_ms=0)
        session.regrant(subscription, grant_of(before_it, decision, now_ms))


def _end(session: "Session", subscription: Subscription | None) -> None:
    """End what was not prolonged: the connection, whose client comes back, or one subscription."""
    if subscription is None:
        session.disconnected(Disconnect.EXPIRED)
    elif session.subscriptions.get(subscription.channel.name) is subscription:
        session.unsubscribed(subscription, Unsubscribe.EXPIRED)
