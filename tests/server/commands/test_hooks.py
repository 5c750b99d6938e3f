"""Whole conversations in which hooks decide."""

from typing import Any

import pytest
from msgspec.structs import replace

from gapless.broker.namespaces import Namespace
from gapless.broker.revocations import Kind, Revocation
from gapless.core.limits import HOOK_MS, HOOK_RETRY_MS
from gapless.protocol.hooks import Decision, Granted, HookAsked, Refusal
from tests.conversation import OPEN, Peer, Stage, play, rest, token
from tests.server.hooked import ENDING, NO, UNAVAILABLE, YES, Desk, yes

CLOSED = Namespace()
KEPT = replace(OPEN, history_size=100, history_ttl_ms=600_000, force_recovery=True)
INTERNAL = {"code": 100, "message": "internal server error", "temporary": True}


async def connected(stage: Stage, **request: Any) -> Peer:
    peer = stage.peer()
    assert "connect" in await peer.connect(**request)
    return peer


# Connect --------------------------------------------------------------------------------------


def test_a_hook_says_who_connects_without_a_token() -> None:
    async def scene(stage: Stage) -> None:
        decision = yes(
            user="ann", info=b'{"name":"Ann"}', data=b'{"hello":1}', subscriptions={"news": Granted()}
        )
        desk = Desk(stage, {"connect": decision}, connect=True)
        peer = stage.peer()
        reply = await peer.connect(data={"key": 1}, name="js", version="5", headers={"x": "y"})
        assert reply["connect"]["data"] == {"hello": 1}
        assert list(reply["connect"]["subs"]) == ["news"]
        assert peer.session.info.user == "ann"
        [asked] = desk.asked
        assert (asked.client, asked.user, asked.token) == (reply["connect"]["client"], "", False)
        assert (asked.body(), asked.name, asked.version) == (b'{"key": 1}', "js", "5")
        assert asked.headers == {"x": "y"}
        await peer.ask({"subscribe": {"channel": "a"}})
        await peer.ask({"publish": {"channel": "a", "data": 1}})
        assert stage.sessions.of("ann") == [peer.session]

    play(scene, allow_anonymous_connect_without_token=False)


def test_without_a_decision_the_rules_say_who_connects() -> None:
    async def scene(stage: Stage) -> None:
        Desk(stage, connect=True)
        peer = stage.peer()
        assert await peer.ask({"connect": {}}) == []
        assert peer.socket.closed_with == (3501, "bad request")
        assert "connect" in await stage.peer().connect(token="ann")

    play(scene, allow_anonymous_connect_without_token=False)


def test_a_token_is_verified_before_the_hook_is_asked_and_its_user_stays() -> None:
    async def scene(stage: Stage) -> None:
        desk = Desk(stage, {"connect": yes(data=b"1")}, connect=True)
        forger = stage.peer()
        await forger.ask({"connect": {"token": "forged"}})
        assert forger.socket.closed_with == (3500, "invalid token")
        assert desk.asked == []
        peer = await connected(stage, token=token("ann", info={"a": 1}))
        [asked] = desk.asked
        assert (asked.user, asked.token, asked.info) == ("ann", True, {"a": 1})
        assert peer.session.info.user == "ann"
        desk.says["connect"] = yes(user="bob")
        assert (await stage.peer().connect(token="ann"))["error"] == INTERNAL

    play(scene)


@pytest.mark.parametrize(
    ("decision", "error"),
    [
        (NO, {"code": 103, "message": "not you"}),
        (
            Decision(refusal=Refusal(code=401, message="later", temporary=True)),
            {"code": 401, "message": "later", "temporary": True},
        ),
        (UNAVAILABLE, INTERNAL),
        (ValueError("a bug in a runner"), INTERNAL),
    ],
)
def test_a_refused_connect_is_told_why_and_may_be_followed_by_nothing(
    decision: Any, error: dict[str, Any]
) -> None:
    async def scene(stage: Stage) -> None:
        Desk(stage, {"connect": decision}, connect=True)
        peer = stage.peer()
        assert (await peer.connect())["error"] == error
        await peer.ask({"subscribe": {"channel": "a"}})
        assert peer.socket.closed_with == (3501, "bad request")

    play(scene)


def test_a_hook_may_end_the_connection_with_a_code_of_its_own() -> None:
    async def scene(stage: Stage) -> None:
        Desk(stage, {"connect": ENDING}, connect=True)
        peer = stage.peer()
        assert await peer.ask({"connect": {}}) == []
        assert peer.socket.closed_with == (4501, "banned")

    play(scene)


