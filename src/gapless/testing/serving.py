"""A real node for tests: on a free port of the loopback address, in a thread of its own."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from random import SystemRandom
from typing import Any, Final, NamedTuple

import uvloop

from gapless.library.local import DEFAULTS
from gapless.server.clock import LoopClock
from gapless.server.config import Source, read
from gapless.server.node import Node
from gapless.testing.blocking import looping

__all__ = ["Server", "serving"]

KEY_BYTES: Final = 16


class Server(NamedTuple):
    """A node that runs: where, and the key to its API."""

    url: str
    api_key: str


@contextmanager
def serving(config: Mapping[str, Any] | None = None, *, store: str = "memory:") -> Iterator[Server]:
    """Run a node with a store (`memory:`, or `sqlite:` and a path) while the test does.

    `config` is in the structure of a configuration file; without any, channels keep history.

    Raises:
        ConfigError: it is malformed. StoreRefused: the store may not be opened.
    """
    key = SystemRandom().randbytes(KEY_BYTES).hex()
    given = [
        Source(name="the test's server", tree={"store": {"url": store}, "http_api": {"key": key}}),
        Source(name="config", tree=dict(config)) if config else DEFAULTS,
        Source(name="gapless.testing", tree={"http_server": {"address": "127.0.0.1", "port": 0}}),
    ]
    configured = read(given)

    async def start() -> Node:
        node = Node(configured, LoopClock(), SystemRandom())
        await node.start()
        return node

    with looping(uvloop.new_event_loop()) as loop:
        node = asyncio.run_coroutine_threadsafe(start(), loop).result()
        try:
            yield Server(f"http://127.0.0.1:{node.port}", configured.http_api.key)
        finally:
            asyncio.run_coroutine_threadsafe(node.stop(), loop).result()
