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
CONFIG: dict[str, Any] = {"channel": {"namespaces": NAMESPACES}}


@pytest.fixture(params=["memory", "sqlite", "http"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Opened:
    """What opens a Gapless: in this process, or a node and a connection to it."""

    @asynccontextmanager
    async def in_process(url: str) -> AsyncIterator[Gapless]:
        async with Gapless(url, config=CONFIG, random=Random(7)) as gl:
            yield gl

    @asynccontextmanager
    async def over_network() -> AsyncIterator[Gapless]:
        async with (
            running({"client": {"insecure": True}}) as node,
            Gapless(f"http://127.0.0.1:{node.port}", api_key=KEY, random=Random(7)) as gl,
        ):
            yield gl

    urls = {"memory": "memory:", "sqlite": f"sqlite:{tmp_path / 'app.db'}"}
    if request.param == "http":
        return over_network
    return lambda: in_process(urls[request.param])
