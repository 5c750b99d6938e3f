"""No-op jobs for `gapless worker`: a module to serve, and a program that enqueues them."""

import uvloop

from bench.workers.counting import COUNT, URL, Counting
from gapless import Gapless

BATCH = 1_000
gl = Gapless(URL)
counting = Counting()


@gl.queue("noop")
async def noop(number: int) -> None:
    counting.done()


async def enqueue() -> None:
    async with gl:
        for first in range(0, COUNT, BATCH):
            await noop.enqueue_many(range(first, min(first + BATCH, COUNT)))


if __name__ == "__main__":
    uvloop.run(enqueue())
