from typing import Any

import pytest
from msgspec.structs import replace

from gapless.broker.governing import govern
from gapless.broker.namespaces import Namespaces
from gapless.core.errors import Unavailable
from gapless.core.limits import SUBSCRIBED_BYTES_MAX
from tests.conversation import OPEN, Peer, Stage, T, play, rest, token

KEPT = replace(OPEN, history_size=1000, history_ttl_ms=600_000, force_recovery=True)
CLOSED = replace(KEPT, allow_subscribe_for_client=False)
SOCIAL = replace(OPEN, presence=True, join_leave=True, force_push_join_leave=True)
ANN = token("ann", subs={"a": {}})


def code(reply: dict[str, Any]) -> int:
    number: int = reply["error"]["code"]
    return number


async def back(
    stage: Stage, epoch: str, offset: int, *channels: str, token: str = ANN
) -> tuple[Peer, dict[str, Any]]:
    """A client that comes back, with positions in channels that the server subscribed it to."""
    peer = stage.peer()
    positions = {channel: {"recover": True, "epoch": epoch, "offset": offset} for channel in channels}
    peer.say({"connect": {"token": token, "subs": positions}})
    while not peer.session.connected:
        await rest()
    reply, *peer._unread = peer.heard()
    return peer, reply["connect"].get("subs", {})


@pytest.mark.parametrize("channel", ["a", "$a"])
def test_a_token_subscribes_its_connection(channel: str) -> None:
    async def scene(stage: Stage) -> None:
        await stage.publish(channel, 1)
        peer = stage.peer()
        reply = await peer.connect(token=token("ann", subs={channel: {"data": {"n": 1}, "info": 7}}))
        [(name, told)] = reply["connect"]["subs"].items()
        assert name == channel
        assert told == {
            "recoverable": True,
            "positioned": True,
            "epoch": stage.broker.placing.epoch,
            "offset": 1,
            "data": {"n": 1},
        }
        await stage.publish(channel, 2)
        assert peer.offsets() == [2]

    play(scene, without=CLOSED)


def test_without_history_a_server_side_subscription_has_no_position() -> None:
    async def scene(stage: Stage) -> None:
        await stage.publish("a", 1)
        peer = stage.peer()
        reply = await peer.connect(token=token("ann", subs={"a": {}, "b": {}}))
        assert reply["connect"]["subs"] == {"a": {}, "b": {}}
        await stage.publish("a", 2)
        assert [push["push"]["pub"]["data"] for push in peer.heard()] == [2]

    play(scene)


@pytest.mark.parametrize("warm", [True, False])
def test_what_was_missed_comes_with_the_connect_reply(warm: bool) -> None:
    async def scene(stage: Stage) -> None:
        if warm:
            await stage.reader("a")
        await stage.publish("a", 1, 2, 3)
        peer, subs = await back(stage, stage.broker.placing.epoch, 1, "a")
        assert subs["a"]["recovered"]
        assert subs["a"]["was_recovering"]
        assert subs["a"]["offset"] == 1, "the requested one"
        assert [publication["offset"] for publication in subs["a"]["publications"]] == [2, 3]
        await stage.publish("a", 4)
        assert peer.offsets() == [4]

    play(scene, without=CLOSED)


def test_a_long_gap_is_paged_beyond_the_connect_reply() -> None:
    async def scene(stage: Stage) -> None:
        data = ["x" * 1_000] * 90
        for channel in "abc":
            await stage.publish(channel, *data)
        asked = token("ann", subs={"a": {}, "b": {}, "c": {}})
        peer, subs = await back(stage, stage.broker.placing.epoch, 0, "a", "b", "c", token=asked)
        pages = {channel: len(told.get("publications", ())) for channel, told in subs.items()}
        assert sum(pages.values()) * 1_000 < SUBSCRIBED_BYTES_MAX
        assert pages["a"] > 0
        for _ in range(20):
            await rest()
        told = [reply["push"] for reply in peer.heard()]
        for channel, count in pages.items():
            offsets = [push["pub"]["offset"] for push in told if push["channel"] == channel]
            assert offsets == list(range(count + 1, 91))

    play(scene, without=CLOSED)


def test_a_position_that_does_not_hold_is_told() -> None:
    async def scene(stage: Stage) -> None:
        await stage.publish("a", 1, 2)
        peer, subs = await back(stage, "elsewhere", 1, "a")
        assert "recovered" not in subs["a"]
        assert "publications" not in subs["a"]
        assert subs["a"]["offset"] == 2
        await stage.publish("a", 3)
        assert peer.offsets() == [3]

    play(scene, without=CLOSED)


