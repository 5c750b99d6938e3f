"""What is published on one node, as those hear of it who follow on another."""

import asyncio

from msgspec.structs import replace

from gapless.core.errors import Unavailable
from gapless.core.stream import Outcome
from tests.conversation import OPEN, Peer, rest
from tests.several import Hall, play_several

KEPT = replace(OPEN, name="kept", history_size=100, history_ttl_ms=600_000, force_recovery=True)


def data(peer: Peer) -> list[int]:
    return [each["push"]["pub"]["data"] for each in peer.heard() if "pub" in each.get("push", {})]


def test_what_no_stream_keeps_reaches_the_subscribers_of_other_nodes() -> None:
    async def scene(hall: Hall) -> None:
        a, b, _ = hall.members
        readers = [await member.reader("live") for member in hall.members]
        await a.publish("live", 1, 2)
        await b.publish("live", 3)
        await rest()
        assert [data(reader) for reader in readers] == [[1, 2, 3]] * 3

    play_several(scene, nodes=3)


def test_what_skips_the_history_reaches_them_too_and_has_no_offset() -> None:
    async def scene(hall: Hall) -> None:
        a, b = hall.members
        reader = await b.reader("kept:1")
        a.broker.publish("kept:1", b"1", lambda outcome: None)
        a.broker.publish("kept:1", b"2", lambda outcome: None, skip_history=True)
        a.broker.publish("kept:1", b"3", lambda outcome: None)
        await rest()
        assert reader.offsets() == [1, 0, 2]

    play_several(scene, KEPT)


def test_a_bus_that_doubles_doubles_nothing() -> None:
    async def scene(hall: Hall) -> None:
        hall.line.times = 2
        reader = await hall.members[1].reader("live")
        await hall.members[0].publish("live", 1, 2, 3)
        await rest()
        assert data(reader) == [1, 2, 3]

    play_several(scene)


def test_what_comes_late_is_dropped_and_never_out_of_order() -> None:
    async def scene(hall: Hall) -> None:
        reader = await hall.members[2].reader("live")
        hall.line.kept = []
        await hall.members[0].publish("live", 1, 2, 3)
        rings, hall.line.kept = hall.line.kept, None
        to_reader = rings[1::2]  # each ring goes to two
        for ring in (to_reader[0], to_reader[2], to_reader[1]):
            ring()
        await hall.members[1].publish("live", 4)
        await rest()
        assert data(reader) == [1, 3, 4]

    play_several(scene, nodes=3)


def test_a_node_rings_for_nothing_that_the_store_rings_for() -> None:
    async def scene(hall: Hall) -> None:
        a, b = hall.members
        a.bus.rings_appends = True
        await b.reader("kept:1")
        before = a.bus.rings
        await a.publish("kept:1", 1)
        assert a.bus.rings == before
        await a.publish("live", 1)
        assert a.bus.rings == before + 1

    play_several(scene, KEPT)


def test_a_channel_is_followed_on_the_bus_while_the_node_has_it() -> None:
    async def scene(hall: Hall) -> None:
        a, _ = hall.members
        reader = await a.reader("kept:1")
        await reader.ask({"subscribe": {"channel": "live"}})
        assert sorted(a.bus.followed) == ["kept:1", "live"]
        await reader.ask({"unsubscribe": {"channel": "live"}})
        await hall.pass_ms(62_000, step_ms=500)
        assert a.bus.followed == ["kept:1"]

    play_several(scene, KEPT)


def test_a_lost_ring_is_healed_within_two_seconds_by_one_read_for_all_channels() -> None:
    async def scene(hall: Hall) -> None:
        a, b = hall.members
        readers = [await b.reader(f"kept:{number}") for number in range(20)]
        hall.line.lost = lambda what: what == "ring"
        for number in range(20):
            await a.publish(f"kept:{number}", number)
        before = b.way.calls["heads"]
        await hall.pass_ms(2_000)
        assert [data(reader) for reader in readers] == [[number] for number in range(20)]
        assert b.way.calls["heads"] - before <= 2
        assert b.broker.placing.healed == 20

    play_several(scene, KEPT)


def test_what_was_rung_for_counts_as_no_healing() -> None:
    async def scene(hall: Hall) -> None:
        a, b = hall.members
        reader = await b.reader("kept:1")
        await a.publish("kept:1", 1)
        await hall.pass_ms(2_000)
        assert data(reader) == [1]
        assert b.broker.placing.healed == 0

    play_several(scene, KEPT)


