"""Jobs through a Redis Stream: added, read by a group and acknowledged, in pipelines."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from redis.asyncio import Redis

from bench.clients.cycle import BATCH, IN_FLIGHT, PAYLOAD, TAKE_SECONDS_MAX, Client, run, together

STREAM, GROUP = "bench", "workers"


class Jobs:
    def __init__(self, redis: "Redis[bytes]") -> None:
        self._redis = redis

    async def produce(self, count: int) -> None:
        whole, rest = divmod(count, BATCH)
        await together(lambda: self._add(BATCH), whole, IN_FLIGHT // BATCH)
        await self._add(rest)

    async def _add(self, count: int) -> None:
        async with self._redis.pipeline(transaction=False) as pipeline:
            for _ in range(count):
                pipeline.xadd(STREAM, {"data": PAYLOAD})
            await pipeline.execute()

    async def take(self) -> int:
        block_ms = 1_000 * TAKE_SECONDS_MAX
        told = await self._redis.xreadgroup(GROUP, "bench", {STREAM: ">"}, count=BATCH, block=block_ms)
        if not told:
            return 0
        [(_, entries)] = told
        ids = [entry[0] for entry in entries]
        await self._redis.xack(STREAM, GROUP, *ids)
        return len(ids)

    async def settled(self) -> None:
        """Each acknowledgement was answered."""


@asynccontextmanager
async def connect(port: int) -> AsyncIterator[Client]:
    async with Redis(port=port) as redis:
        await redis.xgroup_create(STREAM, GROUP, mkstream=True)
        yield Jobs(redis)


if __name__ == "__main__":
    run(connect)
