"""No-op jobs for taskiq on a Redis Stream: a module to serve, and a program that enqueues them."""

import uvloop
from taskiq_redis import RedisStreamBroker

from bench.workers.counting import COUNT, URL, Counting

broker = RedisStreamBroker(URL, consumer_id="0")
counting = Counting()


@broker.task("noop")
async def noop(number: int) -> None:
    counting.done()


async def enqueue() -> None:
    await broker.startup()
    for number in range(COUNT):
        await noop.kiq(number)
    await broker.shutdown()


if __name__ == "__main__":
    uvloop.run(enqueue())
