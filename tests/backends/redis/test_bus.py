"""The bus of Redis: whoever follows a stream hears what others append to it, and where it stands."""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from unittest.mock import patch

import pytest

from gapless import backends
from gapless.backends import Options
from gapless.backends.redis.backend import Backend
from gapless.backends.redis.bus import RedisBus
from gapless.backends.redis.connection import Connection
from gapless.core.errors import Unavailable
from gapless.core.limits import REDIS_CALL_MS
from gapless.core.stream import Message, Position
from gapless.testing.conformance.places import append, entry, fill, put
from tests.backends.redis.cluster import cluster, formed, move, parts
from tests.backends.redis.opening import Hand, refusal, serving, until
from tests.redis_server import RedisServer


class Ear:
    """Remembers what is heard."""

    def __init__(self, store: Backend) -> None:
        self.store = store
        self.rings: list[tuple[str, Position, Message | None]] = []
        self.told: list[bytes] = []
        store.bus.listen(lambda *ring: self.rings.append(ring))
        store.bus.hear(self.told.append)

    def offsets(self, stream: str = "s") -> list[int]:
        """The places of the messages that were brought along."""
        return [message.offset for name, _, message in self.rings if name == stream and message is not None]

    def stands(self, stream: str = "s") -> list[int]:
        """Where it was told that the stream stands, without a message."""
        return [last.offset for name, last, message in self.rings if name == stream and message is None]

    async def followed(self, stream: str = "s") -> None:
        """Follow a stream, and wait until that is so."""
        self.store.bus.follow(stream)
        await until(lambda: self.stands(stream))


Test = Callable[[RedisServer, Ear, Ear], Awaitable[None]]


def two(test: Test) -> Callable[[], None]:
    """Turn a coroutine that tests two processes on a server into a test."""

    def run() -> None:
        async def scenario() -> None:
            with serving() as server:
                stores = [await backends.open(server.url) for _ in range(2)]
                ears = [Ear(store) for store in stores if isinstance(store, Backend)]
                try:
                    await test(server, *ears)
                finally:
                    for store in stores:
                        await store.close()

        asyncio.run(scenario())

    run.__name__ = test.__name__
    return run


def subscribed(server: RedisServer, stream: str = "s") -> int:
    """Count who is subscribed to a stream's channel at the server."""
    return int(
        server.command(
            "EVAL", "return redis.call('PUBSUB', 'SHARDNUMSUB', ARGV[1])[2]", 0, f"{{gapless}}:c:{stream}"
        )
    )


@two
async def test_whoever_follows_hears_where_the_stream_stands_then_each_message(
    server: RedisServer, one: Ear, two: Ear
) -> None:
    await fill(one.store, "s", 3)
    await two.followed()
    assert two.rings == [("s", Position(two.store.epoch, 3), None)]
    stored = await append(one.store, data=b"data", meta=b"meta")
    await until(lambda: two.offsets())
    assert two.rings[1:] == [("s", Position(stored.epoch, 4), Message(4, stored.time_ms, b"data", b"meta"))]


@two
async def test_messages_of_one_append_are_heard_each_in_their_order(
    server: RedisServer, one: Ear, two: Ear
) -> None:
    await two.followed()
    await put(one.store, *(entry(data=b"%d" % number) for number in range(50)))
    await until(lambda: len(two.offsets()) == 50)
    assert two.offsets() == list(range(1, 51))


@two
async def test_a_process_does_not_hear_itself(server: RedisServer, one: Ear, two: Ear) -> None:
    await one.followed()
    await two.followed()
    await append(one.store)
    one.store.bus.ring("s", Position("x", 1), None)
    one.store.bus.tell(b"word")
    await until(lambda: two.offsets() and two.told and ("s", Position("x", 1), None) in two.rings)
    await append(two.store)
    await until(lambda: one.offsets())
    assert one.offsets() == [2]
    assert one.stands() == [0]
    assert one.told == []


@two
async def test_a_ring_of_what_is_not_stored_is_heard_as_it_was_sent(
    server: RedisServer, one: Ear, two: Ear
) -> None:
    await two.followed()
    ring = ("s", Position("node", 7), Message(0, 5, b"passing", b""))
    one.store.bus.ring(*ring)
    await until(lambda: ring in two.rings)


@two
async def test_what_is_not_followed_is_not_heard(server: RedisServer, one: Ear, two: Ear) -> None:
    await two.followed("other")
    await append(one.store)
    await append(one.store, "other")
    await until(lambda: two.offsets("other"))
    assert two.offsets() == two.stands() == []


@two
async def test_a_stream_is_followed_until_it_was_unfollowed_as_often(
    server: RedisServer, one: Ear, two: Ear
) -> None:
    await two.followed()
    two.store.bus.follow("s")
    two.store.bus.unfollow("s")
    await append(one.store)
    await until(lambda: two.offsets() == [1])
    two.store.bus.unfollow("s")
    await until(lambda: subscribed(server) == 0)
    await append(one.store)
    two.store.bus.follow("s")
    await until(lambda: 2 in two.stands())
    assert two.offsets() == [1]


@two
async def test_following_anew_at_once_keeps_the_connection(server: RedisServer, one: Ear, two: Ear) -> None:
    await two.followed()
    connection = two.store.bus._connection
    for _ in range(3):
        two.store.bus.unfollow("s")
        two.store.bus.follow("s")
        await asyncio.sleep(0)
    await until(lambda: len(two.stands()) >= 2 and not two.store.bus._leaving)
    assert two.store.bus._connection is connection
    two.store.bus.follow("x")
    two.store.bus.unfollow("x")
    await append(one.store)
    await until(lambda: two.offsets() == [1])


