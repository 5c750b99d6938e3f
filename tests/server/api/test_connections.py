"""What a backend may do to the connections of its users."""

from typing import Any

import msgspec
import pytest

from gapless.broker.namespaces import Namespace
from gapless.core.errors import BadRequest, NotAvailable, UnknownChannel
from gapless.server.api.connections import Connections
from gapless.server.api.requests import (
    DisconnectRequest,
    RefreshRequest,
    SubscribeRequest,
    UnsubscribeRequest,
    Whom,
)
from tests.conversation import Peer, Stage, play, rest

CHAT = Namespace(name="chat", history_size=10, history_ttl_ms=60_000, force_recovery=True)
CLOSED = Namespace(name="closed")


async def user(stage: Stage, name: str) -> Peer:
    peer = stage.peer()
    await peer.connect(token=name)
    peer.heard()
    return peer


def request(kind: type[Whom], **fields: Any) -> Any:
    return msgspec.json.decode(msgspec.json.encode(fields), type=kind)


async def call(stage: Stage, method: str, kind: type[Whom], **fields: Any) -> None:
    answer = getattr(Connections(stage.sessions), method)(request(kind, **fields))
    assert (answer if isinstance(answer, bytes) else await answer) == b"{}"
    await rest()


def test_every_connection_of_a_user_is_subscribed_and_receives() -> None:
    async def scene(stage: Stage) -> None:
        ann, again, bob = [await user(stage, name) for name in ("ann", "ann", "bob")]
        await call(stage, "subscribe", SubscribeRequest, user="ann", channel="closed:1", data={"a": 1})
        await stage.publish("closed:1", "hi")
        for peer in (ann, again):
            pushes = [heard["push"] for heard in peer.heard()]
            assert pushes[0]["channel"] == "closed:1"
            assert pushes[0]["subscribe"]["data"] == {"a": 1}
            assert pushes[1]["pub"]["data"] == "hi"
        assert bob.heard() == []

    play(scene, CLOSED)


def test_a_subscription_begins_at_the_position_it_is_to_recover_from() -> None:
    async def scene(stage: Stage) -> None:
        ann = await user(stage, "ann")
        await stage.publish("chat:1", *range(5))
        epoch = stage.broker.placing.epoch
        since = {"offset": 3, "epoch": epoch}
        await call(stage, "subscribe", SubscribeRequest, user="ann", channel="chat:1", recover_since=since)
        assert ann.offsets() == [4, 5]

    play(scene, CHAT)


def test_only_the_client_that_is_named_is_meant() -> None:
    async def scene(stage: Stage) -> None:
        ann, again = await user(stage, "ann"), await user(stage, "ann")
        client = ann.session.info.client
        await call(stage, "subscribe", SubscribeRequest, user="ann", client=client, channel="closed:1")
        assert (list(ann.session.subscriptions), list(again.session.subscriptions)) == (["closed:1"], [])
        await call(stage, "disconnect", DisconnectRequest, user="bob", client=client)
        assert ann.session.open

    play(scene, CLOSED)


def test_a_subscription_is_ended_whoever_asked_for_it() -> None:
    async def scene(stage: Stage) -> None:
        ann = await user(stage, "ann")
        await ann.follow("open")
        await call(stage, "subscribe", SubscribeRequest, user="ann", channel="closed:1")
        ann.heard()
        for channel in ("open", "closed:1", "closed:never"):
            await call(stage, "unsubscribe", UnsubscribeRequest, user="ann", channel=channel)
        ended = [(heard["push"]["channel"], heard["push"]["unsubscribe"]["code"]) for heard in ann.heard()]
        assert ended == [("open", 2000), ("closed:1", 2000)]
        assert not ann.session.subscriptions

    play(scene, CLOSED)


