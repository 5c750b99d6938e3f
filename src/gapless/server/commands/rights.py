"""What a session may do in a channel: everything on an insecure node, else what the namespace says.

Who watches, from the console, may read everything and do nothing, wherever that is.
"""

from typing import Final

from gapless.broker import permissions
from gapless.broker.feeds import STREAMS
from gapless.broker.tokens import Grant
from gapless.core.errors import PermissionDenied
from gapless.server.hooks import Hooks
from gapless.server.session import Session

__all__ = ["check", "check_acting", "check_looking", "follow", "hooked", "sees"]

WATCHING: Final = Grant()


def check(session: Session, channel: str, verb: str) -> None:
    """Refuse what the namespace does not allow (`PermissionDenied`)."""
    if session.claims.watches:
        if verb == "publish":
            check_acting(session)
        return
    if session.node.options.insecure:
        permissions.refuse_system(channel)
        return
    namespaces, subscribed = session.node.broker.namespaces, channel in session.subscriptions
    permissions.check(namespaces, channel, verb, session.info.user, subscribed=subscribed)


def check_acting(session: Session) -> None:
    """Refuse who only watches (`PermissionDenied`)."""
    if session.claims.watches:
        raise PermissionDenied("a connection of the console only looks on: act over the server API")


def hooked(session: Session, channel: str) -> Hooks | None:
    """Return the hooks to ask who subscribes to a channel, if any is; partitions of streams go by rights."""
    hooks = session.node.hooks
    if hooks is None or session.claims.watches or not hooks.has("subscribe", channel):
        return None
    streams = session.node.broker.namespaces.of(channel).namespace.name == STREAMS
    return None if streams else hooks


def follow(session: Session, channel: str) -> Grant | None:
    """Return what the connection's token grants for a partition of a stream; None, if the namespace allows.

    Raises:
        PermissionDenied: neither does.
    """
    if session.claims.watches:
        return WATCHING
    if session.node.options.insecure:
        return None
    namespaces, verbs, user = session.node.broker.namespaces, session.node.verbs, session.info.user
    if verbs is None or namespaces.of(channel).namespace.name != STREAMS:
        permissions.check_subscribe(namespaces, channel, user)
        return None
    stream = channel.partition(":")[2].rpartition("/")[0]
    verbs.access.check("stream/read", [stream], session.claims.streams, user)
    return Grant()


def check_looking(session: Session, channel: str, verb: str) -> None:
    """Let nobody read by another command what it may not subscribe to, or has not where a hook decides."""
    if session.claims.watches:
        return
    if channel not in session.subscriptions and hooked(session, channel) is not None:
        raise PermissionDenied(f"who reads channel {channel!r} subscribes to it: a hook decides")
    if not session.node.options.insecure and channel not in session.subscriptions:
        permissions.limited(session.node.broker.namespaces, channel, session.info.user)
    check(session, channel, verb)


def sees(session: Session, channel: str, verb: str) -> bool:
    """Tell whether a subscriber of `channel` may."""
    if session.node.options.insecure or session.claims.watches:
        return True
    namespace = session.node.broker.namespaces.of(channel).namespace
    return permissions.allowed(namespace, verb, session.info.user, subscribed=True)