def test_a_user_that_is_blocked_does_not_come_in_by_a_hook() -> None:
    async def scene(stage: Stage) -> None:
        stage.sessions.revocations.take([Revocation(kind=Kind.BLOCK, id="ann", at_ms=1)])
        Desk(stage, {"connect": yes(user="ann")}, connect=True)
        peer = stage.peer()
        await peer.ask({"connect": {}})
        assert peer.socket.closed_with == (3507, "permission denied")

    play(scene)


def test_commands_wait_behind_the_connect_that_a_hook_decides() -> None:
    async def scene(stage: Stage) -> None:
        desk = Desk(stage, {"connect": yes(user="ann")}, connect=True)
        desk.holds = True
        peer = stage.peer()
        subscribe = {"subscribe": {"channel": "a"}}
        assert await peer.ask({"connect": {}}, subscribe) == []
        desk.let_go()
        await rest()
        assert [reply["id"] for reply in peer.heard()] == [1, 2]

    play(scene)


def test_a_hook_that_takes_too_long_is_given_up() -> None:
    async def scene(stage: Stage) -> None:
        desk = Desk(stage, {"connect": YES}, connect=True)
        desk.holds = True
        peer = stage.peer()
        await peer.ask({"connect": {}})
        stage.clock.pass_ms(HOOK_MS - 1)
        await rest()
        assert peer.heard() == []
        stage.clock.pass_ms(1)
        await rest()
        assert peer.heard() == [{"id": 1, "error": INTERNAL}]
        assert desk.cancelled == 1

    play(scene)


def test_no_more_hooks_than_may_be_are_under_way() -> None:
    async def scene(stage: Stage) -> None:
        desk = Desk(stage, {"connect": YES}, connect=True, most=1)
        desk.holds = True
        first, second = stage.peer(), stage.peer()
        await first.ask({"connect": {}})
        [reply] = await second.ask({"connect": {}})
        assert (reply["error"]["code"], reply["error"]["temporary"]) == (111, True)
        desk.let_go()
        await rest()
        assert "connect" in first.heard()[0]

    play(scene)


def test_a_hook_of_somebody_who_has_gone_is_given_up() -> None:
    async def scene(stage: Stage) -> None:
        desk = Desk(stage, {"connect": YES}, connect=True)
        desk.holds = True
        peer = stage.peer()
        await peer.ask({"connect": {}})
        peer.session.closed(1006, "")
        await rest()
        assert desk.cancelled == 1

    play(scene)


def test_a_token_prolongs_what_a_hook_has_added_to() -> None:
    async def scene(stage: Stage) -> None:
        desk = Desk(stage, {"connect": yes(info=b'"hook"', subscriptions={"news": Granted()})}, connect=True)
        now_ms = stage.clock.now_ms()
        peer = await connected(stage, token=f"ann@{now_ms + 60_000}")
        peer.heard()
        reply = (await peer.ask({"refresh": {"token": f"ann@{now_ms + 120_000}"}}))[0]
        assert reply["refresh"]["ttl"] == 120
        assert bytes(peer.session.claims.info) == b'"hook"'
        assert list(peer.session.subscriptions) == ["news"]
        assert len(desk.asked) == 1

    play(scene)


# Subscribe ------------------------------------------------------------------------------------


def test_a_hook_opens_what_the_namespace_does_not() -> None:
    async def scene(stage: Stage) -> None:
        desk = Desk(stage, {"subscribe": yes(data=b'{"role":"guest"}', info=b"7")}, subscribe=["chat*"])
        peer = await connected(stage, token="ann")
        result = await peer.follow("chat", data={"pass": 1})
        assert result["data"] == {"role": "guest"}
        [asked] = desk.asked
        assert (asked.channel, asked.user, asked.token, asked.body()) == (
            "chat",
            "ann",
            False,
            b'{"pass": 1}',
        )
        assert (await peer.follow("other"))["error"]["code"] == 103
        assert len(desk.asked) == 1

    play(scene, without=CLOSED)


def test_a_hook_closes_what_the_namespace_or_a_token_opens() -> None:
    async def scene(stage: Stage) -> None:
        desk = Desk(stage, {"subscribe": NO}, subscribe=["*"])
        peer = await connected(stage, token="ann")
        refused = {"code": 103, "message": "not you"}
        assert (await peer.follow("a"))["error"] == refused
        assert (await peer.follow("a", token=token("ann", "a")))["error"] == refused
        assert [asked.token for asked in desk.asked] == [False, True]
        assert peer.session.subscriptions == {}
        desk.says["subscribe"] = ENDING
        await peer.ask({"subscribe": {"channel": "a"}})
        assert peer.socket.closed_with == (4501, "banned")

    play(scene)


