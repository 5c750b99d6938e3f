"""The library over each of its doors, with the same channels behind them."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest

from gapless import Gapless
from tests.server.running import KEY, NAMESPACES, running

Opened = Callable[[], AbstractAsyncContextManager[Gapless]]
CHANNEL: dict[str, Any] = {
    "namespaces": NAMESPACES,
    "without_namespace": {"history_size": 100, "history_ttl": "1h"},
}
CONFIG: dict[str, Any] = {"channel": CHANNEL}


@pytest.fixture(params=["memory", "sqlite", "http", "websocket"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Opened:
    """What opens a Gapless: in this process, or a node and a connection to it."""

    @asynccontextmanager
    async def in_process(url: str) -> AsyncIterator[Gapless]:
        async with Gapless(url, config=CONFIG, random=Random(7)) as gl:
            yield gl

    @asynccontextmanager
    async def over_network(key: str) -> AsyncIterator[Gapless]:
        """With the key a backend reads on over HTTP; without, as on an insecure node, over a WebSocket."""
        insecure = {} if key else {"client": {"insecure": True}, "http_api": {"insecure": True}}
        async with (
            running({**CONFIG, **insecure}) as node,
            Gapless(f"http://127.0.0.1:{node.port}", api_key=key, random=Random(7)) as gl,
        ):
            yield gl

    urls = {"memory": "memory:", "sqlite": f"sqlite:{tmp_path / 'app.db'}"}
    if request.param not in urls:
        return lambda: over_network(KEY if request.param == "http" else "")
    return lambda: in_process(urls[request.param])
