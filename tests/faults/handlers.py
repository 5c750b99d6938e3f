"""What the workers of these tests serve: `gapless worker tests.faults.handlers:gl`."""

import os
import resource
from pathlib import Path
from typing import Literal

import psutil
from msgspec import Struct

from gapless import Backoff, Job, Reject
from gapless.server.clock import LoopClock
from gapless.server.parting import pause
from tests.faults.records import Recorded, line
from tests.program import API_KEY

ATTEMPTS = 6
QUEUE, ECHOES = "tasks", "echoes"
MEBIBYTE = 2**20
POLL_MS = 10

gl = Recorded(os.environ.get("GAPLESS_URL", "http://127.0.0.1"), api_key=API_KEY)


class Task(Struct):
    """A job: what will become of it, whatever is killed meanwhile.

    Its first run ends no sooner than the file `<gate>-1` is gone, later ones no sooner than `<gate>-2` is.
    """

    name: str
    kind: Literal["good", "shaky", "doomed", "rejected", "poison"] = "good"
    work_ms: int = 0
    gate: str = ""


@gl.queue(
    QUEUE,
    lease=f"{os.environ.get('LEASE_MS', '500')}ms",
    retry=Backoff(ATTEMPTS, delays=["20ms"]),
    result_ttl="1h",
)
async def handle(task: Task, job: Job) -> int:
    """Take as long as the task says, and end as it says; the result is the fence of the run that was it."""
    fence = job.fence_number
    job.emit(task.name, queue=ECHOES)
    line("start", job.id, fence, task=task.name, attempt=job.attempt, alone=job.alone)
    await pause(LoopClock(), task.work_ms)
    while task.gate and Path(f"{task.gate}-{min(job.attempt, 2)}").exists():
        await pause(LoopClock(), POLL_MS)
    if task.kind == "poison":
        run_out_of_memory()
    if task.kind == "good" or (task.kind == "shaky" and job.attempt > 1):
        line("end", job.id, fence, task=task.name)
        return fence
    line("failed", job.id, fence, task=task.name)
    if task.kind == "rejected":
        raise Reject("it never does")
    raise RuntimeError(task.kind)


@gl.queue(ECHOES)
async def echo(name: str) -> None:
    """Stands for a handler that no worker of these tests runs: what is emitted can be counted."""


def run_out_of_memory() -> None:
    """Take more memory than there is, and end as native code does when it gets none."""
    allowed = psutil.Process().memory_info().vms + 64 * MEBIBYTE
    resource.setrlimit(resource.RLIMIT_AS, (allowed, allowed))
    held = []
    try:
        while True:
            held.append(bytearray(MEBIBYTE))
    except MemoryError:
        os.abort()
