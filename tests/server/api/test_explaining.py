"""What is explained is what a session is really answered, with the option that decides."""

import json
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from gapless.broker.namespaces import Namespace
from gapless.broker.revocations import Kind, Revocation
from gapless.server.api.explaining import Explaining
from gapless.server.api.requests import Act, ExplainRequest
from gapless.server.config import Config, Effective
from gapless.server.config.model import Channel
from tests.conversation import OPEN, Peer, Stage, play, token
from tests.server.hooked import NO, YES, Desk
from tests.server.running import call, running
from tests.server.serving import on_a_loop

SHUT: Final = Namespace(name="ns")
RIGHTS: Final = [
    name
    for name in Namespace.__struct_fields__
    if name.startswith("allow_") and name not in ("allow_recovery", "allow_positioning")
]
KEPT: Final = {"history_size": 10, "history_ttl_ms": 60_000}
CHANNELS: Final = (
    "ns:1", "$ns:1", "ns:1#ann", "ns:1#bob,eve", "$ns:1#ann", "1", "no:1", "ns:\N{SNOWMAN}", "",
    "gapless.health:beat", "gapless.no", "stream:orders/0",
)  # fmt: skip

namespaces = st.builds(
    lambda rights, kept, presence: replace(
        SHUT, **dict.fromkeys(rights, True), **(KEPT if kept else {}), presence=presence
    ),
    st.sets(st.sampled_from(RIGHTS)),
    st.booleans(),
    st.booleans(),
)


async def explained(stage: Stage, *named: Namespace, **request: Any) -> dict[str, Any]:
    config = Config(channel=Channel(without_namespace=OPEN, namespaces=named))
    explaining = Explaining(stage.sessions, lambda: Effective(config))
    asked = ExplainRequest(**{**request, "act": Act(request["act"])})
    told: dict[str, Any] = json.loads(await explaining.explain(asked))
    return told


async def succeeds(peer: Peer, act: str, channel: str, **more: Any) -> bool:
    content: dict[str, Any] = {"data": {}} if act == "publish" else {}
    replies = await peer.ask({act: {"channel": channel, **content, **more}})
    return any("id" in reply and "error" not in reply for reply in replies)


async def really(stage: Stage, user: str, channel: str, act: str, subscription: str) -> bool:
    """Do it: as who is not subscribed, and else as who is, if that may be."""
    peer = stage.peer()
    await peer.connect(token=token(user))
    asked = {"token": subscription} if subscription else {}
    if act == "subscribe":
        return await succeeds(peer, "subscribe", channel, **asked)
    if await succeeds(peer, act, channel):
        return True
    return await succeeds(peer, "subscribe", channel, **asked) and await succeeds(peer, act, channel)


@settings(max_examples=150, deadline=None)
@given(
    namespace=namespaces,
    user=st.sampled_from(["", "ann", "bob"]),
    insecure=st.booleans(),
    presents=st.sampled_from(["", "own", "another channel's", "another user's", "old", "forged"]),
)
def test_what_is_explained_is_what_happens(
    namespace: Namespace, user: str, insecure: bool, presents: str
) -> None:
    async def scene(stage: Stage) -> None:
        for channel in CHANNELS:
            subscription = {
                "": "",
                "own": token(user, channel),
                "another channel's": token(user, "other"),
                "another user's": token("eve", channel),
                "old": token(user, channel, until_ms=1),
                "forged": token("forged", channel),
            }[presents]
            for act in Act:
                told = await explained(
                    stage, namespace, user=user, channel=channel, act=act, subscription_token=subscription
                )
                real = await really(stage, user, channel, act, subscription)
                assert told["allowed"] is real, (channel, act, told)
                assert told["reason"]

    play(scene, namespace, insecure=insecure)


@settings(max_examples=60, deadline=None)
@given(
    namespace=namespaces,
    user=st.sampled_from(["", "ann", "bob"]),
    insecure=st.booleans(),
    asks=st.sets(st.sampled_from(["subscribe", "publish"]), min_size=1),
    presents=st.booleans(),
)
def test_a_hook_is_said_to_decide_exactly_where_it_does(
    namespace: Namespace, user: str, insecure: bool, asks: set[str], presents: bool
) -> None:
    async def scene(stage: Stage) -> None:
        for channel in CHANNELS:
            subscription = token(user, channel) if presents else ""
            for act in Act:
                answers, desk = [], Desk(stage)
                for decision in (YES, NO):
                    desk = Desk(stage, dict.fromkeys(asks, decision), **{kind: ["*"] for kind in asks})
                    answers.append(await really(stage, user, channel, act, subscription))
                asked = len(desk.asked)
                told = await explained(
                    stage, namespace, user=user, channel=channel, act=act, subscription_token=subscription
                )
                assert len(desk.asked) == asked, "it is not called"
                expected = None if answers == [True, False] else answers[0]
                assert told["allowed"] is expected, (channel, act, told, answers)
                if expected is None:
                    assert "the hook" in told["reason"]

    play(scene, namespace, insecure=insecure)


