"""What nodes tell each other."""

import asyncio

import msgspec
import pytest
from msgspec import Struct

from gapless.broker.telling import Telling, is_new
from gapless.core.limits import NODES_MAX
from tests.conversation import rest
from tests.several import Line


class Greeting(Struct):
    text: str


class Newer(Struct):
    text: str
    more: int = 7


def test_what_is_told_is_heard_by_all_others_with_who_said_it() -> None:
    async def scene() -> None:
        line, heard = Line(), []
        tellers = [Telling(line.end(), name) for name in "abc"]
        for teller in tellers:
            teller.hear(Greeting, lambda node, said, me=teller.node: heard.append((me, node, said.text)))  # type: ignore[misc]
        tellers[0].tell(Greeting("hello"))
        await rest()
        assert sorted(heard) == [("b", "a", "hello"), ("c", "a", "hello")]
        assert [teller.heard for teller in tellers] == [0, 1, 1]

    asyncio.run(scene())


def test_a_node_of_another_version_is_understood_as_far_as_that_goes() -> None:
    async def scene() -> None:
        line = Line()
        old, new = Telling(line.end(), "old"), Telling(line.end(), "new")
        heard: list[str] = []
        kind = type("Newer", (Struct,), {"__annotations__": {"text": str}})
        old.hear(kind, lambda node, said: heard.append(said.text))
        new.tell(Newer("known"))
        new.tell(Greeting("of a kind that is not known"))
        await rest()
        assert heard == ["known"]

    asyncio.run(scene())


@pytest.mark.parametrize(
    "told", [b"", b"\xc1", msgspec.msgpack.encode(["Greeting", "b", 3]), msgspec.msgpack.encode({"a": 1})]
)
def test_what_cannot_be_read_is_passed_over(told: bytes) -> None:
    async def scene() -> None:
        line = Line()
        here, there = Telling(line.end(), "a"), line.end()
        heard: list[object] = []
        here.hear(Greeting, lambda node, said: heard.append(said))
        there.tell(told)
        await rest()
        assert heard == []

    asyncio.run(scene())


def test_who_is_alone_says_nothing() -> None:
    line = Line()
    end = line.end()
    teller = Telling(end, "a")
    teller.tell(Greeting("hello"))
    assert teller.is_alone
    assert end.tells == 0
    assert Telling(None, "a").is_alone


def test_a_number_is_new_once_and_in_order_for_each_node() -> None:
    highest: dict[str, int] = {}
    told = [("a", 1), ("b", 1), ("a", 1), ("a", 3), ("a", 2), ("b", 2)]
    assert [is_new(highest, *one) for one in told] == [True, True, False, True, False, True]


def test_of_so_many_nodes_the_one_heard_longest_ago_is_forgotten() -> None:
    highest: dict[str, int] = {}
    for number in range(NODES_MAX + 1):
        assert is_new(highest, f"n{number}", 5)
    assert len(highest) == NODES_MAX
    assert "n0" not in highest
