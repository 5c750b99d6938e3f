"""How streams are kept: what is said changes, what is not stays, and a rule of the configuration holds."""

import logging

import pytest

from gapless.broker.namespaces import STREAMS_NAMESPACE, Namespace, Namespaces
from gapless.broker.rules import StreamRule
from gapless.core.errors import BadRequest, UnknownStream
from gapless.protocol.settings import FullStreamSettings
from gapless.protocol.streams import AuditRequest, DeclareStreamRequest, ListStreamsRequest
from gapless.testing.conformance.places import append
from tests.broker.streaming import CHAT, Run, Streams, new, said


async def kept(streams: Streams, stream: str = "orders") -> FullStreamSettings:
    listed = (await streams.streaming.list(ListStreamsRequest())).streams
    return next(each.options for each in listed if each.stream == stream)


def test_what_a_declaration_does_not_say_stays_as_it_is(with_streams: Run) -> None:
    async def scene(streams: Streams) -> None:
        assert await streams.declare(partitions=4, keyed=True, retention_messages=10)
        assert not await streams.declare()
        assert not await streams.declare(retention_ms=5_000, audit=True)
        assert await kept(streams) == FullStreamSettings(
            partitions=4, keyed=True, retention_messages=10, retention_ms=5_000, audit=True
        )
        await streams.declare(retention_messages=0)
        assert (await kept(streams)).retention_messages == 0
        with pytest.raises(BadRequest, match="4 partitions"):
            await streams.declare(partitions=1)
        with pytest.raises(BadRequest, match="compact needs keyed"):
            await streams.declare(compact=True, keyed=False)

    with_streams(scene)


def test_a_rule_holds_whatever_a_declaration_says(
    with_streams: Run, caplog: pytest.LogCaptureFixture
) -> None:
    async def scene(streams: Streams) -> None:
        assert not await streams.declare("fs", partitions=2, retention_ms=9_000)
        assert not caplog.records
        assert not await streams.declare("fs", partitions=3, keyed=False, retention_messages=99)
        assert await kept(streams, "fs") == FullStreamSettings(
            partitions=2, keyed=True, retention_messages=10, retention_ms=9_000
        )
        [told] = caplog.records
        assert told.message == (
            "'fs' goes by the configuration, not by what was declared: partitions, retention_messages, keyed"
        )
        assert await streams.declare("ord.y", audit=True)
        assert await kept(streams, "ord.y") == FullStreamSettings(partitions=4, audit=True)

    caplog.set_level(logging.WARNING, "gapless.rules")
    named = StreamRule(name="fs", partitions=2, retention_messages=10, keyed=True)
    with_streams(scene, named, StreamRule(pattern="ord.*", partitions=4))


def test_a_rule_leaves_what_it_does_not_say(with_streams: Run) -> None:
    async def scene(streams: Streams) -> None:
        await streams.declare(partitions=2, retention_messages=10)
        streams.streaming.follow([StreamRule(pattern="*", retention_ms=7_000)])
        await streams.streaming.stop()
        options = FullStreamSettings(partitions=2, retention_messages=10, retention_ms=7_000)
        assert await kept(streams) == options
        assert (await kept(streams, "chat:")).partitions == 4  # as its namespace says

    with_streams(scene)


def test_the_record_of_a_declaration_names_what_was_changed(with_streams: Run) -> None:
    async def scene(streams: Streams) -> None:
        await streams.declare(partitions=2)
        await streams.declare(partitions=2)
        await streams.declare(retention_messages=5, keyed=True)
        records = (await streams.streaming.audit(AuditRequest(what="declare", name="orders"))).records
        assert [record.details for record in records] == [
            {"fresh": False, "retention_messages": 5, "keyed": True},
            {"fresh": True, "partitions": 2},
        ]

    with_streams(scene)


@pytest.mark.parametrize("keyed", [False, True])
def test_a_stream_that_had_messages_stays_keyed_or_not(with_streams: Run, keyed: bool) -> None:
    async def scene(streams: Streams) -> None:
        await streams.declare(partitions=2, keyed=not keyed)
        await streams.declare(keyed=keyed)
        await streams.append(new(1, key="a"))
        with pytest.raises(BadRequest, match="for good: make another stream"):
            await streams.declare(keyed=not keyed)
        await streams.broker.removing.trim("stream:orders/0", 9)
        await streams.broker.removing.trim("stream:orders/1", 9)
        with pytest.raises(BadRequest, match="for good"):
            await streams.declare(keyed=not keyed)
        assert (await kept(streams)).keyed is keyed

    with_streams(scene)


def test_no_stream_is_made_over_a_channel_with_messages(with_streams: Run) -> None:
    async def scene(streams: Streams) -> None:
        history = Namespace(history_size=9, history_ttl_ms=60_000)
        streams.broker.namespaces = Namespaces(without=history, named=(CHAT, STREAMS_NAMESPACE))
        await streams.publish("alerts", 1, 2)
        with pytest.raises(BadRequest, match="'alerts' is a channel that has messages"):
            await streams.declare("alerts")
        with pytest.raises(UnknownStream, match="'alerts' is a channel and no stream"):
            await streams.append(new(3), stream="alerts")
        assert said((await streams.read("alerts")).messages) == [1, 2]

    with_streams(scene, StreamRule(pattern="al*"))


def test_a_group_that_lost_its_stream_with_the_store_hides_nothing_once_its_members_are_gone(
    with_streams: Run,
) -> None:
    async def scene(streams: Streams) -> None:
        await streams.store.heartbeat("orders", "billing", "one", partitions=2, session_ms=3_000)
        with pytest.raises(BadRequest, match="that a group reads"):
            await streams.declare()
        streams.clock.pass_ms(3_001)
        assert await streams.declare(partitions=3)
        assert [held.partition for held in await streams.heartbeat()] == [0, 1, 2]

    with_streams(scene)


def test_a_group_of_a_channel_whose_messages_are_gone_is_not_hidden_by_a_stream(with_streams: Run) -> None:
    async def scene(streams: Streams) -> None:
        await append(streams.store, "orders")
        await streams.store.heartbeat("orders", "billing", "one", partitions=1, session_ms=3_000)
        await streams.store.trim("orders", 1)
        streams.clock.pass_ms(3_001)
        with pytest.raises(BadRequest, match="that a group reads"):
            await streams.declare()

    with_streams(scene)


def test_what_can_be_read_is_not_declared_if_only_missing_ones_are_to_be(with_streams: Run) -> None:
    async def scene(streams: Streams) -> None:
        async def declare_missing(stream: str) -> bool:
            request = DeclareStreamRequest(stream=stream, if_missing=True)
            return (await streams.streaming.declare(request)).fresh

        await streams.declare(partitions=4)
        assert not await declare_missing("orders")
        assert not await declare_missing("ord.x")  # its rule has made it
        assert (await kept(streams, "ord.x")).partitions == 3
        assert await declare_missing("others")
        assert not await declare_missing("others")

    with_streams(scene, StreamRule(pattern="ord.*", partitions=3))


def test_what_is_published_to_a_streams_name_is_refused(with_streams: Run) -> None:
    async def scene(streams: Streams) -> None:
        await streams.declare()
        with pytest.raises(BadRequest, match="'orders' is a stream"):
            await streams.publish("orders", 1)
        with pytest.raises(BadRequest, match="'orders' is a stream"):
            streams.broker.plain_entry("orders", b"1")
        await streams.publish("chat:1", 1)

    with_streams(scene)
