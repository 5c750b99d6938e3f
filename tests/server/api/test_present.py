"""Who is connected, to which node, and how far each is with what it follows."""

from itertools import chain
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from gapless.broker.tokens import Claims
from gapless.core.errors import BadRequest
from gapless.core.limits import TOLD_PAGE_BYTES_MAX
from gapless.server.api.present import Present
from gapless.server.api.requests import ConnectionsRequest
from gapless.server.api.stories import Recalling
from gapless.server.traffic import Traffic
from tests.conversation import OPEN, Peer, Stage, T, play, token
from tests.server.nodes.test_asking import while_time_passes
from tests.several import Hall, play_several

KEPT = replace(OPEN, name="chat", history_size=50, history_ttl_ms=600_000, force_recovery=True)


async def asked(present: Present, **request: Any) -> dict[str, Any]:
    answer: dict[str, Any] = msgspec.json.decode(await present.connections(ConnectionsRequest(**request)))
    return answer


async def user(stage: Stage, name: str, *channels: str) -> Peer:
    peer = stage.peer()
    await peer.connect(token=name, name="js", version="5.1")
    for channel in channels:
        await peer.follow(channel)
    return peer


def clients(answer: dict[str, Any]) -> list[str]:
    return [connection["client"] for connection in answer["connections"]]


async def all_pages(present: Present, **request: Any) -> list[list[str]]:
    pages, after = [], ""
    while True:
        answer = await asked(present, after=after, **request)
        pages.append(clients(answer))
        if "next" not in answer:
            return pages
        after = answer["next"]


def test_a_connection_is_told_with_what_it_follows_and_how_far_it_is() -> None:
    async def scene(stage: Stage) -> None:
        stage.clock.pass_ms(5)
        peer = await user(stage, "ann", "chat:1", "plain")
        peer.socket.counted = Traffic(10, 20, 0.5)
        await stage.publish("chat:1", *range(3))
        await stage.publish("plain", 1)
        told = await asked(Present(stage.sessions))
        assert told["total"] == 1
        assert told["connections"] == [
            {
                "client": peer.session.info.client,
                "user": "ann",
                "node": "",
                "address": "127.0.0.1",
                "transport": "websocket",
                "protocol": "json",
                "name": "js",
                "version": "5.1",
                "connected_ms": T + 5,
                "watches": False,
                "stalled": False,
                "buffered_bytes": 0,
                "num_subs": 2,
                "subscriptions": [
                    {"channel": "chat:1", "offset": 3, "lag": 0, "behind": False, "server_side": False},
                    {"channel": "plain", "offset": 0, "lag": 0, "behind": False, "server_side": False},
                ],
                "received_bytes": 10,
                "sent_bytes": 20,
                "rtt_ms": 0.5,
            }
        ]

    play(scene, KEPT)


def test_what_the_system_does_not_count_is_left_out() -> None:
    async def scene(stage: Stage) -> None:
        await user(stage, "ann")
        [told] = (await asked(Present(stage.sessions)))["connections"]
        assert {"received_bytes", "sent_bytes", "rtt_ms"}.isdisjoint(told)

    play(scene)


def test_whose_socket_is_full_lags_behind_what_it_follows() -> None:
    async def scene(stage: Stage) -> None:
        peer = await user(stage, "ann", "chat:1", "plain")
        await stage.publish("chat:1", 1, 2)
        peer.session.writing_paused()
        await stage.publish("chat:1", 3, 4, 5)
        await stage.publish("plain", 1)
        [told] = (await asked(Present(stage.sessions)))["connections"]
        assert told["stalled"]
        chat, plain = told["subscriptions"]
        assert (chat["offset"], chat["lag"], chat["behind"]) == (2, 3, True)
        assert (plain["lag"], plain["behind"]) == (1, True)
        peer.session.writing_resumed()
        [told] = (await asked(Present(stage.sessions)))["connections"]
        assert [each["lag"] for each in told["subscriptions"]] == [0, 1], "it is still to be told of the one"

    play(scene, KEPT)


def test_who_is_not_let_in_yet_is_not_told_and_a_console_is_marked() -> None:
    async def scene(stage: Stage) -> None:
        stage.peer()
        watching = stage.peer()
        watching.session.identify(Claims("console:ann", watches=True))
        watching.session.granted()
        told = await asked(Present(stage.sessions))
        assert [(each["user"], each["watches"]) for each in told["connections"]] == [("console:ann", True)]

    play(scene)


