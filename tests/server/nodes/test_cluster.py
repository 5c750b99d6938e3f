"""Two whole nodes on one SQLite file, each on a port of its own, are one server."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gapless.server.node import Node
from tests.server.raw_socket import TEXT, RawSocket, frame
from tests.server.running import call, running
from tests.server.serving import on_a_loop

OPEN = {
    "allow_subscribe_for_client": True,
    "allow_subscribe_for_anonymous": True,
    "presence": True,
    "join_leave": True,
    "force_push_join_leave": True,
    "allow_presence_for_subscriber": True,
}
NAMESPACES = [
    {"name": "live", **OPEN},
    {"name": "kept", "history_size": 10, "history_ttl": "1m", "force_recovery": True, **OPEN},
]


class Client:
    """A connection, subscribed to what it likes."""

    def __init__(self, socket: RawSocket) -> None:
        self.socket = socket
        self.id = ""
        self._count = 0
        self._unread: list[dict[str, Any]] = []

    @classmethod
    async def connect(cls, node: Node, *channels: str) -> "Client":
        client = cls(await RawSocket.websocket(node.port, "/connection/websocket"))
        client.id = (await client.ask({"connect": {}}))["connect"]["client"]
        for channel in channels:
            await client.ask({"subscribe": {"channel": channel}})
        return client

    async def ask(self, command: dict[str, Any]) -> dict[str, Any]:
        self._count += 1
        number = self._count
        self.socket.send(frame(TEXT, json.dumps({"id": number, **command}).encode()))
        return await self.heard(lambda reply: reply.get("id") == number)

    async def heard(self, fits: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Return the first of what was heard that fits."""
        while True:
            for index, reply in enumerate(self._unread):
                if fits(reply):
                    return self._unread.pop(index)
            _, payload = await self.socket.receive()
            self._unread += [json.loads(line) for line in payload.split(b"\n") if line]

    async def push(self, kind: str) -> dict[str, Any]:
        reply = await self.heard(lambda reply: kind in reply.get("push", {}))
        pushed: dict[str, Any] = reply["push"][kind]
        return pushed


@asynccontextmanager
async def two(path: Path, *, one: Any = None, other: Any = None) -> AsyncIterator[tuple[Node, Node]]:
    config = {
        "store": {"url": f"sqlite:{path}/g.db", "durability": "memory"},
        "client": {"insecure": True},
        "channel": {"namespaces": NAMESPACES},
        "node": {"beat_interval": "100ms"},
    }
    async with running({**config, **(one or {})}) as a, running({**config, **(other or {})}) as b:
        await eventually(lambda: bool(a.cluster.registry.heard and b.cluster.registry.heard))
        yield a, b


async def eventually(condition: Callable[[], bool] | Callable[[], Awaitable[bool]]) -> None:
    while True:
        so = condition()
        if so if isinstance(so, bool) else await so:
            return
        await asyncio.sleep(0)


def test_publications_presence_and_joins_go_from_one_to_the_other(tmp_path: Path) -> None:
    @on_a_loop
    async def test() -> None:
        async with two(tmp_path) as (a, b):
            ann = await Client.connect(a, "live:1", "kept:1")
            bob = await Client.connect(b, "live:1", "kept:1")
            assert (await ann.push("join"))["info"]["client"] in (ann.id, bob.id)
            for channel in ("live:1", "kept:1"):
                await call(a, "/api/publish", {"channel": channel, "data": channel})
                assert (await bob.push("pub"))["data"] == channel

                async def both(channel: str = channel) -> bool:
                    asked = await bob.ask({"presence": {"channel": channel}})
                    return set(asked["presence"]["presence"]) == {ann.id, bob.id}

                await eventually(both)

                async def counted(channel: str = channel) -> bool:
                    told = (await call(a, "/api/presence_stats", {"channel": channel}))[1]
                    return bool(told["result"]["num_clients"] == 2)

                await eventually(counted)
            bob.socket.leave()
            assert (await ann.push("leave"))["info"]["client"] == bob.id
            ann.socket.leave()

    test()


def test_info_and_channels_tell_of_both(tmp_path: Path) -> None:
    @on_a_loop
    async def test() -> None:
        async with two(tmp_path, one={"node": {"name": "first", "beat_interval": "100ms"}}) as (a, b):
            clients = [await Client.connect(node, "live:1") for node in (a, b)]
            clients.append(await Client.connect(b, "live:2"))
            told = (await call(b, "/api/channels", {"pattern": "live:*"}))[1]["result"]
            assert told == {"channels": {"live:1": {"num_clients": 2}, "live:2": {"num_clients": 1}}}

            async def all_told() -> bool:
                nodes = (await call(b, "/api/info"))[1]["result"]["nodes"]
                assert {node["name"] for node in nodes} == {"first", b.name}
                return bool(sum(node["num_clients"] for node in nodes) == 3)

            await eventually(all_told)
            for client in clients:
                client.socket.leave()

    test()


def test_a_client_of_either_is_subscribed_and_disconnected_by_the_other(tmp_path: Path) -> None:
    @on_a_loop
    async def test() -> None:
        async with two(tmp_path) as (a, b):
            client = await Client.connect(b)
            whom = {"client": client.id}
            assert (await call(a, "/api/subscribe", {**whom, "channel": "live:1"}))[1] == {"result": {}}
            await client.push("subscribe")
            await client.push("join")
            assert (await call(a, "/api/disconnect", whom))[1] == {"result": {}}
            assert b.info().num_clients == 0
            assert (await client.socket.closed())[0] == 3503
            client.socket.leave()

    test()


def test_a_node_that_stops_says_so(tmp_path: Path) -> None:
    @on_a_loop
    async def test() -> None:
        async with two(tmp_path) as (a, b):
            await b.stop()
            await eventually(lambda: not a.cluster.registry.heard)
            assert [node["name"] for node in (await call(a, "/api/info"))[1]["result"]["nodes"]] == [a.name]

    test()


def test_nodes_that_are_configured_otherwise_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    @on_a_loop
    async def test() -> None:
        caplog.set_level(logging.ERROR)
        otherwise = {
            "channel": {"namespaces": NAMESPACES[:1]},
            "node": {"name": "odd", "beat_interval": "100ms"},
        }
        async with two(tmp_path, other=otherwise):
            await eventually(lambda: any("odd" in record.message for record in caplog.records))
        [told] = [record.message for record in caplog.records if "odd" in record.message]
        assert told.endswith("make these the same on all nodes: channel")

    test()
