"""The whole cycle of jobs on one server: enqueued, claimed and acknowledged, by one client at the same time.

Run by the Python of each client, gapless's or the peers', so it uses the standard library and uvloop alone.
"""

import argparse
import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

import uvloop

from bench.clients.process import cpu_seconds

__all__ = [
    "BATCH",
    "DATA",
    "IN_FLIGHT",
    "PAYLOAD",
    "TAKE_SECONDS_MAX",
    "Client",
    "consuming",
    "cycle",
    "run",
    "together",
]

IN_FLIGHT = 256
"""So many jobs at a time wait for their enqueue to be acknowledged, and so many are claimed."""
CONSUMERS = 2  # one claims while the other acknowledges
BATCH = IN_FLIGHT // CONSUMERS
DATA = {"text": "x" * 189}
PAYLOAD = json.dumps(DATA).encode()  # of 200 bytes
TAKE_SECONDS_MAX = 1
WARM_UP = 1_000


class Client(Protocol):
    """A client of one server, connected."""

    async def produce(self, count: int) -> None:
        """Enqueue so many jobs, `IN_FLIGHT` at a time; return when the server has acknowledged each."""

    async def take(self) -> int:
        """Claim jobs, up to `BATCH`, and acknowledge them; return how many.

        If there are none, wait for up to `TAKE_SECONDS_MAX` for the first.
        """

    async def settled(self) -> None:
        """Return when the server has seen the acknowledgements."""


Connect = Callable[[int], AbstractAsyncContextManager[Client]]
"""Connects to a server on a port of this machine."""


async def together(send: Callable[[], Awaitable[object]], count: int, at_a_time: int) -> None:
    """Send so many times, with so many of them under way."""
    left = iter(range(count))

    async def sending() -> None:
        for _ in left:
            await send()

    await asyncio.gather(*(sending() for _ in range(at_a_time)))


@asynccontextmanager
async def consuming(client: Client, count: int) -> AsyncIterator["asyncio.Future[None]"]:
    """Take so many jobs; what is yielded is done when the last of them is acknowledged."""
    left = count
    last: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def consume() -> None:
        nonlocal left
        while left > 0:
            taken = await client.take()
            left -= taken
        if not last.done():
            last.set_result(None)

    def ended(consumer: "asyncio.Task[None]") -> None:
        if (error := consumer.exception()) and not last.done():
            last.set_exception(error)

    consumers = [asyncio.create_task(consume()) for _ in range(CONSUMERS)]
    for consumer in consumers:
        consumer.add_done_callback(ended)
    yield last
    await asyncio.gather(*consumers)
    left -= await client.take()
    if left:
        raise RuntimeError(f"{-left} jobs more were given than enqueued")


async def cycle(client: Client, count: int, pid: int) -> dict[str, float]:
    async with consuming(client, count) as last:
        began, server, own = time.perf_counter(), cpu_seconds(pid), time.process_time()
        await client.produce(count)
        await last
        await client.settled()
        return {
            "count": count,
            "seconds": time.perf_counter() - began,
            "server_cpu_seconds": cpu_seconds(pid) - server,
            "generator_cpu_seconds": time.process_time() - own,
        }


async def measure(connect: Connect, port: int, pid: int, count: int) -> dict[str, float]:
    async with connect(port) as client:
        await cycle(client, WARM_UP, pid)
        return await cycle(client, count, pid)


def run(connect: Connect) -> None:
    """Measure as the command line says, and print the figures as JSON."""
    parser = argparse.ArgumentParser()
    for option in ("--port", "--pid", "--count"):
        parser.add_argument(option, type=int, required=True)
    asked = parser.parse_args()
    print(json.dumps(uvloop.run(measure(connect, asked.port, asked.pid, asked.count))))
