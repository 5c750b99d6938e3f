"""What a node remembers of its connections, and what is told of it."""

import pytest
from msgspec.structs import replace

from gapless.broker.namespaces import RecoveryMode, SlowConsumer
from gapless.broker.recovery import Start
from gapless.broker.tokens import Claims, Grant
from gapless.core.errors import NotAvailable
from gapless.core.limits import STORY_EVENTS_PER_CONNECTION_MAX, STORY_NOISE_MAX
from gapless.core.stream import Position
from gapless.protocol.codes import Disconnect
from gapless.protocol.messages import PingResult, Reply
from gapless.server.api.requests import StoriesRequest
from gapless.server.api.stories import Recalling
from gapless.server.console.stories import By, Stories, Story, What
from tests.conversation import HandClock, Stage, T, play, rest, token
from tests.server.console.remembered import KEPT, client, connected, cut, remembering, told, whats

# One connection -------------------------------------------------------------------------------


def test_a_story_goes_from_connected_to_disconnected() -> None:
    async def scene(stage: Stage) -> None:
        recalling = remembering(stage)
        peer = await connected(stage, "ann")
        await peer.follow("chat")
        await stage.publish("chat", 1, 2)
        await peer.ask({"unsubscribe": {"channel": "chat"}})
        await peer.follow("other")
        cut(peer)
        who = {"client": client(peer), "user": "ann"}
        assert await told(recalling) == [
            {
                **who,
                "what": "connected",
                "address": "127.0.0.1",
                "protocol": "json",
                "name": "js",
                "version": "5.1",
            },
            {**who, "what": "subscribed", "channel": "chat", "offset": 0},
            {
                **who,
                "what": "unsubscribed",
                "channel": "chat",
                "code": 0,
                "reason": "unsubscribed by the client",
            },
            {**who, "what": "subscribed", "channel": "other", "offset": 0},
            {
                **who,
                "what": "disconnected",
                "code": 1006,
                "reason": "",
                "by": "network",
                "positions": {"other": 0},
            },
        ]

    play(scene, without=KEPT)


def test_whoever_asks_for_less_gets_the_newest() -> None:
    async def scene(stage: Stage) -> None:
        recalling = remembering(stage)
        peer = await connected(stage)
        await peer.follow("chat")
        cut(peer)
        assert await whats(recalling, limit=2) == ["subscribed", "disconnected"]

    play(scene, without=KEPT)


def test_without_a_console_nothing_is_remembered_and_it_says_so() -> None:
    async def scene(stage: Stage) -> None:
        peer = await connected(stage)
        assert peer.session.story is None
        with pytest.raises(NotAvailable, match=r"console\.enabled"):
            await Recalling(stage.sessions).stories(StoriesRequest())

    play(scene)


def test_a_console_that_watches_leaves_no_story() -> None:
    async def scene(stage: Stage) -> None:
        recalling = remembering(stage)
        peer = stage.peer()
        peer.session.identify(Claims("console:ann", watches=True))
        peer.session.granted()
        await peer.follow("chat")
        cut(peer)
        assert await told(recalling) == []

    play(scene)


@pytest.mark.parametrize(
    ("code", "by"),
    [
        (1000, "client"),
        (1001, "client"),
        (3000, "client"),
        (1006, "network"),
        (1002, "server"),
    ],
)
def test_who_ended_a_connection_is_told(code: int, by: str) -> None:
    async def scene(stage: Stage) -> None:
        recalling = remembering(stage)
        peer = await connected(stage)
        peer.session.closed(code, "so")
        [event] = await told(recalling, limit=1)
        assert (event["code"], event["reason"], event["by"]) == (code, "so", by)

    play(scene)


def test_what_the_server_ends_is_told_with_its_reason() -> None:
    async def scene(stage: Stage) -> None:
        recalling = remembering(stage)
        peer = await connected(stage)
        await peer.follow("chat")
        peer.session.unsubscribe_by_server("chat")
        peer.session.disconnected(Disconnect.FORCE_DISCONNECT)
        peer.session.closed(3503, "force disconnect")
        *_, left, ended = await told(recalling)
        assert (left["what"], left["code"], left["reason"]) == ("unsubscribed", 2000, "server unsubscribe")
        assert (ended["by"], ended["code"], ended["reason"]) == ("server", 3503, "force disconnect")

    play(scene)


def test_a_connection_ends_once_where_its_last_replies_are_too_much_for_its_socket() -> None:
    async def scene(stage: Stage) -> None:
        recalling = remembering(stage)
        peer = await connected(stage)
        await peer.follow("chat")
        peer.session.send(Reply(7, ping=PingResult()))
        peer.socket.full_bytes = 0
        peer.session.disconnected(Disconnect.FORCE_DISCONNECT)
        assert (await whats(recalling)).count("disconnected") == 1
        assert sum(stage.sessions.counts.ended.values()) == 1
        (ended,) = await told(recalling, limit=1)
        assert peer.socket.closed_with == (ended["code"], ended["reason"])
        assert ended["positions"] == {"chat": 0}

    play(scene, without=replace(KEPT, slow_consumer=SlowConsumer.DISCONNECT))


