"""Which option of the configuration decides what somebody may do in a channel."""

from collections.abc import Callable
from typing import Any, Final

from gapless.broker import permissions
from gapless.broker.broker import Broker
from gapless.broker.feeds import STREAMS
from gapless.broker.rules import rule_for
from gapless.core.errors import GaplessError, UnknownChannel
from gapless.server import signing
from gapless.server.config import Effective

__all__ = ["LIMITED", "Deciding"]

LIMITED: Final = "allow_user_limited_channels"


class Deciding:
    """Finds options by their paths, nothing where none decides; `effective` is what the node runs with."""

    def __init__(self, broker: Broker, effective: Callable[[], Effective]) -> None:
        self._broker = broker
        self._effective = effective

    def of_namespace(self, channel: str, option: str) -> str:
        """Return the path of an option of a channel's namespace."""
        return self._path(self._broker.namespaces.of(channel).namespace.name, option)

    def _path(self, namespace: str, option: str) -> str:
        path = self._effective().namespace_path(namespace)
        return f"{path}.{option}" if path else ""

    def of_name(self, channel: str, error: GaplessError) -> str:
        """Return what makes a name one that no channel can have."""
        namespaces = self._broker.namespaces
        grammar = namespaces.grammar
        if not channel or permissions.is_system(channel) or channel.startswith(f"{STREAMS}:"):
            return ""
        if isinstance(error, UnknownChannel):
            return "channel.namespaces"
        if len(channel) > grammar.bytes_max:
            return "channel.max_length"
        name, boundary, _ = channel.removeprefix(grammar.private_prefix).partition(grammar.namespace_boundary)
        return self._path(name if boundary else "", "channel_regex")

    def of_keys(self, error: GaplessError, *, subscription: bool) -> str:
        """Return what is missing where no token could be believed."""
        section, keys = signing.section_for(self._effective().config.client, subscription=subscription)
        return "" if signing.has_key(keys) else f"{section}.hmac_secret_key"

    def of_subscribing(self, channel: str, user: str) -> str:
        """Return what lets a user subscribe without a token, or keeps it from that."""
        namespaces = self._broker.namespaces
        namespace = namespaces.of(channel).namespace
        if namespace.name == STREAMS:
            return self._of_stream(channel, user)
        if namespaces.is_private(channel):
            return ""
        if namespace.allow_user_limited_channels and namespaces.users_of(channel) is not None:
            return self.of_namespace(channel, LIMITED)
        return self.of_namespace(channel, f"allow_subscribe_for_{_whom(namespace, 'subscribe', user)}")

    def _of_stream(self, channel: str, user: str) -> str:
        rules = self._effective().config.streams
        rule = rule_for(rules, channel.partition(":")[2].rpartition("/")[0])
        if rule is None:
            return "streams"
        return f"streams[{rules.index(rule)}].allow_read_for_{_whom(rule, 'read', user)}"

    def of_verb(self, channel: str, verb: str, user: str) -> str:
        """Return what lets a user publish or look, or keeps it from that."""
        namespace = self._broker.namespaces.of(channel).namespace
        return self.of_namespace(channel, f"allow_{verb}_for_{_whom(namespace, verb, user)}")


def _whom(options: Any, verb: str, user: str) -> str:
    """Return for whom a verb is or would have to be allowed: who has no name needs its own option besides."""
    for_client = getattr(options, f"allow_{verb}_for_client")
    for_subscriber = getattr(options, f"allow_{verb}_for_subscriber", False)
    if not user and (for_client or for_subscriber):
        return "anonymous"
    return "subscriber" if for_subscriber and not for_client else "client"
