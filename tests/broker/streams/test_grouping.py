"""Looking after groups: seek, its dry run, lag, forgetting."""

from typing import Any

import pytest

from gapless.core.errors import BadRequest, PositionLost, PositionTrimmed, TimelineGone, UnknownStream
from gapless.protocol.groups import DropGroupRequest, GroupsRequest, LagRequest, SeekAnswer, SeekRequest
from gapless.protocol.messages import StreamPosition
from gapless.protocol.reading import Edge
from gapless.protocol.streams import TrimRequest
from tests.broker.streaming import Run, Streams, new
from tests.conversation import T


async def read_by_billing(streams: Streams) -> None:
    """Append ten messages to two partitions, a second apart; billing has read to 6 and 0."""
    await streams.declare(partitions=2)
    for n in range(10):
        streams.clock.pass_ms(1_000)
        await streams.append(new(n, partition=0), new(n, partition=1))
    held = await streams.heartbeat()
    await streams.commit(held[0], 6)


async def seek(streams: Streams, **fields: Any) -> SeekAnswer:
    return await streams.streaming.seek(SeekRequest(source="orders", group="billing", **fields), "tester")


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"to": Edge.EARLIEST}, [(0, 0, 6), (0, 0, 0)]),
        ({"to": Edge.LATEST}, [(10, 4, 0), (10, 10, 0)]),
        ({"offset": 3}, [(2, 0, 4), (2, 2, 0)]),
        ({"offset": 11}, [(10, 4, 0), (10, 10, 0)]),
        ({"at_ms": T + 4_500}, [(4, 0, 2), (4, 4, 0)]),
        ({"at_ms": T + 60_000, "partitions": [1]}, [(10, 10, 0)]),
    ],
)
def test_a_seek_goes_anywhere_and_its_dry_run_only_says_so(
    with_streams: Run, asked: dict[str, Any], expected: list[tuple[int, int, int]]
) -> None:
    async def scene(streams: Streams) -> None:
        await read_by_billing(streams)
        before = await streams.stands()
        dry = await seek(streams, dry_run=True, **asked)
        assert [(p.position.offset, p.skipped, p.again) for p in dry.partitions] == expected
        assert [p.at_end for p in dry.partitions] == [p.position.offset == 10 for p in dry.partitions]
        assert await streams.stands() == before
        assert await streams.audited(what="seek") == []
        [held, _] = await streams.heartbeat()
        assert await seek(streams, **asked) == dry
        stands = await streams.stands()
        for change in dry.partitions:
            assert stands[change.partition].offset == change.position.offset
        if 0 in [change.partition for change in dry.partitions]:
            late = await streams.commit(held, 7)
            assert late.error is not None
            assert late.error.reason == "lease_lost"
        assert await streams.audited(what="seek") == ["seek"]

    with_streams(scene)


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        ({"offset": 12}, PositionLost),
        ({"offset": 3, "partitions": [0]}, PositionTrimmed),
        ({"positions": {0: StreamPosition(7, "elsewhere")}}, TimelineGone),
        ({}, BadRequest),
        ({"to": Edge.LATEST, "offset": 3}, BadRequest),
        ({"to": Edge.LATEST, "partitions": [2]}, BadRequest),
    ],
)
def test_a_seek_to_no_place_changes_nothing(
    with_streams: Run, asked: dict[str, Any], error: type[Exception]
) -> None:
    async def scene(streams: Streams) -> None:
        await read_by_billing(streams)
        await streams.streaming.trim(TrimRequest(stream="orders", partition=0, offset=5))
        before = await streams.stands()
        with pytest.raises(error) as refused:
            await seek(streams, **asked)
        assert refused.type is error
        assert await streams.stands() == before
        request = SeekRequest(source="orders", group="biling", to=Edge.LATEST)
        with pytest.raises(UnknownStream):
            await streams.streaming.seek(request)

    with_streams(scene)


def test_positions_are_sought_one_by_one(with_streams: Run) -> None:
    async def scene(streams: Streams) -> None:
        await read_by_billing(streams)
        await seek(streams, positions={1: streams.position(9)})
        stands = await streams.stands()
        assert (stands[0].offset, stands[1].offset) == (6, 9)

    with_streams(scene)


def test_lag_is_told_in_messages_and_in_time(with_streams: Run) -> None:
    async def scene(streams: Streams) -> None:
        await read_by_billing(streams)
        lag = await streams.streaming.lag(LagRequest(source="orders", group="billing"))
        assert [(each.lag, each.lag_ms, each.member) for each in lag.partitions] == [
            (4, 3_000, "one"),
            (10, 9_000, "one"),
        ]
        assert lag.lag == 14
        assert all(each.fence_number > 0 for each in lag.partitions)
        await streams.streaming.trim(TrimRequest(stream="orders", partition=1, offset=5))
        lag = await streams.streaming.lag(LagRequest(source="orders", group="billing"))
        assert [each.lost for each in lag.partitions] == [False, True]

    with_streams(scene)


def test_groups_are_listed_and_forgotten(with_streams: Run) -> None:
    async def scene(streams: Streams) -> None:
        await read_by_billing(streams)
        [group] = (await streams.streaming.groups(GroupsRequest())).groups
        assert (group.source, group.group, group.positions[0].offset) == ("orders", "billing", 6)
        assert group.members[0].partitions == [0, 1]
        drop = DropGroupRequest(source="orders", group="billing")
        assert (await streams.streaming.drop_group(drop)).found
        assert not (await streams.streaming.drop_group(drop)).found
        assert (await streams.streaming.groups(GroupsRequest(source="orders"))).groups == []
        assert await streams.audited(what="drop_group") == ["drop_group"]

    with_streams(scene)
