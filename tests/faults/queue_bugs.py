"""Known bugs of queues (semantics 10), planted in a server: `… queue_bugs <bug> serve`.

`python -m tests.faults.queue_bugs` alone shows for each that the history tells of it.
"""

import asyncio
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

from msgspec.structs import replace

from gapless.backends.sqlite.database import Database
from gapless.backends.sqlite.emitting import emit
from gapless.backends.sqlite.log import Order, Outcome
from gapless.backends.sqlite.queues.claiming import Claiming
from gapless.backends.sqlite.queues.declaring import Declaring
from gapless.backends.sqlite.queues.enqueueing import Enqueueing
from gapless.backends.sqlite.queues.queue import LEASED, Queue, Record
from gapless.backends.sqlite.queues.settling import Settling
from gapless.cli import main as gapless
from gapless.core.errors import LeaseLost
from gapless.core.jobs import Job, QueueOptions, Settlement
from tests.faults.kill_workers import CONFIG, KILL_SERVER, Ordeal
from tests.faults.scene import Scene
from tests.faults.worker_program import ROOT, until
from tests.program import Program

__all__ = ["BUGS", "catch"]

ORDERS_COMMITTED = 50  # the first are: the queues are declared


def ordeal(faults: dict[str, int], rounds: int) -> Callable[[Program], list[str]]:
    """Return what lets so many faults happen, and tells what was found."""

    def run(program: Program) -> list[str]:
        async def go() -> list[str]:
            return (await Ordeal(program, Random(1), faults).run(rounds)).findings

        return asyncio.run(go())

    return run


def late_ack(program: Program) -> list[str]:
    """Let a worker stand still past its lease, and acknowledge while another has its job.

    Neither run ends before the scene is as far as that, however busy the machine is.
    """
    scene = Scene(program)
    gates = [program.folder / f"gate-{number}" for number in (1, 2)]
    try:
        for gate in gates:
            gate.touch()
        program.start()
        late = scene.worker()
        id = scene.enqueue("slow", gate=str(program.folder / "gate"))
        first = scene.line("start", id)
        late.pause()
        gates[0].unlink()
        scene.line("end", id)
        scene.worker()
        until(lambda: scene.line("start", id).fence > first.fence)
        late.resume()
        scene.settled(id, first.fence)
        gates[1].unlink()
        return scene.findings(scene.ended())
    finally:
        scene.close()


@dataclass(frozen=True)
class Bug:
    """What plants it in this process, what shows it, and the checkers that may tell of it."""

    plant: Callable[[], None]
    show: Callable[[Program], list[str]]
    found_by: tuple[str, ...]


def _patch(owner: type, name: str, wrong: Callable[..., Any]) -> None:
    patch.object(owner, name, wrong).start()


def settle_without_fence_check() -> None:
    """A settlement is carried out if anybody has the job."""

    def held(self: Claiming, job: Record | None, id: str, fence: str) -> tuple[Queue, Record]:
        if job is None or job.state != LEASED:
            raise LeaseLost(id)
        return self.jobs.touch(self.jobs.by_id[job.queue]), job

    _patch(Settling, "held", held)


def emit_without_ack() -> None:
    """What a settlement emits is stored, also if it is refused."""
    settle = Settling._settle

    def wrong(self: Settling, asked: Settlement, number: int, acks: Any) -> Any:
        try:
            return settle(self, asked, number, acks)
        except LeaseLost:
            emit(self.jobs.log, asked.emit)
            raise

    _patch(Settling, "_settle", wrong)


def claim_without_lines() -> None:
    """A claim takes what is due, whatever is ahead of it in its key's line."""
    make, change = Declaring._make, Declaring._change
    _patch(Declaring, "_make", lambda self, name, options: make(self, name, _unordered(options)))
    _patch(Declaring, "_change", lambda self, queue, options: change(self, queue, _unordered(options)))


def _unordered(options: QueueOptions) -> QueueOptions:
    return replace(options, ordered=False)


def acknowledge_before_commit() -> None:
    """What was written is acknowledged, and stays in a transaction that nobody commits."""
    done = 0

    def transact(self: Database, orders: Sequence[Order]) -> list[Outcome]:
        nonlocal done
        connection = self._connection
        if not connection.in_transaction:
            connection.execute("begin immediate")
        outcomes = self.log.write(orders, self.now_ms(), budget=0, is_full=False)
        done += len(orders)
        if done <= ORDERS_COMMITTED:
            connection.execute("commit")
        self.woken |= self.log.queues.take_woken()
        return outcomes

    _patch(Database, "_transact", transact)


def message_id_forgotten() -> None:
    """A repeat with a message id is another job."""
    take = Enqueueing._take
    _patch(Enqueueing, "_take", lambda self, jobs, rows: take(self, [_anonymous(job) for job in jobs], rows))


def _anonymous(job: Job) -> Job:
    return replace(job, message_id=None)


BUGS: dict[str, Bug] = {
    "settle without fence check": Bug(settle_without_fence_check, late_ack, ("stale_accepted",)),
    "emit stored, ack refused": Bug(emit_without_ack, late_ack, ("emitted_apart",)),
    "claim without lines": Bug(claim_without_lines, ordeal({KILL_SERVER: 1}, 1), ("overlap", "disorder")),
    "acknowledge before commit": Bug(acknowledge_before_commit, ordeal({KILL_SERVER: 1}, 2), ("lost",)),
    "message id forgotten": Bug(message_id_forgotten, ordeal({KILL_SERVER: 1}, 2), ("doubled",)),
}


class _Wrong(Program):
    def __init__(self, folder: Path, name: str) -> None:
        super().__init__(folder, CONFIG)
        self._name = name

    def command(self) -> list[str]:
        _, *arguments = super().command()
        return ["env", f"PYTHONPATH={ROOT}", sys.executable, "-m", __spec__.name, self._name, *arguments]


def catch(name: str, folder: Path) -> list[str]:
    """Return what is found of a bug in a server that has its store in `folder`."""
    bug = BUGS[name]
    return [found for found in bug.show(_Wrong(folder, name)) if found.startswith(bug.found_by)]


def main() -> int:
    """Show each bug, or be a server with one."""
    if sys.argv[1:]:
        BUGS[sys.argv.pop(1)].plant()
        gapless()
    missed = 0
    for name in BUGS:
        with tempfile.TemporaryDirectory() as folder:
            found = catch(name, Path(folder))
        print(f"{name}: {len(found):,} found: {(found or ['MISSED'])[0]}")  # noqa: T201
        missed += not found
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