def test_a_socket_that_stalls_all_the_time_is_one_event_that_counts() -> None:
    async def scene(stage: Stage) -> None:
        recalling = remembering(stage)
        peer = await connected(stage)
        for _ in range(5):
            stage.clock.pass_ms(10)
            peer.session.writing_paused()
            peer.session.writing_resumed()
        stalled, resumed = (await told(recalling))[1:]
        assert (stalled["what"], stalled["times"], resumed["what"]) == ("stalled", 5, "resumed")
        await peer.follow("chat")
        peer.session.writing_paused()
        assert await whats(recalling) == ["connected", "stalled", "resumed", "subscribed", "stalled"]

    play(scene)


def test_where_nothing_is_kept_there_is_no_position_to_tell() -> None:
    async def scene(stage: Stage) -> None:
        recalling = remembering(stage)
        peer = await connected(stage)
        await peer.follow("chat")
        cut(peer)
        assert (await told(recalling))[-1]["positions"] == {}

    play(scene)


def test_what_the_server_subscribes_to_is_in_the_story_too() -> None:
    async def scene(stage: Stage) -> None:
        recalling = remembering(stage)
        await stage.publish("chat", 1, 2, 3)
        epoch = stage.broker.placing.epoch
        peer = stage.peer()
        asked = {"chat": {"recover": True, "epoch": epoch, "offset": 1}}
        await peer.connect(token=token("ann", subs={"chat": {}, "news": {}}), subs=asked)
        await rest()
        work = peer.session.subscribe_by_server("late", Grant())
        assert work is not None
        await work
        events = {event.get("channel"): event for event in await told(recalling)}
        assert (events["chat"]["what"], events["chat"]["messages"]) == ("recovered", 2)
        assert [events[name]["what"] for name in ("news", "late")] == ["subscribed"] * 2

    play(scene, without=KEPT)


# Back again -----------------------------------------------------------------------------------


@pytest.mark.parametrize("warm", [True, False])
def test_whoever_comes_back_recovers_so_many_messages_from_the_tail_or_the_store(warm: bool) -> None:
    async def scene(stage: Stage) -> None:
        recalling = remembering(stage)
        if warm:
            await stage.reader("chat")
        await stage.publish("chat", *range(5))
        epoch = stage.broker.placing.epoch
        peer = await connected(stage, "ann")
        await peer.follow("chat", recover=True, epoch=epoch, offset=2)
        assert (await told(recalling, user="ann"))[-1] == {
            "client": client(peer),
            "user": "ann",
            "what": "recovered",
            "channel": "chat",
            "since": 2,
            "epoch": epoch,
            "last": 5,
            "messages": 3,
            "took_ms": 0,
            "from": "tail" if warm else "store",
        }

    play(scene, without=KEPT)


def test_a_recovery_took_from_the_command_to_its_reply() -> None:
    async def scene(stage: Stage) -> None:
        recalling = remembering(stage)
        await stage.publish("chat", *range(5))
        peer = await connected(stage)
        since = {"recover": True, "epoch": stage.broker.placing.epoch, "offset": 2}
        peer.say({"subscribe": {"channel": "chat", **since}})
        stage.clock.pass_ms(40)
        await rest()
        [event] = await told(recalling, limit=1)
        assert (event["what"], event["took_ms"]) == ("recovered", 40)

    play(scene, without=KEPT)


def test_a_cache_says_that_it_gave_the_newest() -> None:
    async def scene(stage: Stage) -> None:
        recalling = remembering(stage)
        peer = await connected(stage)
        await peer.follow("empty", recover=True, epoch="before", offset=2)
        await stage.publish("chat", *range(5))
        await peer.follow("chat", recover=True, epoch="before", offset=2)
        lost, recovered = (await told(recalling))[1:]
        assert (lost["what"], lost["why"]) == ("lost", "the cache holds nothing")
        assert (recovered["from"], recovered["messages"], recovered["last"]) == ("cache", 1, 5)

    play(scene, without=replace(KEPT, force_recovery_mode=RecoveryMode.CACHE))


@pytest.mark.parametrize(
    ("epoch", "offset", "why"),
    [
        (None, 1, "it is older than what is kept, which follows offset 10"),
        (None, 99, "it is ahead of the end, offset 60"),
        ("another", 55, "it is of a generation that the store does not know"),
        ("", 55, "it names no generation"),
    ],
)
def test_why_a_position_is_lost_is_told(epoch: str | None, offset: int, why: str) -> None:
    async def scene(stage: Stage) -> None:
        recalling = remembering(stage)
        await stage.publish("chat", *range(60))
        peer = await connected(stage)
        given = stage.broker.placing.epoch if epoch is None else epoch
        await peer.follow("chat", recover=True, epoch=given, offset=offset)
        [event] = await told(recalling, limit=1)
        assert (event["what"], event["since"], event["last"], event["why"]) == ("lost", offset, 60, why)

    play(scene, without=KEPT)


