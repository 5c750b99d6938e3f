"""What is kept: declarations, trimming, dropping, compaction, the audit stream."""

import asyncio
from unittest.mock import Mock

import pytest

from gapless.broker.rules import StreamRule
from gapless.core.errors import BadRequest, TooManyRequests, UnknownStream
from gapless.core.groups import StreamOptions
from gapless.core.limits import COMPACT_CHECK_MS
from gapless.protocol.streams import (
    AuditRequest,
    CompactRequest,
    DeclareStreamRequest,
    DropStreamRequest,
    ListStreamsRequest,
    TrimRequest,
)
from gapless.protocol.websocket import WebSocketWire
from tests.broker.streaming import Run, Streams, new, said
from tests.conversation import T, rest


def test_a_smaller_count_or_age_holds_at_once(with_streams: Run) -> None:
    async def scene(streams: Streams) -> None:
        assert await streams.declare()
        for n in range(1, 11):
            streams.clock.pass_ms(1_000)
            await streams.append(new(n))
        assert not await streams.declare(retention_messages=6)
        assert said((await streams.read()).messages) == [5, 6, 7, 8, 9, 10]
        await streams.declare(retention_ms=3_500)
        assert said((await streams.read()).messages) == [7, 8, 9, 10]
        with pytest.raises(BadRequest, match="1 partitions"):
            await streams.declare(partitions=2)
        with pytest.raises(BadRequest, match="compact needs keyed"):
            await streams.declare(compact=True)

    with_streams(scene)


def test_retention_holds_for_each_partition(with_streams: Run) -> None:
    async def scene(streams: Streams) -> None:
        await streams.declare(partitions=2, retention_messages=3)
        await streams.append(*(new(n, partition=n % 2) for n in range(10)))
        assert said((await streams.read(partition=0)).messages) == [4, 6, 8]
        assert said((await streams.read(partition=1)).messages) == [5, 7, 9]

    with_streams(scene)


def test_a_trim_drops_through_an_offset_or_before_a_time(with_streams: Run) -> None:
    async def scene(streams: Streams) -> None:
        await streams.declare(partitions=2)
        for n in range(5):
            streams.clock.pass_ms(1_000)
            await streams.append(new(n, partition=0), new(n, partition=1))
        [one] = (
            await streams.streaming.trim(TrimRequest(stream="orders", partition=1, offset=2), "me")
        ).partitions
        assert (one.partition, one.oldest, one.last) == (1, 3, 5)
        both = await streams.streaming.trim(TrimRequest(stream="orders", before_ms=T + 4_000))
        assert [each.oldest for each in both.partitions] == [4, 4]
        for malformed in ({}, {"offset": 1}, {"offset": 1, "partition": 0, "before_ms": 1}):
            with pytest.raises(BadRequest):
                await streams.streaming.trim(TrimRequest(stream="orders", **malformed))
        records = (await streams.streaming.audit(AuditRequest(what="trim"))).records
        assert [(each.who, each.name, each.details) for each in records][1] == (
            "me",
            "orders",
            {"oldest": {"1": 3}},
        )

    with_streams(scene)


def test_a_dropped_stream_is_gone_with_what_was_in_it(with_streams: Run) -> None:
    async def scene(streams: Streams) -> None:
        await streams.declare()
        await streams.append(new("old"))
        await streams.heartbeat()
        await streams.streaming.drop(DropStreamRequest(stream="orders"))
        with pytest.raises(UnknownStream):
            await streams.append(new())
        with pytest.raises(UnknownStream):
            await streams.streaming.drop(DropStreamRequest(stream="orders"))
        assert await streams.declare(partitions=2)
        assert said((await streams.read(partition=0)).messages) == []
        assert await streams.store.groups("orders") == []

    with_streams(scene)


def test_streams_are_listed_by_pages(with_streams: Run) -> None:
    async def scene(streams: Streams) -> None:
        for name in ("c", "a", "b"):
            await streams.declare(name, partitions=2, retention_bytes=10_000)
        await streams.append(new(1, partition=1), stream="a")
        page = await streams.streaming.list(ListStreamsRequest(limit=2))
        assert ([each.stream for each in page.streams], page.next) == (["a", "b"], "b")
        assert [each.last for each in page.streams[0].partitions] == [0, 1]
        assert page.streams[0].options.retention_bytes == 10_000
        rest_of = await streams.streaming.list(ListStreamsRequest(after=page.next))
        assert ([each.stream for each in rest_of.streams], rest_of.next) == (["c", "chat:"], "")

    with_streams(scene)


