"""Jobs through NATS JetStream: published in a window, pulled in batches, acknowledged one by one."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import nats
from nats.errors import TimeoutError as Nothing
from nats.js import JetStreamContext
from nats.js.api import ConsumerConfig, RetentionPolicy, StreamConfig

from bench.clients.cycle import BATCH, IN_FLIGHT, PAYLOAD, TAKE_SECONDS_MAX, Client, run

STREAM, SUBJECT, CONSUMER = "bench", "bench.jobs", "workers"


class Jobs:
    def __init__(self, stream: JetStreamContext, pulling: JetStreamContext.PullSubscription) -> None:
        self._stream = stream
        self._pulling = pulling

    async def produce(self, count: int) -> None:
        acknowledged = [await self._stream.publish_async(SUBJECT, PAYLOAD) for _ in range(count)]
        await asyncio.gather(*acknowledged)

    async def take(self) -> int:
        try:
            messages = await self._pulling.fetch(BATCH, timeout=TAKE_SECONDS_MAX)
        except Nothing:
            return 0
        for message in messages:
            await message.ack()
        return len(messages)

    async def settled(self) -> None:
        while (await self._pulling.consumer_info()).num_ack_pending:
            pass


@asynccontextmanager
async def connect(port: int) -> AsyncIterator[Client]:
    connection = await nats.connect(f"nats://127.0.0.1:{port}")
    async with connection:
        stream = connection.jetstream(publish_async_max_pending=IN_FLIGHT)
        await stream.add_stream(
            StreamConfig(name=STREAM, subjects=[SUBJECT], retention=RetentionPolicy.WORK_QUEUE)
        )
        config = ConsumerConfig(max_ack_pending=IN_FLIGHT)
        yield Jobs(stream, await stream.pull_subscribe(SUBJECT, CONSUMER, config=config))


if __name__ == "__main__":
    run(connect)