@settings(max_examples=100, deadline=None)
@given(namespace=namespaces, user=st.sampled_from(["", "ann"]))
def test_the_option_that_is_named_is_one_that_matters(namespace: Namespace, user: str) -> None:
    """Turned the other way, the answer is another, or another option is what is missing."""

    async def scene(stage: Stage) -> None:
        for channel in ("ns:1", "ns:1#ann", "ns:1#bob"):
            for act in Act:
                told = await explained(stage, namespace, user=user, channel=channel, act=act)
                path, _, option = told["option"].rpartition(".")
                assert path == "channel.namespaces[0]"
                if option == "history_size":
                    turned = replace(namespace, **KEPT)
                else:
                    turned = replace(namespace, **{option: not getattr(namespace, option)})

                found.append((turned, channel, act, told))

    found: list[tuple[Namespace, str, Act, dict[str, Any]]] = []
    play(scene, namespace)
    for turned, channel, act, told in found:

        async def again(
            stage: Stage,
            turned: Namespace = turned,
            channel: str = channel,
            act: Act = act,
            told: dict[str, Any] = told,
        ) -> None:
            now = await explained(stage, turned, user=user, channel=channel, act=act)
            assert (now["allowed"], now.get("option")) != (told["allowed"], told["option"]), (told, now)

        play(again, turned)


ONLY: Final = "only who is subscribed may"


@pytest.mark.parametrize(
    ("options", "request_", "allowed", "reason", "option"),
    [
        ({}, {"act": "subscribe"}, False, "no permission to subscribe", "allow_subscribe_for_client"),
        (
            {"allow_subscribe_for_client": True},
            {"act": "subscribe", "user": ""},
            False,
            "no permission to subscribe",
            "allow_subscribe_for_anonymous",
        ),
        ({}, {"act": "publish"}, False, "no permission", "allow_publish_for_client"),
        (
            {"allow_publish_for_client": True},
            {"act": "publish"},
            True,
            "channel.namespaces[0].allow_publish_for_client allows it",
            "allow_publish_for_client",
        ),
        (
            {"allow_publish_for_subscriber": True},
            {"act": "publish"},
            False,
            ONLY,
            "allow_subscribe_for_client",
        ),
        (
            {"allow_publish_for_subscriber": True, "allow_subscribe_for_client": True},
            {"act": "publish"},
            True,
            ONLY,
            "allow_publish_for_subscriber",
        ),
        ({}, {"act": "history"}, False, "channel 'ns:1' keeps no history", "history_size"),
        ({}, {"act": "presence"}, False, "channel 'ns:1' does not track presence", "presence"),
        (
            {"allow_user_limited_channels": True},
            {"act": "subscribe", "channel": "ns:1#bob"},
            False,
            "channel 'ns:1#bob' is limited to its users",
            "allow_user_limited_channels",
        ),
        (
            {},
            {"act": "subscribe", "channel": "$ns:1"},
            False,
            "channel '$ns:1' needs a subscription token",
            "",
        ),
        (
            {"channel_regex": "^[a-z]+$"},
            {"act": "publish"},
            False,
            "channel 'ns:1' does not",
            "channel_regex",
        ),
    ],
)
def test_the_reason_is_a_sentence_and_the_option_the_one_that_decides(
    options: dict[str, Any], request_: dict[str, Any], allowed: bool, reason: str, option: str
) -> None:
    namespace = replace(SHUT, **options)

    async def scene(stage: Stage) -> None:
        told = await explained(stage, namespace, **{"user": "ann", "channel": "ns:1", **request_})
        assert told["allowed"] is allowed
        assert told["reason"].startswith(reason)
        assert told.get("option") == (f"channel.namespaces[0].{option}" if option else None)

    play(scene, namespace)


