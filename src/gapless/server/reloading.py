"""What of a configuration can change while a node runs, and how a change is told without its secrets."""

from collections.abc import Iterator
from typing import Any

from msgspec.structs import replace

from gapless.broker.channel import Subscription
from gapless.broker.namespaces import Namespaces
from gapless.broker.permissions import is_system, subscribes
from gapless.core.errors import ConfigError, GaplessError
from gapless.core.masking import HIDDEN
from gapless.server.config import Config, Effective, SetAt
from gapless.server.config.fields import leaves
from gapless.server.config.showing import masked

__all__ = ["changes", "check_feeds", "may_stay", "origins_now", "reloaded"]


def reloaded(running: Config, read: Config) -> Config:
    """Return what a node goes on with that runs with one configuration and reads another.

    Namespaces, rules for queues and streams, hooks of workers, clients' options with their keys and origins,
    limits, the API's key, who may log in to the console, the certificate, how much is logged and how a stop
    is spread are those that were read; all else needs a restart.
    """
    api = replace(
        running.http_api,
        key=read.http_api.key,
        insecure=read.http_api.insecure,
        error_mode=read.http_api.error_mode,
    )
    console, people = running.console, read.console
    console = replace(
        console, users=people.users, insecure=people.insecure, session_ttl_ms=people.session_ttl_ms
    )
    log = replace(running.log, level=read.log.level)
    server, asked = running.http_server, read.http_server
    tls = asked.tls if server.tls.enabled and asked.tls.enabled else server.tls
    return replace(
        running,
        http_server=replace(server, tls=tls),
        client=read.client,
        channel=read.channel,
        queues=read.queues,
        streams=read.streams,
        hooks=read.hooks,
        http_api=api,
        console=console,
        limits=read.limits,
        log=log,
        shutdown=read.shutdown,
    )


def origins_now(before: Effective, read: Effective, now: Config) -> SetAt:
    """Return where each key was set of what a node goes on with `now`: where it is read, or was `before`."""
    held, told = _values(now), _values(read.config)
    origins = {}
    for path, value in held.items():
        place = (read if path in told and told[path] == value else before).origins.get(path)
        if place is not None:
            origins[path] = place
    return origins


def changes(before: Config, after: Config) -> Iterator[str]:
    """Yield each key that changed, with its values unless they are secret."""
    old, new = _values(before), _values(after)
    for path in [*new, *(path for path in old if path not in new)]:
        if path not in old or path not in new or old[path] != new[path]:
            yield f"{path} ({_told(path, old)} → {_told(path, new)})"


def may_stay(namespaces: Namespaces, subscription: Subscription, *, insecure: bool) -> bool:
    """Tell whether these namespaces allow a subscription; a grant holds whatever they say."""
    channel, reader = subscription.channel.name, subscription.reader
    if insecure or is_system(channel) or subscription.grant is not None:
        return True
    try:
        return subscribes(namespaces, channel, reader.info.user)
    except GaplessError:
        return False


def check_feeds(before: Namespaces, after: Namespaces) -> None:
    """Refuse (`ConfigError`) another number of partitions of a namespace that is kept as a stream."""
    held = {feed.source: len(feed.streams) for feed in before.feeds()}
    for feed in after.feeds():
        count = held.get(feed.source, len(feed.streams))
        if count != len(feed.streams):
            raise ConfigError(
                f"stream_partitions of namespace {feed.source!r}: it has {count}, which never changes"
            )


def _values(config: Config) -> dict[str, Any]:
    return {path: value for path, _, value in leaves(config)}


def _told(path: str, values: dict[str, Any]) -> str:
    if path not in values:
        return "not there"
    value = values[path]
    return "a secret" if value and masked(path, value) == HIDDEN else repr(masked(path, value))
