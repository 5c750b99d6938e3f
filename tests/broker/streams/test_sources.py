"""Partitions of streams that others declared: the store is asked, and not again and again."""

from unittest.mock import AsyncMock, patch

from gapless.broker.streams.sources import ABSENT_MAX
from gapless.core.groups import StreamOptions
from gapless.core.limits import WAITING_CHECK_MS
from tests.broker.streaming import Run, Streams


def test_what_is_no_partition_is_asked_for_once_in_a_second(with_streams: Run) -> None:
    async def scene(streams: Streams) -> None:
        find, store = streams.broker.find_partition, streams.store
        asked = AsyncMock(side_effect=store.declared_streams)
        with patch.object(store, "declared_streams", asked):
            assert not await find("stream:late/0")
            await store.declare_stream("late", StreamOptions())  # in another process
            assert not await find("stream:late/0")
            assert asked.await_count == 1
            assert not await find("stream:late/1")
            assert await find("stream:late/0")
            assert asked.await_count == 2
            streams.clock.pass_ms(WAITING_CHECK_MS)
            assert not await find("stream:late/1")
            assert asked.await_count == 3

    with_streams(scene)


def test_what_is_no_partition_is_remembered_of_so_many(with_streams: Run) -> None:
    async def scene(streams: Streams) -> None:
        sources = streams.streaming.sources
        for number in range(ABSENT_MAX + 5):
            assert not await sources.find_channel(f"stream:s{number}/0")
        assert len(sources._absent) == ABSENT_MAX

    with_streams(scene)


def test_a_declaration_of_another_generation_is_asked_for_again(with_streams: Run) -> None:
    async def scene(streams: Streams) -> None:
        await streams.declare()
        sources = streams.streaming.sources
        assert sources.look("orders") is not None
        with patch.object(streams.store, "epoch", "another"):
            assert sources.look("orders") is None
            await sources.get("orders")
            assert sources.look("orders") is not None
        assert sources.look("orders") is None

    with_streams(scene)