def test_without_a_decision_the_namespace_or_the_token_says() -> None:
    async def scene(stage: Stage) -> None:
        desk = Desk(stage, subscribe=["*"])
        peer = await connected(stage, token="ann")
        assert (await peer.follow("a"))["error"]["code"] == 103
        assert "error" not in await peer.follow("a", token=token("ann", "a", data=5))
        assert len(desk.asked) == 2

    play(scene, without=CLOSED)


def test_a_hook_that_failed_is_no_yes() -> None:
    async def scene(stage: Stage) -> None:
        Desk(stage, {"subscribe": UNAVAILABLE}, subscribe=["*"])
        peer = await connected(stage)
        assert (await peer.follow("a"))["error"] == INTERNAL
        assert peer.session.subscriptions == {}
        assert peer.session.subscribing == {}

    play(scene)


def test_nobody_is_asked_about_a_channel_of_other_users_or_of_the_system() -> None:
    async def scene(stage: Stage) -> None:
        desk = Desk(stage, {"subscribe": YES, "publish": YES}, subscribe=["*"], publish=["*"])
        peer = await connected(stage, token="ann")
        assert (await peer.follow("dm#bob,eve"))["error"]["code"] == 103
        for command in ("subscribe", "publish"):
            [reply] = await peer.ask({command: {"channel": "gapless.revocations", "data": 1}})
            assert reply["error"]["code"] in (102, 103)
        assert desk.asked == []

    play(scene, without=replace(OPEN, allow_user_limited_channels=True))


def test_nothing_is_told_before_the_hook_has_decided_and_then_all_from_the_position_on() -> None:
    async def scene(stage: Stage) -> None:
        await stage.publish("a", 1, 2)
        desk = Desk(stage, {"subscribe": YES}, subscribe=["*"])
        desk.holds = True
        peer = await connected(stage)
        epoch = stage.broker.placing.epoch
        asked = {"channel": "a", "recover": True, "epoch": epoch, "offset": 1}
        assert await peer.ask({"subscribe": asked}) == []
        await stage.publish("a", 3)
        assert peer.heard() == []
        desk.let_go()
        await rest()
        await stage.publish("a", 4)
        reply, push = peer.heard()
        assert [each["data"] for each in reply["subscribe"]["publications"]] == [2, 3]
        assert push["push"]["pub"]["data"] == 4

    play(scene, without=KEPT)


def test_commands_for_the_channel_wait_for_the_hook_and_others_do_not() -> None:
    async def scene(stage: Stage) -> None:
        desk = Desk(stage, {"subscribe": YES}, subscribe=["a"])
        desk.holds = True
        peer = await connected(stage)
        publish, other = {"publish": {"channel": "a", "data": 1}}, {"subscribe": {"channel": "b"}}
        heard = await peer.ask(
            other, {"subscribe": {"channel": "a"}}, {"publish": {"channel": "b", "data": 1}}
        )
        assert [reply.get("id") for reply in heard] == [2, None, 4]
        assert await peer.ask(publish, {"unsubscribe": {"channel": "a"}}) == []
        desk.let_go()
        await rest()
        assert [reply["id"] for reply in peer.heard() if "id" in reply] == [3, 5, 6]
        assert list(peer.session.subscriptions) == ["b"]

    play(scene)


def test_a_channel_that_a_hook_decides_is_not_given_back_unasked() -> None:
    async def scene(stage: Stage) -> None:
        Desk(stage, {"subscribe": NO}, subscribe=["secret"])
        peer = stage.peer()
        reply = await peer.connect(subs={"secret": {}, "open": {}})
        assert list(reply["connect"]["subs"]) == ["open"]

    play(scene)


def test_who_was_refused_does_not_look_either() -> None:
    async def scene(stage: Stage) -> None:
        desk = Desk(stage, {"subscribe": NO}, subscribe=["*"])
        peer = await connected(stage, token="ann")
        for look in ("history", "presence", "presence_stats"):
            [reply] = await peer.ask(
                {look: {"channel": "a", "limit": 5} if look == "history" else {"channel": "a"}}
            )
            assert reply["error"]["code"] == 103
        desk.says["subscribe"] = YES
        await peer.follow("a")
        assert "history" in (await peer.ask({"history": {"channel": "a", "limit": 5}}))[0]

    play(scene, without=replace(KEPT, presence=True))


