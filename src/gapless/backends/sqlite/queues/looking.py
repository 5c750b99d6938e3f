"""Looking at queues and their jobs, and tidying them up by hand."""

from collections.abc import Sequence
from typing import Final

from gapless.backends.sqlite.queues.queue import CODES, FOREVER_MS, GONE, LEASED, WAITING, Queue, Record
from gapless.backends.sqlite.queues.tending import Tending
from gapless.backends.sqlite.schema import array, first
from gapless.core.errors import JobStarted, StoreDamaged, UnknownJob
from gapless.core.job_rules import (
    check_edit,
    check_limit,
    check_purge,
    check_selection,
    id_of,
    number_of,
)
from gapless.core.jobs import Counted, JobPage, OnDead, QueueInfo, State, View
from gapless.core.limits import CLAIM_BYTES_MAX
from gapless.core.stream import Entry

__all__ = ["Looking"]

# So many of a state are sorted by their ids; of more, the table is read in its order.
SORTED_JOBS_MAX: Final = 10_000
# One condition for each state, that its index serves.
INDEXED: Final = ("state = 0", "state = 1", "state > 1 and state = 2", "state > 1 and state = 3")
OLDEST: Final = "select due_ms from jobs where queue = ? and rank = ? and state = 0 order by due_ms limit 1"
DROPS: Final = (
    "select ends_ms from jobs where queue = ? and ends_ms is not null and state = 2 order by ends_ms limit 1"
)
LEASE_ENDS: Final = "select due_ms from jobs where queue = ? and state = 1 order by due_ms limit 1"


