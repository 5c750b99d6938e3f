"""What a session may do in a channel: everything on an insecure node, else what the namespace says.

Who watches, from the console, may read everything and do nothing, wherever that is.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol

from gapless.broker import permissions
from gapless.broker.feeds import STREAMS
from gapless.broker.tokens import Claims, Grant, SubscriptionClaims
from gapless.core.errors import PermissionDenied, TokenExpired, Unauthorized
from gapless.protocol.messages import ClientInfo
from gapless.server.hooks import Hooks

if TYPE_CHECKING:
    from gapless.server.sessions import Sessions

__all__ = [
    "Who",
    "check",
    "check_acting",
    "check_holds",
    "check_looking",
    "follow",
    "hooked",
    "is_meant",
    "sees",
]

WATCHING: Final = Grant()


class Who(Protocol):
    """Whose rights are asked for: a session, or somebody who might connect."""

    @property
    def node(self) -> "Sessions":
        """Where that is."""

    @property
    def claims(self) -> Claims:
        """What it connected with."""

    @property
    def info(self) -> ClientInfo:
        """What others see of that."""

    @property
    def subscriptions(self) -> Mapping[str, Any]:
        """The channels that it follows."""


def check(who: Who, channel: str, verb: str) -> None:
    """Refuse what the namespace does not allow (`PermissionDenied`)."""
    if who.claims.watches:
        if verb == "publish":
            check_acting(who)
        return
    if who.node.options.insecure:
        permissions.refuse_system(channel)
        return
    namespaces, subscribed = who.node.broker.namespaces, channel in who.subscriptions
    permissions.check(namespaces, channel, verb, who.info.user, subscribed=subscribed)


def check_acting(who: Who) -> None:
    """Refuse who only watches (`PermissionDenied`)."""
    if who.claims.watches:
        raise PermissionDenied("a connection of the console only looks on: act over the server API")


def hooked(who: Who, channel: str) -> Hooks | None:
    """Return the hooks to ask who subscribes to a channel, if any is; partitions of streams go by rights."""
    hooks = who.node.hooks
    if hooks is None or who.claims.watches or not hooks.has("subscribe", channel):
        return None
    streams = who.node.broker.namespaces.of(channel).namespace.name == STREAMS
    return None if streams else hooks


def follow(who: Who, channel: str) -> Grant | None:
    """Return what the connection's token grants for a partition of a stream; None, if the namespace allows.

    Raises:
        PermissionDenied: neither does.
    """
    if who.claims.watches:
        return WATCHING
    if who.node.options.insecure:
        return None
    namespaces, verbs, user = who.node.broker.namespaces, who.node.verbs, who.info.user
    if verbs is None or namespaces.of(channel).namespace.name != STREAMS:
        permissions.check_subscribe(namespaces, channel, user)
        return None
    stream = channel.partition(":")[2].rpartition("/")[0]
    verbs.access.check("stream/read", [stream], who.claims.streams, user)
    return Grant()


def is_meant(who: Who, channel: str, claims: SubscriptionClaims) -> bool:
    """Tell whether a subscription token is for this channel, and for this user and connection."""
    is_theirs = claims.user == who.info.user and claims.client in ("", who.info.client)
    return is_theirs and claims.channel == channel


def check_holds(who: Who, grant: Grant) -> None:
    """Refuse what a subscription token grants no more.

    Raises:
        TokenExpired: its time is over.
        PermissionDenied: it is revoked, or the user is blocked.
    """
    now_ms = who.node.clock.now_ms()
    if 0 < grant.expires_ms <= now_ms:
        raise TokenExpired("the subscription that the token grants has expired")
    try:
        who.node.revocations.check(who.info.user, grant.token_id, grant.issued_ms or 0, now_ms)
    except Unauthorized as error:
        raise PermissionDenied(str(error)) from error


def check_looking(who: Who, channel: str, verb: str) -> None:
    """Let nobody read by another command what it may not subscribe to, or has not where a hook decides."""
    if who.claims.watches:
        return
    if channel not in who.subscriptions and hooked(who, channel) is not None:
        raise PermissionDenied(f"who reads channel {channel!r} subscribes to it: a hook decides")
    if not who.node.options.insecure and channel not in who.subscriptions:
        permissions.limited(who.node.broker.namespaces, channel, who.info.user)
    check(who, channel, verb)


def sees(who: Who, channel: str, verb: str) -> bool:
    """Tell whether a subscriber of `channel` may."""
    if who.node.options.insecure or who.claims.watches:
        return True
    namespace = who.node.broker.namespaces.of(channel).namespace
    return permissions.allowed(namespace, verb, who.info.user, subscribed=True)
