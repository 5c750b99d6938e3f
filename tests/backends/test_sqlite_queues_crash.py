"""Jobs survive a power cut at any write: what was enqueued is there or was acked, and no ack is undone."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import apsw
import pytest

from gapless.backends import Options
from gapless.backends.sqlite import schema
from gapless.backends.sqlite.database import Database
from gapless.backends.sqlite.log import Log
from gapless.backends.sqlite.work import Work
from gapless.core.errors import GaplessError, StoreError, UnknownJob
from gapless.core.jobs import Claimed, Deed, Enqueued, Job, QueueOptions, Settlement, State
from gapless.core.lineage import Fate
from gapless.core.retry import Retry
from gapless.core.stream import Entry, Retention
from tests.backends.crash_vfs import Disk

SEEDS = 240
SEEDS_PER_TEST = 40
LIVES = 4
KEYS = (None, "a", "b")
RETRY = Retry(attempts_max=1_000, delays_ms=(0, 40))


@pytest.fixture(scope="module")
def disk() -> Iterator[Disk]:
    hook, sys.unraisablehook = (
        sys.unraisablehook,
        lambda _: None,
    )  # SQLite does not pass on why a close failed
    yield Disk("queues-crash")
    sys.unraisablehook = hook


class Loss(AssertionError):
    """A promise was broken."""


class Call(Work):
    """A call of the queues."""

    def __init__(self, call: Callable[[Log], Any]) -> None:
        self.call = call

    def carry_out(self, log: Log) -> Any:
        return self.call(log)


class History:
    """What was acknowledged, over several lives of one store."""

    def __init__(self, path: Path, disk: Disk, random: Random) -> None:
        self.path, self.disk, self.random = path, disk, random
        self.now_ms = 1_000
        self.enqueued: dict[str, Job] = {}
        self.in_doubt: set[str] = set()  # the ack was on its way
        self.acked: set[str] = set()
        self.fences: list[str] = []
        self.held: dict[str, Claimed] = {}
        self.emitted = 0
        self.counted = 0

    def open(self) -> Database:
        options = Options(
            now_ms=lambda: self.now_ms,
            token=lambda: f"{self.random.getrandbits(64):016x}",
            chance=lambda: 0.0,
            ballast_bytes=0,
            free_bytes_min=0,
        )
        return Database(self.path, options, self.disk.name)

    def live(self) -> None:
        """Work until the power goes off."""
        self.disk.cut_at(self.random.randrange(1, 250))
        database = None
        try:
            database = self.open()
            self.check(database)
            self.call(database, lambda log: log.queues.declare("q", QueueOptions(retry=RETRY, lease_ms=100)))
            while True:
                self.step(database)
        except (StoreError, apsw.IOError):
            pass
        if database:
            database.abandon()
        self.disk.lose_power(self.random)

    def call(self, database: Database, call: Callable[[Log], Any]) -> Any:
        [answer] = database.write([Call(call)])
        if isinstance(answer, GaplessError):
            raise answer
        return answer

    def step(self, database: Database) -> None:
        self.now_ms += self.random.choice((0, 0, 5, 60, 61_000))
        chance = self.random.random()
        if chance < 0.1:
            database.checkpoint()
        elif chance < 0.4:
            self.enqueue(database)
        elif chance < 0.7:
            self.claim(database)
        else:
            self.settle(database)

    def enqueue(self, database: Database) -> None:
        jobs = []
        for _ in range(self.random.randrange(1, 8)):
            self.counted += 1
            data = b"%d " % self.counted + bytes(self.random.randrange(400))
            jobs.append(Job("q", data, key=self.random.choice(KEYS), delay_ms=self.random.choice((0, 0, 50))))
        told: list[Enqueued] = self.call(database, lambda log: log.queues.enqueue_now(jobs))
        self.enqueued |= {one.id: job for one, job in zip(told, jobs, strict=True)}

    def claim(self, database: Database) -> None:
        limit = self.random.randrange(1, 9)
        claimed: list[Claimed] = self.call(database, lambda log: log.queues.claim("q", "w", limit, 0, ""))
        for job in claimed:
            if job.id in self.acked:
                raise Loss(f"{job.id} runs after its ack")
            if job.id in self.enqueued and self.enqueued[job.id].data != job.data:
                raise Loss(f"{job.id} says something else")
            if self.fences and job.fence_number <= int(self.fences[-1].partition(":")[2]):
                raise Loss(f"the fence {job.fence} does not rise above {self.fences[-1]}")
            self.fences.append(job.fence)
            self.held[job.id] = job

    def settle(self, database: Database) -> None:
        chosen = self.random.sample(sorted(self.held), min(len(self.held), self.random.randrange(1, 5)))
        asked = [self.settlement(self.held.pop(id)) for id in chosen]
        acks = {one.id for one in asked if one.deed is Deed.ACK}
        self.in_doubt |= acks
        answers = self.answer(database, asked)
        for one, answer in zip(asked, answers, strict=True):
            if one.deed is Deed.ACK and not isinstance(answer, GaplessError):
                self.acked.add(one.id)
                self.emitted += len(one.emit)
        self.in_doubt -= acks

    def answer(self, database: Database, asked: list[Settlement]) -> Any:
        return self.call(database, lambda log: log.queues.settle(asked, {}))

    def settlement(self, job: Claimed) -> Settlement:
        deed = self.random.choice((Deed.ACK, Deed.ACK, Deed.RETRY, Deed.RELEASE, Deed.BURY))
        emits = [Entry("done", job.id.encode(), Retention())] if self.random.random() < 0.3 else []
        return Settlement(job.id, job.fence, deed, emit=emits if deed is Deed.ACK else [])

    def check(self, database: Database) -> None:
        """Hold the store against what was acknowledged."""
        if any(generation.fate is not Fate.CLEAN for generation in database.reader.generations()):
            raise Loss("a false alarm, or something is lost")
        for id, job in self.enqueued.items():
            found = self.look(database, id)
            if found is None and id not in self.acked | self.in_doubt:
                raise Loss(f"{id} is gone, and was never acked")
            if found is not None and id in self.acked:
                raise Loss(f"{id} is there again, and was acked")
            if found is not None and found != job.data:
                raise Loss(f"{id} says something else")
        if database.reader.heads(["done"], self.now_ms).heads["done"].last < self.emitted:
            raise Loss("what was emitted with an ack is gone")
        if findings := checked(database):
            raise Loss(str(findings))

    def look(self, database: Database, id: str) -> bytes | None:
        try:
            data: bytes = self.call(database, lambda log: log.queues.look(id)).data
        except UnknownJob:
            return None
        return data

    def drain(self, database: Database) -> None:
        """Work everything off, and see that nothing is left over."""
        self.held.clear()
        for _ in range(1_000):
            self.now_ms += 1_000
            self.claim(database)
            asked = [Settlement(job.id, job.fence, Deed.ACK) for job in self.held.values()]
            self.held.clear()
            answers = self.answer(database, asked)
            self.acked |= {
                one.id for one, told in zip(asked, answers, strict=True) if told.state is State.GONE
            }
            counted = self.call(database, lambda log: log.queues.queues())["q"].counted
            if not counted.ready + counted.delayed + counted.leased:
                return
        raise Loss("some jobs are never claimed")


def checked(database: Database) -> list[str]:
    """What a check of the whole file finds."""
    slices = database.check()
    while True:
        try:
            next(slices)
        except StopIteration as end:
            return list(end.value.findings)


def lives(folder: Path, disk: Disk, seed: int) -> None:
    """Let one store lose power a few times.

    Raises:
        Loss: a promise about jobs was broken, or a sound store was refused.
    """
    disk.images.clear()
    history = History(folder / "store.db", disk, Random(seed))
    for _ in range(LIVES):
        history.live()
    try:
        database = history.open()
        history.check(database)
        if "q" in database.log.queues.jobs.queues:
            history.drain(database)
        history.check(database)
        database.close()
    except StoreError as error:
        raise Loss(f"seed {seed}: {error}") from error


@pytest.mark.parametrize("start", range(0, SEEDS, SEEDS_PER_TEST))
def test_jobs_survive_a_power_cut_at_any_write_and_no_ack_is_undone(
    start: int, tmp_path: Path, disk: Disk
) -> None:
    for seed in range(start, start + SEEDS_PER_TEST):
        folder = tmp_path / str(seed)
        folder.mkdir()
        lives(folder, disk, seed)


def test_a_store_that_does_not_sync_each_commit_loses_jobs(
    tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(schema.ALWAYS, "synchronous", 1)
    caught = 0
    for seed in range(20):
        folder = tmp_path / str(seed)
        folder.mkdir()
        try:
            lives(folder, disk, seed)
        except Loss:
            caught += 1
    assert caught > 10
