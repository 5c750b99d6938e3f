"""Claims from queues of gapless that hold few jobs and many, and what many weigh in the server's memory."""

import argparse
import json
import time
from statistics import median

import uvloop

from bench.clients.cycle import DATA, together
from bench.clients.process import resident_mib
from gapless import Gapless
from gapless.core.jobs import Deed
from gapless.protocol.queues import NewSettlement

FEW = 1_000
CLAIM = 100
CLAIMS = 300
WARM_UP_CLAIMS = 30
ENQUEUE = 1_000
ENQUEUES_AT_A_TIME = 4
LATER = "24h"


async def fill(gl: Gapless, queue: str, count: int, delay: str = "0s") -> None:
    jobs = [DATA] * ENQUEUE
    await together(lambda: gl.enqueue_many(queue, jobs, delay=delay), count // ENQUEUE, ENQUEUES_AT_A_TIME)


async def claim(gl: Gapless, queue: str) -> float:
    """Return the seconds that a claim takes; then the jobs are acknowledged, and as many enqueued."""
    began = time.perf_counter()
    jobs = await gl.claim(queue, limit=CLAIM)
    took = time.perf_counter() - began
    assert len(jobs) == CLAIM
    await gl.settle([NewSettlement(id=job.id, fence=job.fence, deed=Deed.ACK) for job in jobs])
    await gl.enqueue_many(queue, [DATA] * CLAIM)
    return took


async def claimed_per_second(gl: Gapless, queue: str) -> float:
    for _ in range(WARM_UP_CLAIMS):
        await claim(gl, queue)
    return CLAIM / median([await claim(gl, queue) for _ in range(CLAIMS)])


async def measure(gl: Gapless, pid: int, many: int, seconds: float) -> dict[str, float]:
    for queue in ("few", "waiting", "delayed"):
        await gl.queues.declare(queue)
    await fill(gl, "few", FEW)
    few = await claimed_per_second(gl, "few")
    before = resident_mib(pid)
    await fill(gl, "waiting", many)
    with_waiting = resident_mib(pid)
    waiting = await claimed_per_second(gl, "waiting")
    await fill(gl, "delayed", many, LATER)
    await fill(gl, "delayed", FEW)
    with_delayed = resident_mib(pid)
    delayed = await claimed_per_second(gl, "delayed")
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        await claim(gl, "delayed")
    return {
        "few_per_second": few,
        "waiting_per_second": waiting,
        "delayed_per_second": delayed,
        "before_mib": before,
        "with_waiting_mib": with_waiting,
        "with_delayed_mib": with_delayed,
        "after_mib": resident_mib(pid),
    }


async def main(port: int, pid: int, many: int, seconds: float) -> dict[str, float]:
    async with Gapless(f"http://127.0.0.1:{port}") as gl:
        return await measure(gl, pid, many, seconds)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    for option in ("--port", "--pid", "--count"):
        parser.add_argument(option, type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True, help="How long claims go on in the end.")
    asked = parser.parse_args()
    print(json.dumps(uvloop.run(main(asked.port, asked.pid, asked.count, asked.seconds))))
