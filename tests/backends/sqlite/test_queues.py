"""What SQLite makes of jobs: what is damaged, what is undone, what is counted, what a full disk leaves."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from gapless.backends import Options
from gapless.backends.sqlite.database import Database
from gapless.backends.sqlite.log import Log
from gapless.backends.sqlite.queues.port import Settle
from gapless.backends.sqlite.queues.settling import Settling
from gapless.backends.sqlite.work import Work
from gapless.core.errors import LimitExceeded, PositionConflict, StoreDamaged, StoreFull
from gapless.core.jobs import (
    Claimed,
    Counted,
    Deed,
    Emit,
    Enqueued,
    Job,
    QueueOptions,
    Settled,
    Settlement,
    State,
)
from gapless.core.limits import SETTLED_MS
from gapless.core.lineage import Fate
from gapless.core.stream import Entry, Position, Retention


class Call(Work):
    """A call of the queues."""

    def __init__(self, call: Callable[[Log], Any]) -> None:
        self.call = call

    def carry_out(self, log: Log) -> Any:
        return self.call(log)


class Kept:
    """A store with a queue, whose clock stands still."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.now_ms = 1_000_000
        self.open()
        self.call(lambda log: log.queues.declare("q", QueueOptions(lease_ms=100)))

    def open(self) -> None:
        options = Options(now_ms=lambda: self.now_ms, ballast_bytes=0, free_bytes_min=0)
        self.database = Database(self.path, options, None)

    def call(self, call: Callable[[Log], Any]) -> Any:
        return self.database.write([Call(call)])[0]

    def enqueue(self, *jobs: Job) -> Any:
        return self.call(lambda log: log.queues.enqueue_now(jobs))

    def claim(self, limit: int = 10) -> list[Claimed]:
        claimed: list[Claimed] = self.call(lambda log: log.queues.claim("q", "w", limit, 0, ""))
        return claimed

    def settle(self, *settlements: Settlement) -> Any:
        return self.database.write([Settle(settlements)])[0]

    def counted(self) -> Counted:
        counted: Counted = self.call(lambda log: log.queues.queues())["q"].counted
        return counted

    def tables(self, like: str) -> list[str]:
        query = "select name from sqlite_schema where type = 'table' and name like ?"
        return [name for (name,) in self.database._connection.execute(query, (like,))]

    def findings(self) -> list[str]:
        slices = self.database.check()
        while True:
            try:
                next(slices)
            except StopIteration as end:
                return list(end.value.findings)

    def damage(self, statement: str) -> None:
        """Change the file behind the store's back."""
        self.database.close()
        connection = apsw.Connection(str(self.path))
        connection.execute(statement)
        connection.close()
        self.open()


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    kept = Kept(tmp_path / "store.db")
    yield kept
    kept.database.close()


def ack(job: Claimed, *emits: Emit) -> Settlement:
    return Settlement(job.id, job.fence, Deed.ACK, emit=emits)


def entry(data: bytes, **rest: Any) -> Entry:
    return Entry("s", data, Retention(), **rest)


@pytest.mark.parametrize(
    "damage",
    [
        "update job_bodies set data = x'32' where number = 1",
        "update job_bodies set headers = x'7b7d' where number = 1",
        "update jobs set key = 'b' where number = 1",
        "update jobs set priority = 1 where number = 1",
        "delete from job_bodies where number = 1",
    ],
)
def test_a_damaged_job_is_never_served_and_holds_nobody_up(kept: Kept, damage: str) -> None:
    kept.enqueue(Job("q", b"1", key="a"), Job("q", b"2", key="a"))
    kept.damage(damage)
    assert [found.partition(" of ")[0] for found in kept.findings()][:1] == ["job 1"]
    assert kept.claim() == []
    assert [job.data for job in kept.claim()] == [b"2"]
    assert kept.counted().dead == 1
    [dead] = kept.call(lambda log: log.queues.browse("q", State.DEAD, "", 10)).jobs
    assert (dead.data, dead.reason) == (b"", "job 1 is lost or fails its checksum")
    if "delete" not in damage:
        assert isinstance(kept.call(lambda log: log.queues.look(dead.id)), StoreDamaged)


@pytest.mark.parametrize("deed", [Deed.CANCEL, Deed.PURGE])
def test_nothing_is_left_of_a_job_that_lapsed_once_and_is_removed(kept: Kept, deed: Deed) -> None:
    [[told]] = [kept.enqueue(Job("q", b"x"))]
    kept.claim()
    kept.now_ms += 100
    assert kept.counted().failed == 1
    if deed is Deed.CANCEL:
        kept.call(lambda log: log.queues.cancel(told.id))
    else:
        kept.call(lambda log: log.queues.purge("q", State.WAITING, [told.id], 1, None))
    assert kept.database._connection.execute("select * from job_notes").fetchall() == []


def test_notes_that_belong_to_no_job_are_found(kept: Kept) -> None:
    kept.enqueue(Job("q", b"x"))
    kept.database._connection.execute("insert into job_notes values (77, 0, '', '', null)")
    assert kept.findings() == ["1 notes belong to no job"]


