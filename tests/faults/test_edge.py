"""An edge over TCP: its clients stay connected when the way to the owner is cut, or the owner is killed."""

import asyncio
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from centrifuge import (  # type: ignore[import-untyped] # it has no types
    Client,
    ClientEventHandler,
    SubscriptionEventHandler,
)

from gapless.server.clock import LoopClock
from gapless.testing.proxy import Proxy
from tests.faults.clients import connected
from tests.program import Program, free_port

CHANNEL = "chat"
KEY = "a-key-of-thirty-two-characters-or-more"
PATIENCE_SECONDS = 30
UNAVAILABLE = 100
CUTS, PUBLISHED = 10, 30
CONFIG = {
    "client": {"insecure": True},
    "channel": {"without_namespace": {"history_size": 100_000, "history_ttl": "24h", "force_recovery": True}},
    "store": {"durability": "process"},
}


class Follower(SubscriptionEventHandler):  # type: ignore[misc]
    """Notes what it is given."""

    def __init__(self) -> None:
        self.given: list[int] = []
        self.changed = asyncio.Event()
        self.subscribed = asyncio.Event()

    async def on_subscribed(self, ctx: Any) -> None:
        self.subscribed.set()

    async def on_publication(self, ctx: Any) -> None:
        self.given.append(ctx.pub.data)
        self.changed.set()

    async def until(self, count: int) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(self.given) < count:
                self.changed.clear()
                await self.changed.wait()


class Connection(ClientEventHandler):  # type: ignore[misc]
    """Counts how often its client had to connect."""

    def __init__(self) -> None:
        self.times = 0

    async def on_connected(self, ctx: Any) -> None:
        self.times += 1


class Scene:
    """An owner, an edge that reaches it through a proxy, and a client of the edge."""

    def __init__(self, folder: Path) -> None:
        self.listens_at = free_port()
        listen = {"listen": f"tcp://127.0.0.1:{self.listens_at}", "listen_key": KEY}
        self.folder = folder
        (folder / "owner").mkdir()
        (folder / "edge").mkdir()
        self.owner = Program(folder / "owner", CONFIG, {"store": listen})
        self.follower = Follower()
        self.connection = Connection()
        self.acknowledged: dict[int, int] = {}  # by their offsets
        self.count = 0

    async def begin(self) -> None:
        """Start all of it."""
        self.proxy = Proxy(("127.0.0.1", self.listens_at), LoopClock(), random.Random(1))
        port = await self.proxy.listen("127.0.0.1", 0)
        url = {"url": f"gapless+tcp://:{KEY}@127.0.0.1:{port}"}
        self.edge = Program(self.folder / "edge", CONFIG, {"store": url})
        await asyncio.to_thread(self.owner.start)
        await asyncio.to_thread(self.edge.start)
        self.client: Client = await connected(self.edge.url, self.connection)
        await self.client.new_subscription(CHANNEL, self.follower).subscribe()
        async with asyncio.timeout(PATIENCE_SECONDS):
            await self.follower.subscribed.wait()
        await self.publish(self.owner)
        await self.publish(self.edge)
        await self.follower.until(2)

    async def publish(self, program: Program, again: int = 0) -> dict[str, Any]:
        """Publish the next number, or one again; tell the error if there is one."""
        self.count += not again
        number = again or self.count
        answer = await asyncio.to_thread(
            program.api, "publish", channel=CHANNEL, data=number, idempotency_key=f"n-{number}"
        )
        if "error" not in answer:
            offset = answer["result"]["offset"]
            assert self.acknowledged.setdefault(offset, number) == number
        error: dict[str, Any] = answer.get("error", {})
        return error

    async def settle(self) -> None:
        """Wait until the client was given all; it never had to connect again."""
        await self.follower.until(len(self.acknowledged))
        assert self.follower.given == [number for _, number in sorted(self.acknowledged.items())]
        assert self.connection.times == 1, "the edge has kept its client"

    async def end(self) -> None:
        """End all of it."""
        await self.client.disconnect()
        await self.proxy.close()


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path)
    yield made
    made.owner.close()
    made.edge.close()


def test_an_edge_that_is_cut_off_keeps_its_clients_and_gives_them_all_afterwards(scene: Scene) -> None:
    async def run() -> None:
        await scene.begin()
        for _ in range(2):
            scene.proxy.block()
            await scene.publish(scene.owner)
            refused = await scene.publish(scene.edge)
            assert (refused["code"], refused["reason"], refused["temporary"]) == (
                UNAVAILABLE,
                "unavailable",
                True,
            )
            scene.proxy.unblock()
            waiting = asyncio.create_task(scene.publish(scene.edge))
            await scene.publish(scene.owner)
            assert not await waiting
            await scene.settle()
        await scene.end()

    asyncio.run(run())


def test_what_has_a_key_is_stored_once_however_often_the_way_is_cut_under_it(scene: Scene) -> None:
    async def until_acknowledged(number: int) -> None:
        while error := await scene.publish(scene.edge, number):
            assert error["temporary"]

    async def run() -> None:
        await scene.begin()
        for _ in range(CUTS):
            scene.count += PUBLISHED
            numbers = range(scene.count - PUBLISHED + 1, scene.count + 1)
            publishing = [asyncio.create_task(until_acknowledged(number)) for number in numbers]
            await asyncio.wait(publishing, return_when=asyncio.FIRST_COMPLETED)
            scene.proxy.block()
            scene.proxy.unblock()
            await asyncio.gather(*publishing)
        await scene.settle()
        assert sorted(scene.acknowledged.values()) == list(range(1, scene.count + 1))
        await scene.end()

    asyncio.run(run())


def test_an_edge_outlives_its_owner_and_its_clients_go_on_with_the_next_generation(scene: Scene) -> None:
    async def run() -> None:
        await scene.begin()
        for _ in range(3):
            await asyncio.to_thread(scene.owner.kill)
            waiting = asyncio.create_task(scene.publish(scene.edge))
            await asyncio.to_thread(scene.owner.start)
            assert not await waiting, "what waits is kept until the owner is back"
            await scene.publish(scene.owner)
            await scene.settle()
        await scene.end()

    asyncio.run(run())