def test_a_position_counts_only_where_the_namespace_recovers_unless_the_token_says_so() -> None:
    async def scene(stage: Stage) -> None:
        await stage.publish("a", 1, 2)
        await stage.publish("b", 1, 2)
        asked = token("ann", subs={"a": {}, "b": {"override": {"force_recovery": True}}})
        _, subs = await back(stage, stage.broker.placing.epoch, 1, "a", "b", token=asked)
        assert subs["a"] == {}
        assert subs["b"]["recovered"]

    play(scene, without=replace(CLOSED, force_recovery=False, allow_recovery=True))


def test_a_full_socket_is_given_no_page_with_the_connect_reply() -> None:
    async def scene(stage: Stage) -> None:
        await stage.publish("a", 1, 2)
        peer = stage.peer()
        peer.socket.full_bytes = 0
        peer.session.writing_paused()
        peer.say({"connect": {"token": ANN, "subs": {"a": {"recover": True, "offset": 0}}}})
        peer.socket.drain()
        await rest()
        assert peer.heard()[0]["id"] == 1

    play(scene, without=CLOSED)


@pytest.mark.parametrize(
    ("channel", "given"),
    [("a", True), ("closed:a", False), ("$a", False), ("gone:a", False), ("é", False), ("own", True)],
)
def test_a_client_gets_back_what_it_may_follow_by_itself(channel: str, given: bool) -> None:
    async def scene(stage: Stage) -> None:
        _, subs = await back(stage, "x", 1, channel, token=token("ann", subs={"own": {}}))
        assert (channel in subs) is given
        assert "own" in subs

    play(scene, replace(CLOSED, name="closed"), without=KEPT)


@pytest.mark.parametrize(
    ("subs", "expected"), [({"gone:a": {}}, 102), ({"": {}}, 107), ({str(n): {} for n in range(129)}, 3505)]
)
def test_a_token_that_asks_for_what_there_is_not_connects_nobody(subs: dict[str, Any], expected: int) -> None:
    async def scene(stage: Stage) -> None:
        peer = stage.peer()
        replies = await peer.ask({"connect": {"token": token("ann", subs=subs)}})
        told = peer.socket.closed_with[0] if peer.socket.closed_with else code(replies[0])
        assert told == expected
        assert not peer.session.connected
        assert stage.sessions.of("ann") == []

    play(scene)


def test_what_follows_a_connect_that_waits_for_the_store_is_done_after_it() -> None:
    async def scene(stage: Stage) -> None:
        peer = stage.peer()
        replies = await peer.ask({"connect": {"token": ANN}}, {"subscribe": {"channel": "b"}}, {"ping": {}})
        assert [reply["id"] for reply in replies] == [1, 3, 2]

    play(scene, without=KEPT)


def test_a_connect_that_waits_for_the_store_begins_nothing_by_namespaces_that_are_old_then() -> None:
    async def scene(stage: Stage) -> None:
        peer = stage.peer()
        peer.say({"connect": {"token": "ann", "subs": {"a": {}}}})
        govern(stage.broker, Namespaces(without=CLOSED), lambda subscription: False)
        await rest()
        assert [code(reply) for reply in peer.heard()] == [100]
        reply = await peer.connect(token="ann", subs={"a": {}})
        assert "subs" not in reply["connect"]

    play(scene, without=KEPT)


