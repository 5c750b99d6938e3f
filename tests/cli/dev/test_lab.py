"""What the lab adds to a node: methods of the API that `gapless serve` does not have."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import pytest

from gapless.cli.dev.lab import Lab
from gapless.server.clock import LoopClock
from gapless.server.config import Source, read
from gapless.server.hooks import Known, Runner
from gapless.server.node import Node
from tests.program import merged
from tests.server.raw_socket import RawSocket
from tests.server.running import CONFIG, call, running
from tests.server.serving import on_a_loop, until

METHODS = ("faults", "delay_store", "drop_bus", "cut", "start_worker", "stop_worker")
OPEN: Mapping[str, Any] = {
    "client": {"insecure": True},
    "websocket": {"handler_prefix": "/ws"},
    "store": {"check_interval": "50ms"},
}


@asynccontextmanager
async def nothing(node: Node) -> AsyncIterator[list[tuple[Known, Runner]]]:
    yield []


@asynccontextmanager
async def with_lab() -> AsyncIterator[Node]:
    lab = Lab()
    config = read([Source(name="test", tree=merged(CONFIG, OPEN))])
    node = Node(config, LoopClock(), Random(1), lab.beside(nothing), extension=lab)
    await node.start()
    try:
        yield node
    finally:
        await node.stop()


async def lab(node: Node, method: str, **asked: Any) -> Any:
    _, body = await call(node, f"/api/lab/{method}", asked)
    return body


async def faults(node: Node) -> Any:
    return (await lab(node, "faults"))["result"]["faults"]


class Client:
    """Somebody connected, whose replies are read one by one."""

    def __init__(self, socket: RawSocket) -> None:
        self.socket = socket
        self.id = ""
        self._heard: list[Any] = []

    @classmethod
    async def connect(cls, node: Node, *commands: Mapping[str, Any]) -> "Client":
        client = cls(await RawSocket.websocket(node.port))
        for command in ({"id": 1, "connect": {}}, *commands):
            client.say(command)
            reply = await client.hear()
            client.id = client.id or reply["connect"]["client"]
        return client

    def say(self, command: Mapping[str, Any]) -> None:
        text = json.dumps(command).encode()
        assert len(text) < 126
        mask = bytes(4)
        self.socket.send(bytes([0x81, 0x80 | len(text)]) + mask + text)

    async def hear(self) -> Any:
        if not self._heard:
            self._heard = [json.loads(line) for line in (await self._frame()).splitlines()]
        return self._heard.pop(0)

    async def _frame(self) -> bytes:
        head = await self.socket.reader.readexactly(2)
        size = head[1]
        if size == 126:
            size = int.from_bytes(await self.socket.reader.readexactly(2), "big")
        return await self.socket.reader.readexactly(size)


@on_a_loop
async def test_a_node_without_the_lab_knows_none_of_its_methods() -> None:
    async with running() as node:
        for method in METHODS:
            status, body = await call(node, f"/api/lab/{method}", {})
            assert (status, body["error"]["reason"]) == (404, "method_not_found")


@on_a_loop
async def test_a_client_is_cut_without_a_word() -> None:
    async with with_lab() as node:
        client = await Client.connect(node)
        other = await Client.connect(node)
        assert await lab(node, "cut", client=client.id) == {"result": {}}
        with pytest.raises(ConnectionResetError):
            await client.socket.rest()
        client.socket.leave()
        other.say({"id": 2, "subscribe": {"channel": "chat:1"}})
        assert (await other.hear())["id"] == 2
        assert len(node.sessions.all) == 1
        other.socket.leave()


@on_a_loop
async def test_nobody_is_cut_unless_somebody_is_named() -> None:
    async with with_lab() as node:
        client = await Client.connect(node)
        assert (await lab(node, "cut"))["error"]["message"] == "name the client, or the user"
        assert await lab(node, "cut", client="nobody") == {"result": {}}
        assert await lab(node, "cut", user="nobody") == {"result": {}}
        assert len(node.sessions.all) == 1
        client.socket.leave()


@on_a_loop
async def test_what_nobody_was_rung_for_is_found_by_the_next_look() -> None:
    async with with_lab() as node:
        client = await Client.connect(node, {"id": 2, "subscribe": {"channel": "chat:1"}})
        assert await lab(node, "drop_bus", for_ms=60_000) == {"result": {}}
        assert (await faults(node))["drop_bus"]["until_ms"] > node.clock.now_ms()
        healed = node.broker.placing.healed
        for number in range(5):
            _, body = await call(node, "/api/publish", {"channel": "chat:1", "data": number})
            assert body["result"]["offset"] == number + 1
        said: list[int] = []
        while len(said) < 5:
            said.append((await client.hear())["push"]["pub"]["data"])
        assert said == list(range(5))
        assert node.broker.placing.healed > healed
        client.socket.leave()


@on_a_loop
async def test_a_delayed_store_acknowledges_later_in_order() -> None:
    async with with_lab() as node:
        assert await lab(node, "delay_store", delay_ms=100, for_ms=60_000) == {"result": {}}
        told = (await faults(node))["delay_store"]
        assert told["delay_ms"] == 100
        began_ms = node.clock.now_ms()
        answers = await asyncio.gather(
            *(call(node, "/api/publish", {"channel": "chat:1", "data": n}) for n in range(3))
        )
        assert node.clock.now_ms() - began_ms >= 99
        assert sorted(body["result"]["offset"] for _, body in answers) == [1, 2, 3]


@on_a_loop
async def test_a_fault_is_bounded() -> None:
    async with with_lab() as node:
        for method, asked in (
            ("delay_store", {"delay_ms": 5_001, "for_ms": 1_000}),
            ("delay_store", {"delay_ms": 100, "for_ms": 60_001}),
            ("delay_store", {"delay_ms": 0, "for_ms": 1_000}),
            ("delay_store", {"delay_ms": 100}),
            ("drop_bus", {"for_ms": 60_001}),
            ("drop_bus", {"for_ms": "1s"}),
            ("drop_bus", {"for_ms": 1_000, "also": 1}),
            ("stop_worker", {"kill": "yes"}),
        ):
            status, body = await call(node, f"/api/lab/{method}", asked)
            assert (status, body["error"]["reason"]) == (400, "bad_request"), asked
        assert await faults(node) == {"worker": {"running": False}}


@on_a_loop
async def test_stopping_a_worker_that_is_not_there_is_no_error() -> None:
    async with with_lab() as node:
        assert await lab(node, "stop_worker", kill=True) == {"result": {}}


@on_a_loop
async def test_faults_end_with_the_node() -> None:
    async with with_lab() as node:
        await lab(node, "delay_store", delay_ms=5_000, for_ms=60_000)
        publishing = asyncio.ensure_future(call(node, "/api/publish", {"channel": "chat:1", "data": 1}))
        await until(lambda: node.broker.publications > 0)
        await node.stop()
        assert (await publishing)[1]["result"]["offset"] == 1
