"""Nodes know of each other, and of one that is deaf."""

import logging

import pytest

from gapless.broker.presence import NODES
from gapless.ports import Present
from tests.broker.test_several import KEPT
from tests.several import Hall, Member, play_several


def names(member: Member) -> list[str]:
    return sorted(node.uid for node in member.cluster.registry.nodes())


def test_all_nodes_are_known_to_each_as_they_are() -> None:
    async def scene(hall: Hall) -> None:
        for member in hall.members:
            assert names(member) == ["a", "b", "c"]
        await hall.members[1].reader("live")
        await hall.pass_ms(1_500)
        told = {node.uid: node.num_clients for node in hall.members[0].cluster.registry.nodes()}
        assert told == {"a": 0, "b": 1, "c": 0}

    play_several(scene, nodes=3)


def test_a_node_that_dies_is_gone_after_some_beats() -> None:
    async def scene(hall: Hall) -> None:
        a, b, _ = hall.members
        b.die()
        await hall.pass_ms(2_500)
        assert names(a) == ["a", "b", "c"]
        await hall.pass_ms(4_000)
        assert names(a) == ["a", "c"]

    play_several(scene, nodes=3)


def test_one_that_stops_is_gone_at_once_and_for_good() -> None:
    async def scene(hall: Hall) -> None:
        a, b, c = hall.members
        hall.line.times = 2
        await b.cluster.stop()
        b.is_dead = True
        await hall.pass_ms(50)
        assert [names(member) for member in (a, c)] == [["a", "c"]] * 2

    play_several(scene, nodes=3)


def test_a_node_that_hears_none_of_those_that_the_store_knows_is_deaf_until_it_does() -> None:
    async def scene(hall: Hall) -> None:
        a, b = hall.members
        hall.line.lost = lambda what: True
        await hall.pass_ms(3_000)
        assert a.cluster.registry.deaf == ""
        assert names(a) == ["a", "b"]
        await hall.pass_ms(7_000)
        assert "none of them is heard" in a.cluster.registry.deaf
        hall.line.lost = lambda what: False
        await hall.pass_ms(2_500)
        assert [member.cluster.registry.deaf for member in (a, b)] == ["", ""]

    play_several(scene)


def test_a_node_to_which_the_store_moves_without_a_word_is_deaf() -> None:
    async def scene(hall: Hall) -> None:
        a, b = hall.members
        await b.reader("kept:1")
        hall.line.lost = lambda what: True
        a.way.is_cut = True  # so that the store does not know of it
        for number in range(14):
            a.way.is_cut = False
            await a.publish("kept:1", number)
            a.way.is_cut = True
            await hall.pass_ms(1_000)
        assert "the store moves on" in b.cluster.registry.deaf

    play_several(scene, KEPT)


def test_who_dies_makes_nobody_deaf() -> None:
    async def scene(hall: Hall) -> None:
        a, b, _ = hall.members
        b.die()
        for _ in range(24):
            await hall.pass_ms(500)
            assert a.cluster.registry.deaf == ""

    play_several(scene, nodes=3)


def test_a_node_that_is_configured_otherwise_is_named_once(caplog: pytest.LogCaptureFixture) -> None:
    async def scene(hall: Hall) -> None:
        _, b = hall.members
        b.fingerprint["channel"] = "other"
        await hall.pass_ms(5_000)
        [told] = [record.message for record in caplog.records if "called b" in record.message]
        assert told.endswith("make these the same on all nodes: channel")
        b.fingerprint["channel"] = "same"
        await hall.pass_ms(2_000)
        b.fingerprint["channel"] = "another"
        await hall.pass_ms(2_000)
        assert len([record for record in caplog.records if "called b" in record.message]) == 2

    caplog.set_level(logging.ERROR)
    play_several(scene)


def test_who_has_much_to_announce_forgets_nobody_by_that() -> None:
    async def scene(hall: Hall) -> None:
        a, b = hall.members
        for _ in range(20):
            a.cluster.registry.announce()
            await hall.pass_ms(10, 10)
        assert names(a) == names(b) == ["a", "b"]
        assert list(a.cluster.registry.heard) == ["b"]
        assert a.cluster.registry.deaf == ""

    play_several(scene)


def test_a_node_whose_card_is_not_understood_lives_all_the_same(caplog: pytest.LogCaptureFixture) -> None:
    async def scene(hall: Hall) -> None:
        a, _ = hall.members
        await hall.store.beat("x", 60_000)
        await hall.store.enter("x", [Present(NODES, "x", b"of another version")])
        await hall.pass_ms(3_000)
        assert await a.cluster.registry.living() == ["b", "x"]
        assert {node.uid: node.version for node in a.cluster.registry.nodes()}["x"] == "another"

    with caplog.at_level(logging.ERROR, "gapless.nodes"):
        play_several(scene)
    assert caplog.text.count("node x shares this store, and what it says of itself is no card") == 2
