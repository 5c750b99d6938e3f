import asyncio
from typing import Any

import pytest
from msgspec.structs import replace

from gapless.broker.tokens import Grant, Override
from gapless.core.errors import LimitExceeded, Unavailable, UnknownChannel
from gapless.core.stream import Position
from gapless.protocol.codes import Unsubscribe
from gapless.protocol.messages import payload
from tests.conversation import OPEN, Peer, Stage, T, play, rest, token

KEPT = replace(OPEN, history_size=100, history_ttl_ms=600_000, force_recovery=True)


async def subscribe(
    peer: Peer, channel: str, grant: Grant | None = None, since: Position | None = None
) -> None:
    work = peer.session.subscribe_by_server(channel, grant or Grant(), since)
    if work is not None:
        await work


def pushes(peer: Peer) -> list[dict[str, Any]]:
    return [reply["push"] for reply in peer.heard() if "push" in reply]


@pytest.mark.parametrize("known", [True, False])
def test_the_server_subscribes_a_client_at_its_channels_end(known: bool) -> None:
    async def scene(stage: Stage) -> None:
        if known:
            await stage.reader("$a")
        await stage.publish("$a", 1)
        peer = stage.peer()
        await peer.connect(token="ann")
        await subscribe(peer, "$a", Grant(data=payload(b'{"n":1}')))
        [push] = pushes(peer)
        epoch = stage.broker.placing.epoch
        told = {"recoverable": True, "epoch": epoch, "offset": 1, "positioned": True, "data": {"n": 1}}
        assert push == {"channel": "$a", "subscribe": told}
        await stage.publish("$a", 2)
        assert peer.offsets() == [2]

    play(scene, without=replace(KEPT, allow_subscribe_for_client=False))


def test_a_position_is_recovered_from_as_publications() -> None:
    async def scene(stage: Stage) -> None:
        await stage.publish("a", 1, 2, 3)
        peer = stage.peer()
        await peer.connect(token="ann")
        await subscribe(peer, "a", since=Position(stage.broker.placing.epoch, 1))
        await rest()
        told, *missed = pushes(peer)
        assert told["subscribe"]["offset"] == 1
        assert [push["pub"]["offset"] for push in missed] == [2, 3]

    play(scene, without=KEPT)


def test_what_a_client_follows_already_goes_on_under_the_new_grant() -> None:
    async def scene(stage: Stage) -> None:
        peer = stage.peer()
        await peer.connect(token="ann")
        await peer.follow("a")
        await subscribe(peer, "a", Grant(info=payload(b"7"), expires_ms=T + 1_000))
        assert pushes(peer) == []
        await stage.publish("a", 1)
        assert peer.offsets() == [1], "once"
        publication, _ = await peer.ask({"publish": {"channel": "a", "data": 1}})
        assert publication["push"]["pub"]["info"]["chan_info"] == 7
        stage.clock.pass_ms(26_250)
        await rest()
        assert pushes(peer)[0]["unsubscribe"]["code"] == 2501

    play(scene, without=KEPT, ping_interval_ms=600_000)


def test_a_grant_that_expires_ends_the_connection_whose_client_did_not_ask_for_it() -> None:
    async def scene(stage: Stage) -> None:
        peer = stage.peer()
        await peer.connect(token="ann")
        await subscribe(peer, "a", Grant(expires_ms=T + 1_000))
        stage.clock.pass_ms(26_250)
        assert peer.socket.closed_with == (3006, "subscription expired")

    play(scene, without=KEPT, ping_interval_ms=600_000)


def test_an_override_holds_in_place_of_the_namespaces_option() -> None:
    async def scene(stage: Stage) -> None:
        peer = stage.peer()
        await peer.connect(token="ann")
        await subscribe(peer, "a", Grant(override=Override(force_recovery=False)))
        assert pushes(peer) == [{"channel": "a", "subscribe": {}}]

    play(scene, without=KEPT)


