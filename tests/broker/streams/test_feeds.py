"""A namespace as a stream, and partitions as channels."""

import pytest

from gapless.broker.feeds import Feed
from gapless.broker.namespaces import STREAMS_NAMESPACE, Namespace, Namespaces
from gapless.broker.streams.sources import Sources
from gapless.core.assignment import partition_of
from gapless.core.errors import BadRequest, ConfigError, NotAvailable, UnknownChannel
from gapless.core.stream import Retention
from tests.broker.streaming import CHAT, Run, Streams, new, said


def test_what_is_published_to_a_channel_is_in_the_partition_of_its_namespace(with_streams: Run) -> None:
    async def scene(streams: Streams) -> None:
        await streams.publish("chat:1", "a", "b")
        await streams.publish("chat:2", "c")
        page = await streams.read("chat:", partition=partition_of("chat:1", 4))
        told = [(each.channel, *said([each])) for each in page.messages if each.channel == "chat:1"]
        assert told == [("chat:1", "a"), ("chat:1", "b")]
        held = await streams.heartbeat(source="chat:")
        assert len(held) == 4
        pages = await streams.fetch(*((each.partition, each.position) for each in held), source="chat:")
        assert sum(len(page.messages) for page in pages.values()) == 3

    with_streams(scene)


def test_erasing_a_message_erases_its_copy_and_no_other(with_streams: Run) -> None:
    async def scene(streams: Streams) -> None:
        await streams.publish("chat:1", "same", "secret", "same")
        await streams.publish("chat:5", "secret")
        assert await streams.broker.removing.erase("chat:1", 2)
        assert await streams.broker.removing.erase("chat:1", 1)
        assert not await streams.broker.removing.erase("chat:1", 1)
        for channel, left in (("chat:1", ["same"]), ("chat:5", ["secret"])):
            page = await streams.read("chat:", partition=partition_of(channel, 4))
            assert said([each for each in page.messages if each.channel == channel]) == left

    with_streams(scene)


def test_only_the_verbs_append_to_a_partition(with_streams: Run) -> None:
    async def scene(streams: Streams) -> None:
        await streams.declare()
        with pytest.raises(NotAvailable, match="append to the stream"):
            streams.broker.entry("stream:orders/0", b"1")
        with pytest.raises(NotAvailable):
            await streams.broker.removing.remove_history("stream:orders/0")
        with pytest.raises(BadRequest):
            streams.broker.entry("stream:orders", b"1")
        await streams.append(new(1))
        assert (await streams.read()).last == 1

    with_streams(scene)


@pytest.mark.parametrize(
    "options",
    [
        {"stream_partitions": 4},
        {"stream_partitions": 2_000, "stream_retention_messages": 1},
        {"stream_partitions": 4, "stream_retention_messages": 1, "history_size": 0, "history_ttl_ms": 0},
    ],
)
def test_a_namespace_that_cannot_be_kept_as_a_stream_is_refused(options: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="stream_partitions"):
        Namespace(**{"name": "chat", "history_size": 1, "history_ttl_ms": 1, **options})  # type: ignore[arg-type]


def test_the_reserved_namespace_is_found_whatever_the_grammar_and_only_for_partitions() -> None:
    namespaces = Namespaces(named=(STREAMS_NAMESPACE,))
    assert namespaces.of("stream:orders/0").namespace is STREAMS_NAMESPACE
    assert namespaces.of("stream:chat:/12").namespace is STREAMS_NAMESPACE
    for malformed in ("stream:orders", "stream:orders/", "stream:orders/x", "stream:/0", "stream:a/b/0"):
        with pytest.raises(BadRequest):
            namespaces.of(malformed)
    with pytest.raises(UnknownChannel):
        Namespaces().of("stream:orders/0")


def test_the_number_of_partitions_of_a_namespace_never_changes(with_streams: Run) -> None:
    async def scene(streams: Streams) -> None:
        sources: Sources = streams.streaming.sources
        feed = Feed("chat:", tuple(f"stream:chat:/{p}" for p in range(8)), Retention(count=1))
        with pytest.raises(BadRequest, match="4 partitions"):
            await sources.apply((), [feed])
        assert CHAT.stream_partitions == len((await sources.get("chat:")).streams)

    with_streams(scene)
