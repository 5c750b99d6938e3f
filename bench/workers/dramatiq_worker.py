"""No-op jobs for Dramatiq on Redis: a module to serve, and a program that enqueues them."""

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from bench.workers.counting import COUNT, URL, Counting

dramatiq.set_broker(RedisBroker(url=URL))
counting = Counting()


@dramatiq.actor
def noop(number: int) -> None:
    counting.done()


if __name__ == "__main__":
    for number in range(COUNT):
        noop.send(number)
