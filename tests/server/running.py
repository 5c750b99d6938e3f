"""A whole node inside the test, on a free port, with a store in memory."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from itertools import count
from random import Random
from typing import Any

from gapless.server.clock import LoopClock
from gapless.server.config import Source, read
from gapless.server.node import Node
from tests.program import merged
from tests.server.raw_socket import RawSocket, Response

__all__ = ["KEY", "NAMESPACES", "call", "running"]

_SEEDS = count(7)  # no two nodes draw the same id
KEY = "key"
NAMESPACES = [
    {"name": "chat", "history_size": 100, "history_ttl": "10m", "force_recovery": True},
    {"name": "two", "history_size": 2, "history_ttl": "10m"},
    {"name": "object", "publication_data_format": "json_object"},
]
CONFIG = {
    "http_server": {"address": "127.0.0.1", "port": 0},
    "http_api": {"key": KEY},
    "channel": {"namespaces": NAMESPACES},
    "store": {"url": "memory:"},
    "shutdown": {"timeout": "5s"},
}


@asynccontextmanager
async def running(config: Mapping[str, Any] | None = None) -> AsyncIterator[Node]:
    """Run a node while the test does."""
    source = Source(name="test", tree=merged(CONFIG, config or {}))
    node = Node(read([source]), LoopClock(), Random(next(_SEEDS)))
    await node.start()
    try:
        yield node
    finally:
        await node.stop()


async def call(
    node: Node, target: str, body: object = b"{}", *fields: str, key: str | None = KEY, method: str = "POST"
) -> tuple[int, Any]:
    """Make one request; return the status, and the body read as JSON if it is."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    host = () if any(field.startswith("Host:") for field in fields) else ("Host: here",)
    lines = [f"{method} {target} HTTP/1.1", *host, f"Content-Length: {len(content)}", *fields]
    if key is not None:
        lines.append(f"X-API-Key: {key}")
    socket = await RawSocket.connect(node.port)
    try:
        socket.send("\r\n".join([*lines, "Connection: close", "", ""]).encode() + content)
        (response,) = await socket.responses()
    finally:
        socket.leave()
    return response.status, _read(response)


def _read(response: Response) -> Any:
    return (
        json.loads(response.body)
        if response.headers.get("content-type") == "application/json"
        else response.body
    )
