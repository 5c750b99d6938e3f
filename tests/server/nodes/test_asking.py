"""What a backend asks of one node is done by all, however bad the bus."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import msgspec
import pytest

from gapless.broker.namespaces import Namespace
from gapless.core.errors import BadRequest, GaplessError, LimitExceeded, Unavailable
from gapless.core.limits import ACTS_REMEMBERED_MAX
from gapless.server.api.requests import (
    ChannelsRequest,
    DisconnectRequest,
    RefreshRequest,
    SubscribeRequest,
    UnsubscribeRequest,
    Whom,
)
from tests.conversation import OPEN, Peer, rest
from tests.several import Hall, Member, play_several

CLOSED = Namespace(name="closed")
Result = TypeVar("Result")


async def user(member: Member, name: str) -> Peer:
    peer = member.peer()
    await peer.connect(token=name)
    peer.heard()
    return peer


async def act(member: Member, method: str, kind: type[Whom], **fields: Any) -> bytes:
    request = msgspec.json.decode(msgspec.json.encode(fields), type=kind)
    answer = getattr(member.connections, method)(request)
    return answer if isinstance(answer, bytes) else bytes(await answer)


async def while_time_passes(hall: Hall, work: Coroutine[Any, Any, Result], ms: int = 12_000) -> Result:
    task = asyncio.ensure_future(work)
    for _ in range(ms // 50):
        await hall.pass_ms(50)
        if task.done():
            break
    return await task


def test_a_disconnect_that_was_answered_holds_on_all_nodes() -> None:
    async def scene(hall: Hall) -> None:
        a, b, c = hall.members
        peers = [await user(member, "ann") for member in (a, b, c)]
        spared = await user(c, "bob")
        assert await act(a, "disconnect", DisconnectRequest, user="ann") == b"{}"
        assert [peer.socket.closed_with for peer in peers] == [(3503, "force disconnect")] * 3
        assert spared.socket.closed_with is None
        assert a.cluster.asking.told_again == 0

    play_several(scene, nodes=3)


def test_all_that_acts_on_connections_reaches_those_of_other_nodes() -> None:
    async def scene(hall: Hall) -> None:
        a, b = hall.members
        ann = await user(b, "ann")
        await act(a, "subscribe", SubscribeRequest, user="ann", channel="closed:1", data={"a": [1]})
        [told] = ann.heard()
        assert told["push"]["subscribe"]["data"] == {"a": [1]}
        await act(a, "unsubscribe", UnsubscribeRequest, user="ann", channel="closed:1")
        [told] = ann.heard()
        assert told["push"]["unsubscribe"]["code"] == 2000
        await act(a, "refresh", RefreshRequest, user="ann", expire_at=hall.clock.now_ms() // 1000 + 60)
        await rest()
        [told] = ann.heard()
        assert told["push"]["refresh"]["ttl"] in (59, 60)
        await act(a, "refresh", RefreshRequest, user="ann", expired=True)
        assert ann.socket.closed_with is not None

    play_several(scene, CLOSED)


def test_a_bus_that_doubles_has_nothing_done_twice() -> None:
    async def scene(hall: Hall) -> None:
        a, b = hall.members
        hall.line.times = 3
        ann = await user(b, "ann")
        await act(a, "subscribe", SubscribeRequest, user="ann", channel="closed:1")
        await act(a, "refresh", RefreshRequest, user="ann", expire_at=hall.clock.now_ms() // 1000 + 60)
        await rest()
        assert [next(iter(set(each["push"]) - {"channel"})) for each in ann.heard()] == [
            "subscribe",
            "refresh",
        ]

    play_several(scene, CLOSED)


def test_what_the_bus_loses_is_told_again_until_it_is_answered() -> None:
    async def scene(hall: Hall) -> None:
        a, b = hall.members
        ann = await user(b, "ann")
        losing = iter([True] * 5)
        hall.line.lost = lambda what: next(losing, False)
        await while_time_passes(hall, act(a, "disconnect", DisconnectRequest, user="ann"))
        assert ann.socket.closed_with is not None
        assert a.cluster.asking.told_again > 0

    play_several(scene)


def test_an_answer_that_is_lost_has_nothing_done_again() -> None:
    async def scene(hall: Hall) -> None:
        a, b = hall.members
        ann = await user(b, "ann")
        before = b.bus.tells
        hall.line.lost = lambda what: before < b.bus.tells < before + 3
        request = act(a, "refresh", RefreshRequest, user="ann", expire_at=hall.clock.now_ms() // 1000 + 60)
        await while_time_passes(hall, request)
        assert len(ann.heard()) == 1

    play_several(scene)


def test_a_node_that_neither_answers_nor_is_gone_is_named_in_a_temporary_error() -> None:
    async def scene(hall: Hall) -> None:
        a, b = hall.members
        ann = await user(b, "ann")
        hall.line.lost = lambda what: True
        with pytest.raises(Unavailable, match="nothing is heard of b") as failure:
            await while_time_passes(hall, act(a, "disconnect", DisconnectRequest, user="ann"))
        assert failure.value.temporary
        assert ann.socket.closed_with is None

    play_several(scene)


def test_nobody_waits_for_a_node_that_died() -> None:
    async def scene(hall: Hall) -> None:
        a, b, c = hall.members
        ann = await user(c, "ann")
        b.die()
        await while_time_passes(hall, act(a, "disconnect", DisconnectRequest, user="ann"))
        assert ann.socket.closed_with is not None

    play_several(scene, nodes=3)


def test_a_store_that_does_not_tell_who_is_there_makes_it_a_temporary_error() -> None:
    async def scene(hall: Hall) -> None:
        a, _ = hall.members
        a.way.is_cut = True
        with pytest.raises(Unavailable):
            await act(a, "disconnect", DisconnectRequest, user="ann")

    play_several(scene)


def test_the_error_of_another_node_comes_back() -> None:
    async def scene(hall: Hall) -> None:
        a, b = hall.members
        await user(b, "ann")
        await act(a, "subscribe", SubscribeRequest, user="ann", channel="closed:1")
        with pytest.raises(LimitExceeded, match="up to 1 channels"):
            await act(a, "subscribe", SubscribeRequest, user="ann", channel="closed:2")

    play_several(scene, CLOSED, channel_limit=1)


def test_what_a_node_does_not_know_or_fails_at_is_an_error() -> None:
    async def scene(hall: Hall) -> None:
        a, b = hall.members

        async def fail(body: bytes) -> bytes:
            raise ValueError("out of order")

        b.cluster.asking.serve("fails", fail)
        with pytest.raises(GaplessError, match="out of order"):
            await a.cluster.asking.everywhere("fails", b"")
        with pytest.raises(GaplessError, match="older version"):
            await a.cluster.asking.everywhere("unheard of", b"")

    play_several(scene)


def test_what_a_node_remembers_is_bounded_and_nothing_old_is_done_again() -> None:
    async def scene(hall: Hall) -> None:
        a, b = hall.members
        done: list[bytes] = []

        async def note(body: bytes) -> bytes:
            done.append(body)
            return body

        b.cluster.asking.serve("note", note)
        hall.line.kept = []
        first = asyncio.ensure_future(a.cluster.asking.everywhere("note", b"first"))
        await rest()
        [told], hall.line.kept = hall.line.kept, None
        told()
        assert await first == [b"first"]
        for number in range(ACTS_REMEMBERED_MAX):
            b.cluster.asking._remember(("z", number), None)
        told()
        await rest()
        assert done == [b"first"]

    play_several(scene)


def test_channels_are_those_of_all_nodes_in_pages() -> None:
    async def scene(hall: Hall) -> None:
        a, b = hall.members
        for name in ("c1", "c2", "c5"):
            await a.reader(name)
        for name in ("c2", "c3", "c4", "d"):
            await b.reader(name)

        async def ask(**fields: Any) -> Any:
            return msgspec.json.decode(await a.looking.channels(ChannelsRequest(**fields)))

        counted = {name: 1 + (name == "c2") for name in ("c1", "c2", "c3", "c4", "c5", "d")}
        told = await ask()
        assert told["channels"] == {name: {"num_clients": count} for name, count in counted.items()}
        found, after = [], ""
        while True:
            page = await ask(pattern="c*", limit=2, after=after)
            found += page["channels"]
            if "next" not in page:
                break
            after = page["next"]
        assert found == ["c1", "c2", "c3", "c4", "c5"]

    play_several(scene)


def test_a_connect_parts_with_the_users_older_connections_on_other_nodes() -> None:
    async def scene(hall: Hall) -> None:
        a, b = hall.members
        older, other = await user(a, "ann"), await user(a, "bob")
        newer = await user(b, "ann")
        await rest()
        assert older.socket.closed_with == (3504, "connection limit")
        assert (newer.socket.closed_with, other.socket.closed_with) == (None, None)

    play_several(scene, single_connection=True)


def test_of_two_that_connect_at_once_on_two_nodes_one_stays() -> None:
    async def scene(hall: Hall) -> None:
        a, b = hall.members
        peers = [a.peer(), b.peer()]
        for peer in peers:
            peer.say({"connect": {"token": "ann"}})
        await rest()
        await rest()
        assert [peer.socket.closed_with for peer in peers].count(None) == 1

    play_several(scene, single_connection=True)


def test_who_is_alone_asks_nobody_and_no_store() -> None:
    async def scene(hall: Hall) -> None:
        [a] = hall.members
        ann = await user(a, "ann")
        before = dict(a.way.calls)
        assert await act(a, "disconnect", DisconnectRequest, user="ann") == b"{}"
        assert ann.socket.closed_with is not None
        assert a.way.calls == before
        assert a.bus.tells == 0

    play_several(scene, nodes=1, without=OPEN)


@pytest.mark.parametrize("method", ["erased", "hook", "hook_answer", "channels", "disconnect", "single_out"])
def test_what_another_node_cannot_read_is_told_to_who_asked(method: str) -> None:
    async def scene(hall: Hall) -> None:
        a, _ = hall.members
        with pytest.raises(BadRequest, match="cannot be read"):
            await while_time_passes(hall, a.cluster.asking.everywhere(method, b"no JSON"))

    play_several(scene)
