"""Jobs through a RabbitMQ quorum queue: published with confirms, consumed with a prefetch, acknowledged."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage

from bench.clients.cycle import IN_FLIGHT, PAYLOAD, TAKE_SECONDS_MAX, Client, run, together

QUEUE = "bench"


class Jobs:
    def __init__(self, channel: AbstractChannel) -> None:
        self._exchange = channel.default_exchange
        self._message = aio_pika.Message(PAYLOAD, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        self._acknowledged = 0
        self._more = asyncio.Event()

    async def handle(self, message: AbstractIncomingMessage) -> None:
        await message.ack()
        self._acknowledged += 1
        self._more.set()

    async def produce(self, count: int) -> None:
        await together(lambda: self._exchange.publish(self._message, QUEUE), count, IN_FLIGHT)

    async def take(self) -> int:
        with suppress(TimeoutError):
            async with asyncio.timeout(TAKE_SECONDS_MAX):
                await self._more.wait()
        self._more.clear()
        count, self._acknowledged = self._acknowledged, 0
        return count

    async def settled(self) -> None:
        """Acknowledgements are not answered; they have left."""


@asynccontextmanager
async def connect(port: int) -> AsyncIterator[Client]:
    async with await aio_pika.connect(host="127.0.0.1", port=port) as connection:
        publishing, consuming = await connection.channel(), await connection.channel()
        await consuming.set_qos(prefetch_count=IN_FLIGHT)
        queue = await consuming.declare_queue(QUEUE, durable=True, arguments={"x-queue-type": "quorum"})
        jobs = Jobs(publishing)
        await queue.consume(jobs.handle)
        yield jobs


if __name__ == "__main__":
    run(connect)
