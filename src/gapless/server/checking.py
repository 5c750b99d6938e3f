"""What a node would refuse in its configuration: all of it at once, before store and port are opened."""

from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

from gapless import backends
from gapless.core.errors import ConfigError
from gapless.core.masking import masked_url
from gapless.ports import Durability
from gapless.server import listening, tls, tokens
from gapless.server.addresses import Addresses
from gapless.server.config import Config, Reading, refusal
from gapless.server.health import NAMESPACE
from gapless.server.messages import taken
from gapless.server.messages.paths import Paths
from gapless.server.origin import check
from gapless.server.site import is_below

__all__ = ["checked", "mistakes"]

PERSONAL: Final = "client.subscribe_to_user_personal_channel"
OPENAPI: Final = "/openapi.json"


def checked(reading: Reading, now_ms: int) -> Config:
    """Return a configuration that a node can start with, as far as what was written tells.

    Files that it names are read.

    Raises:
        ConfigError: says all that is wrong, and where it stands.
    """
    found = list(reading.mistakes)
    for mistake in mistakes(reading.draft, now_ms) if reading.draft is not None else ():
        place = reading.place(mistake.split()[0].rstrip(":"))
        found.append(f"{place}: {mistake}" if place else mistake)
    if found or reading.config is None:
        raise refusal(found)
    return reading.config


def mistakes(config: Config, now_ms: int) -> Iterator[str]:
    """Say what cannot be used, or would never do what it is for; each begins with the path of its key."""
    client = config.client
    yield from tls.mistakes(config.http_server.tls, now_ms)
    for proxy in config.http_server.trusted_proxies:
        yield from _said(partial(Addresses, [proxy]))
    for origin in client.allowed_origins:
        yield from _said(partial(check, origin))
    yield from tokens.mistakes(client.token, "client.token")
    if client.subscription_token.enabled:
        yield from tokens.mistakes(client.subscription_token, "client.subscription_token")
    yield from _personal_channel(config)
    yield from _aliases(config)
    yield from _paths(config)
    yield from _console(config)
    yield from _store(config)
    yield from _workers(config)
    yield from listening.mistakes(config.store, now_ms)


def _said(use: Callable[[], object]) -> Iterator[str]:
    try:
        use()
    except ConfigError as error:
        yield str(error)


def _personal_channel(config: Config) -> Iterator[str]:
    personal = config.client.subscribe_to_user_personal_channel
    name = personal.personal_channel_namespace
    if personal.enabled and name and name not in config.channel.compiled().rules:
        yield (
            f"{PERSONAL}.personal_channel_namespace: there is no namespace {name!r}, so nobody could connect:"
            " add it to channel.namespaces, or name one that is there"
        )


def _aliases(config: Config) -> Iterator[str]:
    if not config.messages.enabled:
        return
    prefix, namespaces = config.http_api.handler_prefix, config.channel.compiled(NAMESPACE)
    good: dict[str, str] = {}
    for path, channel in config.messages.aliases.items():
        try:
            Paths(prefix, good | {path: channel}, namespaces, taken(config))
            good[path] = channel
        except ConfigError as error:
            yield str(error)


def _paths(config: Config) -> Iterator[str]:
    """Find what would be served at a path of something else."""
    found: dict[str, str] = {}
    for key, path in _served(config):
        if path in found:
            yield f"{key}: {path!r} is taken by {found[path]}: write another path"
        else:
            found[path] = key


def _served(config: Config) -> list[tuple[str, str]]:
    """Return what is served, each as the key that says so and its path."""
    paths = (
        ("http_api.handler_prefix", config.http_api.handler_prefix, not config.http_api.disabled),
        ("http_api", OPENAPI, not config.http_api.disabled),
        ("websocket.handler_prefix", config.websocket.handler_prefix, not config.websocket.disabled),
        ("health.handler_prefix", config.health.handler_prefix, config.health.enabled),
        ("health.handler_prefix", f"{config.health.handler_prefix}/live", config.health.enabled),
        ("prometheus.handler_prefix", config.prometheus.handler_prefix, config.prometheus.enabled),
    )
    return [(key, path) for key, path, is_served in paths if is_served]


def _console(config: Config) -> Iterator[str]:
    """Find what keeps everybody out of the console, or its pages from what they need."""
    console, names = config.console, Counter(user.name for user in config.console.users)
    yield from (f"console.users: {name!r} is there {n} times" for name, n in names.items() if n > 1)
    if not console.enabled:
        return
    if not (console.users or config.http_api.key or console.insecure):
        yield "console.enabled: nobody could log in: add console.users, or set http_api.key"
    for key, disabled in (
        ("http_api.disabled", config.http_api.disabled),
        ("websocket.disabled", config.websocket.disabled),
    ):
        if disabled:
            yield f"console.enabled: the console needs what {key} switches off"
    prefix = console.handler_prefix
    for key, path in _served(config):
        if is_below(path, prefix) or is_below(prefix, path):
            yield f"console.handler_prefix: {prefix!r} and {path!r} ({key}) are in each other's way"


def _store(config: Config) -> Iterator[str]:
    url, least = config.store.url, config.store.minimum
    try:
        most = backends.strongest(url)
    except ConfigError as error:
        yield f"store.url: {error}"
        return
    classes = list(Durability)
    if classes.index(most) < classes.index(least):
        yield (
            f"store.durability: {least.value!r} is asked for, but {masked_url(url)} gives"
            f" {most.value!r} at most: use another store, or ask for less"
        )


def _workers(config: Config) -> Iterator[str]:
    workers = config.http_server.workers
    if workers > 1 and config.store.url.partition(":")[0] == "memory":
        yield (
            f"http_server.workers: {workers} processes cannot share {config.store.url}, which is one's own:"
            " keep messages elsewhere (store.url), or let one process do it"
        )
