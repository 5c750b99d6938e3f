import asyncio
import os

import pytest

from bench.clients.cycle import BATCH, Client, consuming, cycle, together
from bench.clients.process import cpu_seconds, resident_mib


class Queue(Client):
    """A client whose server is a list; `gives` says how often it gives each job."""

    def __init__(self, gives: int = 1) -> None:
        self._waiting = 0
        self._gives = gives
        self.acknowledged = 0
        self.settlements_seen = 0

    async def produce(self, count: int) -> None:
        for _ in range(count):
            self._waiting += self._gives
            await asyncio.sleep(0)

    async def take(self) -> int:
        taken = min(BATCH, self._waiting)
        self._waiting -= taken
        await asyncio.sleep(0)
        self.acknowledged += taken
        return taken

    async def settled(self) -> None:
        self.settlements_seen = self.acknowledged


class Broken(Queue):
    async def take(self) -> int:
        raise ConnectionError("gone")


def test_a_cycle_ends_when_the_last_job_is_acknowledged() -> None:
    queue = Queue()
    told = asyncio.run(cycle(queue, 1_000, os.getpid()))
    assert (queue.acknowledged, queue.settlements_seen) == (1_000, 1_000)
    assert told["count"] == 1_000
    assert told["seconds"] > 0


def test_jobs_that_are_given_twice_are_an_error() -> None:
    with pytest.raises(RuntimeError, match="more were given"):
        asyncio.run(cycle(Queue(gives=2), 1_000, os.getpid()))


def test_a_consumer_that_fails_ends_the_cycle() -> None:
    with pytest.raises(ConnectionError, match="gone"):
        asyncio.run(cycle(Broken(), 1_000, os.getpid()))


def test_nothing_is_taken_where_nothing_is_asked_for() -> None:
    async def consume() -> None:
        async with consuming(Queue(), 0) as last:
            await last

    asyncio.run(consume())


def test_so_many_are_under_way_and_no_more() -> None:
    under_way: list[int] = [0]
    seen: list[int] = []

    async def send() -> None:
        under_way[0] += 1
        seen.append(under_way[0])
        await asyncio.sleep(0)
        under_way[0] -= 1

    asyncio.run(together(send, 100, 8))
    assert len(seen) == 100
    assert max(seen) == 8


def test_the_use_of_a_process_is_that_of_the_process() -> None:
    assert 0 < cpu_seconds(os.getpid()) < 1_000_000
    assert 1 < resident_mib(os.getpid()) < 10_000