def test_a_connection_that_is_about_to_stand_is_subscribed_when_it_does() -> None:
    async def scene(stage: Stage) -> None:
        peer = stage.peer()
        peer.say({"connect": {"token": token("ann", subs={"a": {}})}})
        [session] = stage.sessions.of("ann")
        assert not session.connected
        work = session.subscribe_by_server("b", Grant())
        assert work is not None
        await work
        reply, push = peer.heard()
        assert list(reply["connect"]["subs"]) == ["a"]
        assert push["push"]["channel"] == "b"

    play(scene, without=KEPT)


def test_a_client_that_asks_for_ever_more_does_not_hold_up_the_server() -> None:
    async def scene(stage: Stage) -> None:
        peer = stage.peer()
        await peer.connect(token="ann")
        work = peer.session.subscribe_by_server("a", Grant())
        assert work is not None
        subscribing = asyncio.create_task(work)
        for _ in range(50):
            peer.say({"history": {"channel": "b", "limit": 1}})
            await asyncio.sleep(0)
        assert subscribing.done()

    play(scene, without=KEPT)


def test_one_that_is_refused_or_leaves_meanwhile_is_not() -> None:
    async def scene(stage: Stage) -> None:
        peer = stage.peer()
        await peer.connect(token="ann")
        work = peer.session.subscribe_by_server("a", Grant())
        assert work is not None
        peer.session.closed(1006, "")
        await work
        assert not stage.broker.hub.subscriptions

    play(scene, without=KEPT)


def test_what_cannot_be_followed_is_refused() -> None:
    async def scene(stage: Stage) -> None:
        peer = stage.peer()
        await peer.connect(token="ann")
        with pytest.raises(UnknownChannel):
            await subscribe(peer, "gone:a")
        await subscribe(peer, "a")
        with pytest.raises(LimitExceeded):
            await subscribe(peer, "b")
        await subscribe(peer, "a")

    play(scene, channel_limit=1)


def test_two_at_once_are_one() -> None:
    async def scene(stage: Stage) -> None:
        peer = stage.peer()
        await peer.connect(token="ann")
        first = peer.session.subscribe_by_server("a", Grant())
        peer.say({"subscribe": {"channel": "b"}})
        second = peer.session.subscribe_by_server("b", Grant())
        assert first is not None
        assert second is not None
        await first
        await second
        assert sorted(peer.session.subscriptions) == ["a", "b"]
        assert not peer.session.subscriptions["b"].server_side, "the client asked first"
        third = peer.session.subscribe_by_server("c", Grant())
        fourth = peer.session.subscribe_by_server("c", Grant())
        assert third is not None
        assert fourth is not None
        third.send(None)
        with pytest.raises(Unavailable):
            await fourth
        third.close()

    play(scene, without=KEPT)


@pytest.mark.parametrize("by_server", [True, False])
def test_the_server_ends_any_subscription(by_server: bool) -> None:
    async def scene(stage: Stage) -> None:
        peer = stage.peer()
        await peer.connect(token="ann")
        if by_server:
            await subscribe(peer, "a")
        else:
            await peer.follow("a")
        peer.heard()
        peer.session.unsubscribe_by_server("a")
        peer.session.unsubscribe_by_server("b")
        await stage.publish("a", 1)
        assert pushes(peer) == [
            {"channel": "a", "unsubscribe": {"code": 2000, "reason": "server unsubscribe"}}
        ]

    play(scene, without=KEPT)


def test_the_server_ends_a_subscription_that_waits_for_the_store_once_the_client_knows_of_it() -> None:
    async def scene(stage: Stage) -> None:
        peer = stage.peer()
        await peer.connect(token="ann")
        peer.say({"subscribe": {"channel": "a"}})
        peer.session.unsubscribe_by_server("a", Unsubscribe.SERVER)
        await rest()
        reply, push = peer.heard()
        assert reply["id"] == 2
        assert push["push"]["unsubscribe"]["code"] == 2000
        assert not peer.session.subscriptions

    play(scene, without=KEPT)