def test_a_subscription_that_expires_ends_with_its_connection_unless_it_is_prolonged() -> None:
    async def scene(stage: Stage) -> None:
        ann = await user(stage, "ann")
        soon = stage.clock.now_ms() // 1000 + 60
        await call(stage, "subscribe", SubscribeRequest, user="ann", channel="closed:1", expire_at=soon)
        await call(stage, "subscribe", SubscribeRequest, user="ann", channel="closed:1", expire_at=soon + 60)
        stage.clock.pass_ms(90_000)
        assert ann.session.open
        stage.clock.pass_ms(60_000)
        assert ann.socket.closed_with == (3006, "subscription expired")

    play(scene, CLOSED, ping_interval_ms=10_000_000, pong_timeout_ms=0)


def test_users_are_disconnected_with_the_code_that_the_backend_gives_and_some_are_spared() -> None:
    async def scene(stage: Stage) -> None:
        ann, spared, bob = [await user(stage, name) for name in ("ann", "ann", "bob")]
        whitelist = [spared.session.info.client]
        going = {"code": 4242, "reason": "moved"}
        await call(stage, "disconnect", DisconnectRequest, user="ann", whitelist=whitelist, disconnect=going)
        assert ann.socket.closed_with == (4242, "moved")
        assert spared.session.open
        await call(stage, "disconnect", DisconnectRequest, user="bob")
        assert bob.socket.closed_with == (3503, "force disconnect")

    play(scene)


def test_a_connection_is_prolonged_or_ended_as_expired() -> None:
    async def scene(stage: Stage) -> None:
        ann = stage.peer()
        await ann.connect(token=f"ann@{stage.clock.now_ms() + 60_000}")
        until = stage.clock.now_ms() // 1000 + 600
        await call(stage, "refresh", RefreshRequest, user="ann", expire_at=until, info={"new": 1})
        assert ann.heard()[-1]["push"]["refresh"] == {"expires": True, "ttl": 600}
        assert bytes(ann.session.info.conn_info) == b'{"new":1}'
        stage.clock.pass_ms(300_000)
        assert ann.session.open
        await call(stage, "refresh", RefreshRequest, user="ann", expired=True)
        assert ann.socket.closed_with == (3005, "connection expired")

    play(scene, ping_interval_ms=10_000_000, pong_timeout_ms=0)


def test_who_is_not_connected_is_no_error() -> None:
    async def scene(stage: Stage) -> None:
        await call(stage, "subscribe", SubscribeRequest, user="nobody", channel="open")
        await call(stage, "unsubscribe", UnsubscribeRequest, user="nobody", channel="open")
        await call(stage, "disconnect", DisconnectRequest, user="nobody")
        await call(stage, "refresh", RefreshRequest, user="nobody")

    play(scene)


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"channel": "open"}, BadRequest),
        ({"user": "", "client": "", "channel": "open"}, BadRequest),
        ({"user": "ann", "session": "s", "channel": "open"}, NotAvailable),
        ({"user": "ann", "channel": "unknown:1"}, UnknownChannel),
        ({"user": "ann", "channel": ""}, BadRequest),
    ],
)
def test_who_and_what_is_meant_must_be_said(fields: dict[str, Any], error: type[Exception]) -> None:
    async def scene(stage: Stage) -> None:
        connections = Connections(stage.sessions)
        with pytest.raises(error):
            connections.unsubscribe(request(UnsubscribeRequest, **fields))
        with pytest.raises(error):
            await connections.subscribe(request(SubscribeRequest, **fields))

    play(scene)


@pytest.mark.parametrize("going", [{"code": 1000}, {"code": 5000}, {"code": 4000, "reason": "x" * 124}])
def test_a_disconnect_code_that_no_client_would_understand_is_refused(going: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        request(DisconnectRequest, user="ann", disconnect=going)


@pytest.mark.parametrize("encoded", ["!", "eA=="])
def test_what_is_granted_must_be_json(encoded: str) -> None:
    with pytest.raises(BadRequest):
        request(SubscribeRequest, user="ann", channel="open", b64info=encoded).grant()