def test_a_client_that_rather_fails_than_reloads_has_lost_its_position_too() -> None:
    async def scene(stage: Stage) -> None:
        recalling = remembering(stage)
        await stage.publish("chat", *range(60))
        peer = await connected(stage)
        await peer.follow("chat", recover=True, epoch=stage.broker.placing.epoch, offset=1, flag=2)
        [event] = await told(recalling, limit=1)
        assert (event["what"], event["since"]) == ("lost", 1)

    play(scene, without=KEPT)


def test_hostile_names_are_told_as_they_are() -> None:
    async def scene(stage: Stage) -> None:
        recalling = remembering(stage)
        hostile = '<script>alert("1")</script>\u202e\n'
        peer = stage.peer()
        await peer.connect(token=token(hostile), name="<img src=x>", version="\0")
        await peer.follow("<b onclick=x>'&amp;")
        cut(peer)
        events = await told(recalling, user=hostile)
        assert {event["user"] for event in events} == {hostile}
        assert (events[0]["name"], events[0]["version"]) == ("<img src=x>", "\0")
        assert events[-1]["positions"] == {"<b onclick=x>'&amp;": 0}
        assert await told(recalling, client=hostile) == []

    play(scene, without=KEPT)


def test_a_position_knows_its_generation() -> None:
    async def scene(stage: Stage) -> None:
        remembering(stage)
        peer = await connected(stage)
        await peer.follow("chat")
        await stage.publish("chat", 1, 2)
        cut(peer)
        assert stage.sessions.stories is not None
        event = next(stage.sessions.stories.newest())
        assert event.positions == {"chat": Position(stage.broker.placing.epoch, 2)}

    play(scene, without=KEPT)


# Bounds ---------------------------------------------------------------------------------------


def begun(stories: Stories, client: str, user: str = "") -> Story:
    return stories.begin(client, user, "", False, ("", ""), T)


def subscribed(story: Story, channel: str = "chat") -> None:
    story.entered(channel, Start("e", 0, 0), 0)


def clients(stories: Stories) -> list[str]:
    return [event.story.client for event in stories.newest()][::-1]


def test_of_one_connection_the_oldest_events_go_but_for_its_beginning() -> None:
    stories = Stories(HandClock())
    story = begun(stories, "a")
    for number in range(300):
        subscribed(story, str(number))
    *rest, oldest, first = stories.newest()
    assert len(rest) + 2 == STORY_EVENTS_PER_CONNECTION_MAX
    assert (first.what, oldest.channel, rest[0].channel) == (What.CONNECTED, "201", "299")


def test_of_all_connections_the_oldest_events_go() -> None:
    stories = Stories(HandClock(), events_max=5)
    for name in "abc":
        story = begun(stories, name)
        subscribed(story)
        story.ended((), 1006, "", By.NETWORK)
    assert len(stories) == 5
    assert clients(stories) == ["b", "b", "c", "c", "c"]


def test_a_connection_with_more_than_its_share_does_not_push_out_all_others() -> None:
    stories = Stories(HandClock(), events_max=STORY_NOISE_MAX * 2)
    for number in range(100):
        begun(stories, f"quiet {number}")
    noisy = begun(stories, "noisy")
    for _ in range(STORY_NOISE_MAX * 5):
        subscribed(noisy)
    told = clients(stories)
    assert len(told) == 100 + STORY_EVENTS_PER_CONNECTION_MAX
    assert told[:100] == [f"quiet {number}" for number in range(100)]
    assert len(stories) < STORY_NOISE_MAX * 2


def test_events_with_many_positions_take_the_room_of_several() -> None:
    async def scene(stage: Stage) -> None:
        stories = stage.sessions.stories = Stories(stage.clock, events_max=40)
        for _ in range(3):
            peer = await connected(stage)
            for number in range(80):
                await peer.follow(f"c{number}")
            cut(peer)
        assert len(stories) == 20
        positions = [len(event.positions) for event in stories.newest()]
        assert positions == [80] + [0] * 19

    play(scene, without=KEPT)


def test_a_page_has_as_many_events_as_there_is_room_for() -> None:
    async def scene(stage: Stage) -> None:
        recalling = remembering(stage)
        for _ in range(60):
            peer = await connected(stage)
            for number in range(100):
                await peer.follow(f"{number:0200}")
            cut(peer)
        answer = await recalling.stories(StoriesRequest(limit=1_000))
        assert 500_000 < len(answer) < 1_100_000

    play(scene, without=KEPT)
