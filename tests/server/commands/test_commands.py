from typing import Any

import pytest
from msgspec.structs import replace

from gapless.broker.namespaces import DataFormat, Namespace
from gapless.core.errors import BadRequest
from tests.conversation import OPEN, Peer, Stage, play, rest, token

KEPT = replace(OPEN, history_size=100, history_ttl_ms=600_000, force_recovery=True)
SOCIAL = replace(OPEN, presence=True, join_leave=True)


async def code(peer: Peer, command: dict[str, Any]) -> int:
    [reply] = await peer.ask(command)
    number: int = reply.get("error", {}).get("code", 0)
    return number


@pytest.mark.parametrize(
    ("channel", "expected"),
    [
        ("a", 0),
        ("", 107),
        ("x" * 256, 107),
        ("é", 107),
        ("nowhere:a", 102),
        ("rooms:lobby", 0),
        ("rooms:7", 107),  # not what its channel_regex asks for
        ("$a", 103),  # needs a subscription token
        ("#bob", 0),  # the boundary means nothing where the namespace does not say so
        ("users:x#ann,bob", 0),
        ("users:x#bob", 103),
    ],
)
def test_a_channels_name_decides_who_may_follow_it(channel: str, expected: int) -> None:
    async def scene(stage: Stage) -> None:
        peer = stage.peer()
        await peer.connect(token="ann")
        assert await code(peer, {"subscribe": {"channel": channel}}) == expected

    rooms = replace(OPEN, name="rooms", channel_regex="^[a-z]+$")
    users = replace(OPEN, name="users", allow_user_limited_channels=True, allow_subscribe_for_client=False)
    play(scene, rooms, users)


def test_insecure_opens_every_channel() -> None:
    async def scene(stage: Stage) -> None:
        peer = stage.peer()
        await peer.connect()
        for channel in ("a", "$a", "#bob"):
            assert await code(peer, {"subscribe": {"channel": channel}}) == 0
        assert await code(peer, {"publish": {"channel": "b", "data": 1}}) == 0
        assert await code(peer, {"history": {"channel": "a", "limit": 1}}) == 0

    closed = Namespace(history_size=1, history_ttl_ms=1000)
    play(scene, without=closed, insecure=True)


@pytest.mark.parametrize("insecure", [True, False])
def test_the_systems_own_channels_are_closed_to_clients_whatever_they_show(insecure: bool) -> None:
    async def scene(stage: Stage) -> None:
        channel = "gapless.own:1"
        [refused] = await stage.peer().ask({"connect": {"token": token("ann", subs={channel: {}})}})
        assert refused["error"]["code"] == 103
        peer = stage.peer()
        reply = await peer.connect(token="ann", subs={channel: {"recover": True}})
        assert "subs" not in reply["connect"]
        for command in (
            {"subscribe": {"channel": channel}},
            {"subscribe": {"channel": channel, "token": token("ann", channel)}},
            {"publish": {"channel": channel, "data": 1}},
            {"rpc": {"method": "gapless.publish", "data": {"channel": channel, "data": 1}}},
            {"history": {"channel": channel, "limit": 1}},
            {"presence": {"channel": channel}},
        ):
            assert await code(peer, command) == 103

    own = Namespace(name="gapless.own", history_size=1, history_ttl_ms=1_000, presence=True)
    play(scene, own, insecure=insecure)


@pytest.mark.parametrize("verb", ["publish", "history", "presence"])
@pytest.mark.parametrize(
    ("options", "user", "subscribed", "expected"),
    [
        ((), "ann", True, 103),
        (("client",), "ann", False, 0),
        (("client",), "", False, 103),
        (("anonymous",), "", True, 103),
        (("anonymous",), "ann", True, 103),
        (("client", "anonymous"), "", False, 0),
        (("subscriber",), "ann", True, 0),
        (("subscriber",), "ann", False, 103),
        (("subscriber",), "", True, 103),
        (("subscriber", "anonymous"), "", True, 0),
        (("subscriber", "anonymous"), "", False, 103),
    ],
)
def test_permissions_are_per_verb_and_who_is_anonymous_needs_one_more(
    verb: str, options: tuple[str, ...], user: str, subscribed: bool, expected: int
) -> None:
    async def scene(stage: Stage) -> None:
        peer = stage.peer()
        await peer.connect(token=user) if user else await peer.connect()
        if subscribed:
            await peer.follow("a")
        commands: dict[str, dict[str, Any]] = {
            "publish": {"publish": {"channel": "a", "data": {}}},
            "history": {"history": {"channel": "a", "limit": 1}},
            "presence": {"presence": {"channel": "a"}},
        }
        replies = await peer.ask(commands[verb])
        assert replies[-1].get("error", {}).get("code", 0) == expected

    namespace = Namespace(
        allow_subscribe_for_client=True,
        allow_subscribe_for_anonymous=True,
        presence=True,
        history_size=10,
        history_ttl_ms=1000,
        **{f"allow_{verb}_for_{option}": True for option in options},  # type: ignore[arg-type]
    )
    play(scene, without=namespace)


