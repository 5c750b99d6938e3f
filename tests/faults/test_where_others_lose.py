"""Where a well-known server loses or doubles messages (rows L and D of its study), and gapless' answer.

The rows of which the reason is a Redis, or another node, are in `test_where_others_lose_redis.py`.
"""

import asyncio
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from centrifuge import Client, SubscriptionEventHandler  # type: ignore[import-untyped] # it has no types
from msgspec import Struct

from gapless import Gapless
from gapless.testing.running import TestGapless
from tests.acceptance.raw import RawClient
from tests.program import Program

KEPT = {"history_ttl": "24h", "force_recovery": True}
OPEN = {
    f"allow_{right}_for_{whom}": True
    for right in ("subscribe", "publish", "history")
    for whom in ("client", "anonymous")
}
CONFIG: dict[str, Any] = {
    "log": {"level": "warn"},
    "client": {"allow_anonymous_connect_without_token": True},
    "channel": {
        "namespaces": [
            {"name": "kept", "history_size": 100_000, **KEPT, **OPEN},
            {"name": "short", "history_size": 5, **KEPT, **OPEN},
            {"name": "cache", "history_size": 100, "force_recovery_mode": "cache", **KEPT, **OPEN},
        ]
    },
    "store": {"durability": "process"},
}
MANY, LARGE = 2_000, 60

numbers = itertools.count()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    program = Program(tmp_path_factory.mktemp("server"), CONFIG)
    program.start()
    yield program
    program.close()


@pytest.fixture
def channel() -> str:
    return f"kept:{next(numbers)}"


def publish(server: Program, channel: str, *data: Any) -> list[int]:
    """Publish in order; return the offsets."""
    commands = [{"publish": {"channel": channel, "data": each}} for each in data]
    replies = server.api("batch", commands=commands)["replies"]
    return [reply["publish"]["offset"] for reply in replies]


def follow(client: RawClient, channel: str, since: tuple[str, int] | None = None) -> dict[str, Any]:
    """Subscribe, maybe from a position; return what the server says."""
    request: dict[str, Any] = {"channel": channel, "recoverable": True}
    if since is not None:
        request |= {"recover": True, "epoch": since[0], "offset": since[1]}
    told: dict[str, Any] = client.call("subscribe", **request)["subscribe"]
    return told


def position(told: dict[str, Any]) -> tuple[str, int]:
    return told["epoch"], told.get("offset", 0)


def read_on(client: RawClient, channel: str, told: dict[str, Any], count: int) -> list[Any]:
    """Return so many messages that follow a subscription, those in its reply first."""
    found = [publication["data"] for publication in told.get("publications", ())]
    while len(found) < count:
        found.append(client.publication(channel))
    return found


