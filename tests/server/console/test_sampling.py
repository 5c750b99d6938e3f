"""A node's numbers over time: kept as long as they should, by all nodes, and each second for who follows."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

import msgspec
import pytest

from gapless.broker.channel import Subscription
from gapless.core.errors import StoreFailed, TooManyRequests
from gapless.core.limits import SAMPLE_MS, SAMPLE_SLOW_MS, SAMPLED_DAYS_MS, SAMPLED_MINUTES_MS
from gapless.core.stream import Done, Entry, Position
from gapless.server.config import Source, read
from gapless.server.console.sampling import DAYS, MINUTES, WATCHED_MS
from gapless.server.engine import open_store
from gapless.server.node import Node
from tests.conversation import HandClock, Peer
from tests.program import merged
from tests.server.running import CONFIG
from tests.server.serving import on_a_loop, until

ON = {
    "console": {"enabled": True, "insecure": True},
    "client": {"insecure": True, "ping_interval": "1h"},
}
SEEDS = iter(range(100, 10_000))


@asynccontextmanager
async def sampled(clock: HandClock, **config: Any) -> AsyncIterator[Node]:
    """Run a node whose time, and its store's, is in the test's hand."""
    source = Source(name="test", tree=merged(CONFIG, ON, config))
    node = Node(read([source]), clock, Random(next(SEEDS)))
    with patch("gapless.server.node.open_store", partial(open_store, now_ms=clock.now_ms)):
        await node.start()
    await quiet(node)
    try:
        yield node
    finally:
        stopping = asyncio.create_task(node.stop())
        while not stopping.done():
            clock.pass_ms(1)
            await asyncio.sleep(0)


async def quiet(*nodes: Node) -> None:
    """Let the nodes finish storing what they have begun to store."""
    for node in nodes:
        await until(partial(_is_quiet, node))


def _is_quiet(node: Node) -> bool:
    keeping = node._sampling._keeping
    return keeping is not None and keeping.done()


async def passes(clock: HandClock, ms: int, *nodes: Node) -> None:
    """Let time pass, from one second to the next."""
    for _ in range(ms // 1_000):
        clock.pass_ms(1_000)
        await quiet(*nodes)


async def leap(clock: HandClock, ms: int, node: Node) -> None:
    """Let much time pass at once."""
    clock._now_ms += ms
    await passes(clock, 1_000, node)


async def kept(node: Node, channel: str = MINUTES) -> list[dict[str, Any]]:
    held = await node.broker.history(channel, limit=10_000)
    return [json.loads(message.data) for message in held.messages]


class Ear:
    """Follows the samples as a console does, straight at the broker."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.peer = Peer(node)  # type: ignore[arg-type]

    async def follow(self, since: Position | None = None) -> Subscription:
        session = self.peer.session
        await self.peer.connect()
        start = await self.node.broker.start(MINUTES, session, since)
        subscription = self.node.broker.enter(MINUTES, session, start)
        session.subscriptions[MINUTES] = subscription
        return subscription

    async def heard(self) -> list[dict[str, Any]]:
        for _ in range(12):
            await asyncio.sleep(0)
        return [reply["push"]["pub"] for reply in self.peer.heard() if "pub" in reply.get("push", {})]


@on_a_loop
async def test_a_sample_is_kept_every_ten_seconds_and_one_every_five_minutes() -> None:
    clock = HandClock()
    async with sampled(clock) as node:
        assert len(await kept(node)) == 1
        await passes(clock, 600_000, node)
        minutes, days = await kept(node), await kept(node, DAYS)
        assert len(minutes) == 1 + 600_000 // SAMPLE_MS
        assert len(days) == 600_000 // SAMPLE_SLOW_MS
        assert all(sample["at_ms"] % SAMPLE_MS < 1_000 for sample in minutes[1:])
        assert {sample["node"] for sample in minutes + days} == {node.uid}


@on_a_loop
async def test_a_sample_tells_what_metrics_tell() -> None:
    clock = HandClock()
    async with sampled(clock) as node:
        ear = Ear(node)
        await ear.follow()
        for number in range(3):
            node.broker.publish("chat:1", b"%d" % number, lambda outcome: None)
        await passes(clock, SAMPLE_MS, node)
        (*_, last) = await kept(node)
        gauges, counters = last["gauges"], last["counters"]
        assert (gauges["connections"], gauges["channels"], gauges["subscriptions"]) == (1, 1, 1)
        assert (gauges["nodes"], gauges["deaf"], gauges["behind"]) == (1, 0, 0)
        assert gauges["rss_bytes"] > 0 < gauges["cpu_s"]
        assert (counters["opened"], counters["closed"], counters["lost"]) == (1, 0, 0)
        assert counters["entries"] >= 4
        assert (counters["publications"], counters["deliveries"]) == (3, 0)  # samples are told, not counted
        assert last["name"] == node.name
        assert last["started_ms"] == node.sources.started_ms
        assert last["writer"] is True