@pytest.mark.parametrize("channel", ["$a", "users:x#bob"])
@pytest.mark.parametrize("command", ["history", "presence"])
def test_what_one_may_not_follow_one_may_not_read_either(channel: str, command: str) -> None:
    async def scene(stage: Stage) -> None:
        peer = stage.peer()
        await peer.connect(token="ann")
        assert await code(peer, {command: {"channel": channel}}) == 103
        assert await code(peer, {command: {"channel": "users:x#ann"}}) == 0

    seen = replace(OPEN, history_size=1, history_ttl_ms=1000, presence=True)
    users = replace(seen, name="users", allow_user_limited_channels=True)
    play(scene, users, without=seen)


@pytest.mark.parametrize("history", [True, False])
def test_a_payload_has_a_largest_size(history: bool) -> None:
    async def scene(stage: Stage) -> None:
        for size, refused in ((65_536, False), (65_537, True)):
            data = b'"%b"' % (b"x" * (size - 2))
            if refused:
                with pytest.raises(BadRequest):
                    stage.broker.publish("a", data, lambda _: None)
            else:
                stage.broker.publish("a", data, lambda _: None)

    play(scene, without=KEPT if history else OPEN)


def test_what_follows_a_subscribe_in_a_frame_may_rely_on_it() -> None:
    async def scene(stage: Stage) -> None:
        peer = stage.peer()
        await peer.connect(token="ann")
        replies = await peer.ask(
            {"subscribe": {"channel": "a"}}, {"publish": {"channel": "a", "data": {"n": 1}}}
        )
        assert [reply["error"] for reply in replies if "error" in reply] == []

    play(scene, without=replace(KEPT, allow_publish_for_client=False, allow_publish_for_subscriber=True))


def test_a_subscription_is_held_once() -> None:
    async def scene(stage: Stage) -> None:
        peer = stage.peer()
        await peer.connect()
        replies = await peer.ask({"subscribe": {"channel": "a"}}, {"subscribe": {"channel": "a"}})
        assert sorted(r.get("error", {}).get("code", 0) for r in replies) == [0, 105]
        assert await code(peer, {"subscribe": {"channel": "a"}}) == 105

    play(scene, without=KEPT)


def test_a_connection_follows_so_many_channels_and_no_more() -> None:
    async def scene(stage: Stage) -> None:
        peer = stage.peer()
        await peer.connect()
        replies = await peer.ask(*({"subscribe": {"channel": f"c{n}"}} for n in range(1_000)))
        codes = [reply.get("error", {}).get("code", 0) for reply in replies]
        assert codes.count(0) == 128
        assert codes.count(106) == 872
        assert peer.socket.closed_with is None

    play(scene)


def test_map_and_shared_poll_subscriptions_are_not_available() -> None:
    async def scene(stage: Stage) -> None:
        peer = stage.peer()
        await peer.connect()
        for kind in (1, 2, 3, 4):
            assert await code(peer, {"subscribe": {"channel": "a", "type": kind}}) == 108

    play(scene)


def test_unsubscribing_ends_the_delivery() -> None:
    async def scene(stage: Stage) -> None:
        peer = await stage.reader("a")
        assert await code(peer, {"unsubscribe": {"channel": "a"}}) == 0
        await stage.publish("a", 1)
        assert peer.heard() == []
        assert await code(peer, {"unsubscribe": {"channel": "a"}}) == 0

    play(scene, without=KEPT)


def test_a_publication_says_who_published() -> None:
    async def scene(stage: Stage) -> None:
        peer = stage.peer()
        await peer.connect(token="ann")
        await peer.follow("a")
        replies = await peer.ask({"publish": {"channel": "a", "data": {"n": 1}}})
        info = replies[0]["push"]["pub"]["info"]
        assert info == {"user": "ann", "client": peer.session.info.client}

    play(scene, without=KEPT)


@pytest.mark.parametrize(("data", "expected"), [({"n": 1}, 0), ([1], 107), ("x", 107)])
def test_a_namespace_may_ask_for_objects(data: Any, expected: int) -> None:
    async def scene(stage: Stage) -> None:
        peer = stage.peer()
        await peer.connect()
        assert await code(peer, {"publish": {"channel": "a", "data": data}}) == expected

    play(scene, without=replace(OPEN, publication_data_format=DataFormat.JSON_OBJECT))


