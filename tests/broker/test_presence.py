"""Who is there, on whichever node."""

from typing import Any

from msgspec.structs import replace

from gapless.core.limits import PRESENCE_BATCH_MAX
from gapless.ports import Present
from tests.conversation import OPEN, Peer, rest, token
from tests.several import Hall, Member, play_several

SEEN = replace(
    OPEN,
    name="seen",
    presence=True,
    join_leave=True,
    force_push_join_leave=True,
    allow_presence_for_client=True,
)
QUIET = replace(OPEN, name="quiet", presence=True)


async def users(member: Member, channel: str = "seen:1") -> list[str]:
    return sorted(info.user for info in (await member.broker.presence(channel)).values())


async def come(member: Member, name: str, channel: str = "seen:1") -> Peer:
    peer = member.peer()
    await peer.connect(token=token(name, info={"of": name}))
    await peer.follow(channel)
    return peer


def told(peer: Peer) -> list[tuple[str, str]]:
    """Take out the joins and leaves that were heard."""
    pushes: list[dict[str, Any]] = [each["push"] for each in peer.heard() if "push" in each]
    found: list[tuple[str, str]] = []
    for push in pushes:
        found += [(kind, push[kind]["info"]["user"]) for kind in ("join", "leave") if kind in push]
    return found


def test_presence_is_of_all_nodes_with_what_is_known_of_each() -> None:
    async def scene(hall: Hall) -> None:
        a, b = hall.members
        await come(a, "ann")
        bob = await come(b, "bob")
        await hall.pass_ms(50)
        present = await a.broker.presence("seen:1")
        assert {info.user: bytes(info.conn_info) for info in present.values()} == {
            "ann": b'{"of": "ann"}',
            "bob": b'{"of": "bob"}',
        }
        [reply] = [each for each in await bob.ask({"presence_stats": {"channel": "seen:1"}}) if "id" in each]
        assert reply["presence_stats"] == {"num_clients": 2, "num_users": 2}
        bob.session.closed(1000, "")
        await hall.pass_ms(50)
        assert await users(a) == ["ann"]

    play_several(scene, SEEN)


def test_a_node_sees_its_own_at_once() -> None:
    async def scene(hall: Hall) -> None:
        a, _ = hall.members
        ann = await come(a, "ann")
        assert await users(a) == ["ann"]
        await hall.pass_ms(50)
        ann.session.closed(1000, "")
        assert await users(a) == []

    play_several(scene, SEEN)


def test_joins_and_leaves_are_pushed_on_other_nodes_once_however_often_the_bus_brings_them() -> None:
    async def scene(hall: Hall) -> None:
        a, b = hall.members
        watching = await come(a, "ann")
        watching.heard()
        hall.line.times = 2
        bob = await come(b, "bob")
        await rest()
        assert told(watching) == [("join", "bob")]
        bob.session.closed(1000, "")
        await rest()
        assert told(watching) == [("leave", "bob")]

    play_several(scene, SEEN)


def test_those_who_come_together_are_told_to_the_store_together() -> None:
    async def scene(hall: Hall) -> None:
        a, b = hall.members
        before = a.way.calls.get("enter", 0)
        for number in range(50):
            peer = a.peer()
            peer.say({"connect": {"token": f"u{number}"}}, {"subscribe": {"channel": "quiet:1"}})
        await rest()
        await hall.pass_ms(50)
        assert a.way.calls["enter"] == before + 1
        assert len(await users(b, "quiet:1")) == 50

    play_several(scene, QUIET)


def test_many_are_entered_in_turns() -> None:
    async def scene(hall: Hall) -> None:
        a, b = hall.members
        peer = a.peer()
        await peer.connect(token="ann")
        names = [f"quiet:{number}" for number in range(PRESENCE_BATCH_MAX + 1)]
        for name in names:
            peer.say({"subscribe": {"channel": name}})
        await rest()
        await hall.pass_ms(50)
        assert [await users(b, name) for name in names] == [["ann"]] * len(names)

    play_several(scene, QUIET, channel_limit=2_000)


def test_a_node_that_is_alone_asks_no_store_and_enters_everybody_once_it_is_not() -> None:
    async def scene(hall: Hall) -> None:
        [a] = hall.members
        before = dict(a.way.calls)
        await come(a, "ann")
        assert await users(a) == ["ann"]
        await hall.pass_ms(3_000)
        assert a.way.calls.get("enter", 0) == before.get("enter", 0)
        assert a.way.calls.get("beat", 0) == before.get("beat", 0)
        other = Member(hall, "z", (SEEN,), {})
        hall.members.append(other)
        await other.start()
        await hall.pass_ms(200)
        assert await users(other) == ["ann"]

    play_several(scene, SEEN, nodes=1)


def test_the_clients_of_a_node_that_dies_leave() -> None:
    async def scene(hall: Hall) -> None:
        a, b, c = hall.members
        watching = [await come(a, "ann"), await come(c, "cid")]
        await come(b, "bob")
        await hall.pass_ms(100)
        for peer in watching:
            peer.heard()
        b.die()
        await hall.pass_ms(7_000)
        assert [told(peer) for peer in watching] == [[("leave", "bob")]] * 2
        assert await users(a) == ["ann", "cid"]

    play_several(scene, SEEN, nodes=3, ping_interval_ms=60_000)


def test_a_node_that_the_store_gave_up_enters_its_clients_again() -> None:
    async def scene(hall: Hall) -> None:
        a, b = hall.members
        await come(b, "bob")
        await hall.pass_ms(100)
        b.way.is_cut = True
        await hall.pass_ms(8_000)
        assert await users(a) == []
        late = await come(a, "late")
        b.way.is_cut = False
        await hall.pass_ms(2_000)
        assert await users(a) == ["bob", "late"]
        assert await users(b) == ["bob", "late"]
        late.session.closed(1000, "")

    play_several(scene, SEEN, ping_interval_ms=60_000)


def test_what_the_store_was_not_told_it_is_told_later() -> None:
    async def scene(hall: Hall) -> None:
        a, b = hall.members
        bob = await come(b, "bob", "quiet:1")
        await hall.pass_ms(100)
        b.way.is_cut = True
        bob.session.closed(1000, "")
        cid = await b.reader("live")
        await hall.pass_ms(1_000)
        b.way.is_cut = False
        await hall.pass_ms(2_000)
        assert await users(a, "quiet:1") == []
        assert cid.socket.closed_with is None

    play_several(scene, QUIET)


def test_a_node_that_stops_leaves_nobody_behind() -> None:
    async def scene(hall: Hall) -> None:
        a, b = hall.members
        await come(b, "bob")
        await hall.pass_ms(100)
        await b.cluster.stop()
        b.is_dead = True
        assert await users(a) == []

    play_several(scene, SEEN)


def test_an_entry_that_is_not_understood_hides_nobody_else() -> None:
    async def scene(hall: Hall) -> None:
        a, _ = hall.members
        ann = await come(a, "ann")
        await hall.store.beat("x", 1_000)
        await hall.store.enter("x", [Present("seen:1", client, b"?") for client in ("c1", "c2")])
        await hall.pass_ms(50)
        assert await users(a) == ["ann"]
        await hall.pass_ms(5_000)  # x is dead by now, and whoever finds that sees its clients off
        assert set(await hall.store.present("seen:1")) == {ann.session.info.client}

    play_several(scene, SEEN)
