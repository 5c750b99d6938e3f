"""Connections that belong together are told as one story: by their user, or by a position."""

from typing import Any

import msgspec
import pytest

from gapless.core.limits import STORY_CANDIDATES_MAX, STORY_CHAIN_MAX
from gapless.server.api.requests import StoriesRequest
from gapless.server.api.stories import Recalling
from tests.conversation import Peer, Stage, T, play
from tests.server.console.remembered import KEPT, client, connected, cut, remembering, told
from tests.several import Hall, Member, play_several


async def tunnel(stage: Stage, user: str = "", address: str = "127.0.0.1") -> tuple[Peer, dict[str, Any]]:
    """Follow a channel up to its offset 2, and return with what one comes back by."""
    peer = await connected(stage, user, address)
    await peer.follow("chat")
    await stage.publish("chat", 1, 2)
    return peer, {"recover": True, "epoch": stage.broker.placing.epoch, "offset": 2}


async def back(stage: Stage, since: dict[str, Any], user: str = "", address: str = "127.0.0.1") -> Peer:
    peer = await connected(stage, user, address)
    await peer.follow("chat", **since)
    return peer


def test_the_connections_of_a_user_are_one_story() -> None:
    async def scene(stage: Stage) -> None:
        recalling = remembering(stage)
        first, since = await tunnel(stage, "ann")
        await connected(stage, "bob")
        cut(first)
        await stage.publish("chat", 3)
        stage.clock.pass_ms(1_000)
        second = await back(stage, since, "ann")
        stage.clock.pass_ms(1_000)
        await connected(stage, "ann")  # another tab, later: no part of how the second came about
        story = await told(recalling, client=client(second))
        assert [event["what"] for event in story] == [
            "connected",
            "subscribed",
            "disconnected",
            "connected",
            "recovered",
        ]
        assert [event["client"] for event in story] == [client(first)] * 3 + [client(second)] * 2
        assert story[-1]["previous"] == client(first)
        assert {event["user"] for event in await told(recalling, user="bob")} == {"bob"}

    play(scene, without=KEPT)


def test_who_is_anonymous_is_joined_by_the_recovered_position() -> None:
    async def scene(stage: Stage) -> None:
        recalling = remembering(stage)
        first, since = await tunnel(stage)
        cut(first)
        await stage.publish("chat", 3, 4)
        second = await back(stage, since)
        cut(second)
        third = await back(stage, {**since, "offset": 4})
        story = await told(recalling, client=client(third))
        assert [event["client"] for event in story if event["what"] == "connected"] == [
            client(first),
            client(second),
            client(third),
        ]
        previous = [event["previous"] for event in story if event["what"] == "recovered"]
        assert previous == [client(first), client(second)]
        assert [e.get("previous") for e in await told(recalling, limit=1)] == [client(second)]

    play(scene, without=KEPT)


def test_a_story_is_followed_back_so_far_and_no_further() -> None:
    async def scene(stage: Stage) -> None:
        recalling = remembering(stage)
        peer, since = await tunnel(stage)
        for _ in range(STORY_CHAIN_MAX + 5):
            cut(peer)
            stage.clock.pass_ms(1_000)
            peer = await back(stage, since)
        story = await told(recalling, client=client(peer), limit=1_000)
        assert len({event["client"] for event in story}) == STORY_CHAIN_MAX + 1

    play(scene, without=KEPT)


def test_in_a_busy_channel_the_likeliest_of_those_who_left_last_is_taken() -> None:
    async def scene(stage: Stage) -> None:
        recalling = remembering(stage)
        mine, since = await tunnel(stage, address="10.0.0.1")
        others = [await back(stage, since) for _ in range(STORY_CANDIDATES_MAX * 2)]
        for peer in [*others[:-5], mine, *others[-5:]]:
            stage.clock.pass_ms(1)
            cut(peer)
        await back(stage, since, address="10.0.0.1")
        assert (await told(recalling, limit=1))[0]["previous"] == client(mine)

    play(scene, without=KEPT)


def test_who_was_cut_and_is_taken_for_alive_is_found_too() -> None:
    async def scene(stage: Stage) -> None:
        recalling = remembering(stage)
        first, since = await tunnel(stage)
        await stage.publish("chat", 3, 4)  # sent to the first, which got nothing of it
        second = await back(stage, since)
        [event] = await told(recalling, limit=1)
        assert event["previous"] == client(first)
        stage.clock.pass_ms(20_000)
        cut(first)
        story = await told(recalling, client=client(second))
        assert [event["previous"] for event in story if event["what"] == "recovered"] == [client(first)]

    play(scene, without=KEPT)


