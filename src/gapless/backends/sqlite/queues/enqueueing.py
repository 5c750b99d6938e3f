"""Taking jobs in: what they are checked for, and where they stand then."""

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

from gapless.backends import each
from gapless.backends.sqlite.keys import Digests
from gapless.backends.sqlite.queues.bodies import BodyRow, checksum
from gapless.backends.sqlite.queues.queue import HELD, Queue
from gapless.backends.sqlite.queues.tending import Tending
from gapless.core.errors import GaplessError, KeyConflict, LimitExceeded, StoreFull, TooManyRequests
from gapless.core.job_rules import check_batch, expires_at_ms, first_due_ms, id_of
from gapless.core.jobs import Enqueued, Job
from gapless.core.limits import PRIORITY_MAX
from gapless.core.stream import Stored

__all__ = ["Enqueueing"]

# Columns of a new row.
PRIORITY, RANK, FIRST = 3, 5, 6

Heads = dict[tuple[int, str], list[Any] | int | None]
# The first in the line of a queue's key: a new row, or when it first falls due.


class _Rows:
    """New rows, written together, of queues that were tended; and the heads of the lines that they join."""

    __slots__ = ("bodies", "heads", "jobs", "queues")

    def __init__(self) -> None:
        self.jobs: list[list[Any]] = []
        self.bodies: list[BodyRow] = []
        self.heads: Heads = {}
        self.queues: dict[str, Queue] = {}


class _Plan:
    """Jobs that are taken together: what becomes of each, before anything is changed."""

    __slots__ = ("fresh", "ids", "keys", "names", "steps")

    def __init__(self) -> None:
        self.steps: list[tuple[Job, Queue, int, Digests | None, Enqueued | int | None]] = []
        self.fresh: dict[str, int] = {}
        self.keys = 0
        self.ids: dict[bytes, tuple[bytes, int]] = {}  # message ids: of which payload, and by which step held
        self.names: dict[tuple[int, str], int] = {}  # unique names, and by which step held


