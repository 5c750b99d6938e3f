"""Which queues there are, how they behave, and what recurs in them."""

from collections.abc import Sequence
from typing import Final

from msgspec import json

from gapless.backends.sqlite.queues.enqueueing import Enqueueing
from gapless.backends.sqlite.queues.queue import DEAD, DONE, Queue
from gapless.backends.sqlite.schema import first, number, rows
from gapless.core.errors import LimitExceeded, UnknownQueue
from gapless.core.job_rules import check_options, check_queue, check_schedule
from gapless.core.jobs import Job, QueueOptions, Schedule
from gapless.core.limits import QUEUES_MAX, SCHEDULES_MAX
from gapless.core.stream import Entry

__all__ = ["Declaring"]

# Without the space that its rows took: that is used again.
DROP: Final = (
    "delete from job_bodies where number in (select number from jobs where queue = ?)",
    "delete from job_notes where number in (select number from jobs where queue = ?)",
    "delete from jobs where queue = ?",
    "delete from unique_jobs where queue = ?",
    "delete from served_keys where queue = ?",
    "delete from queues where id = ?",
)
# When what ended goes, by another rule than before.
KEEP: Final = (
    "update jobs set ends_ms = case when ?3 then"
    " (select ended_ms from job_notes n where n.number = jobs.number) + ?3 end"
    " where queue = ?1 and state > 1 and state = ?2"
)


class Declaring(Enqueueing):
    """Queues and schedules."""

    def declare(self, name: str, options: QueueOptions) -> bool:
        """Make or change a queue; see `Queues.declare`."""
        check_queue(name)
        check_options(options)
        fresh = name not in self.jobs.queues
        if fresh:
            if len(self.jobs.queues) >= QUEUES_MAX:
                raise LimitExceeded(f"there are {QUEUES_MAX} queues")
            self._make(name, options)
        else:
            self._change(self.queue_now(name), options)
        self.jobs.woken.add(name)
        return fresh

    def _make(self, name: str, options: QueueOptions) -> None:
        cursor = self.jobs.cursor
        id = number(cursor.execute("select coalesce(max(id), 0) + 1 from queues"))
        cursor.execute("insert into queues values (?, ?, ?, 0)", (id, name, json.encode(options)))
        self.jobs.add_queue(Queue(id, name, options))

    def _change(self, queue: Queue, options: QueueOptions) -> None:
        before, queue.options = queue.options, options
        if before == options:
            return
        update = "update queues set options = ? where id = ?"
        self.jobs.cursor.execute(update, (json.encode(options), queue.id))
        if (before.ordered, before.fair, before.on_dead) != (options.ordered, options.fair, options.on_dead):
            self.jobs.relay(queue)
        if not options.fair:
            queue.served.clear()
            self.jobs.cursor.execute("delete from served_keys where queue = ?", (queue.id,))
        if (before.dead_ms, before.result_ms) != (options.dead_ms, options.result_ms):
            self.jobs.cursor.execute(KEEP, (queue.id, DEAD, options.dead_ms))
            # Without a time results are not kept, dead letters are for good.
            self.jobs.cursor.execute(KEEP, (queue.id, DONE, options.result_ms or -1))
            self.jobs.look_ahead(queue)
            self.tend(queue)

    def drop(self, name: str) -> int:
        """Remove a queue; see `Queues.drop`."""
        queue = self.queue_now(name)
        for statement in DROP:
            self.jobs.cursor.execute(statement, (queue.id,))
        self.jobs.cursor.execute("delete from schedules where queue = ?", (name,))
        self.jobs.drop_queue(queue)
        return queue.waiting + queue.leased + queue.dead + queue.done

    def pause(self, name: str, audit: Entry | None, *, paused: bool) -> None:
        """Let a queue give no jobs, or give them again."""
        queue = self.queue_now(name)
        if audit:
            self.jobs.log.admit(audit)
        queue.is_paused = paused
        self.jobs.cursor.execute("update queues set is_paused = ? where id = ?", (paused, queue.id))
        if not paused:
            self.jobs.woken.add(name)

    # Schedules

    def schedule(self, schedule: Schedule) -> None:
        """Keep or change a recurring job; see `Queues.schedule`."""
        check_schedule(schedule)
        cursor = self.jobs.cursor
        if schedule.queue not in self.jobs.queues:
            raise UnknownQueue(f"there is no queue {schedule.queue!r}; declare it first")
        held = self._scheduled(schedule.name)
        if held is None and number(cursor.execute("select count(*) from schedules")) >= SCHEDULES_MAX:
            raise LimitExceeded(f"there are {SCHEDULES_MAX} schedules")
        last_ms = max(schedule.last_ms, held.last_ms if held else 0)
        row = schedule.name, schedule.queue, schedule.spec, last_ms
        cursor.execute("insert or replace into schedules values (?, ?, ?, ?)", row)

    def _scheduled(self, name: str) -> Schedule | None:
        row = first(self.jobs.cursor.execute("select * from schedules where name = ?", (name,)))
        return Schedule(*row) if row else None

    def unschedule(self, name: str) -> bool:
        """Forget a recurring job."""
        there = self._scheduled(name) is not None
        self.jobs.cursor.execute("delete from schedules where name = ?", (name,))
        return there

    def schedules(self) -> tuple[int, list[Schedule]]:
        """Return the store's time, and all recurring jobs."""
        found = rows(self.jobs.cursor.execute("select * from schedules order by name"))
        return self.now_ms, [Schedule(*row) for row in found]

    def fire(self, name: str, spec: bytes, tick_ms: int, jobs: Sequence[Job]) -> bool:
        """Enqueue what is due at a tick; see `Queues.fire`."""
        schedule = self._scheduled(name)
        if schedule is None or schedule.spec != spec or not schedule.last_ms < tick_ms <= self.now_ms:
            return False
        self.enqueue_now(jobs)
        self.jobs.cursor.execute("update schedules set last_ms = ? where name = ?", (tick_ms, name))
        return True