def test_rules_that_change_while_a_hook_is_asked_are_those_that_hold() -> None:
    async def scene(stage: Stage) -> None:
        desk = Desk(stage, subscribe=["*"])
        desk.holds = True
        peer = await connected(stage)
        await peer.ask({"subscribe": {"channel": "a"}})
        stage.sessions.options = replace(stage.sessions.options, channel_limit=1)
        desk.let_go()
        await rest()
        assert "error" not in peer.heard()[0]

    play(scene)


# Publish --------------------------------------------------------------------------------------


def test_a_hook_changes_what_is_published() -> None:
    async def scene(stage: Stage) -> None:
        decision = yes(data=b'{"n":2}', tags={"by": "hook"})
        desk = Desk(stage, {"publish": decision}, publish=["a"])
        reader = await stage.reader("a")
        peer = await connected(stage, token="ann")
        assert await peer.ask({"publish": {"channel": "a", "data": {"n": 1}}}) == [{"id": 2, "publish": {}}]
        [push] = reader.heard()
        publication = push["push"]["pub"]
        assert (publication["data"], publication["tags"]) == ({"n": 2}, {"by": "hook"})
        assert publication["info"]["user"] == "ann"
        assert desk.asked[0].body() == b'{"n": 1}'

    play(scene, without=replace(OPEN, allow_publish_for_client=False))


def test_a_hook_keeps_a_publication_out_of_the_history_or_out_altogether() -> None:
    async def scene(stage: Stage) -> None:
        desk = Desk(stage, {"publish": yes(skip_history=True)}, publish=["*"])
        reader = await stage.reader("a")
        peer = await connected(stage)
        await peer.ask({"publish": {"channel": "a", "data": "typing"}})
        assert [r["push"]["pub"]["data"] for r in reader.heard()] == ["typing"]
        desk.says["publish"] = NO
        [reply] = await peer.ask({"publish": {"channel": "a", "data": 1}})
        assert reply["error"] == {"code": 103, "message": "not you"}
        desk.says["publish"] = UNAVAILABLE
        [reply] = await peer.ask({"publish": {"channel": "a", "data": 1}})
        assert reply["error"] == INTERNAL
        assert reader.heard() == []
        assert (await stage.broker.history("a", limit=10)).messages == []

    play(scene, without=KEPT)


def test_without_a_decision_the_namespace_says_who_publishes() -> None:
    async def scene(stage: Stage) -> None:
        Desk(stage, publish=["*"])
        peer = await connected(stage)
        [reply] = await peer.ask({"publish": {"channel": "a", "data": 1}})
        assert reply["error"]["code"] == 103

    play(scene, without=CLOSED)


def test_publications_keep_their_order_behind_a_hook() -> None:
    async def scene(stage: Stage) -> None:
        desk = Desk(stage, {"publish": YES}, publish=["a"])
        desk.holds = True
        reader = await stage.reader("a")
        peer = await connected(stage)
        keyed = {"rpc": {"method": "gapless.publish", "data": {"channel": "a", "data": 3}}}
        peer.say(*({"publish": {"channel": "a", "data": n}} for n in (1, 2)), keyed)
        for _ in range(3):
            await rest()
            assert len(desk.held) == 1  # one after the other
            desk.let_go()
        await rest()
        assert [r["push"]["pub"]["data"] for r in reader.heard()] == [1, 2, 3]
        assert [reply["id"] for reply in peer.heard()] == [2, 3, 4]

    play(scene)


def test_what_waits_for_a_hook_when_its_publisher_leaves_is_not_published() -> None:
    async def scene(stage: Stage) -> None:
        desk = Desk(stage, {"publish": YES}, publish=["a"])
        desk.holds = True
        reader = await stage.reader("a")
        peer = await connected(stage)
        await peer.ask({"publish": {"channel": "a", "data": 1}})
        peer.session.closed(1006, "")
        await rest()
        assert desk.cancelled == 1
        assert reader.heard() == []

    play(scene)


# Calls ----------------------------------------------------------------------------------------


def test_a_hook_answers_a_call() -> None:
    async def scene(stage: Stage) -> None:
        def add(asked: HookAsked) -> Decision:
            return yes(data=asked.body())

        Desk(stage, {"rpc": add}, rpc=["echo", "admin.*"])
        peer = await connected(stage, token="ann")
        for method in ("echo", "admin.ban"):
            [reply] = await peer.ask({"rpc": {"method": method, "data": {"n": 1}}})
            assert reply["rpc"] == {"data": {"n": 1}}
        [reply] = await peer.ask({"rpc": {"method": "other", "data": {}}})
        assert reply["error"]["code"] == 104
        [reply] = await peer.ask({"rpc": {"method": "gapless.publish", "data": {"channel": "a", "data": 1}}})
        assert "rpc" in reply

    play(scene)


