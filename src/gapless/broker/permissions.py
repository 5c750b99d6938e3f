"""Who may do what in a channel: the rules of its namespace, whatever door a user comes in by.

An empty user is anonymous. That a node is insecure is its doors' affair: they do not ask here then.
"""

from typing import Final

from gapless.broker.namespaces import SYSTEM, Namespace, Namespaces
from gapless.core.errors import PermissionDenied, UnknownChannel

__all__ = [
    "allowed",
    "check",
    "check_subscribe",
    "hide_system",
    "is_system",
    "limited",
    "limited_to",
    "refuse_system",
    "subscribes",
]

WHO: Final = ("client", "subscriber", "anonymous")
RIGHTS: Final = {
    verb: tuple(f"allow_{verb}_for_{whom}" for whom in WHO) for verb in ("publish", "history", "presence")
}
"""The options that allow a verb, one for each of `WHO`."""


def is_system(channel: str) -> bool:
    """Tell whether a channel is the system's own, which nobody reads or writes but the system."""
    return channel.startswith(SYSTEM)


def refuse_system(channel: str) -> None:
    """Refuse what is the system's own, whatever token or mode (`PermissionDenied`)."""
    if channel.startswith(SYSTEM):
        raise PermissionDenied(f"channel {channel!r} is the system's own")


def hide_system(channel: str) -> None:
    """Know nothing of what is the system's own (`UnknownChannel`): a backend has no business there either."""
    if channel.startswith(SYSTEM):
        raise UnknownChannel(f"there is no namespace {channel.partition(':')[0]!r}")


def limited(namespaces: Namespaces, channel: str, user: str) -> bool:
    """Tell whether `channel` is limited to users, of whom this is one.

    Raises:
        PermissionDenied: it is limited to others, or needs a subscription token.
        UnknownChannel, BadRequest: there is no such namespace, or the name is malformed.
    """
    namespaces.of(channel)
    if namespaces.is_private(channel):
        raise PermissionDenied(f"channel {channel!r} needs a subscription token")
    return limited_to(namespaces, channel, user)


def limited_to(namespaces: Namespaces, channel: str, user: str) -> bool:
    """Do as `limited` for who needs no subscription token."""
    namespace, users = namespaces.of(channel).namespace, namespaces.users_of(channel)
    if users is None or not namespace.allow_user_limited_channels:
        return False
    if not user or user not in users:
        raise PermissionDenied(f"channel {channel!r} is limited to its users")
    return True


def subscribes(namespaces: Namespaces, channel: str, user: str) -> bool:
    """Tell whether `user` may subscribe without a subscription token; raises as `limited` does."""
    if limited(namespaces, channel, user):
        return True
    namespace = namespaces.of(channel).namespace
    return namespace.allow_subscribe_for_client and bool(user or namespace.allow_subscribe_for_anonymous)


def check_subscribe(namespaces: Namespaces, channel: str, user: str) -> None:
    """Refuse a subscription without a token that is not allowed (`PermissionDenied`)."""
    if not subscribes(namespaces, channel, user):
        raise PermissionDenied(f"no permission to subscribe to {channel!r}")


def allowed(namespace: Namespace, verb: str, user: str, *, subscribed: bool) -> bool:
    """Hold `allow_<verb>_for_{client,subscriber,anonymous}` against a user.

    Who is anonymous needs `for_anonymous` besides, as in Centrifugo.
    """
    for_client, for_subscriber, for_anonymous = RIGHTS[verb]
    if not user and not getattr(namespace, for_anonymous):
        return False
    return bool(getattr(namespace, for_client) or (subscribed and getattr(namespace, for_subscriber)))


def check(namespaces: Namespaces, channel: str, verb: str, user: str, *, subscribed: bool) -> None:
    """Refuse what `allowed` does not allow (`PermissionDenied`)."""
    if not allowed(namespaces.of(channel).namespace, verb, user, subscribed=subscribed):
        whom = "client" if user else "anonymous"
        raise PermissionDenied(f"no permission: see allow_{verb}_for_{whom} of the namespace of {channel!r}")