def test_who_lives_on_long_after_is_not_the_one_before() -> None:
    async def scene(stage: Stage) -> None:
        recalling = remembering(stage)
        first, since = await tunnel(stage)
        second = await back(stage, since)
        for _ in range(600):
            stage.clock.pass_ms(100)
            for peer in (first, second):
                if {} in peer.heard():
                    peer.say("{}")
        assert first.session.open
        assert "previous" not in (await told(recalling, client=client(second)))[-1]

    play(scene, without=KEPT)


def test_who_had_not_got_so_far_is_not_the_one_before() -> None:
    async def scene(stage: Stage) -> None:
        recalling = remembering(stage)
        first, since = await tunnel(stage)
        cut(first)
        await stage.publish("chat", 3, 4)
        await back(stage, {**since, "offset": 3})
        assert "previous" not in (await told(recalling, limit=1))[0]

    play(scene, without=KEPT)


def test_of_several_the_one_from_the_same_address_at_the_very_position_is_taken() -> None:
    async def scene(stage: Stage) -> None:
        recalling = remembering(stage)
        here, since = await tunnel(stage, address="10.0.0.1")
        there = await connected(stage, address="10.0.0.2")
        await there.follow("chat")
        cut(here)
        cut(there)
        await stage.publish("chat", 3)
        for address, first in (("10.0.0.1", here), ("10.0.0.2", there)):
            await back(stage, since, address=address)
            assert (await told(recalling, limit=1))[0]["previous"] == client(first)

    play(scene, without=KEPT)


def test_an_anonymous_one_never_continues_a_users_story_nor_a_user_anothers() -> None:
    async def scene(stage: Stage) -> None:
        recalling = remembering(stage)
        first, since = await tunnel(stage, "ann")
        cut(first)
        for user in ("", "bob"):
            await back(stage, since, user)
            assert "previous" not in (await told(recalling, limit=1))[0]

    play(scene, without=KEPT)


def test_a_lost_position_joins_as_a_recovered_one_does() -> None:
    async def scene(stage: Stage) -> None:
        recalling = remembering(stage)
        first, since = await tunnel(stage)
        cut(first)
        await stage.publish("chat", *range(80))
        await back(stage, since)
        [event] = await told(recalling, limit=1)
        assert (event["what"], event["previous"]) == ("lost", client(first))

    play(scene, without=KEPT)


# Several nodes --------------------------------------------------------------------------------


def all_remembering(hall: Hall) -> list[Recalling]:
    return [remembering(member) for member in hall.members]


async def returning(hall: Hall, user: str) -> tuple[Peer, Peer]:
    """Follow on the first node, and come back to the second."""
    a, b = hall.members
    first, since = await tunnel(a, user)
    await hall.pass_ms(100)
    cut(first)
    await a.publish("chat", 3)
    await hall.pass_ms(1_000)
    return first, await back(b, since, user)


@pytest.mark.parametrize("user", ["", "ann"])
def test_a_story_goes_over_all_nodes(user: str) -> None:
    async def scene(hall: Hall) -> None:
        recallings = all_remembering(hall)
        first, second = await returning(hall, user)
        for recalling in recallings:
            story = await told(recalling, client=client(second))
            assert [event["what"] for event in story] == [
                "connected",
                "subscribed",
                "disconnected",
                "connected",
                "recovered",
            ]
            assert story[-1]["previous"] == client(first)
            [newest] = await told(recalling, limit=1)
            assert newest["previous"] == client(first)

    def recallings(hall: Hall) -> list[Recalling]:
        return known

    known: list[Recalling] = []

    async def whole(hall: Hall) -> None:
        known.extend(all_remembering(hall))
        await scene(hall)

    play_several(whole, without=KEPT)


def test_events_of_all_nodes_come_in_the_order_in_which_they_happened() -> None:
    async def scene(hall: Hall) -> None:
        recalling, _ = all_remembering(hall)
        members: list[Member] = hall.members * 3
        for member in members:
            await connected(member)
            await hall.pass_ms(100)
        answer = msgspec.json.decode(await recalling.stories(StoriesRequest(limit=4)))
        assert [event["node"] for event in answer["events"]] == ["b", "a", "b", "a"]
        times = [event["at_ms"] for event in answer["events"]]
        assert times == sorted(times, reverse=True)
        assert times[0] > T

    play_several(scene, without=KEPT)
