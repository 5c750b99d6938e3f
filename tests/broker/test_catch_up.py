"""Readers and nodes that are behind: who waits for whom, and for how long."""

import asyncio
from typing import Any

import pytest
from msgspec.structs import replace

from gapless.core.stream import Entry, Page, Retention
from tests.conversation import OPEN, Stage, play, rest

KEPT = replace(OPEN, history_size=100, history_ttl_ms=600_000, force_recovery=True)


def test_who_read_ahead_of_its_node_goes_on_once_the_node_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """The node itself is never level: whenever it has read a page, another node has published again."""

    async def scene(stage: Stage) -> None:
        store = stage.broker.store
        read, pages = store.read, asyncio.Semaphore(0)

        async def one_by_one(stream: str, **options: Any) -> Page:
            await pages.acquire()
            page = await read(stream, **{**options, "limit_messages": 1})
            publish_elsewhere()
            return page

        def publish_elsewhere() -> None:
            store.append((Entry("a", b"{}", Retention(100, 600_000)),), lambda entries, outcomes: None)

        async def turn() -> None:
            pages.release()
            await rest()

        await stage.reader("a")
        for _ in range(4):
            publish_elsewhere()
        await rest()
        monkeypatch.setattr(store, "read", one_by_one)
        channel = stage.broker.hub.channels["a"]
        stage.broker.catch_up.reaches(channel, 4)
        await rest()
        reader = stage.peer()
        await reader.connect()
        reader.say({"subscribe": {"channel": "a", "recover": True, "epoch": channel.epoch, "offset": 2}})
        for _ in range(3):  # one page for the reader, which then stands at 3, and two for its node
            await turn()
        [reply] = reader.heard()
        assert [each["offset"] for each in reply["subscribe"]["publications"]] == [3]
        assert channel.sent == 2
        for _ in range(3):
            await turn()
        assert channel.healing
        assert reader.offsets() == [4, 5]

    play(scene, without=KEPT)


def test_what_is_erased_while_a_node_reads_is_in_no_tail_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(stage: Stage) -> None:
        store, go_on = stage.broker.store, asyncio.Event()
        read = store.read

        async def read_slowly(stream: str, **options: Any) -> Page:
            page = await read(stream, **options)
            await go_on.wait()
            return page

        reader = await stage.reader("a")
        for _ in range(3):  # through another node
            store.append((Entry("a", b"{}", Retention(100, 600_000)),), lambda entries, outcomes: None)
        monkeypatch.setattr(store, "read", read_slowly)
        stage.broker.catch_up.reaches(stage.broker.hub.channels["a"], 3)
        await rest()
        assert await stage.broker.removing.erase("a", 2)
        go_on.set()
        await rest()
        assert reader.offsets() == [1, 2, 3]
        late = stage.peer()
        await late.connect()
        reply = await late.follow("a", recover=True, epoch=stage.broker.placing.epoch, offset=0)
        assert [each["offset"] for each in reply["publications"]] == [1, 3]

    play(scene, without=KEPT)


def test_who_waits_for_a_page_that_cannot_be_read_for_an_unforeseen_reason_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scene(stage: Stage) -> None:
        async def broken(stream: str, **options: Any) -> Page:
            raise ZeroDivisionError

        failures: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: failures.append(context))
        reader = await stage.reader("a")
        channel = stage.broker.hub.channels["a"]
        [subscription] = channel.subscriptions
        await stage.publish("a", 1, 2)
        assert reader.offsets() == [1, 2]
        monkeypatch.setattr(stage.broker.store, "read", broken)
        stage.broker.hub.part(subscription)
        subscription.offset = 0
        stage.broker.hub.forget_tails(channel)
        stage.broker.catch_up.advance(subscription)
        await rest()
        assert [reply["push"]["unsubscribe"]["code"] for reply in reader.heard()] == [2500]
        stage.broker.catch_up.reaches(channel, 3)
        await rest()
        assert not channel.healing
        assert [type(each["exception"]) for each in failures] == [ZeroDivisionError] * 2

    play(scene, without=KEPT)
