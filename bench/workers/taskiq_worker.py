"""No-op jobs for taskiq on a Redis Stream: a module to serve, and a program that enqueues them."""

import uvloop
from taskiq_redis import RedisStreamBroker

from bench.clients.cycle import together
from bench.workers.counting import COUNT, URL, Counting

ENQUEUES_AT_A_TIME = 100
broker = RedisStreamBroker(URL, consumer_id="0")
counting = Counting()


@broker.task("noop")
async def noop(number: int) -> None:
    counting.done()


async def enqueue() -> None:
    await broker.startup()
    numbers = iter(range(COUNT))
    await together(lambda: noop.kiq(next(numbers)), COUNT, ENQUEUES_AT_A_TIME)
    await broker.shutdown()


if __name__ == "__main__":
    uvloop.run(enqueue())