class Enqueueing(Tending):
    """What is enqueued, by itself or with a settlement or commit."""

    def enqueue_now(self, jobs: Sequence[Job]) -> list[Enqueued]:
        """Enqueue all of them in the transaction that is open.

        Raises:
            GaplessError: one is refused; nothing has changed then.
        """
        rows = _Rows()
        told = self._take(jobs, rows)
        self._write(rows)
        return told

    def enqueue_each(self, batches: Sequence[Sequence[Job]]) -> list[list[Enqueued] | GaplessError]:
        """Enqueue batches, each of them whole or not at all."""
        rows = _Rows()
        told = each(batches, lambda jobs: self._take(jobs, rows))
        self._write(rows)
        return told

    def _take(self, jobs: Sequence[Job], rows: _Rows) -> list[Enqueued]:
        check_batch(jobs, self.jobs.options.message_bytes_max)
        if len(jobs) == 1 and jobs[0].message_id is None and jobs[0].unique is None:
            return [self._take_one(jobs[0], rows)]
        plan = self._plan(jobs, rows)
        told: list[Enqueued] = []
        for step, (job, queue, due_ms, digests, held) in enumerate(plan.steps):
            if isinstance(held, Enqueued):
                told.append(held)
            elif held is not None:
                told.append(Enqueued(told[held].id, fresh=False))
            else:
                told.append(self._place(job, queue, due_ms, rows))
            if digests and digests[0] in plan.ids and plan.ids[digests[0]][1] == step:
                self._hold(digests, told[-1])
        return told

    def _take_one(self, job: Job, rows: _Rows) -> Enqueued:
        """Take in a job that can be no repeat: there is nothing to plan."""
        queue = self._queue(job, rows)
        due_ms = first_due_ms(job, self.now_ms)
        self._check_waiting(queue, 0)
        self._check_disk()
        return self._place(job, queue, due_ms, rows)

    def _write(self, rows: _Rows) -> None:
        if rows.jobs:
            self.jobs.insert(rows.jobs)
            self.jobs.bodies.insert(rows.bodies)

    def _plan(self, jobs: Sequence[Job], rows: _Rows) -> _Plan:
        plan = _Plan()
        for job in jobs:
            queue = self._queue(job, rows)
            due_ms = first_due_ms(job, self.now_ms)
            digests = None if job.message_id is None else _digests(job)
            held = self._repeated(plan, digests) if digests else None
            if held is None:
                held = self._named(plan, queue, job)
                self._check_room(plan, queue, digests, is_fresh=held is None)
                if digests:
                    plan.ids[digests[0]] = digests[1], len(plan.steps)
            plan.steps.append((job, queue, due_ms, digests, held))
        if plan.fresh or plan.keys:
            self._check_disk()
        return plan

    def _queue(self, job: Job, rows: _Rows) -> Queue:
        queue = rows.queues.get(job.queue)
        if queue is None:
            queue = rows.queues[job.queue] = self.queue_now(job.queue)
        return queue

    def _repeated(self, plan: _Plan, digests: Digests) -> Enqueued | int | None:
        """Return what was answered under the job's message id, or which step of the plan will be."""
        if digests[0] in plan.ids:
            payload, step = plan.ids[digests[0]]
            if payload != digests[1]:
                raise KeyConflict("the message id belongs to another payload")
            return step
        try:
            held = self.jobs.keys.find(digests)
        except KeyConflict:
            raise KeyConflict("the message id belongs to another payload") from None
        return Enqueued(id_of(held.offset, held.epoch), fresh=False) if held else None

    def _named(self, plan: _Plan, queue: Queue, job: Job) -> Enqueued | int | None:
        """Return the job that holds the same unique name."""
        if job.unique is None:
            return None
        name = queue.id, job.unique
        if name in plan.names:
            return plan.names[name]
        number = self.jobs.bodies.holder(queue.id, job.unique, self.now_ms)
        if number:
            return Enqueued(self.jobs.id(number), fresh=False)
        plan.names[name] = len(plan.steps)
        return None

    def _check_room(self, plan: _Plan, queue: Queue, digests: Digests | None, *, is_fresh: bool) -> None:
        if is_fresh:
            fresh = plan.fresh.get(queue.name, 0)
            self._check_waiting(queue, fresh)
            plan.fresh[queue.name] = fresh + 1
        if digests:
            if self.jobs.keys.held() + plan.keys >= self.jobs.options.keys_max:
                raise TooManyRequests("too many message ids are held")
            plan.keys += 1

    def _check_waiting(self, queue: Queue, fresh: int) -> None:
        waiting_max = queue.options.waiting_max
        if waiting_max and queue.waiting + fresh >= waiting_max:
            raise LimitExceeded(f"{waiting_max} jobs wait in {queue.name!r}, and no more may")

    def _check_disk(self) -> None:
        if self.jobs.log.is_full:
            raise StoreFull("the disk is full; make room")

    def _hold(self, digests: Digests, told: Enqueued) -> None:
        number, _, epoch = told.id.partition("-")
        self.jobs.keys.hold(digests, Stored(epoch, int(number), self.now_ms))

    def _place(self, job: Job, queue: Queue, due_ms: int, rows: _Rows) -> Enqueued:
        log, key, priority, now_ms = self.jobs.log, job.key, job.priority, self.now_ms
        log.seq += 1
        number, epoch = log.seq, self.jobs.epoch
        is_lined = key is not None and queue.options.ordered
        rank = queue.lowest - priority
        ends_ms = expires_at_ms(due_ms, job.expires_ms, now_ms)
        row: list[Any] = [
            number, queue.id, key, priority, job.unique is not None, rank, due_ms, due_ms, is_lined, number,
            ends_ms,
        ]  # fmt: skip
        if is_lined:
            assert key is not None
            self._join(queue, key, row, rows.heads)
        rows.jobs.append(row)
        crc = checksum(number, queue.id, key, priority, epoch, now_ms, job.headers, job.data)
        rows.bodies.append(
            (number, epoch, now_ms, crc, job.message_id, job.unique, job.expires_ms, job.headers, job.data)
        )
        if job.unique is not None:
            self.jobs.bodies.hold(queue.id, job, number, now_ms)
        if ends_ms is not None and ends_ms < queue.wake_ms:
            queue.wake_ms = ends_ms
        queue.wait(row[RANK], due_ms)
        queue.enqueued += 1
        self.jobs.woken.add(queue.name)
        return Enqueued(id_of(number, epoch))

    def _join(self, queue: Queue, key: str, row: list[Any], heads: Heads) -> None:
        """Let a new job stand in the line of its key: behind its head, or as its head."""
        line = queue.id, key
        if line not in heads:
            heads[line] = self.jobs.head_ms(queue, key)
        head = heads[line]
        if queue.strays and key in queue.strays.values():
            row[RANK] = _held(row)
        if head is None:
            heads[line] = row
        elif isinstance(head, list):
            behind = head if row[FIRST] < head[FIRST] else row
            behind[RANK] = _held(behind)
            heads[line] = row if behind is head else head
        elif head <= row[FIRST]:
            row[RANK] = _held(row)
        else:  # that one waits for its time
            self.jobs.hold_back(queue, key)
            heads[line] = row


def _held(row: list[Any]) -> int:
    return HELD + PRIORITY_MAX - int(row[PRIORITY])


def _digests(job: Job) -> Digests:
    """Return what stands for the message id within its queue, and for the payload."""
    name = f"job {len(job.queue)} {job.queue}{job.message_id}".encode()
    return blake2b(name, digest_size=16).digest(), blake2b(job.data, digest_size=16).digest()
