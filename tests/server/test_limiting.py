"""Limits of connections, users and addresses, each with its documented code."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import msgspec
import pytest

from gapless.broker.namespaces import Namespace
from gapless.broker.tokens import Grant
from gapless.core.errors import LimitExceeded
from gapless.core.limits import FLOOD
from gapless.server import limiting
from gapless.server.config.model import Limits
from gapless.server.limiting import Limiting, Shares
from gapless.server.request import Refused
from gapless.server.sessions import SessionOptions
from tests.conversation import HandClock, Peer, Stage, play, rest, token
from tests.server.raw_socket import RawSocket, upgrade
from tests.server.running import call, running
from tests.server.serving import on_a_loop

SMALL = Namespace(name="small", subscribers_max=2, allow_subscribe_for_client=True)
KEPT = Namespace(
    name="kept",
    subscribers_max=1,
    history_size=10,
    history_ttl_ms=60_000,
    allow_subscribe_for_client=True,
)
PING: dict[str, Any] = {"ping": {}}


def limits(**scopes: Mapping[str, int]) -> Limits:
    return msgspec.convert(scopes, Limits)


def hold(stage: Stage, *, connects_per_second: int = 0, **scopes: Mapping[str, int]) -> None:
    options = stage.sessions.options
    stage.sessions.limit_anew(options, limits(**scopes), connects_per_second=connects_per_second)


async def user(stage: Stage, name: str, address: str = "127.0.0.1") -> Peer:
    peer = stage.peer(address)
    await peer.ask({"connect": {"token": name}})
    return peer


async def answers(peer: Peer, count: int) -> list[int]:
    """Ping so often; return the error codes, 0 for a pong."""
    heard = await peer.ask(*[PING] * count)
    return [reply["error"]["code"] if "error" in reply else 0 for reply in heard]


# Commands ----------------------------------------------------------------------------------


def test_commands_beyond_the_rate_are_refused_for_now() -> None:
    async def scene(stage: Stage) -> None:
        hold(stage, connection={"commands_per_second": 4})
        ann = await user(stage, "ann")  # a connect is a command
        assert await answers(ann, 5) == [0, 0, 0, 111, 111]
        stage.clock.pass_ms(250)
        assert await answers(ann, 2) == [0, 111]
        assert (await answers(await user(stage, "ann"), 3)) == [0, 0, 0]

    play(scene)


def test_a_refused_command_may_be_sent_again() -> None:
    async def scene(stage: Stage) -> None:
        hold(stage, connection={"commands_per_second": 1})
        ann = await user(stage, "ann")
        [reply] = await ann.ask(PING)
        assert (reply["error"]["code"], reply["error"]["temporary"]) == (111, True)

    play(scene)


def test_a_flood_ends_the_connection() -> None:
    async def scene(stage: Stage) -> None:
        hold(stage, connection={"commands_per_second": 2})
        ann = await user(stage, "ann")
        await ann.ask(*[PING] * (2 * FLOOD - 1))
        assert ann.session.open
        await ann.ask(PING)
        assert ann.socket.closed_with == (3013, "too many requests")
        assert stage.sessions.limiting.refused["flood"] == 1

    play(scene)


@pytest.mark.parametrize(
    ("scope", "name", "address"), [("user", "ann", "10.0.0.2"), ("address", "bob", "10.0.0.1")]
)
def test_connections_share_what_their_user_or_address_has(scope: str, name: str, address: str) -> None:
    async def scene(stage: Stage) -> None:
        scopes: dict[str, Any] = {scope: {"commands_per_second": 4}}
        hold(stage, **scopes)
        ann, same = await user(stage, "ann", "10.0.0.1"), await user(stage, name, address)
        other = await user(stage, "eve", "10.0.0.3")
        stage.clock.pass_ms(1_000)
        assert await answers(ann, 3) == [0, 0, 0]
        assert await answers(same, 2) == [0, 111]
        assert await answers(other, 3) == [0, 0, 0]
        ann.session.closed(1000, "")
        again = stage.peer(address)
        heard = await again.ask({"connect": {"token": name}}) + await again.ask(PING)
        assert 111 in [reply["error"]["code"] for reply in heard if "error" in reply]

    play(scene)


def test_other_limits_hold_for_those_who_are_there() -> None:
    async def scene(stage: Stage) -> None:
        ann = await user(stage, "ann")
        hold(stage, user={"commands_per_second": 1})
        assert await answers(ann, 2) == [0, 111]
        hold(stage, user={"commands_per_second": 1})
        assert await answers(ann, 1) == [111]
        hold(stage)
        assert await answers(ann, 2) == [0, 0]

    play(scene)


# Bytes -------------------------------------------------------------------------------------


def test_bytes_beyond_the_rate_are_read_later_and_none_is_lost() -> None:
    async def scene(stage: Stage) -> None:
        hold(stage, connection={"bytes_per_second": 1_000})
        ann = await user(stage, "ann")
        stage.clock.pass_ms(1_000)
        large = {"history": {"channel": "x" * 1_490}}
        assert await ann.ask(large) == []
        reading = [ann.socket.reading]
        stage.clock.pass_ms(400)
        await rest()
        assert ann.heard() == []
        stage.clock.pass_ms(700)
        await rest()
        assert len(ann.heard()) == 1
        assert [*reading, ann.socket.reading] == [False, True]
        assert ann.session.open

    play(scene, ping_interval_ms=10_000_000, pong_timeout_ms=0)


def test_a_connection_that_ends_while_it_is_kept_waiting_is_over() -> None:
    async def scene(stage: Stage) -> None:
        hold(stage, connection={"bytes_per_second": 10})
        ann = stage.peer()
        ann.say({"connect": {"token": "ann"}})
        ann.session.closed(1006, "")
        stage.clock.pass_ms(60_000)
        assert ann.heard() == []

    play(scene)


def test_who_is_kept_waiting_is_not_held_to_its_pongs() -> None:
    async def scene(stage: Stage) -> None:
        ann = await user(stage, "ann")
        hold(stage, connection={"bytes_per_second": 10})
        ann.say({"history": {"channel": "x" * 1_000}})
        for _ in range(20):
            stage.clock.pass_ms(1_000)
            await rest()
        assert ann.session.open

    play(scene, ping_interval_ms=2_000, pong_timeout_ms=1_000, stale_close_delay_ms=10_000_000)


# Connects ----------------------------------------------------------------------------------


def test_a_user_has_so_many_connections() -> None:
    async def scene(stage: Stage) -> None:
        first, second, third = [await user(stage, "ann") for _ in range(3)]
        assert third.socket.closed_with == (3504, "connection limit")
        assert (await user(stage, "bob")).session.open
        first.session.closed(1000, "")
        assert (await user(stage, "ann")).session.open
        assert second.session.open
        anonymous = [await user(stage, "") for _ in range(3)]
        assert all(peer.session.open for peer in anonymous)

    play(scene, user_connection_limit=2)


def test_a_user_opens_so_many_connections_in_a_minute() -> None:
    async def scene(stage: Stage) -> None:
        hold(stage, user={"connects_per_minute": 2})
        for _ in range(2):
            (await user(stage, "ann")).session.closed(1000, "")
        assert (await user(stage, "ann")).socket.closed_with == (3013, "too many requests")
        stage.clock.pass_ms(30_000)
        assert (await user(stage, "ann")).session.open

    play(scene)


def test_who_sent_too_much_to_be_read_is_stale_as_any_other_without_a_connect() -> None:
    async def scene(stage: Stage) -> None:
        hold(stage, address={"bytes_per_second": 100})
        peer = stage.peer()
        await peer.ask({"connect": {"data": "x" * 20_000}})
        stage.clock.pass_ms(20_000)
        assert peer.socket.closed_with == (3502, "stale")

    play(scene, stale_close_delay_ms=10_000)


def test_an_address_is_admitted_by_what_it_has_open_and_how_often_it_comes() -> None:
    clock = HandClock()
    limited = Limiting(limits(address={"connections": 1, "connects_per_minute": 2}), clock)
    limited.admit("10.0.0.1")
    allowance = limited.opened("10.0.0.1")
    with pytest.raises(Refused, match="1 connections may be open") as refusal:
        limited.admit("10.0.0.1")
    assert refusal.value.status == 429
    limited.admit("10.0.0.2")
    limited.closed(allowance)
    limited.admit("10.0.0.1")
    with pytest.raises(Refused, match="too many connections were opened"):
        limited.admit("10.0.0.1")
    clock.pass_ms(30_000)
    limited.admit("10.0.0.1")
    for _ in range(5):  # who comes over a Unix socket has no address
        limited.admit("")
    assert limited.refused == {"address_connections": 1, "address_connects": 1}


def test_an_address_that_is_refused_uses_up_nothing_of_what_all_have_together() -> None:
    limited = Limiting(limits(address={"connects_per_minute": 2}), HandClock(), connects_per_second=3)
    for _ in range(10):
        with suppress(Refused):
            limited.admit("10.0.0.1")
    limited.admit("10.0.0.2")
    with pytest.raises(Refused, match="too many connections are being opened"):
        limited.admit("10.0.0.3")


def test_neighbours_in_an_ipv6_network_share_one_address() -> None:
    limited = Limiting(limits(address={"connects_per_minute": 1}), HandClock())
    limited.admit("2001:db8:1:2::1")
    with pytest.raises(Refused):
        limited.admit("2001:db8:1:2::2")
    limited.admit("2001:db8:1:3::1")


@on_a_loop
async def test_a_node_that_is_full_answers_503() -> None:
    async with running({"client": {"connection_limit": 1, "insecure": True}}) as node:
        first = await RawSocket.websocket(node.port, "/connection/websocket")
        second = await RawSocket.connect(node.port)
        second.send(upgrade("/connection/websocket"))
        (response,) = await second.responses()
        assert (response.status, response.headers["retry-after"]) == (503, "1")
        first.leave()
        second.leave()


@on_a_loop
async def test_connections_are_opened_at_a_rate() -> None:
    async with running({"client": {"connection_rate_limit": 1, "insecure": True}}) as node:
        first = await RawSocket.websocket(node.port, "/connection/websocket")
        second = await RawSocket.connect(node.port)
        second.send(upgrade("/connection/websocket"))
        (response,) = await second.responses()
        assert response.status == 503
        first.leave()
        second.leave()


@on_a_loop
async def test_behind_a_trusted_proxy_each_client_has_its_own_limit() -> None:
    config = {
        "http_server": {"trusted_proxies": ["127.0.0.1"]},
        "limits": {"address": {"connections": 1}},
        "client": {"insecure": True},
    }
    async with running(config) as node:
        statuses = []
        sockets = []
        for client in ("198.51.100.1", "198.51.100.2", "198.51.100.1"):
            socket = await RawSocket.connect(node.port)
            socket.send(upgrade("/connection/websocket", f"X-Forwarded-For: {client}"))
            statuses.append(int((await socket.reader.readline()).split()[1]))
            sockets.append(socket)
        assert statuses == [101, 101, 429]
        for socket in sockets:
            socket.leave()


# Subscribers -------------------------------------------------------------------------------


def test_a_channel_has_so_many_subscribers() -> None:
    async def scene(stage: Stage) -> None:
        first, second, third = [await user(stage, name) for name in ("ann", "bob", "eve")]
        for peer in (first, second):
            assert "error" not in await peer.follow("small:1")
        assert (await third.follow("small:1"))["error"]["code"] == 106
        assert "error" not in await third.follow("small:2")
        with pytest.raises(LimitExceeded):
            third.session.subscribe_by_server("small:1", Grant())
        assert first.session.open
        await first.ask({"unsubscribe": {"channel": "small:1"}})
        assert "error" not in await third.follow("small:1")

    play(scene, SMALL)


def test_those_who_wait_for_the_store_together_do_not_fill_a_channel_twice() -> None:
    async def scene(stage: Stage) -> None:
        peers = [await user(stage, name) for name in ("ann", "bob", "eve")]
        for peer in peers:
            peer.heard()
            peer.say({"subscribe": {"channel": "kept:1"}})
        await rest()
        codes = [reply.get("error", {}).get("code", 0) for peer in peers for reply in peer.heard()]
        assert sorted(codes) == [0, 106, 106]

    play(scene, KEPT)


def test_a_connection_that_would_overfill_a_channel_is_refused() -> None:
    async def scene(stage: Stage) -> None:
        subs: dict[str, Any] = {"kept:1": {}}
        first, second = stage.peer(), stage.peer()
        [granted] = await first.ask({"connect": {"token": token("ann", subs=subs)}})
        assert "connect" in granted
        [refused] = await second.ask({"connect": {"token": token("bob", subs=subs)}})
        assert refused["error"]["code"] == 106
        assert not second.session.connected

    play(scene, KEPT)


# Keys --------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["/api/publish", "/api/info", "/api/channels/chat:1/messages"])
@on_a_loop
async def test_an_address_with_too_many_wrong_keys_is_not_looked_at(target: str) -> None:
    method = "GET" if "messages" in target else "POST"
    async with running({"limits": {"address": {"wrong_keys_per_minute": 3}}}) as node:
        wrong = [(await call(node, target, key="guess", method=method))[0] for _ in range(5)]
        assert wrong == [401, 401, 401, 429, 429]
        for other in ("/api/publish", "/api/info"):
            assert (await call(node, other, {"channel": "chat:1", "data": 1}))[0] == 429
        assert node.sessions.limiting.refused["address_wrong_keys"] == 4


@on_a_loop
async def test_without_a_limit_wrong_keys_are_refused_one_by_one() -> None:
    async with running() as node:
        assert {(await call(node, "/api/info", key="guess"))[0] for _ in range(20)} == {401}
        assert (await call(node, "/api/info"))[0] == 200


# Memory ------------------------------------------------------------------------------------


def test_shares_at_rest_are_forgotten_and_those_in_use_are_kept() -> None:
    shares, now_ms = Shares("user", limits(user={"commands_per_second": 1}).user), 1_000_000
    held = shares.of("held", now_ms)
    held.holders += 1
    for number in range(1_000):
        share = shares.of(f"user-{number}", now_ms + number * 1_000)
        assert share.commands is not None
        share.commands.take(now_ms + number * 1_000)
    assert len(shares) <= 30
    assert shares.of("held", now_ms + 10**7) is held


def test_who_comes_to_a_full_table_waits_for_no_look_through_all_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked = []
    monkeypatch.setattr(limiting.Share, "rested", lambda share, now_ms: looked.append(share))
    shares = Shares("user", limits(user={"commands_per_second": 1}).user)
    for number in range(100):
        shares.of(f"user-{number}", number * 1_000)
    looked.clear()
    shares.of("new", 10**6)
    assert len(looked) <= 2


def test_beyond_so_many_shares_those_who_come_have_one_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limiting, "SHARES_MAX", 20)
    shares = Shares("user", limits(user={"commands_per_second": 1}).user)
    for number in range(20):
        shares.of(f"user-{number}", 1_000_000).holders += 1
    assert shares.of("one", 1_000_000) is shares.of("two", 1_000_000)
    assert len(shares) == 20


def test_nothing_is_counted_where_nothing_is_limited() -> None:
    async def scene(stage: Stage) -> None:
        ann = await user(stage, "ann")
        assert ann.session.allowance is None
        await asyncio.sleep(0)

    play(scene)
    assert SessionOptions().connection_limit == SessionOptions().user_connection_limit == 0
