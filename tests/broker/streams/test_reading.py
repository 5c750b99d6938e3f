"""Reading: places, ends, keys, waiting; what cannot be read is said clearly."""

import asyncio
from typing import Any

import pytest

from gapless.core.errors import (
    BadRequest,
    NotAvailable,
    PositionLost,
    PositionTrimmed,
    TimelineGone,
    UnknownChannel,
    UnknownStream,
)
from gapless.protocol.messages import StreamPosition
from gapless.protocol.reading import Edge, FindRequest
from gapless.protocol.streams import TrimRequest
from tests.broker.streaming import Run, Streams, new, said
from tests.conversation import T


async def ten(streams: Streams) -> None:
    """Append 1 to 10, a second apart."""
    await streams.declare()
    for n in range(1, 11):
        streams.clock.pass_ms(1_000)
        await streams.append(new(n))


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, [1, 2, 3]),
        ({"start": Edge.EARLIEST}, [1, 2, 3]),
        ({"start": Edge.LATEST}, []),
        ({"offset": 9}, [9, 10]),
        ({"offset": 11}, []),
        ({"at_ms": T + 4_500}, [5, 6, 7]),
        ({"at_ms": T + 60_000}, []),
        ({"backwards": True}, [10, 9, 8]),
        ({"backwards": True, "start": Edge.LATEST}, [10, 9, 8]),
        ({"backwards": True, "start": Edge.EARLIEST}, []),
        ({"backwards": True, "offset": 3}, [2, 1]),
        ({"backwards": True, "at_ms": T + 4_500}, [4, 3, 2]),
    ],
)
def test_a_stream_is_read_from_any_place_in_either_direction(
    with_streams: Run, asked: dict[str, Any], expected: list[int]
) -> None:
    async def scene(streams: Streams) -> None:
        await ten(streams)
        assert said((await streams.read(limit=3, **asked)).messages) == expected

    with_streams(scene)


def test_pages_follow_each_other_in_either_direction(with_streams: Run) -> None:
    async def scene(streams: Streams) -> None:
        await ten(streams)
        page = await streams.read(limit=4)
        assert (page.after, page.through, page.floor, page.last) == (0, 4, 0, 10)
        page = await streams.read(limit=4, after=StreamPosition(page.through, page.epoch))
        assert said(page.messages) == [5, 6, 7, 8]
        page = await streams.read(limit=4, backwards=True, offset=page.after + 1)
        assert said(page.messages) == [4, 3, 2, 1]
        found = await streams.streaming.find(FindRequest(source="orders", at_ms=T + 4_500))
        assert found.offset == 4

    with_streams(scene)


def test_a_read_waits_for_the_first_message_and_no_longer_than_it_may(with_streams: Run) -> None:
    async def scene(streams: Streams) -> None:
        await ten(streams)
        reading = asyncio.ensure_future(streams.read(offset=11, wait_ms=30_000))
        await streams.waits()
        await streams.append(new("come"))
        assert said((await reading).messages) == ["come"]
        idle = asyncio.ensure_future(streams.read(offset=12, wait_ms=500))
        await streams.waits()
        streams.clock.pass_ms(500)
        assert (await idle).messages == []
        assert streams.broker.arrivals.waiting == {}

    with_streams(scene)


def test_what_is_trimmed_or_not_there_yet_is_said_with_what_is_kept(with_streams: Run) -> None:
    async def scene(streams: Streams) -> None:
        await ten(streams)
        await streams.streaming.trim(TrimRequest(stream="orders", offset=4))
        with pytest.raises(PositionTrimmed, match="offsets 5 to 10") as trimmed:
            await streams.read(offset=4)
        assert trimmed.value.offset == 4
        with pytest.raises(PositionTrimmed, match="offsets 5 to 10"):
            await streams.read(after=streams.position(3))
        with pytest.raises(PositionLost, match="offset 12 is beyond the end: the partition has"):
            await streams.read(offset=12)
        with pytest.raises(PositionLost, match="beyond the end"):
            await streams.read(after=streams.position(11))
        with pytest.raises(TimelineGone, match="offsets 5 to 10"):
            await streams.read(after=StreamPosition(6, "elsewhere"))
        assert said((await streams.read(at_ms=0)).messages) == [5, 6, 7, 8, 9, 10]

    with_streams(scene)


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("ordrs", UnknownStream),
        ("nospace:1", UnknownChannel),
        ("gapless.audit", UnknownChannel),
        ("stream:orders/0", BadRequest),
        ("x" * 300, BadRequest),
    ],
)
def test_what_is_no_stream_is_refused(with_streams: Run, source: str, error: type[Exception]) -> None:
    async def scene(streams: Streams) -> None:
        with pytest.raises(error):
            await streams.read(source)

    with_streams(scene)


@pytest.mark.parametrize(
    "asked",
    [
        {"partition": 3},
        {},
        {"partition": 0, "offset": 1, "at_ms": 1},
        {"partition": 0, "key": "k"},
    ],
)
def test_a_malformed_read_is_refused(with_streams: Run, asked: dict[str, Any]) -> None:
    async def scene(streams: Streams) -> None:
        await streams.declare(partitions=2)
        with pytest.raises(BadRequest):
            await streams.read(**asked)

    with_streams(scene)


def test_a_channel_with_history_is_read_as_a_stream_of_one_partition(with_streams: Run) -> None:
    async def scene(streams: Streams) -> None:
        await streams.publish("chat:1", "a", "b")
        page = await streams.read("chat:1")
        assert (said(page.messages), page.last) == (["a", "b"], 2)
        with pytest.raises(NotAvailable):
            await streams.streaming.trim(TrimRequest(stream="chat:1", offset=1))

    with_streams(scene)
