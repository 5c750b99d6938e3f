"""The methods that tell what a node runs with, and where each option was set."""

from collections.abc import Callable
from typing import Final

from msgspec import UNSET

from gapless import __version__
from gapless.broker.broker import Broker
from gapless.broker.feeds import STREAMS
from gapless.broker.namespaces import Namespace
from gapless.server.api.answers import ChannelOptions, Configuration, Option, Partition
from gapless.server.api.calls import encode
from gapless.server.api.info import Node
from gapless.server.api.requests import ChannelOptionsRequest, ConfigRequest
from gapless.server.config import Effective
from gapless.server.config.showing import lines, lines_of

__all__ = ["Settings"]

BUILT_IN: Final = "built in"


class Settings:
    """What operators may see of a configuration; `effective` is what the node runs with now."""

    def __init__(
        self, broker: Broker, nodes: Callable[[], list[Node]], effective: Callable[[], Effective]
    ) -> None:
        self._broker = broker
        self._nodes = nodes
        self._effective = effective

    def config(self, request: ConfigRequest) -> bytes:
        """Return every key with its value, and where it was set."""
        config, origins = self._effective()
        return encode(Configuration(__version__, self._nodes()[0].name, list(lines(config, origins))))

    def channel_options(self, request: ChannelOptionsRequest) -> bytes:
        """Return the options that hold in a channel.

        Raises:
            UnknownChannel, BadRequest: there is no such namespace, or the name is malformed.
        """
        namespaces, channel = self._broker.namespaces, request.channel
        namespace = namespaces.of(channel).namespace
        users = namespaces.users_of(channel) if namespace.allow_user_limited_channels else None
        told = ChannelOptions(
            namespace.name,
            self._options(namespace),
            private=namespaces.is_private(channel),
            users=UNSET if users is None else users,
            stream=_partition(channel) if namespace.name == STREAMS else UNSET,
        )
        return encode(told)

    def _options(self, namespace: Namespace) -> list[Option]:
        effective = self._effective()
        path = effective.namespace_path(namespace.name)
        options = []
        for line in lines_of(namespace, path, effective.origins):
            name = line.key.removeprefix(f"{path}.")
            if name != "name":
                options.append(Option(name, line.value, line.origin if path else BUILT_IN))
        return options


def _partition(channel: str) -> Partition:
    stream, _, number = channel.partition(":")[2].rpartition("/")
    return Partition(stream, int(number))
