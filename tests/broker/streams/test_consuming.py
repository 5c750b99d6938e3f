"""Groups: who holds what, where they begin, fetching, committing."""

import asyncio
import json
from collections.abc import Awaitable
from typing import Any

import pytest

from gapless.core.errors import BadRequest, UnknownStream
from gapless.protocol.groups import LeaveRequest, SeekRequest
from gapless.protocol.messages import payload
from gapless.protocol.queues import Emit, EmitAppend, EmitPublish
from gapless.protocol.reading import Edge
from tests.broker.streaming import Run, Streams, new, said
from tests.conversation import T


def test_a_group_begins_once_where_it_first_meets_a_partition(with_streams: Run) -> None:
    async def scene(streams: Streams) -> None:
        await streams.declare()
        for n in (1, 2, 3):
            streams.clock.pass_ms(1_000)
            await streams.append(new(n))
        [earliest] = await streams.heartbeat()
        [latest] = await streams.heartbeat(group="latest", start=Edge.LATEST)
        [timed] = await streams.heartbeat(group="timed", start_ms=T + 2_000)
        assert [earliest.position.offset, latest.position.offset, timed.position.offset] == [0, 3, 1]
        await streams.append(new(4))
        await streams.streaming.leave(LeaveRequest(source="orders", group="latest", member="one"))
        [again] = await streams.heartbeat("two", group="latest", start=Edge.LATEST)
        assert again.position.offset == 3  # what came while nobody was there is not skipped

    with_streams(scene)


def test_members_share_partitions_and_a_late_commit_is_refused(with_streams: Run) -> None:
    async def scene(streams: Streams) -> None:
        await streams.declare(partitions=4)
        await streams.append(*(new(n, partition=n % 4) for n in range(8)))
        held = await streams.heartbeat()
        assert [each.partition for each in held] == [0, 1, 2, 3]
        assert await streams.heartbeat("two") == []
        mine = await streams.heartbeat()
        theirs = await streams.heartbeat("two")
        assert sorted(each.partition for each in mine + theirs) == [0, 1, 2, 3]
        assert len(mine) == len(theirs) == 2
        assert (await streams.commit(theirs[0], 1, "two")).error is None
        late = await streams.commit(next(each for each in held if each.partition == theirs[0].partition), 2)
        assert late.error is not None
        assert late.error.reason == "lease_lost"
        assert (await streams.stands())[theirs[0].partition].offset == 1

    with_streams(scene)


def test_a_member_that_was_silent_loses_its_partitions(with_streams: Run) -> None:
    async def scene(streams: Streams) -> None:
        await streams.declare()
        await streams.append(new(1))
        [paused] = await streams.heartbeat(session_ms=2_000)
        streams.clock.pass_ms(2_000)
        [taken] = await streams.heartbeat("two")
        assert taken.fence != paused.fence
        assert taken.fence_number > paused.fence_number
        late = await streams.commit(paused, 1)
        assert late.error is not None
        assert late.error.reason == "lease_lost"
        assert (await streams.commit(taken, 1, "two")).error is None

    with_streams(scene)


def test_a_heartbeat_that_waits_is_answered_when_the_group_changes(with_streams: Run) -> None:
    async def scene(streams: Streams) -> None:
        await streams.declare(partitions=2)
        held = await streams.heartbeat()

        async def answered_after(change: Awaitable[Any], *fences: str, member: str = "one") -> None:
            waiting = asyncio.ensure_future(streams.heartbeat(member, held=fences, wait_ms=10_000))
            await streams.waits()
            assert not waiting.done()
            await change
            await waiting

        both = [each.fence for each in held]
        await answered_after(streams.heartbeat("two"), *both)
        [mine] = await streams.heartbeat(held=both, wait_ms=10_000)  # at once: it is to let go
        await answered_after(streams.heartbeat("two", held=[]), mine.fence)
        [theirs] = await streams.heartbeat("two")
        await answered_after(_left(streams, "one"), theirs.fence, member="two")
        sought = SeekRequest(source="orders", group="billing", to=Edge.EARLIEST)
        fences = [each.fence for each in await streams.heartbeat("two")]
        await answered_after(streams.streaming.seek(sought), *fences, member="two")

    with_streams(scene)


async def _left(streams: Streams, member: str) -> None:
    await streams.streaming.leave(LeaveRequest(source="orders", group="billing", member=member))


def test_a_member_that_leaves_while_its_heartbeat_waits_is_not_heard_of_again(with_streams: Run) -> None:
    async def scene(streams: Streams) -> None:
        await streams.declare()
        [held] = await streams.heartbeat()
        waiting = asyncio.ensure_future(streams.heartbeat(held=[held.fence], wait_ms=10_000))
        await streams.waits()
        await _left(streams, "one")
        await waiting
        [group] = await streams.store.groups("orders")
        assert group.members == ()

    with_streams(scene)


