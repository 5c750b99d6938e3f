from typing import Any

import pytest
from msgspec.structs import replace

from tests.conversation import OPEN, Stage, T, play, rest, token

KEPT = replace(OPEN, history_size=100, history_ttl_ms=600_000, force_recovery=True)
CLOSED = replace(OPEN, allow_subscribe_for_client=False, history_size=100, history_ttl_ms=600_000)
SOCIAL = replace(OPEN, presence=True, join_leave=True, force_push_join_leave=True)


@pytest.mark.parametrize("channel", ["$a", "a"])
def test_a_token_opens_what_the_namespace_does_not(channel: str) -> None:
    async def scene(stage: Stage) -> None:
        peer = stage.peer()
        await peer.connect(token="ann")
        assert (await peer.follow(channel))["error"]["code"] == 103
        assert "error" not in await peer.follow(channel, token=token("ann", channel))
        await stage.publish(channel, 1)
        assert peer.offsets() == [1]

    play(scene, without=CLOSED)


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        (token("forged", "a"), 103),
        (token("ann", "a", until_ms=T), 109),
        (token("ann", "b"), 3500),
        (token("ann"), 3500),  # a connection token
        (token("bob", "a"), 3500),
        (token("", "a"), 3500),
    ],
)
def test_a_token_is_for_its_user_and_channel_alone(asked: str, code: int) -> None:
    async def scene(stage: Stage) -> None:
        peer = stage.peer()
        await peer.connect(token="ann")
        replies = await peer.ask({"subscribe": {"channel": "a", "token": asked}})
        told = peer.socket.closed_with[0] if peer.socket.closed_with else replies[0]["error"]["code"]
        assert told == code
        assert not peer.session.subscriptions

    play(scene)


def test_a_token_tells_about_its_subscription_and_overrides_its_namespace() -> None:
    async def scene(stage: Stage) -> None:
        peer = stage.peer()
        await peer.connect(token="ann")
        override = {"force_recovery": True}
        asked = token("ann", "a", until_ms=T + 60_000, data={"n": 1}, override=override)
        told = await peer.follow("a", token=asked)
        assert (told["expires"], told["ttl"], told["data"]) == (True, 60, {"n": 1})
        assert told["recoverable"]
        assert not (await peer.follow("b")).get("recoverable")

    play(scene, without=replace(CLOSED, allow_subscribe_for_client=True))


def test_what_a_token_says_of_its_user_is_seen_by_others() -> None:
    async def scene(stage: Stage) -> None:
        watcher = await stage.reader("a")
        watcher.heard()
        ann = stage.peer()
        await ann.connect(token=token("ann", info={"name": "Ann"}))
        await ann.follow("a", token=token("ann", "a", info={"role": "admin"}))
        await ann.ask({"publish": {"channel": "a", "data": 1}}, {"publish": {"channel": "b", "data": 2}})
        await ann.ask({"unsubscribe": {"channel": "a"}})
        join, publication, leave = [reply["push"] for reply in watcher.heard()]
        seen = join["join"]["info"]
        assert (seen["conn_info"], seen["chan_info"]) == ({"name": "Ann"}, {"role": "admin"})
        assert publication["pub"]["info"] == leave["leave"]["info"] == seen

    play(scene, without=SOCIAL)


def test_presence_knows_the_channels_info_and_hides_who_is_to_be_hidden() -> None:
    async def scene(stage: Stage) -> None:
        ann, spy = stage.peer(), stage.peer()
        await ann.connect(token="ann")
        await spy.connect(token="spy")
        await ann.follow("a", token=token("ann", "a", info=1))
        hidden = {"presence": False, "join_leave": False}
        await spy.follow("a", token=token("spy", "a", override=hidden))
        [reply] = await spy.ask({"presence": {"channel": "a"}})
        [seen] = reply["presence"]["presence"].values()
        assert (seen["user"], seen["chan_info"]) == ("ann", 1)
        spy.session.closed(1000, "")
        assert [reply["push"]["join"]["info"]["user"] for reply in ann.heard()] == ["ann"]

    play(scene, without=SOCIAL)