def test_l2_who_missed_thousands_of_messages_gets_all_that_are_kept(server: Program, channel: str) -> None:
    with RawClient(server.port, "") as client:
        since = position(follow(client, channel))
    publish(server, channel, *range(MANY // 2))
    publish(server, channel, *range(MANY // 2, MANY))
    with RawClient(server.port, "") as client:
        told = follow(client, channel, since)
        assert told["recovered"]
        assert read_on(client, channel, told, MANY) == list(range(MANY))


def test_l3_who_missed_megabytes_gets_them_as_fast_as_it_reads_and_is_not_cut_off(
    server: Program, channel: str
) -> None:
    with RawClient(server.port, "") as client:
        since = position(follow(client, channel))
    for number in range(LARGE):
        publish(server, channel, str(number) + "x" * 60_000)
    with RawClient(server.port, "", takes_bytes=16_384) as client:
        told = follow(client, channel, since)
        assert told["recovered"]
        found = read_on(client, channel, told, LARGE)
        assert [each.rstrip("x") for each in found] == list(map(str, range(LARGE)))


def test_l4_d1_a_kill_loses_neither_history_nor_keys_and_no_position(tmp_path: Path) -> None:
    server = Program(tmp_path, CONFIG)
    server.start()
    try:
        with RawClient(server.port, "") as client:
            since = position(follow(client, "kept:a"))
        request = {"channel": "kept:a", "data": "once", "idempotency_key": "k1"}
        first = server.api("publish", **request)["result"]
        server.kill()
        server.start()
        again = server.api("publish", **request)["result"]
        assert again["offset"] == first["offset"]
        with RawClient(server.port, "") as client:
            told = follow(client, "kept:a", since)
            assert told["recovered"]
            assert read_on(client, "kept:a", told, 1) == ["once"]
        assert server.api("history", channel="kept:a", limit=10)["result"]["offset"] == 1
    finally:
        server.close()


def test_l5_what_its_publisher_keeps_out_of_the_history_has_no_offset_and_moves_no_position(
    server: Program, channel: str
) -> None:
    with RawClient(server.port, "") as client:
        since = position(follow(client, channel))
        server.api("publish", channel=channel, data="passing", skip_history=True)
        publish(server, channel, "kept")
        passing, kept = client.push(channel)["pub"], client.push(channel)["pub"]
        assert (passing["data"], passing.get("offset", 0)) == ("passing", 0)
        assert (kept["data"], kept["offset"]) == ("kept", since[1] + 1)
    with RawClient(server.port, "") as client:
        told = follow(client, channel, since)
        assert told["recovered"]
        assert read_on(client, channel, told, 1) == ["kept"]


def test_l6_an_offset_without_an_epoch_is_no_position(server: Program, channel: str) -> None:
    publish(server, channel, 1, 2, 3)
    with RawClient(server.port, "") as client:
        told = follow(client, channel, ("", 1))
        assert not told.get("recovered")
        assert not told.get("publications")
        assert told["offset"] == 3


def test_l7_what_retention_dropped_is_told_and_not_skipped(server: Program) -> None:
    channel = f"short:{next(numbers)}"
    with RawClient(server.port, "") as client:
        epoch, offset = position(follow(client, channel))
    publish(server, channel, *range(10))
    with RawClient(server.port, "") as client:
        told = follow(client, channel, (epoch, offset + 4))
        assert not told.get("recovered")
        assert not told.get("publications")
        assert told["offset"] == offset + 10
    with RawClient(server.port, "") as client:  # all that follows this one is kept
        told = follow(client, channel, (epoch, offset + 5))
        assert told["recovered"]
        assert read_on(client, channel, told, 5) == [5, 6, 7, 8, 9]


def test_l11_a_position_is_its_readers_who_gets_all_after_it_as_often_as_it_is_presented(
    server: Program, channel: str
) -> None:
    with RawClient(server.port, "") as client:
        since = position(follow(client, channel))
        publish(server, channel, "a", "b")
        assert [client.publication(channel), client.publication(channel)] == ["a", "b"]
    for _ in range(2):  # the page crashed before it had processed any, and keeps where it was
        with RawClient(server.port, "") as client:
            told = follow(client, channel, since)
            assert told["recovered"]
            assert read_on(client, channel, told, 2) == ["a", "b"]


def test_l13_only_a_channel_that_is_a_cache_drops_what_lies_between(server: Program) -> None:
    channel = f"cache:{next(numbers)}"
    with RawClient(server.port, "") as client:
        since = position(follow(client, channel))
    publish(server, channel, 1, 2, 3)
    with RawClient(server.port, "") as client:
        told = follow(client, channel, since)
        assert read_on(client, channel, told, 1) == [3]


class Order(Struct):
    number: int


def test_l14_a_message_that_cannot_be_processed_goes_to_the_dead_letters_and_not_away() -> None:
    gl = Gapless("memory:")

    @gl.queue("orders")
    async def take(order: Order) -> None:
        raise AssertionError("it is no order")

    async def go() -> None:
        async with TestGapless(gl) as t:
            await gl.enqueue("orders", {"number": "seven"})
            await t.run_until_idle()
            [dead] = await t.dead("orders")
            assert "number" in dead.reason

    asyncio.run(go())


def test_l15_who_had_read_all_of_a_removed_history_goes_on_and_who_had_not_is_told(
    server: Program, channel: str
) -> None:
    with RawClient(server.port, "") as client:
        epoch, offset = position(follow(client, channel))
    publish(server, channel, "a", "b")
    server.api("history_remove", channel=channel)
    publish(server, channel, "c")
    with RawClient(server.port, "") as client:
        told = follow(client, channel, (epoch, offset + 2))
        assert told["recovered"]
        assert read_on(client, channel, told, 1) == ["c"]
    with RawClient(server.port, "") as client:
        assert not follow(client, channel, (epoch, offset + 1)).get("recovered")


def test_d2_a_client_publishes_with_a_key_too(server: Program, channel: str) -> None:
    message = {"channel": channel, "data": {"text": "hi"}, "idempotency_key": "m-1"}
    with RawClient(server.port, "") as client:
        client.send({"id": 7, "rpc": {"method": "gapless.publish", "data": message}})
        first = client.answer(7)["rpc"]["data"]
    with RawClient(server.port, "") as client:
        client.send({"id": 7, "rpc": {"method": "gapless.publish", "data": message}})
        assert client.answer(7)["rpc"]["data"] == first


def test_d3_what_is_emitted_with_an_ack_is_stored_once_however_often_that_is_repeated(
    server: Program, channel: str
) -> None:
    server.api("queue/declare", queue="d3")
    server.api("queue/enqueue", jobs=[{"queue": "d3", "data": 1}])
    [job] = server.api("queue/claim", queue="d3", worker="w")["result"]["jobs"]
    emit = [{"publish": {"channel": channel, "data": "done"}}]
    settlement = {"id": job["id"], "fence": job["fence"], "deed": "ack", "emit": emit}
    first, again = (server.api("queue/settle", settlements=[settlement])["result"] for _ in range(2))
    assert first == again
    stale = settlement | {"deed": "retry"}
    [refused] = server.api("queue/settle", settlements=[stale])["result"]["settlements"]
    assert refused["error"]["reason"] == "lease_lost"
    assert server.api("history", channel=channel, limit=10)["result"]["offset"] == 1


def test_d4_a_broadcast_that_is_repeated_doubles_nothing_where_it_had_arrived(server: Program) -> None:
    channels = [f"kept:{next(numbers)}" for _ in range(3)]
    message = {"data": "all", "idempotency_key": "b-1"}
    server.api("publish", channel=channels[0], **message)  # the first try came no further
    for _ in range(2):
        responses = server.api("broadcast", channels=channels, **message)["result"]["responses"]
        assert [each["result"]["offset"] for each in responses] == [1, 1, 1]
    for channel in channels:
        assert server.api("history", channel=channel, limit=10)["result"]["offset"] == 1


class Reentrant(SubscriptionEventHandler):  # type: ignore[misc]
    """Leaves and comes back from within what tells of a message, as an application may."""

    def __init__(self) -> None:
        self.received: list[int] = []
        self.changed = asyncio.Event()

    async def on_subscribed(self, ctx: Any) -> None:
        self.changed.set()

    async def on_publication(self, ctx: Any) -> None:
        self.received.append(ctx.pub.data)
        self.changed.set()
        if ctx.pub.data % 10 == 3:
            await self.subscription.unsubscribe()
            await self.subscription.subscribe()


def test_d5_a_stock_client_that_subscribes_again_from_within_gets_no_message_twice(
    server: Program, channel: str
) -> None:
    async def go() -> list[int]:
        client = Client(server.url, proxy=None)
        events = Reentrant()
        events.subscription = client.new_subscription(channel, events, recoverable=True)
        await client.connect()
        await events.subscription.subscribe()
        async with asyncio.timeout(10):
            await events.changed.wait()
            await asyncio.to_thread(publish, server, channel, *range(40))
            while len(events.received) < 40:
                events.changed.clear()
                await events.changed.wait()
        await client.disconnect()
        return events.received

    assert asyncio.run(go()) == list(range(40))
