"""The messages API, for people who scroll: `GET …/channels/{channel}/messages`."""

from typing import Final

from gapless.broker.scrolling import Scrolling
from gapless.server.api import Door
from gapless.server.config import Config
from gapless.server.messages.door import MessagesDoor
from gapless.server.messages.items import items
from gapless.server.messages.paths import Paths
from gapless.server.messages.visitors import Fields, Visitors
from gapless.server.origin import Origins
from gapless.server.sessions import Sessions

__all__ = ["MessagesDoor", "messages", "taken"]

CONSOLE_DEPTH: Final = 5  # folders of its pages, and more


def messages(config: Config, sessions: Sessions, api: Door, origins: Origins) -> MessagesDoor:
    """Return the messages API over the channels of a node.

    Raises:
        ConfigError: one of `messages.aliases` is none.
    """

    def has_key(fields: Fields, query: bytes) -> bool:
        return not config.http_api.disabled and api.permits(fields.items(), query)

    prefix = config.http_api.handler_prefix
    paths = Paths(prefix, config.messages.aliases, sessions.broker.namespaces, taken(config))
    return MessagesDoor(Scrolling(sessions.broker, items), Visitors(sessions, has_key), origins, paths)


def taken(config: Config) -> list[str]:
    """Return the paths that no alias may have: something else is there."""
    prefix, console = config.http_api.handler_prefix, config.console
    return [
        prefix,
        *(f"{prefix}{area}/{{method}}" for area in ("", "/store", "/queue", "/stream")),
        config.websocket.handler_prefix,
        config.health.handler_prefix,
        f"{config.health.handler_prefix}/live",
        config.prometheus.handler_prefix,
        *(console.handler_prefix + "/{file}" * depth for depth in range(CONSOLE_DEPTH) if console.enabled),
    ]