def test_a_connect_that_the_store_failed_is_no_other_connection_of_the_user(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scene(stage: Stage) -> None:
        peer = stage.peer()
        with monkeypatch.context() as down:
            down.setattr(stage.broker.store, "heads", _down)
            assert code(await peer.connect(token=ANN)) == 100
        assert "connect" in await peer.connect(token=ANN)
        assert peer.socket.closed_with is None

    play(scene, without=KEPT, user_connection_limit=1)


async def _down(streams: object) -> None:
    raise Unavailable("down")


def test_a_server_side_subscription_counts_as_one() -> None:
    async def scene(stage: Stage) -> None:
        peer = stage.peer()
        await peer.connect(token=ANN)
        assert code(await peer.follow("a")) == 105
        [reply] = await peer.ask({"unsubscribe": {"channel": "a"}})
        assert "unsubscribe" in reply
        await stage.publish("a", 1)
        assert peer.offsets() == []

    play(scene, without=KEPT)


def test_its_lost_position_ends_the_connection_for_no_client_can_renew_it_alone() -> None:
    async def scene(stage: Stage) -> None:
        peer = stage.peer()
        await peer.connect(token=ANN)
        stage.broker.placing.lose(list(peer.session.subscriptions.values()))
        assert peer.socket.closed_with == (3010, "insufficient state")

    play(scene, without=KEPT)


def test_joins_are_told_of_server_side_subscriptions_too() -> None:
    async def scene(stage: Stage) -> None:
        watcher, peer = await stage.reader("a"), stage.peer()
        watcher.heard()
        await peer.ask({"connect": {"token": ANN}})
        peer.session.closed(1000, "")
        told = [reply["push"] for reply in watcher.heard()]
        assert [next(k for k in push if k != "channel") for push in told] == ["join", "leave"]
        assert told[0]["join"]["info"]["user"] == "ann"

    play(scene, without=SOCIAL)


# The user's own channel -----------------------------------------------------------------------


def test_a_user_is_subscribed_to_a_channel_of_its_own() -> None:
    async def scene(stage: Stage) -> None:
        peer, nobody = stage.peer(), stage.peer()
        assert list((await peer.connect(token="ann"))["connect"]["subs"]) == ["own:#ann"]
        assert "subs" not in (await nobody.connect())["connect"]
        await stage.publish("own:#ann", 1)
        assert peer.offsets() == [1]

    play(scene, replace(CLOSED, name="own"), personal_channel_prefix="own:#")


def test_a_user_may_be_let_in_once_the_older_connection_goes() -> None:
    async def scene(stage: Stage) -> None:
        older, other, newer = stage.peer(), stage.peer(), stage.peer()
        await older.connect(token="ann")
        await other.connect(token="bob")
        await newer.connect(token="ann")
        assert older.socket.closed_with == (3504, "connection limit")
        assert other.socket.closed_with is None
        assert newer.socket.closed_with is None
        for peer in (stage.peer(), stage.peer()):
            await peer.connect()
            assert peer.socket.closed_with is None, "the anonymous are not one user"

    play(scene, personal_channel_prefix="#", single_connection=True)


def test_of_two_connections_that_begin_at_once_the_later_stays() -> None:
    async def scene(stage: Stage) -> None:
        first, second = stage.peer(), stage.peer()
        first.say({"connect": {"token": "ann"}})
        second.say({"connect": {"token": "ann"}})
        await rest()
        assert first.socket.closed_with == (3504, "connection limit")
        assert second.session.connected
        assert stage.sessions.of("ann") == [second.session]

    play(scene, without=KEPT, personal_channel_prefix="#", single_connection=True)


# Who may connect ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "request_token", "expected"),
    [
        ({}, "", 3501),
        ({"allow_anonymous_connect_without_token": True}, "", 0),
        ({"insecure": True}, "", 0),
        ({}, token(""), 0),
        ({"disallow_anonymous_connection_tokens": True}, token(""), 3507),
        ({"disallow_anonymous_connection_tokens": True}, token("ann"), 0),
        ({"insecure": True, "disallow_anonymous_connection_tokens": True}, token(""), 0),
        ({"insecure": True}, token("forged"), 3500),
    ],
)
def test_who_is_anonymous_comes_in_as_the_options_say(
    options: dict[str, Any], request_token: str, expected: int
) -> None:
    async def scene(stage: Stage) -> None:
        peer = stage.peer()
        await peer.ask({"connect": {"token": request_token}})
        assert (peer.socket.closed_with or (0, ""))[0] == expected

    play(scene, **{"allow_anonymous_connect_without_token": False, **options})


def test_on_an_insecure_node_no_connection_expires() -> None:
    async def scene(stage: Stage) -> None:
        peer = stage.peer()
        assert "expires" not in (await peer.connect(token=f"ann@{T + 1_000}"))["connect"]
        assert not peer.session.ends_ms
        [reply] = await peer.ask({"refresh": {"token": f"ann@{T + 1_000}"}})
        assert "expires" not in reply["refresh"]
        assert not peer.session.ends_ms

    play(scene, insecure=True)


def test_the_servers_time_is_told_on_request() -> None:
    async def scene(stage: Stage) -> None:
        assert (await stage.peer().connect())["connect"]["time"] == T

    play(scene, connect_include_server_time=True)


def test_a_refresh_renews_what_is_known_of_the_user() -> None:
    async def scene(stage: Stage) -> None:
        peer = stage.peer()
        await peer.connect(token=token("ann", until_ms=T + 60_000, info={"v": 1}, subs={"a": {}}))
        renewed = token("ann", until_ms=T + 90_000, info={"v": 2}, subs={"a": {}})
        [reply] = await peer.ask({"refresh": {"token": renewed}})
        assert reply["refresh"]["ttl"] == 90
        publication, _ = await peer.ask({"publish": {"channel": "a", "data": 1}})
        assert publication["push"]["pub"]["info"]["conn_info"] == {"v": 2}
        await peer.ask({"refresh": {"token": token("ann", until_ms=T + 90_000, subs={"a": {}})}})
        publication, _ = await peer.ask({"publish": {"channel": "a", "data": 1}})
        assert publication["push"]["pub"]["info"]["conn_info"] == {"v": 2}, "none is no new one"
        assert stage.sessions.of("ann") == [peer.session]

    play(scene)