@on_a_loop
async def test_a_sample_of_an_ordinary_server_is_small() -> None:
    clock = HandClock()
    async with sampled(clock, queues=[{"name": f"queue-{n}"} for n in range(5)]) as node:
        (sample,) = await kept(node)
        assert len(sample["queues"]) == 5
        assert len(json.dumps(sample, separators=(",", ":"))) < 1_500


def test_samples_survive_a_restart_of_the_node(tmp_path: Path) -> None:
    @on_a_loop
    async def test() -> None:
        clock, store = HandClock(), {"url": f"sqlite:{tmp_path}/g.db", "durability": "memory"}
        async with sampled(clock, store=store) as node:
            await passes(clock, 5 * SAMPLE_MS, node)
            before = await kept(node)
            end = (await node.broker.history(MINUTES, limit=0)).offset
            epoch = node.broker.placing.epoch
        clock.pass_ms(60_000)
        async with sampled(clock, store=store) as again:
            after = await kept(again)
            assert after[: len(before)] == before
            assert after[len(before)]["started_ms"] > before[-1]["started_ms"]
            assert after[len(before)]["node"] == again.uid != before[-1]["node"]
            start = await again.broker.start(MINUTES, Ear(again).peer.session, Position(epoch, end - 2))
            assert start.recovered
            assert len(start.publications) == 3

    test()


@on_a_loop
async def test_samples_are_kept_for_hours_and_for_days() -> None:
    clock = HandClock()
    async with sampled(clock) as node:
        await passes(clock, 600_000, node)
        assert (len(await kept(node)), len(await kept(node, DAYS))) == (61, 2)
        await leap(clock, SAMPLED_MINUTES_MS, node)
        assert (len(await kept(node)), len(await kept(node, DAYS))) == (1, 3)
        await leap(clock, SAMPLED_DAYS_MS, node)
        assert (len(await kept(node)), len(await kept(node, DAYS))) == (1, 1)


@on_a_loop
async def test_each_second_is_told_only_while_somebody_follows() -> None:
    clock = HandClock()
    async with sampled(clock) as node:
        ear = Ear(node)
        entries = node.broker.store.statistics().entries
        await passes(clock, 5_000, node)
        publications = node.broker.publications
        subscription = await ear.follow()
        await passes(clock, 4_000, node)
        told = await ear.heard()
        assert len(told) == 4
        assert not any(publication.get("offset") for publication in told)
        assert node.broker.publications == publications + 4
        assert node.broker.store.statistics().entries == entries
        node.broker.leave(subscription)
        await passes(clock, 2_000, node)
        assert await ear.heard() == []


@on_a_loop
async def test_who_follows_is_told_the_kept_ones_with_their_offsets() -> None:
    clock = HandClock()
    async with sampled(clock) as node:
        ear = Ear(node)
        await ear.follow()
        await passes(clock, 3 * SAMPLE_MS, node)
        told = await ear.heard()
        assert len(told) == 30
        assert [each["offset"] for each in told if each.get("offset")] == [2, 3, 4]


def test_of_two_nodes_one_tells_of_queues_and_groups(tmp_path: Path) -> None:
    @on_a_loop
    async def test() -> None:
        clock = HandClock()
        config = {
            "store": {"url": f"sqlite:{tmp_path}/g.db", "durability": "memory"},
            "queues": [{"name": "mail"}],
            "node": {"beat_interval": "1m"},
        }
        async with sampled(clock, **config) as one, sampled(clock, **config) as other:
            await meet(clock, one, other)
            before = len(await kept(one))
            await passes(clock, 2 * SAMPLE_MS, one, other)
            samples = (await kept(one))[before:]
            first = min(one.uid, other.uid)
            assert {sample["node"] for sample in samples} == {one.uid, other.uid}
            assert {sample["node"] for sample in samples if "queues" in sample} == {first}
            assert {sample["node"] for sample in samples if sample["writer"]} == {one.uid}
            assert all(sample["gauges"]["nodes"] == 2 for sample in samples)

    test()