def test_they_are_found_by_user_client_and_channel() -> None:
    async def scene(stage: Stage) -> None:
        present = Present(stage.sessions)
        ann, other, bob = [
            (await user(stage, name, channel)).session.info.client
            for name, channel in (("ann", "chat:1"), ("ann", "chat:2"), ("bob", "chat:1"))
        ]
        assert clients(await asked(present, user="ann")) == sorted([ann, other])
        assert clients(await asked(present, channel="chat:1")) == sorted([ann, bob])
        assert clients(await asked(present, user="ann", channel="chat:1")) == [ann]
        assert clients(await asked(present, client=bob)) == [bob]
        for nobody in ({"client": bob, "user": "ann"}, {"client": "no"}, {"user": "no"}, {"channel": "no"}):
            assert await asked(present, **nobody) == {"connections": [], "total": 0}

    play(scene, KEPT)


def test_they_come_in_pages_by_client_id() -> None:
    async def scene(stage: Stage) -> None:
        present = Present(stage.sessions)
        everybody = sorted([(await user(stage, f"{number}")).session.info.client for number in range(7)])
        pages = await all_pages(present, limit=3)
        assert [len(page) for page in pages] == [3, 3, 1]
        assert list(chain.from_iterable(pages)) == everybody
        assert (await asked(present, limit=3))["total"] == 7
        assert "next" not in await asked(present, limit=7)

    play(scene)


@pytest.mark.parametrize("limit", [0, -1, 1_001])
def test_a_page_has_at_least_one_and_at_most_a_thousand(limit: int) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(msgspec.json.encode({"limit": limit}), type=ConnectionsRequest)


def test_a_page_ends_where_there_is_no_more_room() -> None:
    async def scene(stage: Stage) -> None:
        present = Present(stage.sessions)
        for number in range(6):
            peer = await user(stage, f"{number}")
            commands = [{"subscribe": {"channel": f"{number:04}{'x' * 200}"}} for number in range(1_200)]
            await peer.ask(*commands)
        [first] = (await asked(present, limit=1))["connections"]
        assert (first["num_subs"], len(first["subscriptions"])) == (1_200, 1_000)
        pages = await all_pages(present)
        assert [len(page) for page in pages] == [3, 3]
        assert len(await present.connections(ConnectionsRequest())) < TOLD_PAGE_BYTES_MAX

    play(scene, channel_limit=2_000)


def test_hostile_names_are_told_as_they_are() -> None:
    async def scene(stage: Stage) -> None:
        present = Present(stage.sessions)
        peer = stage.peer()
        await peer.connect(token=token("<script>\u202e"), name="<img src=x>", version='"\0')
        [told] = (await asked(present, user="<script>\u202e"))["connections"]
        assert (told["user"], told["name"], told["version"]) == ("<script>\u202e", "<img src=x>", '"\0')

    play(scene)


def test_what_sdks_say_of_themselves_is_shared_up_to_a_bound() -> None:
    async def scene(stage: Stage) -> None:
        sessions = stage.sessions
        shared = [sessions.sdk("js", f"{number}") for number in range(1_000)]
        assert all(sessions.sdk("js", f"{number}") is each for number, each in enumerate(shared))
        assert sessions.sdk("more", "1") == ("more", "1")
        assert sessions.sdk("more", "1") is not sessions.sdk("more", "1")

    play(scene)


# Several nodes --------------------------------------------------------------------------------


def test_those_of_all_nodes_come_in_one_order() -> None:
    async def scene(hall: Hall) -> None:
        presents = [Present(member.sessions) for member in hall.members]
        of = {}
        for number in range(9):
            member = hall.members[number % 4 > 0]
            peer = await user(member, f"{number}", "chat:1")
            of[peer.session.info.client] = member.broker.node
        for present in presents:
            pages = await all_pages(present, limit=2, channel="chat:1")
            assert list(chain.from_iterable(pages)) == sorted(of)
            told = await asked(present)
            assert {each["client"]: each["node"] for each in told["connections"]} == of
            assert told["total"] == 9

    play_several(scene, KEPT)


def test_a_page_that_another_node_had_no_room_for_leaves_nobody_out() -> None:
    async def scene(hall: Hall) -> None:
        a, b = hall.members
        present, _ = [Present(member.sessions) for member in (a, b)]
        everybody = []
        for number in range(10):
            peer = await user(a if number % 2 else b, f"{number}")
            everybody.append(peer.session.info.client)
            if number % 2:
                await peer.ask(*({"subscribe": {"channel": f"{n:04}{'x' * 200}"}} for n in range(1_000)))
        pages = await all_pages(present)
        assert list(chain.from_iterable(pages)) == sorted(everybody)
        assert len(pages) > 1

    play_several(scene, channel_limit=2_000)


@pytest.mark.parametrize("method", ["connections", "stories", "stories_before"])
def test_what_another_node_cannot_read_is_told_to_who_asked(method: str) -> None:
    async def scene(hall: Hall) -> None:
        a, b = hall.members
        for member in (a, b):
            Present(member.sessions)
            Recalling(member.sessions)
        with pytest.raises(BadRequest, match="cannot be read"):
            await while_time_passes(hall, a.cluster.asking.everywhere(method, b"no JSON"))

    play_several(scene)
