"""Jobs through gapless: each enqueued by a call of its own, claimed and settled in batches."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bench.clients.cycle import BATCH, DATA, IN_FLIGHT, TAKE_SECONDS_MAX, Client, run, together
from gapless import Gapless
from gapless.core.jobs import Deed
from gapless.protocol.queues import NewSettlement

QUEUE = "bench"


class Jobs:
    def __init__(self, gl: Gapless) -> None:
        self._gl = gl

    async def produce(self, count: int) -> None:
        await together(lambda: self._gl.enqueue(QUEUE, DATA), count, IN_FLIGHT)

    async def take(self) -> int:
        jobs = await self._gl.claim(QUEUE, limit=BATCH, wait=TAKE_SECONDS_MAX)
        if jobs:
            acks = [NewSettlement(id=job.id, fence=job.fence, deed=Deed.ACK) for job in jobs]
            for outcome in await self._gl.settle(acks):
                if isinstance(outcome, Exception):
                    raise outcome
        return len(jobs)

    async def settled(self) -> None:
        """Each settlement was answered."""


@asynccontextmanager
async def connect(port: int) -> AsyncIterator[Client]:
    async with Gapless(f"http://127.0.0.1:{port}") as gl:
        await gl.queues.declare(QUEUE)
        yield Jobs(gl)


if __name__ == "__main__":
    run(connect)