def test_what_is_refused_only_when_it_is_done_is_undone_alone(kept: Kept) -> None:
    kept.enqueue(Job("q", b"1"), Job("q", b"2"), Job("q", b"3"))
    jobs = kept.claim()
    wrong = entry(b"y", expected=Position(kept.database.epoch, 7))
    first, second, third = kept.settle(
        ack(jobs[0], entry(b"a")), ack(jobs[1], entry(b"x"), Job("q", b"4"), wrong), ack(jobs[2], entry(b"b"))
    )
    assert isinstance(second, PositionConflict)
    assert [told.emitted[0].offset for told in (first, third)] == [1, 2]
    assert kept.counted() == Counted(leased=1, enqueued=3, claimed=3, acked=2)
    page = kept.database.reader.after("s", None, 10, 1_000, kept.now_ms)
    assert [message.data for message in page.messages] == [b"a", b"b"]
    [again] = kept.settle(ack(jobs[1], Job("q", b"4")))
    assert isinstance(again, Settled)
    assert isinstance(again.emitted[0], Enqueued)


def test_a_later_entry_may_expect_what_an_earlier_one_of_the_same_emit_leaves(kept: Kept) -> None:
    kept.enqueue(Job("q", b"1"))
    [job] = kept.claim()
    follows = entry(b"y", expected=Position(kept.database.epoch, 1))
    [told] = kept.settle(ack(job, entry(b"x"), follows))
    assert [stored.offset for stored in told.emitted] == [1, 2]


def test_a_refused_batch_leaves_the_limit_of_waiting_jobs_as_it_was(kept: Kept) -> None:
    kept.call(lambda log: log.queues.declare("q", QueueOptions(waiting_max=2)))
    assert isinstance(kept.enqueue(*[Job("q", b"1")] * 3), LimitExceeded)
    assert len(kept.enqueue(*[Job("q", b"1")] * 2)) == 2


def test_answers_are_forgotten_with_the_tables_of_their_minutes(kept: Kept) -> None:
    for _ in range(3):
        kept.enqueue(Job("q", b"1"))
        kept.settle(*map(ack, kept.claim()))
        kept.now_ms += 60_000
    assert len(kept.tables("settled%")) == len(kept.tables("requested%")) == 3
    kept.now_ms += SETTLED_MS
    assert kept.database.is_due()
    kept.database.write([])
    assert not kept.tables("settled%")
    assert not kept.database.is_due()


def finish(slices: Any) -> None:
    for _ in slices:
        pass


def test_a_compaction_keeps_leases_lines_and_counts(kept: Kept) -> None:
    kept.enqueue(*[Job("q", b"1", key="a")] * 3)
    [job] = kept.claim()
    before = kept.counted()
    finish(kept.database.compact())
    assert kept.counted() == before
    assert kept.settle(ack(job)) == [Settled(State.GONE)]
    assert [job.attempt for job in kept.claim()] == [1]
    assert kept.findings() == []


@pytest.mark.parametrize(
    ("deed", "fate"), [("nothing", Fate.CLEAN), ("enqueue", Fate.LOSSY), ("settle", Fate.LOSSY)]
)
def test_a_rewind_that_lost_a_job_or_its_end_is_told(kept: Kept, deed: str, fate: Fate) -> None:
    kept.enqueue(Job("q", b"1"))
    [job] = kept.claim()
    files = [kept.path, kept.path.with_name("store.db-wal")]
    earlier = [file.read_bytes() for file in files]
    if deed == "enqueue":
        kept.enqueue(Job("q", b"2"))
    elif deed == "settle":
        assert kept.settle(ack(job)) == [Settled(State.GONE)]
    kept.database.abandon()
    for file, content in zip(files, earlier, strict=True):
        file.write_bytes(content)
    kept.open()
    assert kept.database.reader.generations()[-1].fate is fate


def test_a_full_disk_refuses_jobs_and_lets_those_be_worked_off_that_are_there(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept.enqueue(Job("q", b"1"))
    monkeypatch.setattr(kept.database.disk, "is_full", True)
    monkeypatch.setattr(kept.database.disk, "check_room", lambda unused_bytes: None)
    assert isinstance(kept.enqueue(Job("q", b"2")), StoreFull)
    [job] = kept.claim()
    assert kept.settle(ack(job)) == [Settled(State.GONE)]


def test_counts_are_made_anew_when_the_store_is_opened(kept: Kept) -> None:
    kept.enqueue(*[Job("q", b"1", key="a")] * 3, Job("q", b"2"), Job("q", b"3", delay_ms=500), Job("q", b"4"))
    buried = kept.claim(2)[1]
    kept.settle(Settlement(buried.id, buried.fence, Deed.BURY))
    kept.database.close()
    kept.open()
    assert kept.counted() == Counted(ready=3, delayed=1, leased=1, dead=1)
    kept.now_ms += 10_000
    assert kept.counted().ready + kept.counted().delayed == 5


def test_what_is_refused_half_done_lets_the_rest_be_carried_out_a_few_times_only(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    carried_out = 0
    settle = Settling.settle

    def counting(self: Settling, settlements: Any, refused: Any) -> Any:
        nonlocal carried_out
        carried_out += len(settlements)
        return settle(self, settlements, refused)

    monkeypatch.setattr(Settling, "settle", counting)
    kept.enqueue(*[Job("q", b"1")] * 64)
    good = Entry("s", b"good", Retention())
    bad = Entry("s", b"bad", Retention(), expected=Position("another", 7))
    asked = [
        Settlement(job.id, job.fence, Deed.ACK, emit=[good, bad] if at % 2 else [good])
        for at, job in enumerate(kept.claim(64))
    ]
    answers = kept.settle(*asked)
    assert [isinstance(answer, Settled) for answer in answers] == [True, False] * 32
    assert carried_out < 64 * 20
