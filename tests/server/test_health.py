"""Healthy is a node in which a message goes round; everything else is told as what it is."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from gapless import backends
from gapless.broker.broker import Broker
from gapless.broker.namespaces import Namespaces
from gapless.core.errors import StoreError, StoreFailed, Unavailable
from gapless.core.limits import HEALTH_MS
from gapless.core.stream import Done, Entry
from gapless.ports import Streams
from gapless.server.health import NAMESPACE, Heartbeat
from tests.server.running import call, running
from tests.server.serving import HandClock, on_a_loop


@asynccontextmanager
async def beating(store: Streams) -> AsyncIterator[tuple[Heartbeat, HandClock]]:
    clock = HandClock()
    broker = Broker(store, clock, Namespaces(named=(NAMESPACE,)), soon=asyncio.get_running_loop().call_soon)
    await broker.open()
    try:
        yield Heartbeat(broker, clock, "me"), clock
    finally:
        await broker.close()
        await store.close()


@on_a_loop
async def test_a_healthy_node_answers_again_and_again() -> None:
    async with running() as node:
        for _ in range(3):
            assert await call(node, "/health", key=None, method="GET") == (200, {})
        assert node.info().num_subs == 0


@on_a_loop
async def test_who_asks_at_the_same_time_shares_one_message() -> None:
    async with beating(await backends.open("memory:")) as (heartbeat, _):
        await asyncio.gather(*[heartbeat.beat() for _ in range(10)])
        await heartbeat.beat()
        store = heartbeat._broker.store
        assert store.statistics().entries == 2


@on_a_loop
async def test_a_store_that_does_not_answer_makes_the_node_unhealthy_in_time() -> None:
    store = await backends.open("memory:")
    appended: list[Entry] = []

    def swallow(entries: Sequence[Entry], done: Done) -> None:
        appended.extend(entries)

    store.append = swallow  # type: ignore[method-assign]
    async with beating(store) as (heartbeat, clock):
        beat = asyncio.create_task(heartbeat.beat())
        while not appended:  # noqa: ASYNC110 # no event tells
            await asyncio.sleep(0)
        clock.move(HEALTH_MS)
        with pytest.raises(Unavailable, match="no message went round"):
            await beat


@on_a_loop
async def test_a_store_that_failed_makes_the_node_unhealthy_at_once() -> None:
    store = await backends.open("memory:")

    def fail(entries: Sequence[Entry], done: Done) -> None:
        raise StoreFailed("closed")

    store.append = fail  # type: ignore[method-assign]
    async with beating(store) as (heartbeat, _):
        for _ in range(2):
            with pytest.raises(StoreError, match="closed"):
                await heartbeat.beat()


@on_a_loop
async def test_a_node_about_to_stop_is_unhealthy() -> None:
    async with beating(await backends.open("memory:")) as (heartbeat, _):
        heartbeat.stopping = True
        with pytest.raises(Unavailable, match="shutting down"):
            await heartbeat.beat()


@on_a_loop
async def test_health_can_stand_elsewhere_or_be_off() -> None:
    async with running({"health": {"handler_prefix": "/up"}}) as node:
        assert (await call(node, "/up", method="GET"))[0] == 200
        assert (await call(node, "/health", method="GET"))[0] == 404
    async with running({"health": {"enabled": False}}) as node:
        assert (await call(node, "/health", method="GET"))[0] == 404


@on_a_loop
async def test_a_process_whose_store_stalls_is_alive_all_the_same() -> None:
    async with running() as node:
        node._store.append = lambda entries, done: None  # type: ignore[method-assign]
        asking = asyncio.create_task(call(node, "/health", method="GET"))
        assert (await call(node, "/health/live", method="GET")) == (200, {})
        assert not asking.done()
        del node._store.append
        asking.cancel()
