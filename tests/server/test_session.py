import asyncio
import json
import logging

import pytest
from msgspec.structs import replace

from tests.conversation import OPEN, Stage, T, play, rest, token

KEPT = replace(OPEN, history_size=100, history_ttl_ms=600_000, force_recovery=True)


def closed(code: int, *commands: str, connected: bool = True) -> None:
    async def scene(stage: Stage) -> None:
        peer = stage.peer()
        if connected:
            await peer.connect()
        peer.say(*commands)
        assert peer.socket.closed_with is not None
        assert peer.socket.closed_with[0] == code
        assert stage.sessions.all == set()
        peer.session.closed(code, "")

    play(scene)


@pytest.mark.parametrize(
    "command",
    [
        "{bad",
        "",
        "[]",
        "7",
        '{"id":1}',
        '{"subscribe":{"channel":"a"}}',  # no id
        '{"id":2,"connect":{}}',  # a second time
        '{"id":-1,"ping":{}}',
        '{"id":3,"subscribe":{"channel":"a","recover":true,"offset":-1}}',
        '{"id":3,"subscribe":{"channel":"a","recover":true,"offset":1e30}}',
        "{}",  # a pong that nobody asked for
        '{"id":3,"publish":{"channel":7}}',
    ],
)
def test_what_the_protocol_does_not_allow_ends_the_connection(command: str) -> None:
    closed(3501, command)


def test_connect_comes_first() -> None:
    closed(3501, '{"id":1,"subscribe":{"channel":"a"}}', connected=False)


def test_what_follows_a_refused_connect_is_not_logged_as_the_clients_fault(
    caplog: pytest.LogCaptureFixture,
) -> None:
    late = json.dumps({"id": 1, "connect": {"token": f"ann@{T}"}})

    async def scene(stage: Stage) -> None:
        peer = stage.peer()
        peer.say(late, '{"id":2,"subscribe":{"channel":"a"}}')
        assert peer.socket.closed_with == (3501, "bad request")
        again = stage.peer()
        await again.connect(token=f"ann@{T}")
        await again.connect(token="ann")
        again.say("[]")
        assert again.socket.closed_with == (3501, "bad request")

    with caplog.at_level(logging.INFO, "gapless.session"):
        play(scene, insecure=False)
    assert [record.message for record in caplog.records] == ["bad request", "client disconnected"]


def test_what_is_sent_before_a_connection_is_granted_is_bounded() -> None:
    closed(3501, '{"id":1,"connect":{"data":"' + "x" * 70_000 + '"}}', connected=False)


def test_nothing_is_done_after_the_connection_was_ended() -> None:
    async def scene(stage: Stage) -> None:
        peer, other = stage.peer(), await stage.reader("a")
        await peer.connect()
        await peer.ask("{}", {"publish": {"channel": "a", "data": 1}})
        assert other.heard() == []

    play(scene)


def test_a_client_that_never_connects_is_stale() -> None:
    async def scene(stage: Stage) -> None:
        peer = stage.peer()
        stage.clock.pass_ms(9_900)
        assert peer.socket.closed_with is None
        stage.clock.pass_ms(500)
        assert peer.socket.closed_with == (3502, "stale")

    play(scene)


def test_it_is_pinged_and_kept_while_it_answers() -> None:
    async def scene(stage: Stage) -> None:
        peer = stage.peer()
        await peer.connect()
        pings = 0
        for _ in range(400):
            stage.clock.pass_ms(250)
            if peer.heard() == [{}]:
                pings += 1
                peer.say("{}")
        assert peer.socket.closed_with is None
        assert pings == 4

    play(scene)


def test_a_silent_client_is_given_up() -> None:
    async def scene(stage: Stage) -> None:
        peer = stage.peer()
        await peer.connect()
        stage.clock.pass_ms(25_000 + 8_000 + 500)
        assert peer.socket.closed_with == (3012, "no pong")

    play(scene)


def test_a_full_socket_is_kept_as_long_as_it_drains() -> None:
    async def scene(stage: Stage) -> None:
        peer = await stage.reader("a")
        peer.socket.full_bytes = 1000
        for _ in range(3):
            await stage.publish("a", "x" * 500)
        assert peer.session.paused
        for _ in range(6):
            peer.socket.frames[-1] = peer.socket.frames[-1][:-1]  # a byte goes through
            stage.clock.pass_ms(30_000)
        assert peer.socket.closed_with is None
        stage.clock.pass_ms(61_000)
        assert peer.socket.closed_with == (3009, "write error")

    play(scene, without=KEPT)


def test_a_token_tells_who_and_until_when() -> None:
    async def scene(stage: Stage) -> None:
        peer = stage.peer()
        reply = await peer.connect(token=f"ann@{T + 60_000}")
        assert (reply["connect"]["expires"], reply["connect"]["ttl"]) == (True, 60)
        assert peer.session.info.user == "ann"
        for _ in range(84):
            stage.clock.pass_ms(1_000)
            peer.heard()
            if peer.session.open:
                peer.session._keepalive.pong()
        assert peer.socket.closed_with is None
        stage.clock.pass_ms(1_500)
        assert peer.socket.closed_with == (3005, "connection expired")

    play(scene)


def test_a_new_token_prolongs_the_connection() -> None:
    async def scene(stage: Stage) -> None:
        peer = stage.peer()
        await peer.connect(token=f"ann@{T + 60_000}")
        [reply] = await peer.ask({"refresh": {"token": "ann"}})
        assert "expires" not in reply["refresh"]

    play(scene)


