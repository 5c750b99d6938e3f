"""`python -m tests.faults.sharing --rounds N`: three processes on one file; the owner is killed each time."""

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gapless import backends
from gapless.backends import Options
from gapless.core.jobs import State
from gapless.core.stream import Position
from gapless.ports import Store
from gapless.testing.conformance.places import read
from tests.faults.sharer import QUEUE

PROCESSES = 3
LINES_PER_ROUND = (20, 400)
PATIENCE_SECONDS = 30
FINDINGS_MAX = 50


@dataclass
class Ledger:
    """What the processes were told, and what is wrong with what is there."""

    acknowledged: int = 0
    appended: dict[str, int] = field(default_factory=dict)
    keyed: dict[str, int] = field(default_factory=dict)
    enqueued: dict[str, str] = field(default_factory=dict)
    acked: Counter[str] = field(default_factory=Counter)
    tried: Counter[str] = field(
        default_factory=Counter
    )  # by processes that did not come to say what became of it
    unknown: set[str] = field(default_factory=set)
    refused: Counter[str] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{len(self.appended):,} appended, {len(self.keyed):,} with keys, {len(self.enqueued):,} "
            f"enqueued, {len(self.acked):,} acknowledged, {len(self.unknown):,} unknown, "
            f"{dict(self.refused)} refused; {len(self.findings):,} findings"
        )

    def hear(self, line: list[Any]) -> None:
        self.acknowledged += 1
        match line:
            case ["append", str(id), int(offset)]:
                self.appended[id] = offset
            case ["keyed", str(id), int(offset)]:
                self.keyed[id] = offset
            case ["enqueue", str(message), str(job)]:
                self.enqueued[message] = job
            case ["settle", str(job)]:
                self.tried[job] += 1
            case ["ack", str(job)]:
                self.acked[job] += 1
                self.tried[job] -= 1
            case ["lapsed", str(job)]:
                self.tried[job] -= 1
            case ["unknown", str(id)]:
                self.unknown.add(id)
            case ["refused", str(code)]:
                self.refused[code] += 1

    def check(self, condition: bool, finding: str) -> None:
        if not condition:
            self.findings.append(finding)

    async def compare(self, store: Store) -> None:
        """Hold what was acknowledged against what is there."""
        for stream, told in (("plain", self.appended), ("keyed", self.keyed)):
            held = await _held(store, stream)
            for id, times in Counter(held.values()).items():
                self.check(times == 1, f"{stream} holds {id} {times} times")
            for id, offset in told.items():
                self.check(
                    held.get(offset) == id, f"{stream}: {id} was told {offset}, there is {held.get(offset)}"
                )
        waiting = await _jobs(store)
        for message, times in Counter(waiting.values()).items():
            self.check(times == 1, f"{message} waits {times} times")
        for message, job in self.enqueued.items():
            done = job in self.acked or self.tried[job] > 0
            self.check(done or waiting.get(job) == message, f"the job {job} of {message} is lost")
        for job, times in self.acked.items():
            self.check(times == 1, f"{job} was acknowledged {times} times")
            self.check(job not in waiting, f"{job} waits after it was acknowledged")


async def _held(store: Store, stream: str) -> dict[int, str]:
    held: dict[int, str] = {}
    after = Position(store.epoch, 0)
    while True:
        page = await read(store, stream, after=after)
        if not page.messages:
            return held
        held |= {message.offset: message.data.decode() for message in page.messages}
        after = Position(page.epoch, page.through)


async def _jobs(store: Store) -> dict[str, str]:
    found: dict[str, str] = {}
    # In the order in which a job goes on by itself: a lease that runs out between two looks is seen again.
    for state in (State.LEASED, State.WAITING, State.DEAD):
        after = ""
        while True:
            page = await store.browse(QUEUE, state, after=after, limit=1_000)
            found |= {job.id: job.data.decode() for job in page.jobs}
            after = page.next_id
            if not after:
                break
    return found


class Ordeal:
    def __init__(self, folder: Path, dice: random.Random) -> None:
        self.path = folder / "shared.db"
        self.ledger = Ledger()
        self.processes: dict[int, asyncio.subprocess.Process] = {}
        self.lines: Counter[int] = Counter()
        self._dice = dice
        self._changed = asyncio.Event()
        self._readers: set[asyncio.Task[None]] = set()
        self._names = 0

    async def start(self) -> int:
        self._names += 1
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.faults.sharer", str(self.path), f"p{self._names}",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        self.processes[process.pid] = process
        reader = asyncio.create_task(self._read(process))
        self._readers.add(reader)
        return process.pid

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            if line.endswith(b"\n"):
                self.lines[process.pid] += 1
                self.ledger.hear(json.loads(line))
                self._changed.set()

    def owner(self) -> int:
        """Return the process that the witness names."""
        fields = self.path.with_name(self.path.name + ".witness").read_bytes().split()
        return int(fields[3]) if len(fields) > 3 else 0

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not true():
                self._changed.clear()
                await self._changed.wait()

    async def all_go_on(self) -> None:
        """Wait until every process was acknowledged something more."""
        before = Counter(self.lines)
        await self.until(lambda: all(self.lines[pid] > before[pid] + 5 for pid in self.processes))

    async def kill(self, pid: int) -> None:
        process = self.processes.pop(pid)
        process.kill()
        await process.wait()

    async def round(self) -> None:
        enough = self.ledger.acknowledged + self._dice.randint(*LINES_PER_ROUND)
        await self.until(lambda: self.ledger.acknowledged >= enough)
        owner = self.owner()
        self.ledger.check(owner in self.processes, f"{owner} owns the file, of {list(self.processes)}")
        await self.kill(owner)
        await self.until(lambda: self.owner() in self.processes)  # what was said before may come later
        await self.all_go_on()
        await self.start()
        await self.all_go_on()

    async def run(self, rounds: int, told: Callable[[str], None]) -> Ledger:
        try:
            for _ in range(PROCESSES):
                await self.start()
            await self.all_go_on()
            for number in range(rounds):
                began = time.monotonic()
                await self.round()
                told(f"{number + 1}: {self.ledger.acknowledged} lines, {time.monotonic() - began:.2f} s")
            await self.end()
        finally:
            for pid in list(self.processes):
                await self.kill(pid)
        store = await backends.open(f"sqlite:{self.path}", Options(ballast_bytes=0, free_bytes_min=0))
        await self.ledger.compare(store)
        await store.close()
        return self.ledger

    async def end(self) -> None:
        """Let all of them close at once."""
        for process in self.processes.values():
            assert process.stdin is not None
            process.stdin.close()
        for pid in list(self.processes):
            code = await asyncio.wait_for(self.processes[pid].wait(), PATIENCE_SECONDS)
            self.ledger.check(code == 0, f"{pid} ended with {code}")
            del self.processes[pid]
        await asyncio.gather(*self._readers)


def run(
    folder: Path, rounds: int, *, seed: int = 1, told: Callable[[str], None] = lambda said: None
) -> Ledger:
    """Run so many rounds in `folder`."""
    return asyncio.run(Ordeal(folder, random.Random(seed)).run(rounds, told))


def main() -> int:
    """Run from the command line; 1 if anything was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.sharing", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()

    def progress(said: str) -> None:
        print(said, flush=True)  # noqa: T201

    with tempfile.TemporaryDirectory() as folder:
        ledger = run(Path(folder), options.rounds, seed=options.seed, told=progress)
    progress(str(ledger))
    for finding in ledger.findings[:FINDINGS_MAX]:
        progress(finding)
    return 1 if ledger.findings else 0


if __name__ == "__main__":
    sys.exit(main())
