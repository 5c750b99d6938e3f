"""`python -m tests.faults.kill_workers --rounds N`: kill -9 workers and the server under load.

Workers are also stopped past their leases. In the end everything that was enqueued is held against what was
handled, and against what became of the jobs.
"""

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gapless.server.clock import LoopClock
from gapless.server.parting import pause
from tests.faults.handlers import ECHOES, QUEUE
from tests.faults.history import Ended, History, ended_of, findings
from tests.faults.producer import Producer
from tests.faults.records import Records
from tests.faults.worker_program import WorkerProgram
from tests.program import Program

CONFIG = {"log": {"level": "warn"}, "store": {"durability": "process"}}
KILL_SERVER, KILL_WORKER, KILL_CHILD, STOP_WORKER = "server", "worker", "child", "stop"
FAULTS = {KILL_SERVER: 30, KILL_WORKER: 30, KILL_CHILD: 20, STOP_WORKER: 20}
WORKERS, PRODUCERS = 2, 4
LEASE_MS = 400
WORK_MS = 25
WAITING_MAX = 150
SETTLED_PER_ROUND = (2, 40)
STOPPED_MS = 3 * LEASE_MS // 2
POLL_MS = 5
PATIENCE_SECONDS = 60
PAGE = 500


@dataclass
class Result:
    """What many rounds came to."""

    faults: dict[str, int] = field(default_factory=lambda: dict.fromkeys(FAULTS, 0))
    seconds: float = 0
    enqueued: int = 0
    retries: int = 0
    runs: int = 0
    accepted: int = 0
    refused: int = 0
    done: int = 0
    dead: int = 0
    findings: list[str] = field(default_factory=list)

    @property
    def rounds(self) -> int:
        """How many faults there were."""
        return sum(self.faults.values())

    def __str__(self) -> str:
        faults = ", ".join(f"{kind} {count:,}" for kind, count in self.faults.items())
        return (
            f"{self.rounds:,} rounds ({faults}) in {self.seconds:.1f} s: {self.enqueued:,} enqueued with "
            f"{self.retries:,} retries, {self.runs:,} runs, {self.accepted:,} settlements accepted and "
            f"{self.refused:,} refused; {self.done:,} done, {self.dead:,} dead, "
            f"{len(self.findings):,} findings"
        )


