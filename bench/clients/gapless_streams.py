"""Messages through a stream of gapless: appended in batches, then read by a group that commits each page."""

import argparse
import json
import time

import uvloop

from bench.clients.cycle import DATA, together
from gapless import Gapless
from gapless.protocol.groups import CommitRequest, FetchPartition, FetchRequest, HeartbeatRequest, NewCommit
from gapless.protocol.messages import StreamPosition

STREAM, GROUP, MEMBER = "bench", "readers", "bench"
BATCH = 100
BATCHES_AT_A_TIME = 8
PAGE = 1_000
WARM_UP = 10_000


async def append(gl: Gapless, count: int) -> float:
    """Append messages, and return the seconds that it took."""
    batch = [DATA] * BATCH
    began = time.perf_counter()
    await together(lambda: gl.append_many(STREAM, batch), count // BATCH, BATCHES_AT_A_TIME)
    return time.perf_counter() - began


async def read(gl: Gapless, count: int) -> float:
    """Read messages as the only member of a group, and return the seconds that it took."""
    asked = HeartbeatRequest(source=STREAM, group=GROUP, member=MEMBER)
    [held] = (await gl.streams.heartbeat(asked)).held
    after, left = held.position, count
    began = time.perf_counter()
    while left > 0:
        wanted = [FetchPartition(partition=held.partition, after=after)]
        fetch = FetchRequest(source=STREAM, group=GROUP, member=MEMBER, partitions=wanted, limit=PAGE)
        [fetched] = (await gl.streams.fetch(fetch)).partitions
        assert fetched.page is not None
        left -= len(fetched.page.messages)
        after = StreamPosition(fetched.page.through, fetched.page.epoch)
        commit = NewCommit(partition=held.partition, fence=held.fence, offset=after.offset, epoch=after.epoch)
        await gl.streams.commit(CommitRequest(source=STREAM, group=GROUP, member=MEMBER, commits=[commit]))
    return time.perf_counter() - began


async def main(url: str, count: int) -> dict[str, float]:
    async with Gapless(url) as gl:
        await gl.streams.declare(STREAM)
        await append(gl, WARM_UP)
        appended = await append(gl, count)
        return {
            "append_per_second": count / appended,
            "read_per_second": (count + WARM_UP) / await read(gl, count + WARM_UP),
        }


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--count", type=int, required=True)
    asked = parser.parse_args()
    print(json.dumps(uvloop.run(main(asked.url, asked.count))))