def test_a_subscription_ends_after_its_tokens_time_and_is_asked_for_again() -> None:
    async def scene(stage: Stage) -> None:
        peer = stage.peer()
        await peer.connect(token="ann")
        await peer.follow("a", token=token("ann", "a", until_ms=T + 20_000))
        await peer.follow("b")
        stage.clock.pass_ms(20_000 + 24_900)
        peer.session._keepalive.pong()
        await stage.publish("a", 1)
        assert peer.offsets() == [1], "the delay is for prolonging it"
        stage.clock.pass_ms(500)
        await stage.publish("a", 2)
        await stage.publish("b", 1)
        ended, after = [reply["push"] for reply in peer.heard() if "push" in reply]
        assert ended == {"channel": "a", "unsubscribe": {"code": 2501, "reason": "subscription expired"}}
        assert after["channel"] == "b"
        assert list(peer.session.subscriptions) == ["b"]

    play(scene, without=KEPT, ping_interval_ms=600_000)


def test_a_new_token_prolongs_a_subscription() -> None:
    async def scene(stage: Stage) -> None:
        peer = stage.peer()
        await peer.connect(token="ann")
        await peer.follow("a", token=token("ann", "a", until_ms=T + 20_000))
        stage.clock.pass_ms(30_000)
        longer = token("ann", "a", until_ms=T + 90_000)
        [reply] = await peer.ask({"sub_refresh": {"channel": "a", "token": longer}})
        assert reply["sub_refresh"] == {"expires": True, "ttl": 60}
        stage.clock.pass_ms(80_000)
        assert "a" in peer.session.subscriptions
        [reply] = await peer.ask({"sub_refresh": {"channel": "a", "token": token("ann", "a")}})
        assert reply["sub_refresh"] == {}
        stage.clock.pass_ms(400_000)
        assert "a" in peer.session.subscriptions

    play(scene, without=KEPT, ping_interval_ms=1_200_000)


@pytest.mark.parametrize(
    ("channel", "asked", "code"),
    [
        ("b", token("ann", "b"), 103),  # not subscribed
        ("a", "", 107),
        ("a", token("ann", "b"), 3500),
        ("a", token("bob", "a"), 3500),
        ("a", token("forged", "a"), 3500),
        ("own", token("ann", "own"), 3501),  # the server's
    ],
)
def test_only_its_own_subscription_can_a_client_prolong(channel: str, asked: str, code: int) -> None:
    async def scene(stage: Stage) -> None:
        peer = stage.peer()
        await peer.connect(token=token("ann", subs={"own": {}}))
        await peer.follow("a", token=token("ann", "a"))
        replies = await peer.ask({"sub_refresh": {"channel": channel, "token": asked}})
        told = peer.socket.closed_with[0] if peer.socket.closed_with else replies[0]["error"]["code"]
        assert told == code

    play(scene)


def test_an_old_token_makes_the_client_subscribe_again_with_a_new_one() -> None:
    async def scene(stage: Stage) -> None:
        peer = stage.peer()
        await peer.connect(token="ann")
        await peer.follow("a", token=token("ann", "a", until_ms=T + 20_000))
        told, refused = await peer.ask(
            {"sub_refresh": {"channel": "a", "token": token("ann", "a", until_ms=T)}}
        )
        assert told["push"]["unsubscribe"]["code"] == 2501
        assert refused["error"]["code"] == 109
        assert "error" not in await peer.follow("a", token=token("ann", "a"))

    play(scene)


async def behind(stage: Stage, **request: Any) -> tuple[Any, str]:
    """A reader whose socket is full, in a channel that goes on."""
    peer = stage.peer()
    await peer.connect(token=f"ann@{T + 60_000}")
    epoch = (await peer.follow("a", **request))["epoch"]
    peer.socket.full_bytes = 0
    await stage.publish("a", 0)
    assert peer.session.paused
    await stage.publish("a", *range(5))
    peer.heard()
    return peer, epoch


def test_no_page_goes_to_a_subscription_whose_time_is_over() -> None:
    async def scene(stage: Stage) -> None:
        peer, _ = await behind(stage, token=token("ann", "a", until_ms=T + 1_000))
        stage.clock._now_ms += 26_001  # nobody has woken up yet
        peer.socket.drain()
        await rest()
        [told] = peer.heard()
        assert told["push"]["unsubscribe"]["code"] == 2501

    play(scene, without=KEPT)