class Ordeal:
    """One server, workers and producers. `faults` are what happens to them, by their weights."""

    def __init__(
        self,
        program: Program,
        dice: random.Random,
        faults: Mapping[str, int] = FAULTS,
    ) -> None:
        folder = program.folder
        self.program = program
        self.result = Result()
        self._dice = dice
        self._faults = faults
        self._records = Records(folder / "records")
        url = program.api_url.removesuffix("/api")
        environment = self._records.environment(GAPLESS_URL=url, LEASE_MS=str(LEASE_MS))
        self._workers = [WorkerProgram(folder / f"worker-{n}", environment) for n in range(WORKERS)]
        self._producers = [
            Producer(f"p{n}", program.api_url, random.Random(dice.getrandbits(64)), work_ms=WORK_MS)
            for n in range(PRODUCERS)
        ]
        self._clock = LoopClock()
        self._gate = asyncio.Event()
        self._stopped: dict[int, WorkerProgram] = {}  # by when they go on, in milliseconds

    async def run(self, rounds: int) -> Result:
        """Let so many faults happen, then let all come to rest, and compare."""
        began = time.monotonic()
        producing: list[asyncio.Task[None]] = []
        try:
            await asyncio.to_thread(self.program.start)
            await asyncio.gather(*(asyncio.to_thread(worker.start) for worker in self._workers))
            loop = asyncio.get_running_loop()
            producing = [loop.create_task(producer.run(self._gate)) for producer in self._producers]
            for _ in range(rounds):
                await self._until_settled(self._dice.randint(*SETTLED_PER_ROUND))
                await self._fault()
            await self._rest(producing)
            self._compare()
        finally:
            for task in producing:
                task.cancel()
            await asyncio.gather(*producing, return_exceptions=True)
            for worker in self._workers:
                worker.close()
            self.program.close()
        self.result.seconds = time.monotonic() - began
        return self.result

    # Faults -------------------------------------------------------------------------------

    async def _fault(self) -> None:
        [kind] = self._dice.choices(list(self._faults), list(self._faults.values()))
        serving = [each for each in self._workers if each.serves() and each not in self._stopped.values()]
        if kind == KILL_SERVER or not serving:
            self._gate.set()
            self.program.kill()
            await asyncio.to_thread(self.program.start)
            self.result.faults[KILL_SERVER] += 1
            return
        worker = self._dice.choice(serving)
        self.result.faults[kind] += 1
        if kind == KILL_WORKER:
            worker.kill()
            worker.launch()
        elif kind == KILL_CHILD:
            for child in worker.children():
                child.kill()
        else:
            worker.pause()
            self._stopped[_now_ms() + STOPPED_MS] = worker

    def _resume(self, *, all: bool = False) -> None:
        for end_ms in [end_ms for end_ms in self._stopped if all or end_ms <= _now_ms()]:
            self._stopped.pop(end_ms).resume()

    # Load ---------------------------------------------------------------------------------

    async def _until_settled(self, count: int) -> None:
        enough = self._settled() + count
        async with asyncio.timeout(PATIENCE_SECONDS):
            while self._settled() < enough:
                self._resume()
                waiting = sum(len(producer.sent) for producer in self._producers) - self._settled()
                (self._gate.set if waiting < WAITING_MAX else self._gate.clear)()
                await self._a_while()

    async def _a_while(self) -> None:
        await pause(self._clock, POLL_MS)

    def _settled(self) -> int:
        self._records.read()
        return self._records.counts["accepted"]

    async def _rest(self, producing: list[asyncio.Task[None]]) -> None:
        """Enqueue no more, and wait until all is done or dead."""
        self._resume(all=True)
        for producer in self._producers:
            producer.end()
        self._gate.set()
        async with asyncio.timeout(PATIENCE_SECONDS):
            await asyncio.gather(*producing)
            while self._unfinished():
                await self._a_while()

    # Compare ------------------------------------------------------------------------------

    def _unfinished(self) -> int:
        [stats] = self.program.api("queue/stats", queue=QUEUE)["result"]["queues"]
        return sum(stats[count] for count in ("ready", "delayed", "leased"))

    def _compare(self) -> None:
        ended = [*self._ended("done"), *self._ended("dead")]
        emitted = [job["data"] for job in self._browse(ECHOES, "waiting")]
        sent = [sent for producer in self._producers for sent in producer.sent]
        lines = self._records.read()
        result = self.result
        result.enqueued = len(sent)
        result.retries = sum(producer.retries for producer in self._producers)
        counts = self._records.counts
        result.runs, result.accepted, result.refused = counts["start"], counts["accepted"], counts["refused"]
        result.done = sum(each.state == "done" for each in ended)
        result.dead = sum(each.state == "dead" for each in ended)
        result.findings = findings(History(sent, lines, ended, emitted))

    def _browse(self, queue: str, state: str) -> Iterator[dict[str, Any]]:
        after = ""
        while True:
            request = {"queue": queue, "state": state, "after": after, "limit": PAGE}
            page = self.program.api("queue/browse", **request)["result"]
            yield from page["jobs"]
            after = page.get("next", "")
            if not after:
                return

    def _ended(self, state: str) -> Iterator[Ended]:
        for job in self._browse(QUEUE, state):
            yield ended_of(job)


def _now_ms() -> int:
    return time.monotonic_ns() // 1_000_000


def run(folder: Path, rounds: int, *, seed: int = 1) -> Result:
    """Run so many rounds with the store in `folder`."""

    async def ordeal() -> Result:
        return await Ordeal(Program(folder, CONFIG), random.Random(seed)).run(rounds)

    return asyncio.run(ordeal())


def main() -> int:
    """Run from the command line; 1 if anything was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.kill_workers", description=__doc__)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = run(Path(folder), options.rounds, seed=options.seed)
    print(result)  # noqa: T201
    for finding in result.findings:
        print(finding)  # noqa: T201
    return 1 if result.findings else 0


if __name__ == "__main__":
    sys.exit(main())
