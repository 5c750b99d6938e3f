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
from gapless.backends.sqlite.log import Order, Outcome
from gapless.backends.sqlite.queues.claiming import Claiming
from gapless.backends.sqlite.queues.declaring import Declaring
from gapless.backends.sqlite.queues.enqueueing import Enqueueing
from gapless.backends.sqlite.queues.queue import LEASED, Queue, Record
from gapless.backends.sqlite.queues.settling import Settling
from gapless.cli import main as gapless
from gapless.core.errors import LeaseLost
from gapless.core.job_rules import number_of
from gapless.core.jobs import Job, QueueOptions
from tests.faults.kill_workers import CONFIG, KILL_SERVER, STOP_WORKER, Ordeal, Result
from tests.faults.worker_program import ROOT
from tests.program import Program

__all__ = ["BUGS", "catch"]

ORDERS_PER_COMMIT = 50


@dataclass(frozen=True)
class Bug:
    """What plants it in this process, which faults show it how soon, and the checkers that may find it."""

    plant: Callable[[], None]
    faults: dict[str, int]
    rounds: int
    found_by: tuple[str, ...]
    work_ms: int = 25


def _patch(owner: type, name: str, wrong: Callable[..., Any]) -> None:
    patch.object(owner, name, wrong).start()


def settle_without_fence_check() -> None:
    """A settlement is carried out if anybody has the job."""

    def leased(self: Claiming, id: str, fence: str) -> tuple[Queue, Record]:
        job = self.jobs.find(number_of(id))
        if job is None or job.state != LEASED:
            raise LeaseLost(id)
        return self.jobs.touch(self.jobs.by_id[job.queue]), job

    _patch(Settling, "leased", leased)


def claim_without_lines() -> None:
    """A claim takes what is due, whatever is ahead of it in its key's line."""
    make, change = Declaring._make, Declaring._change
    _patch(Declaring, "_make", lambda self, name, options: make(self, name, _unordered(options)))
    _patch(Declaring, "_change", lambda self, queue, options: change(self, queue, _unordered(options)))


def _unordered(options: QueueOptions) -> QueueOptions:
    return replace(options, ordered=False)


def acknowledge_before_commit() -> None:
    """What was written is acknowledged, and committed some time later together with more."""
    waiting = 0

    def transact(self: Database, orders: Sequence[Order]) -> list[Outcome]:
        nonlocal waiting
        connection = self._connection
        if not connection.in_transaction:
            connection.execute("begin immediate")
        outcomes = self.log.write(orders, self.now_ms(), budget=0, is_full=False)
        waiting += len(orders)
        if waiting >= ORDERS_PER_COMMIT or not orders:
            connection.execute("commit")
            waiting = 0
        self.woken |= self.log.queues.take_woken()
        return outcomes

    _patch(Database, "_transact", transact)


def message_id_forgotten() -> None:
    """A repeat with a message id is another job."""
    enqueue = Enqueueing.enqueue_now
    _patch(Enqueueing, "enqueue_now", lambda self, jobs: enqueue(self, [_anonymous(job) for job in jobs]))


def _anonymous(job: Job) -> Job:
    return replace(job, message_id=None)


BUGS: dict[str, Bug] = {
    "settle without fence check": Bug(
        settle_without_fence_check, {STOP_WORKER: 1}, 4, ("stale_accepted", "ran_again", "lost"), work_ms=250
    ),
    "claim without lines": Bug(claim_without_lines, {KILL_SERVER: 1}, 1, ("overlap", "disorder")),
    "acknowledge before commit": Bug(acknowledge_before_commit, {KILL_SERVER: 1}, 3, ("lost",)),
    "message id forgotten": Bug(message_id_forgotten, {KILL_SERVER: 1}, 2, ("doubled",)),
}


class _Wrong(Program):
    def __init__(self, folder: Path, name: str) -> None:
        super().__init__(folder, CONFIG)
        self._name = name

    def command(self) -> list[str]:
        _, *arguments = super().command()
        return ["env", f"PYTHONPATH={ROOT}", sys.executable, "-m", __spec__.name, self._name, *arguments]


def catch(name: str, folder: Path, *, seed: int = 1) -> Result:
    """Run a server with a bug in it, with the store in `folder`; what was found is in the result."""
    bug = BUGS[name]

    async def ordeal() -> Result:
        wrong = _Wrong(folder, name)
        return await Ordeal(wrong, Random(seed), bug.faults, work_ms=bug.work_ms).run(bug.rounds)

    return asyncio.run(ordeal())


def main() -> int:
    """Show each bug, or be a server with one."""
    if sys.argv[1:]:
        BUGS[sys.argv.pop(1)].plant()
        gapless()
    missed = 0
    for name, bug in BUGS.items():
        with tempfile.TemporaryDirectory() as folder:
            result = catch(name, Path(folder))
        found = [each for each in result.findings if each.startswith(bug.found_by)]
        print(f"{name}: {len(found):,} found in {result.seconds:.1f} s; {(found or ['MISSED'])[0]}")  # noqa: T201
        missed += not found
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
