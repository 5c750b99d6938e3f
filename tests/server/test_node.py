"""A node starts only as it was asked to, and ends in good order."""

import asyncio
import json
from pathlib import Path

import pytest

from gapless import backends
from gapless.core.errors import ConfigError, StoreError, StoreFailed, StoreRefused, Unavailable
from gapless.ports import Streams
from gapless.server.node import Node
from tests.server.raw_socket import TEXT, RawSocket, frame, upgrade
from tests.server.running import call, running
from tests.server.serving import on_a_loop


async def connected(node: Node) -> RawSocket:
    socket = await RawSocket.websocket(node.port, "/connection/websocket")
    socket.send(frame(TEXT, b'{"id":1,"connect":{}}'))
    opcode, payload = await socket.receive()
    assert (opcode, json.loads(payload)["id"]) == (TEXT, 1)
    return socket


@on_a_loop
async def test_clients_are_asked_to_come_back_when_the_node_stops() -> None:
    async with running({"client": {"insecure": True}}) as node:
        port = node.port
        clients = [await connected(node) for _ in range(3)]
        assert node.info().num_clients == 3
        farewells = [asyncio.create_task(farewell(client)) for client in clients]
    assert await asyncio.gather(*farewells) == [(3001, "shutdown")] * 3
    with pytest.raises(OSError):
        await RawSocket.connect(port)


async def farewell(client: RawSocket) -> tuple[int, str]:
    told = await client.closed()
    client.leave()
    return told


@on_a_loop
async def test_a_request_in_flight_is_answered_before_the_node_ends() -> None:
    async with running() as node:
        socket = await RawSocket.connect(node.port)
        body = b'{"channel":"chat:1","data":1}'
        fields = ["Host: here", "X-API-Key: key", f"Content-Length: {len(body)}"]
        socket.send("\r\n".join(["POST /api/publish HTTP/1.1", *fields, "", ""]).encode(), body[:5])
        assert (await call(node, "/health", method="GET"))[0] == 200
        stopping = asyncio.create_task(node.stop())
        await asyncio.sleep(0)
        socket.send(body[5:])
        assert json.loads((await socket.response()).body)["result"]["offset"] == 1
        socket.leave()
        await stopping


@on_a_loop
async def test_a_request_that_never_ends_does_not_take_the_stores_time_to_close(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    store = {"url": f"sqlite:{tmp_path / 'gapless.db'}", "durability": "memory"}
    async with running({"shutdown": {"timeout": "1s"}, "store": store}) as node:
        socket = await RawSocket.connect(node.port)
        socket.send(b"POST /api/publish HTTP/1.1\r\nHost: here\r\nContent-Length: 9\r\n\r\n{")
        assert (await call(node, "/health", method="GET"))[0] == 200
    assert await socket.rest() == b""
    socket.leave()
    assert not [line for line in caplog.messages if "in time" in line]


@on_a_loop
async def test_the_parts_of_the_configuration_reach_those_they_concern() -> None:
    config = {
        "client": {"allowed_origins": ["https://good.example"], "insecure": True},
        "websocket": {"handler_prefix": "/ws", "message_size_limit": 100},
    }
    async with running(config) as node:
        socket = await RawSocket.websocket(node.port, "/ws", "Origin: https://good.example")
        socket.send(frame(TEXT, b" " * 101))
        assert (await socket.closed())[0] == 1009
        socket.leave()
        socket = await RawSocket.connect(node.port)
        socket.send(upgrade("/ws", "Origin: https://evil.example"))
        assert (await socket.response()).status == 403
        socket.leave()


@on_a_loop
async def test_the_window_of_idempotency_keys_reaches_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    given = []
    opening = backends.open

    async def opened(url: str, options: backends.Options) -> Streams:
        given.append(options.key_window_ms)
        return await opening(url, options)

    monkeypatch.setattr(backends, "open", opened)
    async with running({"store": {"idempotency_window": "90s"}}):
        assert given == [90_000]


@on_a_loop
async def test_a_store_below_the_asked_durability_is_refused() -> None:
    with pytest.raises(StoreRefused, match="'disk' is asked for, but memory: gives only 'memory'"):
        async with running({"store": {"durability": "disk"}}):
            pass


@on_a_loop
async def test_an_unknown_kind_of_store_is_refused() -> None:
    with pytest.raises(ConfigError, match="no store for the scheme 'nothing'"):
        async with running({"store": {"url": "nothing:here"}}):
            pass


@on_a_loop
async def test_a_port_in_use_is_told_and_nothing_stays_open() -> None:
    async with running() as node:
        with pytest.raises(Unavailable, match=f"port {node.port}: another process listens there"):
            async with running({"http_server": {"port": node.port}}):
                pass
        assert (await call(node, "/health", method="GET"))[0] == 200


@on_a_loop
async def test_a_store_that_closes_is_reported_once() -> None:
    async with running() as node:
        node.store_failed(StoreFailed("first"))
        node.store_failed(StoreFailed("second"))
        error: StoreError = await node.failed
        assert str(error) == "first"