def test_no_page_goes_to_a_connection_whose_time_is_over() -> None:
    async def scene(stage: Stage) -> None:
        peer, _ = await behind(stage)
        stage.clock._now_ms += 85_000
        peer.socket.drain()
        await rest()
        assert peer.heard() == []
        assert peer.socket.closed_with == (3005, "connection expired")

    play(scene, without=KEPT)


@pytest.mark.parametrize("warm", [True, False])
def test_a_page_that_the_store_gave_too_late_goes_to_nobody(warm: bool) -> None:
    async def scene(stage: Stage) -> None:
        peer, epoch = await behind(stage, token=token("ann", "a", until_ms=T + 1_000))
        channel = stage.broker.hub.channels["a"]
        if not warm:
            for cohort in channel.cohorts.values():
                assert cohort.tail is not None
                cohort.tail.restart(channel.sent)
        peer.socket.drain()  # asks the store
        stage.clock._now_ms += 26_001
        await rest()
        codes = [reply["push"].get("unsubscribe", {}).get("code") for reply in peer.heard()]
        assert codes == ([None] * 5 if warm else [2501])
        assert epoch

    play(scene, without=KEPT)


@pytest.mark.parametrize(
    ("until_ms", "pass_ms", "code"), [(T + 1_000, 1_000, 109), (0, 85_000, 3005), (0, 0, 0)]
)
def test_a_first_page_is_given_only_to_who_may_have_it_when_it_comes(
    until_ms: int, pass_ms: int, code: int
) -> None:
    async def scene(stage: Stage) -> None:
        await stage.publish("a", 1, 2, 3)
        peer = stage.peer()
        await peer.connect(token=f"ann@{T + 60_000}")
        epoch = stage.broker.placing.epoch
        asked = {"channel": "a", "recover": True, "epoch": epoch, "offset": 0}
        peer.say({"subscribe": {**asked, "token": token("ann", "a", until_ms=until_ms)}})
        stage.clock._now_ms += pass_ms
        await rest()
        replies = peer.heard()
        if peer.socket.closed_with:
            assert (replies, peer.socket.closed_with[0]) == ([], code)
        else:
            assert replies[0].get("error", {}).get("code", 0) == code
            assert len(replies[0].get("subscribe", {}).get("publications", ())) == (0 if code else 3)

    play(scene, without=KEPT)


def test_what_waits_for_keys_is_done_in_its_turn() -> None:
    async def scene(stage: Stage) -> None:
        peer = stage.peer()
        stage.tokens.fetch()
        peer.say({"connect": {"token": "ann"}}, {"subscribe": {"channel": "a", "token": token("ann", "a")}})
        await rest()
        assert peer.heard() == []
        stage.tokens.fetched()
        await rest()
        assert [reply["id"] for reply in peer.heard()] == [1, 2]
        stage.tokens.fetch()
        asked: list[dict[str, Any]] = [
            {"subscribe": {"channel": "b", "token": token("ann", "b")}},
            {"unsubscribe": {"channel": "b"}},
            {"ping": {}},
        ]
        assert await peer.ask(*asked) == []
        stage.tokens.fetched()
        await rest()
        assert [reply["id"] for reply in peer.heard()] == [3, 4, 5]
        assert peer.socket.reading
        stage.tokens.fetch()
        longer = token("ann", "a", until_ms=T + 60_000)
        asked = [
            {"sub_refresh": {"channel": "a", "token": longer}},
            {"refresh": {"token": f"ann@{T + 9_000}"}},
        ]
        assert await peer.ask(*asked) == []
        stage.tokens.fetched()
        await rest()
        assert [reply["id"] for reply in peer.heard()] == [6, 7]
        assert peer.session.ends_ms

    play(scene)


def test_a_connection_that_ends_while_keys_are_fetched_leaves_nothing() -> None:
    async def scene(stage: Stage) -> None:
        peer = stage.peer()
        stage.tokens.fetch()
        peer.say({"connect": {"token": "ann"}})
        await rest()
        peer.session.closed(1006, "")
        stage.tokens.fetched()
        await rest()
        assert stage.sessions.of("ann") == []
        assert stage.sessions.all == set()

    play(scene)