def test_bytes_that_are_no_json_are_an_error_for_who_speaks_json() -> None:
    async def scene(stage: Stage) -> None:
        Desk(stage, {"rpc": Decision(decided=True, b64data=b"\xff")}, rpc=["*"])
        peer = await connected(stage)
        [reply] = await peer.ask({"rpc": {"method": "raw", "data": {}}})
        assert reply["error"] == INTERNAL

    play(scene)


# Time -----------------------------------------------------------------------------------------


def test_a_connection_lasts_as_long_as_the_hook_prolongs_it() -> None:
    async def scene(stage: Stage) -> None:
        says: dict[str, Any] = {"connect": yes(user="ann", expires_in_ms=60_000, meta=b'{"session":1}')}
        desk = Desk(stage, says, connect=True, refresh=True)
        peer = stage.peer()
        reply = await peer.connect()
        assert "expires" not in reply["connect"]  # the client has nothing to refresh it with
        desk.says["refresh"] = yes(expires_in_ms=60_000)
        for _ in range(2):
            stage.clock.pass_ms(61_000)
            await rest()
        assert [asked.place()[0] for asked in desk.asked] == ["connect", "refresh", "refresh"]
        assert desk.asked[1].meta == {"session": 1}
        assert peer.session.open
        desk.says["refresh"] = NO
        stage.clock.pass_ms(61_000)
        await rest()
        assert peer.socket.closed_with == (3005, "connection expired")

    play(scene, ping_interval_ms=10_000_000)


def test_a_hook_that_fails_to_prolong_is_asked_again_until_the_grace_is_over() -> None:
    async def scene(stage: Stage) -> None:
        desk = Desk(
            stage,
            {"connect": yes(expires_in_ms=60_000), "refresh": UNAVAILABLE},
            connect=True,
            refresh=True,
        )
        peer = await connected(stage)
        stage.clock.pass_ms(61_000)
        for _ in range(3):
            await rest()
            stage.clock.pass_ms(HOOK_RETRY_MS + 250)
        await rest()
        assert len(desk.asked) > 3
        assert peer.session.open
        stage.clock.pass_ms(25_000)
        assert peer.socket.closed_with == (3005, "connection expired")

    play(scene, ping_interval_ms=10_000_000)


def test_a_subscription_lasts_as_long_as_its_hook_prolongs_it() -> None:
    async def scene(stage: Stage) -> None:
        says: dict[str, Any] = {
            "subscribe": yes(expires_in_ms=30_000),
            "sub_refresh": yes(expires_in_ms=30_000),
        }
        desk = Desk(stage, says, subscribe=["*"], sub_refresh=["a"])
        peer = await connected(stage)
        assert "expires" not in await peer.follow("a")
        await peer.follow("b")
        stage.clock.pass_ms(31_000)
        await rest()
        assert desk.asked[-1].channel == "a"
        # Nobody prolongs b: its client subscribes anew, and the hook decides.
        assert peer.heard() == [
            {"push": {"channel": "b", "unsubscribe": {"code": 2501, "reason": "subscription expired"}}}
        ]
        stage.clock.pass_ms(31_000)
        await rest()
        assert list(peer.session.subscriptions) == ["a"]
        desk.says["sub_refresh"] = Decision()
        stage.clock.pass_ms(31_000)
        await rest()
        assert [reply["push"]["unsubscribe"]["code"] for reply in peer.heard()] == [2501]

    play(scene, ping_interval_ms=10_000_000)


# The end --------------------------------------------------------------------------------------


def test_a_hook_hears_of_every_connection_that_was_granted_and_ended() -> None:
    async def scene(stage: Stage) -> None:
        desk = Desk(stage, {"disconnect": UNAVAILABLE}, disconnect=True)
        left, ended, never = await connected(stage, token="ann"), await connected(stage), stage.peer()
        left.session.closed(1001, "away")
        ended.session.disconnected((4000, "go"))
        never.session.closed(1006, "")
        await rest()
        assert [(asked.user, asked.code, asked.reason) for asked in desk.asked] == [
            ("ann", 1001, "away"),
            ("", 4000, "go"),
        ]
        await desk.hooks.close()

    play(scene)