def test_histories_wait_for_the_socket_instead_of_in_memory() -> None:
    async def scene(stage: Stage) -> None:
        await stage.publish("a", *["x" * 10_000] * 100)
        peer = stage.peer()
        await peer.connect()
        peer.socket.full_bytes = 64 * 1024
        peer.say(*[{"history": {"channel": "a", "limit": 100}}] * 20)
        for _ in range(50):
            await rest()
        assert not peer.socket.reading
        assert peer.socket.buffered_bytes() < 6 * 1_010_000
        peer.socket.drain()
        for _ in range(50):
            await rest()
        assert len(peer.heard()) == 20
        assert peer.socket.reading

    play(scene, without=KEPT)


def test_history_is_read_from_either_end() -> None:
    async def ask(peer: Peer, **request: Any) -> list[int]:
        [reply] = await peer.ask({"history": {"channel": "a", **request}})
        assert reply["history"]["offset"] == 5
        return [publication["offset"] for publication in reply["history"]["publications"]]

    async def scene(stage: Stage) -> None:
        epoch = stage.broker.placing.epoch
        await stage.publish("a", 1, 2, 3, 4, 5)
        peer = stage.peer()
        await peer.connect()
        assert await ask(peer) == []
        assert await ask(peer, limit=-1) == [1, 2, 3, 4, 5]
        assert await ask(peer, limit=2) == [1, 2]
        assert await ask(peer, limit=2, reverse=True) == [5, 4]
        assert await ask(peer, limit=2, since={"offset": 2, "epoch": epoch}) == [3, 4]
        assert await ask(peer, limit=9, since={"offset": 3, "epoch": epoch}, reverse=True) == [2, 1]
        [lost] = await peer.ask(
            {"history": {"channel": "a", "limit": 1, "since": {"offset": 1, "epoch": "x"}}}
        )
        assert lost["error"]["code"] == 112

    play(scene, without=KEPT)


def test_presence_tells_who_is_there() -> None:
    async def scene(stage: Stage) -> None:
        ann, bob = stage.peer(), stage.peer()
        for peer, user in ((ann, "ann"), (bob, "bob")):
            await peer.connect(token=user)
            await peer.follow("a")
        ann.heard()
        [there] = await ann.ask({"presence": {"channel": "a"}})
        assert {info["user"] for info in there["presence"]["presence"].values()} == {"ann", "bob"}
        [stats] = await ann.ask({"presence_stats": {"channel": "a"}})
        assert stats["presence_stats"] == {"num_clients": 2, "num_users": 2}
        bob.session.closed(1000, "")
        [left] = await ann.ask({"presence_stats": {"channel": "a"}})
        assert left["presence_stats"]["num_clients"] == 1

    play(scene, without=replace(OPEN, presence=True))


def test_joins_and_leaves_are_told_to_who_asked() -> None:
    async def scene(stage: Stage) -> None:
        watcher, deaf = await stage.reader("a", join_leave=True), await stage.reader("a")
        watcher.heard()
        visitor = stage.peer()
        await visitor.connect(token="ann")
        await visitor.follow("a")
        visitor.session.closed(1000, "")
        told = [reply["push"] for reply in watcher.heard()]
        assert [next(k for k in push if k != "channel") for push in told] == ["join", "leave"]
        assert told[0]["join"]["info"]["user"] == "ann"
        assert deaf.heard() == []

    play(scene, without=SOCIAL)


def test_joins_are_not_told_to_who_may_not_see_who_is_there() -> None:
    async def scene(stage: Stage) -> None:
        watcher = await stage.reader("a", join_leave=True)
        watcher.heard()
        await stage.reader("a")
        assert watcher.heard() == []

    play(scene, without=replace(SOCIAL, allow_presence_for_client=False))


def test_a_full_socket_goes_without_joins() -> None:
    async def scene(stage: Stage) -> None:
        watcher = await stage.reader("a", join_leave=True)
        watcher.heard()
        watcher.session.writing_paused()
        await stage.reader("a")
        watcher.session.writing_resumed()
        await rest()
        assert watcher.heard() == []

    play(scene, without=SOCIAL)


def test_what_nobody_offers_is_told() -> None:
    async def scene(stage: Stage) -> None:
        peer = stage.peer()
        await peer.connect()
        assert await code(peer, {"rpc": {"method": "x"}}) == 104
        assert await code(peer, {"sub_refresh": {"channel": "a", "token": "x"}}) == 103
        assert await code(peer, {"presence": {"channel": "a"}}) == 108
        assert await peer.ask({"ping": {}}) == [{"id": 5, "ping": {}}]
        peer.say('{"send":{"data":1}}')
        assert peer.socket.closed_with == (3508, "not available")

    play(scene)
