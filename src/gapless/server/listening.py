"""Where other machines may join the store of this one: `store.listen`, and what is wrong with it."""

from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

from gapless.core.errors import ConfigError
from gapless.core.limits import SHARED_KEY_BYTES_MIN
from gapless.server import tls
from gapless.server.config.model import Store
from gapless.sharing.remote import Listen

__all__ = ["listen_of", "mistakes"]

EXAMPLE: Final = "tcp://127.0.0.1:7800"


def listen_of(store: Store, now_ms: int) -> Listen | None:
    """Return where to listen, or None for nowhere. Reads files.

    Raises:
        ConfigError: it is no place, has no key or one that can be guessed, or its TLS cannot be used.
    """
    if not store.listen:
        return None
    host, port = _place(store.listen)
    if len(store.listen_key.encode()) < SHARED_KEY_BYTES_MIN:
        raise ConfigError(
            f"store.listen_key: has to be {SHARED_KEY_BYTES_MIN} random characters or more, as who has it may"
            " read and write everything: openssl rand -hex 32"
        )
    secured = tls.context(store.listen_tls, now_ms, "store.listen_tls")
    return Listen(host, port, store.listen_key.encode(), secured)


def mistakes(store: Store, now_ms: int) -> Iterator[str]:
    """Say what cannot be used; each begins with the path of its key."""
    if store.listen and not store.url.startswith("sqlite:"):
        yield 'store.listen: only a file is shared from here (store.url = "sqlite:…"): leave it out'
    try:
        listen_of(store, now_ms)
    except ConfigError as error:
        yield str(error)


def _place(url: str) -> tuple[str, int]:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ConfigError(f"store.listen: {url!r}: {error}: write {EXAMPLE}") from error
    if parts.scheme != "tcp" or not host or port is None or parts.path or parts.query or "@" in parts.netloc:
        raise ConfigError(f"store.listen: {url!r} is no place to listen: write {EXAMPLE}")
    return host, port
