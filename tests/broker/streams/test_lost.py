"""A group whose place is gone: it halts, or goes on where it may, and that is recorded."""

import asyncio
from copy import deepcopy
from pathlib import Path

import pytest

from gapless import backends
from gapless.backends import Options
from gapless.backends.memory import Backend, Kept
from gapless.core.lineage import Fate
from gapless.protocol.groups import OnLost, SeekRequest
from gapless.protocol.messages import StreamPosition
from gapless.protocol.reading import Edge
from gapless.protocol.streams import TrimRequest
from tests.broker.streaming import Run, Streams, new, said
from tests.conversation import HandClock


def test_a_group_that_was_overtaken_halts_until_somebody_seeks(with_streams: Run) -> None:
    async def scene(streams: Streams) -> None:
        await streams.declare()
        await streams.append(*map(new, range(1, 6)))
        [held] = await streams.heartbeat()
        await streams.streaming.trim(TrimRequest(stream="orders", offset=3))
        for _ in range(2):
            error = (await streams.fetch((0, held.position)))[0]
            assert (error.reason, "offsets 4 to 5" in error.message) == ("position_trimmed", True)
        await streams.streaming.seek(SeekRequest(source="orders", group="billing", to=Edge.EARLIEST))
        [held] = await streams.heartbeat()
        assert said((await streams.fetch((0, held.position)))[0].messages) == [4, 5]

    with_streams(scene)


def test_with_oldest_a_group_that_was_overtaken_goes_on_and_that_is_recorded(with_streams: Run) -> None:
    async def scene(streams: Streams) -> None:
        await streams.declare()
        await streams.append(*map(new, range(1, 6)))
        [held] = await streams.heartbeat()
        await streams.streaming.trim(TrimRequest(stream="orders", offset=3))
        error = (await streams.fetch((0, held.position), on_lost=OnLost.OLDEST))[0]
        assert error.reason == "lease_lost"
        late = await streams.commit(held, 5)
        assert late.error is not None
        [held] = await streams.heartbeat()
        assert said((await streams.fetch((0, held.position)))[0].messages) == [4, 5]
        assert "skip" in await streams.audited(name="orders")

    with_streams(scene)


def test_a_member_that_lost_its_partition_moves_nobody(with_streams: Run) -> None:
    async def scene(streams: Streams) -> None:
        await streams.declare()
        await streams.append(*map(new, range(1, 6)))
        await streams.heartbeat(session_ms=1_000)
        streams.clock.pass_ms(1_000)
        [held] = await streams.heartbeat("two")
        await streams.streaming.trim(TrimRequest(stream="orders", offset=3))
        error = (await streams.fetch((0, held.position), on_lost=OnLost.OLDEST))[0]
        assert error.reason == "lease_lost"
        assert (await streams.stands())[0].offset == 0
        assert await streams.audited(what="skip") == []

    with_streams(scene)


@pytest.mark.parametrize(("fate", "reason"), [(Fate.CLEAN, "lease_lost"), (Fate.LOSSY, "timeline_gone")])
def test_a_group_that_had_read_what_the_store_lost_goes_on_at_the_cut(fate: Fate, reason: str) -> None:
    async def run() -> None:
        clock = HandClock()
        kept = Kept()
        first = await opened(clock, kept, Fate.CLEAN)
        await first.declare()
        await first.append(*map(new, range(1, 4)))
        [held] = await first.heartbeat()
        older = deepcopy(kept)
        await first.append(*map(new, range(4, 8)))
        await first.commit(held, 6)
        stood = StreamPosition(6, first.store.epoch)
        group = kept.readers
        await first.close()
        older.readers = group  # the group's own place outlived the messages
        second = await opened(clock, older, fate)
        await second.append(*(new(f"new {n}") for n in range(5)))
        error = (await second.fetch((0, stood)))[0]
        assert error.reason == reason
        if fate is Fate.CLEAN:
            [held] = await second.heartbeat()
            assert held.position == StreamPosition(3, stood.epoch)
            assert said((await second.fetch((0, held.position)))[0].messages)[0] == "new 0"
            assert "resume" in await second.audited(name="orders")
        await second.close()

    asyncio.run(run())


async def opened(clock: HandClock, kept: Kept, fate: Fate) -> Streams:
    streams = Streams(Backend(Options(now_ms=clock.now_ms), kept, fate), clock, ())
    await streams.open()
    return streams


def test_a_clean_restart_costs_a_group_nothing(tmp_path: Path) -> None:
    async def run() -> None:
        clock = HandClock()
        first = await reopened(tmp_path, clock)
        await first.declare()
        await first.append(new("read"), new("not read"))
        [held] = await first.heartbeat()
        await first.commit(held, 1)
        await first.close()
        await first.store.close()
        second = await reopened(tmp_path, clock)
        [held] = await second.heartbeat()
        assert held.position.epoch != second.store.epoch
        page = (await second.fetch((0, held.position)))[0]
        assert said(page.messages) == ["not read"]
        assert (await second.commit(held, page.through)).error is None
        [held] = await second.heartbeat()
        waiting = asyncio.ensure_future(second.fetch((0, held.position), wait_ms=30_000))
        await second.waits()
        await second.append(new("new"))
        assert said((await waiting)[0].messages) == ["new"]
        assert await second.audited(what="resume") == []
        await second.close()
        await second.store.close()

    asyncio.run(run())


async def reopened(folder: Path, clock: HandClock) -> Streams:
    store = await backends.open(f"sqlite:{folder}/log.db", Options(now_ms=clock.now_ms))
    streams = Streams(store, clock, ())
    await streams.open()
    return streams