class Looking(Tending):
    """Jobs as one looks at them, and what is done to them by hand."""

    def look(self, id: str) -> View:
        """Return a job; see `Queues.look`."""
        queue, job = self.job_now(id)
        return self.jobs.bodies.view(job, queue.name)

    def states(self, ids: Sequence[str]) -> list[State]:
        """Tell where jobs are; see `Queues.states`."""
        return [self._state(id) for id in ids]

    def _state(self, id: str) -> State:
        try:
            return CODES[self.job_now(id)[1].state]
        except UnknownJob:
            return State.GONE

    def cancel(self, id: str) -> View:
        """Remove a job that waits; see `Queues.cancel`."""
        queue, job = self.job_now(id)
        if job.state != WAITING:
            state = CODES[job.state].value
            raise JobStarted(f"job {id!r} is {state}; only one that waits can be cancelled")
        view = self._view(queue, job)
        self.jobs.remove(queue, [job])
        self.jobs.woken.add(queue.name)
        return view

    def _view(self, queue: Queue, job: Record) -> View:
        """Return a job, without what it says if that is damaged."""
        try:
            return self.jobs.bodies.view(job, queue.name)
        except StoreDamaged as error:
            return View(
                id_of(job.number, self.jobs.bodies.epoch(job.number)),
                queue.name,
                CODES[job.state],
                b"",
                b"",
                job.key,
                job.priority,
                job.attempt,
                0,
                job.due_ms,
                worker=job.worker,
                reason=str(error),
            )

    def browse(self, name: str, state: State, after: str, limit: int) -> JobPage:
        """Return some jobs of a state; see `Queues.browse`."""
        check_limit(limit)
        queue = self.queue_now(name)
        jobs = self._in_order(queue, state, number_of(after), limit + 1)
        page: list[View] = []
        left_bytes = CLAIM_BYTES_MAX
        for job in jobs[:limit]:
            view = self._view(queue, job)
            left_bytes -= len(view.data) + len(view.headers)
            if page and left_bytes < 0:
                break
            page.append(view)
        return JobPage(page, page[-1].id if len(page) < len(jobs) else "")

    def _in_order(self, queue: Queue, told: State, after: int, limit: int) -> list[Record]:
        state = CODES.index(told) if told in CODES else GONE
        count = (queue.waiting, queue.leased, queue.dead, queue.done, 0)[state]
        if not count:
            return []
        # The plus keeps SQLite from an index of another order, and from reading the table for few.
        order = "+number" if count <= SORTED_JOBS_MAX else "number"
        if state > LEASED:
            order = "number"
        condition = f"queue = ? and {INDEXED[state]} and number > ? order by {order} limit ?"
        return self.jobs.select(condition, (queue.id, after, limit))

    def _selected(self, queue: Queue, state: State, ids: Sequence[str] | None, limit: int) -> list[Record]:
        if ids is None:
            return self._in_order(queue, state, 0, limit)
        found = {number: self.jobs.find(number) for number in sorted({number_of(id) for id in ids})}
        return [
            job
            for number, job in found.items()
            if job
            and (job.queue, CODES[job.state]) == (queue.id, state)
            and self.jobs.bodies.id(number) in ids
        ]

    def redrive(
        self, name: str, ids: Sequence[str] | None, limit: int, data: bytes | None, audit: Entry | None
    ) -> int:
        """Let dead jobs wait again; see `Queues.redrive`."""
        check_selection(ids, limit)
        if data is not None:
            check_edit(ids, data, self.jobs.options.message_bytes_max)
        queue = self.queue_now(name)
        dead = self._selected(queue, State.DEAD, ids, limit)
        if audit and dead:
            self.jobs.log.admit(audit)
        for job in dead:
            self._begin_anew(queue, job, data)
        if dead:
            self.jobs.woken.add(name)
        return len(dead)

    def _begin_anew(self, queue: Queue, job: Record, data: bytes | None) -> None:
        bodies, log = self.jobs.bodies, self.jobs.log
        if data is not None:
            bodies.edit(job, data)
        bodies.forget(array([job.number]))
        log.seq += 1
        job.place, job.first_ms = log.seq, self.now_ms
        job.attempt = job.strikes = 0
        job.is_alone = False
        job.worker = ""
        if job.is_lined:
            self.jobs.leave_line(queue, job)
        self.jobs.move(queue, job, WAITING, due_ms=self.now_ms, ends_ms=self.expires_at_ms(job))

    def purge(
        self, name: str, state: State, ids: Sequence[str] | None, limit: int, audit: Entry | None
    ) -> int:
        """Remove jobs; see `Queues.purge`."""
        check_purge(state)
        check_selection(ids, limit)
        queue = self.queue_now(name)
        gone = self._selected(queue, state, ids, limit)
        if audit and gone:
            self.jobs.log.admit(audit)
        self.jobs.remove(queue, gone)
        if gone:
            self.jobs.woken.add(name)
        return len(gone)

    def next_due_ms(self, name: str) -> int | None:
        """Tell when something changes by itself; see `Queues.next_due_ms`."""
        queue = self.queue_now(name)
        if queue.is_paused:
            return None
        # As long as nobody looks `turn_ms` stays where it was, also when the job that is due then has gone.
        times = [queue.turn_ms] if queue.delayed else []
        queries = [LEASE_ENDS] if queue.leased else []
        if queue.options.on_dead is OnDead.STOP and queue.options.dead_ms:
            queries.append(DROPS)
        found = [first(self.jobs.cursor.execute(query, (queue.id,))) for query in queries]
        return min([*times, *(row[0] for row in found if row)], default=None)

    def queues(self) -> dict[str, QueueInfo]:
        """Tell of each queue how many jobs are where."""
        told = {}
        for name in sorted(self.jobs.queues):
            queue = self.queue_now(name)
            told[name] = QueueInfo(queue.options, queue.is_paused, self._counted(queue))
        return told

    def _counted(self, queue: Queue) -> Counted:
        ready = queue.waiting - queue.delayed
        oldest_ms = FOREVER_MS if ready else self.now_ms
        for rank in queue.ranks if ready else ():
            row = first(self.jobs.cursor.execute(OLDEST, (queue.id, rank)))
            oldest_ms = min(oldest_ms, row[0]) if row else oldest_ms
        return Counted(
            ready=ready,
            delayed=queue.delayed,
            leased=queue.leased,
            dead=queue.dead,
            done=queue.done,
            oldest_ms=self.now_ms - oldest_ms,
            enqueued=queue.enqueued,
            claimed=queue.claimed,
            acked=queue.acked,
            failed=queue.failed,
            died=queue.died,
        )
