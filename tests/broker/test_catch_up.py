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