def test_compaction_leaves_the_last_of_each_key_by_the_verb_and_by_itself(with_streams: Run) -> None:
    async def scene(streams: Streams) -> None:
        await streams.declare(keyed=True, compact=True)
        await streams.append(*(new(n, key=f"k{n % 2}") for n in range(6)))
        done = await streams.streaming.compact(CompactRequest(stream="orders"))
        assert done.erased == 4
        assert said((await streams.read()).messages) == [4, 5]
        await streams.append(new(6, key="k0"))
        streams.clock.pass_ms(COMPACT_CHECK_MS)
        while said((await streams.read()).messages) != [5, 6]:
            await rest()
        await streams.declare("plain")
        with pytest.raises(BadRequest, match="not keyed"):
            await streams.streaming.compact(CompactRequest(stream="plain"))

    with_streams(scene)


def test_the_audit_stream_is_read_newest_first_in_pages(with_streams: Run) -> None:
    async def scene(streams: Streams) -> None:
        for name in ("a", "b", "c"):
            await streams.declare(name)
        first = await streams.streaming.audit(AuditRequest(limit=2))
        assert [record.name for record in first.records] == ["c", "b"]
        then = await streams.streaming.audit(AuditRequest(limit=2, before=first.next))
        assert ([record.name for record in then.records], then.next) == (["a"], 0)
        assert [record.who for record in then.records] == ["tester"]
        assert [record.at_ms for record in then.records] == [T]
        assert await streams.audited(name="b") == ["declare"]

    with_streams(scene)


def test_who_follows_a_stream_that_is_dropped_is_told(with_streams: Run) -> None:
    async def scene(streams: Streams) -> None:
        await streams.declare()
        reader = Mock(wire=WebSocketWire(binary=False), paused=False, subscriptions={})
        start = await streams.broker.start("stream:orders/0", reader, None)
        streams.broker.enter("stream:orders/0", reader, start)
        await streams.streaming.drop(DropStreamRequest(stream="orders"))
        assert reader.unsubscribed.called

    with_streams(scene)


def test_what_a_rule_says_holds_for_what_is_there(with_streams: Run) -> None:
    async def scene(streams: Streams) -> None:
        await streams.declare("mine")
        await streams.append(*map(new, range(5)), stream="mine")
        streams.streaming.follow([StreamRule(name="mine", retention_messages=2), StreamRule(name="made")])
        while "made" not in await streams.store.declared_streams():
            await rest()
        await streams.streaming.stop()
        assert said((await streams.read("mine")).messages) == [3, 4]

    with_streams(scene)


def test_of_rules_that_change_twice_at_once_the_last_ones_hold(with_streams: Run) -> None:
    async def scene(streams: Streams) -> None:
        declare, go_on = streams.store.declare_stream, asyncio.Event()

        async def slow(name: str, options: StreamOptions) -> bool:
            if options.retention.count == 2:
                await go_on.wait()
            return await declare(name, options)

        streams.store.declare_stream = slow  # type: ignore[method-assign]
        for kept in (2, 3):
            streams.streaming.follow([StreamRule(name="mine", retention_messages=kept)])
            await rest()
        go_on.set()
        await streams.streaming.stop()
        assert (await streams.store.declared_streams())["mine"].retention.count == 3

    with_streams(scene)


def test_a_stream_that_was_dropped_is_not_remembered(with_streams: Run) -> None:
    async def scene(streams: Streams) -> None:
        await streams.declare("mine", compact=True, keyed=True)
        await streams.append(new(1, key="k"), new(2, key="k"), stream="mine")
        await streams.streaming.compact(CompactRequest(stream="mine"))
        await streams.streaming.drop(DropStreamRequest(stream="mine"))
        streams.clock.pass_ms(COMPACT_CHECK_MS)
        await rest()
        while streams.streaming._keeping._compacted:
            await rest()

    with_streams(scene)


def test_what_was_done_to_a_stream_holds_though_it_cannot_be_recorded(
    with_streams: Run, caplog: pytest.LogCaptureFixture
) -> None:
    async def scene(streams: Streams) -> None:
        def full(entries: object, done: object) -> None:
            raise TooManyRequests("no room")

        streams.broker._append = full
        assert (await streams.streaming.declare(DeclareStreamRequest(stream="mine"))).fresh
        assert "is not in the audit stream: no room" in caplog.text

    with_streams(scene)
