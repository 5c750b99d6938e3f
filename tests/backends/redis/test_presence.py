"""Who is there, as Redis tells it, is what the roster tells."""

import asyncio
from random import Random

from gapless.backends.redis.calls import Calls
from gapless.backends.redis.presence import RedisPresence
from gapless.core.roster import Roster
from gapless.ports import Present
from tests.backends.redis.opening import calling, serving

NODES = ("n1", "n2", "n:3")
CHANNELS = ("a", "b:1", "ü\n")
CLIENTS = ("x", "y\x00", "9:z")
SEEDS = range(5)
DEEDS = ("beat", "beat", "enter", "enter", "enter", "depart", "end", "wait", "wait", "bury")
TTL_MS = 100


class Attendance(RedisPresence):
    """The port alone."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def _drain(self) -> None:
        """Nothing is appended here."""


class Beside:
    """The port and the model, told the same."""

    def __init__(self, port: RedisPresence, now_ms: list[int], chance: Random) -> None:
        self._port, self._now_ms, self._chance = port, now_ms, chance
        self._model = Roster()

    def _some(self) -> list[tuple[str, str]]:
        count = self._chance.randrange(4)
        return [(self._chance.choice(CHANNELS), self._chance.choice(CLIENTS)) for _ in range(count)]

    async def step(self) -> None:
        """Do anything."""
        node, now_ms = self._chance.choice(NODES), self._now_ms[0]
        match self._chance.choice(DEEDS):
            case "beat":
                was_alive = self._model.beat(node, now_ms + TTL_MS, now_ms)
                assert await self._port.beat(node, TTL_MS) == was_alive
            case "enter":
                entered = [Present(*one, bytes([self._chance.randrange(256), 10, 0])) for one in self._some()]
                self._model.enter(node, entered, now_ms)
                await self._port.enter(node, entered)
            case "depart":
                departed = self._some()
                self._model.depart(node, departed)
                await self._port.depart(node, departed)
            case "end":
                self._model.end(node)
                await self._port.end(node)
            case "wait":
                self._now_ms[0] += self._chance.choice([1, 50, TTL_MS - 1, TTL_MS])
            case "bury":
                buried = self._model.bury(100, now_ms)
                assert sorted(await self._port.bury(100)) == sorted(Present(*one) for one in buried)
        for channel in CHANNELS:
            assert await self._port.present(channel) == self._model.present(channel, self._now_ms[0])


def test_whatever_nodes_do_redis_tells_what_the_roster_tells() -> None:
    async def scenario() -> None:
        with serving() as server:
            for seed in SEEDS:
                now_ms = [1_800_000_000_000]
                url = f"{server.url}?prefix=p{seed}"
                async with calling(url, now_ms=lambda now_ms=now_ms: now_ms[0]) as calls:
                    beside = Beside(Attendance(calls), now_ms, Random(seed))
                    for _ in range(300):
                        await beside.step()

    asyncio.run(scenario())


def test_each_of_the_dead_is_buried_once_and_a_few_at_a_time() -> None:
    async def scenario() -> None:
        now_ms = [1_800_000_000_000]
        with serving() as server:
            async with calling(server.url, now_ms=lambda: now_ms[0]) as calls:
                port = Attendance(calls)
                await port.beat("n", TTL_MS)
                entered = [Present("c", f"client{number}", b"i") for number in range(1_000)]
                await port.enter("n", entered)
                assert await port.bury(10) == []
                now_ms[0] += TTL_MS
                buried = await asyncio.gather(*(port.bury(70) for _ in range(20)))
                assert max(map(len, buried)) == 70
                assert sorted(one for some in buried for one in some) == sorted(entered)
                assert await port.bury(70) == []

    asyncio.run(scenario())


def test_a_node_enters_everybody_anew_in_another_generation() -> None:
    """Who entered shortly before the server's end may have got lost, and nobody would know."""

    async def scenario() -> None:
        with serving() as server:
            async with calling(server.url) as calls:
                port = Attendance(calls)
                await port.beat("n", 60_000)
                await port.enter("n", [Present("c", "x", b"")])
                assert await port.beat("n", 60_000)
                server.incarnate()
                assert not await port.beat("n", 60_000)
                assert await port.present("c") == {}
                await port.enter("n", [Present("c", "x", b"")])
                assert await port.beat("n", 60_000)
                assert await port.present("c") == {"x": b""}

    asyncio.run(scenario())


def test_nothing_is_left_of_who_was_there() -> None:
    async def scenario() -> None:
        now_ms = [1_800_000_000_000]
        with serving() as server:
            async with calling(server.url, now_ms=lambda: now_ms[0]) as calls:
                port = Attendance(calls)
                before = server.command("DBSIZE")
                for number in range(3):
                    await port.beat("n", TTL_MS)
                    entered = [Present(f"c{one}", "x", b"") for one in range(300)]
                    await port.enter("n", entered)
                    now_ms[0] += TTL_MS * (number != 1)
                    if number == 1:
                        await port.end("n")
                    if number == 2:
                        while await port.bury(100):
                            pass
                for _ in range(10):
                    await port.bury(1)
                # The number of the last lease, and no more.
                assert int(server.command("DBSIZE")) == int(before) + 1

    asyncio.run(scenario())