def test_a_heartbeat_waits_no_longer_than_it_says(with_streams: Run) -> None:
    async def scene(streams: Streams) -> None:
        await streams.declare()
        [held] = await streams.heartbeat()
        waiting = asyncio.ensure_future(streams.heartbeat(held=[held.fence], wait_ms=10_000))
        await streams.waits()
        streams.clock.pass_ms(10_000)
        assert [each.fence for each in await waiting] == [held.fence]

    with_streams(scene)


def test_a_fetch_takes_partitions_by_turns_within_its_limits(with_streams: Run) -> None:
    async def scene(streams: Streams) -> None:
        await streams.declare(partitions=3)
        await streams.append(*(new("x" * 100, partition=0) for _ in range(50)))
        await streams.append(new("a", partition=1), new("b", partition=2))
        held = await streams.heartbeat()
        asked = [(each.partition, each.position) for each in held]
        pages = await streams.fetch(*asked, limit=9)
        assert sorted(pages) == [0, 1, 2]
        assert sum(len(page.messages) for page in pages.values()) <= 9
        assert said(pages[1].messages) == ["a"]
        small = [await streams.fetch(*asked, limit=1) for _ in range(3)]
        assert {partition for pages in small for partition in pages} == {0, 1, 2}
        tiny = await streams.fetch(*asked, limit_bytes=1)
        assert all(len(page.messages) == 1 for page in tiny.values())

    with_streams(scene)


def test_a_fetch_waits_for_an_append_to_any_of_its_partitions(with_streams: Run) -> None:
    async def scene(streams: Streams) -> None:
        await streams.declare(partitions=2)
        held = await streams.heartbeat()
        asked = [(each.partition, each.position) for each in held]
        fetching = asyncio.ensure_future(streams.fetch(*asked, wait_ms=30_000))
        await streams.waits()
        await streams.append(new("here", partition=1))
        assert said((await fetching)[1].messages) == ["here"]
        after = streams.position(1)
        idle = asyncio.ensure_future(streams.fetch((1, after), wait_ms=900))
        await streams.waits()
        streams.clock.pass_ms(900)
        assert await idle == {}
        with pytest.raises(BadRequest):
            await streams.fetch((1, after), (1, after))

    with_streams(scene)


def test_a_stop_answers_those_who_wait(with_streams: Run) -> None:
    async def scene(streams: Streams) -> None:
        await streams.declare()
        fetching = asyncio.ensure_future(streams.fetch((0, streams.position(0)), wait_ms=30_000))
        await streams.waits()
        streams.streaming.stop_waiting()
        assert await fetching == {}

    with_streams(scene)


def test_what_a_commit_emits_is_stored_with_it_or_not_at_all(with_streams: Run) -> None:
    async def scene(streams: Streams) -> None:
        await streams.declare()
        await streams.declare("bills", partitions=2)
        await streams.append(new(1), new(2))
        [held] = await streams.heartbeat()
        emit = (
            Emit(append=EmitAppend(stream="bills", key="k", data=payload(b'"bill"'))),
            Emit(publish=EmitPublish(channel="chat:1", data=payload(b'"told"'))),
        )
        done = await streams.commit(held, 1, emit=emit)
        assert done.result is not None
        assert [each.offset for each in done.result.emitted] == [1, 1]
        partition = done.result.emitted[0].partition
        assert said((await streams.read("bills", partition=partition)).messages) == ["bill"]
        again = await streams.commit(held, 1, emit=emit)
        assert again.error is None
        assert (await streams.read("bills", partition=partition)).last == 1
        unknown = (Emit(append=EmitAppend(stream="bils", data=payload(b"1"))),)
        refused = await streams.commit(held, 2, emit=unknown)
        assert refused.error is not None
        assert refused.error.reason == "unknown_stream"
        assert (await streams.stands())[0].offset == 1

    with_streams(scene)


def test_a_commit_leads_forward_and_to_what_there_is(with_streams: Run) -> None:
    async def scene(streams: Streams) -> None:
        await streams.declare()
        await streams.append(*map(new, range(5)))
        [held] = await streams.heartbeat()
        assert (await streams.commit(held, 3)).error is None
        for offset in (2, 6):
            refused = await streams.commit(held, offset)
            assert refused.error is not None
            assert refused.error.reason == "position_conflict"

    with_streams(scene)


def test_a_channel_is_consumed_by_a_group(with_streams: Run) -> None:
    async def scene(streams: Streams) -> None:
        await streams.publish("chat:1", "a", "b")
        [held] = await streams.heartbeat(source="chat:1")
        pages = await streams.fetch((0, held.position), source="chat:1")
        assert said(pages[0].messages) == ["a", "b"]
        with pytest.raises(UnknownStream):
            await streams.heartbeat(source="nothing")

    with_streams(scene)


def test_commits_of_an_audited_stream_are_recorded(with_streams: Run) -> None:
    async def scene(streams: Streams) -> None:
        await streams.declare(audit=True)
        await streams.append(new(1))
        [held] = await streams.heartbeat()
        done = await streams.commit(held, 1)
        assert done.result is not None
        assert done.result.emitted == ()
        assert json.dumps(await streams.audited()) == '["commit", "append", "declare"]'

    with_streams(scene)