@two
async def test_a_connection_that_was_lost_is_made_anew_and_tells_what_was_missed(
    server: RedisServer, one: Ear, two: Ear
) -> None:
    await two.followed()
    await two.followed("t")
    server.command("CLIENT", "KILL", "TYPE", "pubsub")
    await fill(one.store, "s", 5)
    await until(lambda: 5 in two.stands())
    await until(lambda: len(two.stands("t")) == 2)
    await append(one.store)
    await until(lambda: 6 in two.offsets())


@two
async def test_a_server_that_has_changed_while_it_was_dialled_is_looked_for_again(
    server: RedisServer, one: Ear, two: Ear
) -> None:
    bus, reach = two.store.bus, two.store.bus._seeker.reach
    reached: list[Connection] = []

    async def reach_late(lost: Callable[[Connection], None]) -> Connection:
        reached.append(await reach(lost))
        if len(reached) == 1:
            bus.reconnect()
        return reached[-1]

    with patch.object(bus._seeker, "reach", reach_late):
        bus.reconnect()
        await until(lambda: len(reached) == 2)
    await two.followed()
    assert [each.is_lost for each in reached] == [True, False]


@two
async def test_a_server_that_comes_back_is_followed_anew(server: RedisServer, one: Ear, two: Ear) -> None:
    await two.followed()
    await append(one.store)
    await until(lambda: two.offsets())
    server.kill()
    server.start()
    await until(lambda: len(two.stands()) >= 2)

    await until(lambda: not refusal(one.store._calls))
    await append(one.store)
    await until(lambda: 2 in two.offsets())


@two
async def test_what_other_programs_say_on_its_channels_is_passed_over(
    server: RedisServer, one: Ear, two: Ear
) -> None:
    await two.followed()
    connection = two.store.bus._connection
    for said in ("", "M", "Mtoo short", "R", "Rubbish", "?", "M" + "x" * 40):
        server.command("SPUBLISH", "{gapless}:c:s", said)
        server.command("SPUBLISH", "{gapless}:nodes", said)
    await append(one.store)
    await until(lambda: 1 in two.offsets())
    assert two.store.bus._connection is connection


@two
async def test_nodes_hear_what_each_tells_all(server: RedisServer, one: Ear, two: Ear) -> None:
    for number in range(100):
        one.store.bus.tell(b"%d" % number)
    await until(lambda: len(two.told) == 100)
    assert two.told == [b"%d" % number for number in range(100)]


@two
async def test_two_stores_of_one_server_do_not_hear_each_other(
    server: RedisServer, one: Ear, two: Ear
) -> None:
    other = await backends.open(f"{server.url}?prefix=other")
    assert isinstance(other, Backend)
    await two.followed()
    await append(other)
    other.bus.tell(b"theirs")
    await append(one.store)
    one.store.bus.tell(b"ours")
    await until(lambda: two.told and two.offsets())
    await other.close()
    assert (two.told, two.offsets()) == ([b"ours"], [1])


def test_a_bus_that_gives_no_sign_of_life_is_given_up() -> None:
    async def scenario() -> None:
        hand = Hand()
        time_ns = 1
        with serving() as server:
            store = await backends.open(server.url, Options(after=hand.after, elapsed_ns=lambda: time_ns))
            assert isinstance(store, Backend)
            bus = store.bus
            connection = bus._connection
            assert isinstance(bus, RedisBus)
            hand.pulse()
            await until(lambda: not bus._silent_since_ns)
            assert server.process is not None
            server.process.send_signal(signal.SIGSTOP)
            hand.pulse()
            time_ns += REDIS_CALL_MS * 1_000_000 + 1
            hand.pulse()
            await until(lambda: bus._connection is not connection)
            server.process.send_signal(signal.SIGCONT)
            await until(lambda: bus._connection is not None)
            await store.close()

    asyncio.run(scenario())


def test_a_closed_bus_hears_and_says_nothing() -> None:
    async def scenario() -> None:
        with serving() as server:
            store = await backends.open(server.url)
            assert isinstance(store, Backend)
            store.bus.follow("s")
            await until(lambda: subscribed(server) == 1)
            await store.close()
            store.bus.follow("t")
            store.bus.unfollow("s")
            store.bus.tell(b"x")
            store.bus.ring("s", Position("e", 1), None)
            await until(lambda: subscribed(server) == 0)

    asyncio.run(scenario())


@pytest.mark.parametrize("count", [2_500])
def test_many_streams_are_followed_anew(count: int) -> None:
    @two
    async def run(server: RedisServer, one: Ear, two: Ear) -> None:
        names = [f"s{number}" for number in range(count)]
        for name in names:
            two.store.bus.follow(name)
        await until(lambda: len(two.rings) >= count)
        server.command("CLIENT", "KILL", "TYPE", "pubsub")
        await until(lambda: len(two.rings) >= 2 * count)
        assert {name for name, _, _ in two.rings} == set(names)

    run()


def test_a_slot_that_moves_takes_those_along_who_follow() -> None:
    async def scenario() -> None:
        with cluster(2) as servers:
            await formed(servers)
            owner, other, slot = parts(servers)
            url = f"redis+cluster://127.0.0.1:{owner.port}"
            stores = [await backends.open(url) for _ in range(2)]
            one, two = [Ear(store) for store in stores if isinstance(store, Backend)]
            await two.followed()
            move(owner, other, slot)
            await until(lambda: subscribed(other) == 1)
            await until(lambda: not refusal(one.store._calls))
            while isinstance((await put(one.store, entry()))[0], Unavailable):
                await until(lambda: not refusal(one.store._calls))
            # By the message, or by where the stream stands, if it was just then subscribed anew.
            await until(lambda: 1 in two.offsets() + two.stands())
            for store in stores:
                await store.close()

    asyncio.run(scenario())