@pytest.mark.parametrize(
    ("refresh", "code"),
    [("bob", 3500), ("forged", 3500), ("", 3501), (f"ann@{T}", 3005), (token("ann", subs={"a": {}}), 3010)],
)
def test_a_token_that_does_not_prolong_ends_the_connection(refresh: str, code: int) -> None:
    """All but somebody else's comes back: an error would keep the SDKs from it."""

    async def scene(stage: Stage) -> None:
        peer = stage.peer()
        await peer.connect(token=f"ann@{T + 60_000}")
        peer.say({"refresh": {"token": refresh}})
        assert peer.socket.closed_with is not None
        assert peer.socket.closed_with[0] == code

    play(scene)


def test_a_forged_token_ends_the_connection_and_an_old_one_is_told() -> None:
    async def scene(stage: Stage) -> None:
        forged, late, none = stage.peer(), stage.peer(), stage.peer()
        forged.say({"connect": {"token": "forged"}})
        assert forged.socket.closed_with == (3500, "invalid token")
        assert (await late.connect(token=f"ann@{T - 1}"))["error"]["code"] == 109
        none.say({"connect": {}})
        assert none.socket.closed_with == (3501, "bad request")

    play(scene, allow_anonymous_connect_without_token=False)


def test_too_many_commands_that_wait_stop_the_reading() -> None:
    async def scene(stage: Stage) -> None:
        peer = stage.peer()
        await peer.connect()
        peer.say(*[{"history": {"channel": "a", "limit": 1}}] * 64)
        assert not peer.socket.reading
        await rest()
        assert len(peer.heard()) == 64
        assert peer.socket.reading

    play(scene, without=KEPT)


def test_a_connection_that_ends_takes_its_subscriptions_along() -> None:
    async def scene(stage: Stage) -> None:
        peer, other = await stage.reader("a"), await stage.reader("a")
        peer.session.closed(1006, "")
        await stage.publish("a", 1)
        assert peer.heard() == []
        assert other.offsets() == [1]
        assert list(stage.broker.hub.channels["a"].subscriptions) == [other.session.subscriptions["a"]]

    play(scene, without=KEPT)


def test_an_end_while_the_store_is_asked_leaves_nothing() -> None:
    async def scene(stage: Stage) -> None:
        peer = stage.peer()
        await peer.connect()
        peer.say({"subscribe": {"channel": "a", "recover": True, "epoch": "x", "offset": 1}})
        peer.session.closed(1006, "")
        await rest()
        assert not stage.broker.hub.channels["a"].subscriptions

    play(scene, without=KEPT)


def test_no_more_of_a_frame_is_carried_out_than_the_store_keeps_up_with() -> None:
    async def scene(stage: Stage) -> None:
        peer = stage.peer()
        await peer.connect()
        peer.say(*[{"history": {"channel": "a", "limit": 1}}] * 200)
        assert not peer.socket.reading
        waiting = len(asyncio.all_tasks())
        assert waiting <= 64 + 2
        for _ in range(4):
            await rest()
        assert [reply["id"] for reply in peer.heard()] == list(range(2, 202))
        assert peer.socket.reading

    play(scene, without=KEPT)


def test_one_that_leaves_while_it_waits_leaves_the_others_their_answer() -> None:
    async def scene(stage: Stage) -> None:
        first, second = stage.peer(), stage.peer()
        await first.connect()
        await second.connect()
        first.say({"subscribe": {"channel": "a"}})
        second.say({"subscribe": {"channel": "a"}})
        await asyncio.sleep(0)
        first.session.closed(1006, "")
        await rest()
        assert [reply["id"] for reply in second.heard()] == [2]

    play(scene, without=KEPT)


def test_what_follows_a_subscribe_that_waits_for_the_store_is_done_after_it() -> None:
    async def scene(stage: Stage) -> None:
        peer = stage.peer()
        await peer.connect()
        subscribe = {"subscribe": {"channel": "a"}}
        replies = await peer.ask(
            subscribe,
            {"subscribe": {"channel": "b"}},
            {"history": {"channel": "a", "limit": 1}},
            {"unsubscribe": {"channel": "a"}},
            subscribe,
            {"rpc": {"method": "gapless.publish", "data": {"channel": "a", "data": 7}}},
        )
        assert [reply["id"] for reply in replies if reply.get("id") in (2, 5, 6, 7)] == [2, 5, 6, 7]
        assert not [reply for reply in replies if "error" in reply]
        await stage.publish("a", 1)
        assert peer.offsets() == [2], "once"

    play(scene, without=replace(KEPT, allow_publish_for_client=False, allow_publish_for_subscriber=True))


def test_a_full_socket_is_given_no_page_with_the_reply() -> None:
    async def scene(stage: Stage) -> None:
        other, peer = stage.peer(), stage.peer()
        await other.connect()
        epoch = (await other.follow("a"))["epoch"]
        await stage.publish("a", 1, 2, 3)
        await peer.connect()
        peer.socket.full_bytes = 0
        position = {"channel": "a", "recover": True, "epoch": epoch, "offset": 0}
        _, reply = await peer.ask({"ping": {}}, {"subscribe": position})
        assert reply["subscribe"]["recovered"]
        assert "publications" not in reply["subscribe"]
        peer.socket.drain()
        assert peer.offsets() == [1, 2, 3]

    play(scene, without=KEPT)