def test_who_follows_at_one_node_is_told_each_second_of_all(tmp_path: Path) -> None:
    @on_a_loop
    async def test() -> None:
        clock = HandClock()
        config = {
            "store": {"url": f"sqlite:{tmp_path}/g.db", "durability": "memory"},
            "node": {"beat_interval": "1m"},
        }
        async with sampled(clock, **config) as one, sampled(clock, **config) as other:
            await meet(clock, one, other)
            ear = Ear(one)
            subscription = await ear.follow()
            seen: set[str] = set()
            while seen != {one.uid, other.uid}:
                await passes(clock, 1_000, one, other)
                seen |= {each["data"]["node"] for each in await ear.heard() if not each.get("offset")}
            one.broker.leave(subscription)
            await passes(clock, WATCHED_MS + 1_000, one, other)
            assert not one._sampling._is_watched()
            while other._sampling._is_watched():  # what was told last may come late
                await passes(clock, 1_000, one, other)

    test()


@on_a_loop
async def test_groups_are_told_with_how_far_they_are_behind() -> None:
    clock = HandClock()
    async with sampled(clock, streams=[{"name": "orders", "partitions": 2}]) as node:
        verbs = node.verbs
        assert verbs is not None
        kinds = verbs.catalogue
        beat = kinds["stream/heartbeat"][0](source="orders", group="billing", member="m")
        await verbs.call("stream/heartbeat", beat)
        append = b'{"stream":"orders","messages":[{"data":1},{"data":2},{"data":3}]}'
        await verbs.call("stream/append", msgspec.json.decode(append, type=kinds["stream/append"][0]))
        await passes(clock, SAMPLE_MS, node)
        (*_, last) = await kept(node)
        assert last["groups"]["orders/billing"]["lag"] == 3
        assert last["groups"]["orders/billing"]["lag_ms"] > 0


@on_a_loop
async def test_a_store_that_does_not_answer_piles_up_no_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = HandClock()
    async with sampled(clock) as node:
        held: list[tuple[tuple[Entry, ...], Done]] = []
        with monkeypatch.context() as patched:
            patched.setattr(node.broker, "_append", lambda entries, done: held.append((entries, done)))
            for _ in range(60):
                clock.pass_ms(1_000)
                for _ in range(5):
                    await asyncio.sleep(0)
            assert len(held) == 1
            entries, done = held[0]
            done(entries, [StoreFailed("closed")] * len(entries))
            await quiet(node)
        await passes(clock, 2_000, node)
        assert len(await kept(node)) == 2


@on_a_loop
async def test_samples_that_a_full_store_does_not_take_change_no_counter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = HandClock()
    async with sampled(clock) as node:

        def full(entries: Sequence[Entry], done: Done) -> None:
            raise TooManyRequests("the store takes nothing now")

        with monkeypatch.context() as patched:
            patched.setattr(node.broker, "_append", full)
            await passes(clock, 5 * SAMPLE_MS, node)
        node.broker.publish("chat:1", b"1", lambda outcome: None)
        await passes(clock, SAMPLE_MS, node)
        assert (await kept(node))[-1]["counters"]["publications"] == 1


@on_a_loop
async def test_a_store_that_is_slow_to_tell_of_queues_is_asked_less_often(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = HandClock()
    async with sampled(clock) as node:
        assert node.verbs is not None
        call = node.verbs.call

        async def slow(verb: str, *given: Any) -> Any:
            if verb == "queue/list":
                clock.pass_ms(2_500)
            return await call(verb, *given)

        monkeypatch.setattr(node.verbs, "call", slow)
        await passes(clock, 60_000, node)
        told = ["queues" in sample for sample in await kept(node)]
        assert told[:2] == [True, True]
        assert told[2:5] == [False, False, True]


@on_a_loop
async def test_a_node_without_the_console_keeps_no_samples() -> None:
    clock = HandClock()
    source = Source(name="test", tree=CONFIG)
    node = Node(read([source]), clock, Random(3))
    await node.start()
    clock.pass_ms(60_000)
    assert (await node.broker.history(MINUTES, limit=10)).messages == []
    stopping = asyncio.create_task(node.stop())
    while not stopping.done():
        clock.pass_ms(1)
        await asyncio.sleep(0)


async def meet(clock: HandClock, one: Node, other: Node) -> None:
    while not (one.cluster.registry.heard and other.cluster.registry.heard):
        clock.pass_ms(1)
        await asyncio.sleep(0)
    await quiet(one, other)