def test_what_is_wrong_with_a_name_is_told() -> None:
    async def scene(stage: Stage) -> None:
        for channel, option in (
            ("no:1", "channel.namespaces"),
            ("x" * 300, "channel.max_length"),
            ("", None),
        ):
            told = await explained(stage, user="ann", channel=channel, act="subscribe")
            assert (told["allowed"], told.get("option")) == (False, option)

    play(scene)


def test_somebody_who_cannot_connect_can_do_nothing() -> None:
    async def scene(stage: Stage) -> None:
        stage.sessions.revocations.take([Revocation(Kind.BLOCK, "eve")])
        for request, reason in (
            ({"user": "eve"}, "the user is blocked"),
            ({"token": token("eve")}, "the connection token: the user is blocked"),
            ({"token": token("forged")}, "the connection token: the signature does not match"),
            ({"token": token("ann", until_ms=1)}, "the connection token: the token has expired"),
        ):
            told = await explained(stage, channel="1", act="publish", **request)
            assert (told["allowed"], told["reason"]) == (False, reason)
        told = await explained(stage, channel="1", act="publish", token=token("ann"))
        assert told["allowed"] is True

    play(scene)


def test_what_a_connection_token_subscribes_to_needs_no_permission() -> None:
    namespace = replace(SHUT, allow_publish_for_subscriber=True)

    async def scene(stage: Stage) -> None:
        given = token("ann", subs={"ns:1": {}})
        for act in ("subscribe", "publish"):
            told = await explained(stage, namespace, channel="ns:1", act=act, token=given)
            assert told["allowed"] is True
            assert "the connection token subscribes it" in told["reason"]
        told = await explained(stage, namespace, channel="ns:2", act="publish", token=given)
        assert told["allowed"] is False

    play(scene, namespace)


def test_a_channel_that_is_full_takes_nobody_more() -> None:
    namespace = replace(SHUT, allow_subscribe_for_client=True, subscribers_max=1)

    async def scene(stage: Stage) -> None:
        assert (await explained(stage, namespace, user="bob", channel="ns:1", act="subscribe"))["allowed"]
        peer = stage.peer()
        await peer.connect(token=token("ann"))
        await peer.follow("ns:1")
        told = await explained(stage, namespace, user="bob", channel="ns:1", act="subscribe")
        assert told["allowed"] is False
        assert told["option"] == "channel.namespaces[0].subscribers_max"

    play(scene, namespace)


@on_a_loop
async def test_rights_for_streams_are_explained_too() -> None:
    rules = [{"name": "orders"}, {"name": "news", "allow_read_for_client": True}]
    async with running({"streams": rules}) as node:

        async def asked(channel: str, act: str = "subscribe") -> tuple[bool, str | None]:
            request = {"user": "ann", "channel": channel, "act": act}
            told = (await call(node, "/api/explain", request))[1]["result"]
            return told["allowed"], told.get("option")

        assert await asked("stream:orders/0") == (False, "streams[0].allow_read_for_client")
        assert await asked("stream:news/0") == (True, "streams[1].allow_read_for_client")
        assert await asked("stream:news/999") == (False, None)
        assert await asked("stream:other/0") == (False, "streams")
        assert (await asked("stream:news/0", "publish"))[0] is False


@on_a_loop
async def test_without_any_key_the_option_is_the_secret() -> None:
    async with running() as node:
        for name, section in (("token", "token"), ("subscription_token", "token")):
            request = {"user": "ann", "channel": "chat:1", "act": "subscribe", name: "a.b.c"}
            told = (await call(node, "/api/explain", request))[1]["result"]
            assert (told["allowed"], told["option"]) == (False, f"client.{section}.hmac_secret_key")


@on_a_loop
async def test_what_cannot_be_asked_is_refused() -> None:
    async with running() as node:
        for request in (
            {"channel": "chat:1", "act": "dance"},
            {"channel": "chat:1"},
            {"channel": "chat:1", "act": "publish", "token": "console.x.y.z"},
            {"channel": "chat:1", "act": "subscribe", "subscription_token": "console.x.y.z"},
        ):
            status, _ = await call(node, "/api/explain", request)
            answer = (await call(node, "/api/explain", request))[1]
            assert answer["error"]["code"] == 107
            assert status in (200, 400)


def test_a_token_of_another_user_is_not_explained() -> None:
    async def scene(stage: Stage) -> None:
        with pytest.raises(Exception, match="the token is of user 'ann', not of 'bob'"):
            await explained(stage, user="bob", channel="1", act="publish", token=token("ann"))

    play(scene)
