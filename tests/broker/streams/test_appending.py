"""Appending: partitions, order, repeats, conditions, all or nothing."""

import pytest

from gapless.broker.rules import StreamRule
from gapless.core.assignment import partition_of
from gapless.core.errors import (
    BadRequest,
    GaplessError,
    KeyConflict,
    PositionConflict,
    UnknownStream,
)
from gapless.protocol.streams import NewMessage
from tests.broker.streaming import Run, Streams, new, said


def test_a_typing_error_makes_no_stream(with_streams: Run) -> None:
    async def scene(streams: Streams) -> None:
        with pytest.raises(UnknownStream, match="'ordrs'"):
            await streams.append(new(), stream="ordrs")
        assert list(await streams.store.declared_streams()) == ["chat:"]

    with_streams(scene)


def test_a_rule_makes_a_stream_when_it_is_first_used(with_streams: Run) -> None:
    async def scene(streams: Streams) -> None:
        assert "named" in await streams.store.declared_streams()
        await streams.append(new(), stream="orders.eu")
        assert (await streams.store.declared_streams())["orders.eu"].partitions == 3
        with pytest.raises(UnknownStream):
            await streams.append(new(), stream="bills.eu")

    with_streams(scene, StreamRule(name="named"), StreamRule(pattern="orders.*", partitions=3))


def test_messages_of_a_key_are_in_its_partition_in_their_order(with_streams: Run) -> None:
    async def scene(streams: Streams) -> None:
        await streams.declare(partitions=4)
        places = await streams.offsets(*(new(n, key=f"k{n % 3}") for n in range(9)))
        for n, (partition, _) in enumerate(places):
            assert partition == partition_of(f"k{n % 3}", 4)
        page = await streams.read(partition=partition_of("k1", 4))
        assert [each.key for each in page.messages if each.key == "k1"] == ["k1"] * 3
        assert [n for n in said(page.messages) if n % 3 == 1] == [1, 4, 7]

    with_streams(scene)


def test_without_a_key_partitions_take_turns_but_a_message_id_stays_in_its_own(with_streams: Run) -> None:
    async def scene(streams: Streams) -> None:
        await streams.declare(partitions=4)
        turns = [(await streams.offsets(new(n), new(n)))[0][0] for n in range(4)]
        assert sorted(turns) == [0, 1, 2, 3]
        first = await streams.append(new("a", message_id="m-1"))
        again = await streams.append(new("a", message_id="m-1"))
        one, two = first.messages[0].result, again.messages[0].result
        assert one is not None
        assert two is not None
        assert (one.partition, one.offset, one.fresh) == (two.partition, two.offset, True)
        assert not two.fresh

    with_streams(scene)


def test_headers_and_bytes_come_back_as_they_were(with_streams: Run) -> None:
    async def scene(streams: Streams) -> None:
        await streams.declare()
        await streams.append(NewMessage(b64data=b"\xff\x00", headers={"trace": "1"}, key="k"))
        [message] = (await streams.read()).messages
        assert (message.b64data, message.headers, message.key) == (b"\xff\x00", {"trace": "1"}, "k")

    with_streams(scene)


def test_a_batch_that_is_atomic_is_stored_whole_or_not_at_all(with_streams: Run) -> None:
    async def scene(streams: Streams) -> None:
        await streams.declare(partitions=2)
        await streams.append(new("taken", partition=1, message_id="m"))
        with pytest.raises(KeyConflict):
            await streams.append(new(1, partition=0), new("other", partition=1, message_id="m"))
        with pytest.raises(PositionConflict):
            await streams.append(new(1, partition=0, expected=streams.position(7)), new(2, partition=0))
        with pytest.raises(PositionConflict):
            await streams.append(new(1, partition=1), new(2, partition=0, expected=streams.position(7)))
        with pytest.raises(BadRequest):
            await streams.append(new(1, partition=0), new(2, partition=2))
        assert said((await streams.read(partition=0)).messages) == []
        assert said((await streams.read(partition=1)).messages) == ["taken"]

    with_streams(scene)


def test_without_atomic_each_message_is_answered_by_itself(with_streams: Run) -> None:
    async def scene(streams: Streams) -> None:
        await streams.declare()
        answer = await streams.append(
            new(1), new(2, partition=5), new(3, expected=streams.position(9)), new(4), atomic=False
        )
        reasons = [each.error.reason if each.error else None for each in answer.messages]
        assert reasons == [None, "bad_request", "position_conflict", None]
        assert said((await streams.read()).messages) == [1, 4]

    with_streams(scene)


def test_events_of_one_key_are_appended_only_after_the_last_that_is_known(with_streams: Run) -> None:
    async def scene(streams: Streams) -> None:
        await streams.declare(keyed=True)
        [(_, first)] = await streams.offsets(new("made", key="o-1", expected_key_offset=0))
        await streams.append(new("other", key="o-2"))
        with pytest.raises(PositionConflict):
            await streams.append(new("paid", key="o-1", expected_key_offset=0))
        await streams.append(new("paid", key="o-1", expected_key_offset=first), new("sent", key="o-1"))
        page = await streams.read(key="o-1")
        assert said(page.messages) == ["made", "paid", "sent"]
        assert said((await streams.read(key="o-1", backwards=True, limit=2)).messages) == ["sent", "paid"]

    with_streams(scene)


@pytest.mark.parametrize(
    "message",
    [
        NewMessage(),
        NewMessage(data=new().data, b64data=b"x"),
        new(partition=9),
        new(partition=-1),
        new(message_id=""),
        new(message_id="m" * 129),
        new("x" * 70_000),
        new(headers={"name": "v" * 20_000}),
        new(headers={"gapless-key": "mine"}),
        new(expected_key_offset=0),
        new(key="k", expected_key_offset=0),
    ],
)
def test_a_malformed_message_is_refused_and_nothing_is_stored(with_streams: Run, message: NewMessage) -> None:
    async def scene(streams: Streams) -> None:
        await streams.declare()
        with pytest.raises(BadRequest):
            await streams.append(message)
        assert (await streams.read()).last == 0

    with_streams(scene)


def test_appends_to_an_audited_stream_are_recorded_with_them(with_streams: Run) -> None:
    async def scene(streams: Streams) -> None:
        await streams.declare(partitions=2, audit=True)
        await streams.append(new(1, partition=0), new(2, partition=0), new(3, partition=1))
        assert await streams.audited(what="append") == ["append", "append"]
        with pytest.raises(GaplessError):
            await streams.append(new(4, partition=0, expected=streams.position(0)))
        assert await streams.audited(what="append", name="orders") == ["append", "append"]
        assert await streams.audited(name="other") == []

    with_streams(scene)