def test_an_erased_message_is_served_by_no_node() -> None:
    async def scene(hall: Hall) -> None:
        a, b = hall.members
        epoch = a.broker.placing.epoch
        await b.reader("kept:1")
        await a.publish("kept:1", 1, 2, 3)
        assert await a.broker.removing.erase("kept:1", 2)
        peer = b.peer()
        await peer.connect()
        reply = await peer.follow("kept:1", recover=True, epoch=epoch, offset=0)
        assert [each["offset"] for each in reply["publications"]] == [1, 3]

    play_several(scene, KEPT)


def test_an_eraser_is_answered_once_every_node_has_heard_of_it() -> None:
    async def scene(hall: Hall) -> None:
        a, b = hall.members
        await b.reader("kept:1")
        await a.publish("kept:1", 1, 2, 3)
        heard: list[str] = []
        b.broker.removing.hear_erased.append(heard.append)
        hall.line.lost = lambda what: True
        erasing = asyncio.ensure_future(a.broker.removing.erase("kept:1", 2))
        await hall.pass_ms(1_000)
        assert not erasing.done()
        hall.line.lost = lambda what: False
        await hall.pass_ms(500)
        assert await erasing
        assert heard == ["kept:1"]

    play_several(scene, KEPT)


def test_what_is_erased_while_a_node_is_taken_for_gone_is_served_by_none() -> None:
    async def scene(hall: Hall) -> None:
        a, b = hall.members
        epoch = a.broker.placing.epoch
        await b.reader("kept:1")
        await a.publish("kept:1", 1, 2, 3)
        missed: list[str] = []
        b.broker.removing.hear_any_erased.append(lambda: missed.append("any"))
        b.way.is_cut = True
        hall.line.lost = lambda what: True
        await hall.pass_ms(20_000, step_ms=500)
        assert await a.broker.removing.erase("kept:1", 2)
        b.way.is_cut = False
        hall.line.lost = lambda what: False
        await hall.pass_ms(2_000)
        assert missed == ["any"]
        peer = b.peer()
        await peer.connect()
        reply = await peer.follow("kept:1", recover=True, epoch=epoch, offset=0)
        assert [each["offset"] for each in reply["publications"]] == [1, 3]

    play_several(scene, KEPT)


def test_what_is_removed_is_served_by_no_node() -> None:
    async def scene(hall: Hall) -> None:
        a, b = hall.members
        epoch = a.broker.placing.epoch
        await b.reader("kept:1")
        await a.publish("kept:1", 1, 2, 3)
        await a.broker.removing.remove_history("kept:1")
        await rest()
        peer = b.peer()
        await peer.connect()
        reply = await peer.follow("kept:1", recover=True, epoch=epoch, offset=1)
        assert "recovered" not in reply

    play_several(scene, KEPT)


def test_a_node_that_the_store_does_not_answer_keeps_its_clients_and_catches_them_up() -> None:
    async def scene(hall: Hall) -> None:
        a, b = hall.members
        reader = await b.reader("kept:1")
        await a.publish("kept:1", 1)
        assert data(reader) == [1]
        b.way.is_cut = True
        hall.line.lost = lambda what: True
        await a.publish("kept:1", 2, 3)
        hall.line.lost = lambda what: False
        await a.publish("kept:1", 4)  # b hears of it, and cannot read what lies before
        await hall.pass_ms(20_000, step_ms=500)
        refused: list[Outcome] = []
        b.broker.publish("kept:1", b"5", refused.append)
        await rest()
        [failure] = refused
        assert isinstance(failure, Unavailable)
        assert failure.temporary
        was_cut_off = b.broker.is_cut_off
        b.way.is_cut = False
        await hall.pass_ms(2_000)
        assert (was_cut_off, b.broker.is_cut_off) == (True, False)
        heard = reader.heard()
        assert [each["push"]["pub"]["data"] for each in heard if each.get("push")] == [2, 3, 4]
        assert reader.socket.closed_with is None

    play_several(scene, KEPT, ping_interval_ms=600_000)


def test_a_reader_that_waits_for_the_store_reads_on_when_it_is_back() -> None:
    async def scene(hall: Hall) -> None:
        a, b = hall.members
        reader = await b.reader("kept:1")
        reader.socket.full_bytes = 1
        await a.publish("kept:1", *range(1, 30))
        b.broker.removing.forget("kept:1")
        b.way.is_cut = True
        reader.socket.drain()
        await hall.pass_ms(5_000, step_ms=500)
        b.way.is_cut = False
        await hall.pass_ms(2_000)
        assert sorted({*data(reader)}) == list(range(1, 30))

    play_several(scene, KEPT, ping_interval_ms=600_000)
