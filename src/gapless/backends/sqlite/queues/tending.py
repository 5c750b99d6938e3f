"""What happens to jobs by itself: whoever looks at a queue lets it happen first, so nobody falls behind."""

from typing import Final

from gapless.backends.sqlite.queues.jobs import Jobs
from gapless.backends.sqlite.queues.queue import DEAD, WAITING, Queue, Record
from gapless.core.errors import UnknownJob
from gapless.core.job_rules import EXPIRED, LAPSED, after_failure, expires_at_ms, number_of

__all__ = ["Tending"]

# What falls due at once is let happen in parts, in which rows are read together.
TENDED_ROWS: Final = 1_000
LAPSED_ROWS: Final = f"queue = ? and state = 1 and due_ms <= ? order by due_ms, number limit {TENDED_ROWS}"
ENDED_ROWS: Final = f"queue = ? and ends_ms <= ? order by ends_ms, number limit {TENDED_ROWS}"


class Tending:
    """Queues as they stand now. Everything happens inside the caller's transaction."""

    def __init__(self, jobs: Jobs) -> None:
        self.jobs = jobs

    @property
    def now_ms(self) -> int:
        """The time of this transaction."""
        return self.jobs.log.time_ms

    def queue_now(self, name: str) -> Queue:
        """Return a queue, after what was to happen in it by now.

        Raises:
            UnknownQueue: there is no such queue.
        """
        queue = self.jobs.queue(name)
        self.tend(queue)
        return queue

    def job_now(self, id: str) -> tuple[Queue, Record]:
        """Return a job, and its queue.

        Raises:
            UnknownJob: there is none (any more).
        """
        number = number_of(id)
        if job := self.jobs.find(number):
            queue = self.jobs.touch(self.jobs.by_id[job.queue])
            if self.tend(queue):
                job = self.jobs.find(number)
            if job and self.jobs.id(number) == id:
                return queue, job
        raise UnknownJob(f"there is no job {id!r}, or not any more")

    def tend(self, queue: Queue) -> bool:
        """Let happen what was to happen by now, in its order; tell whether that was anything."""
        now_ms = self.now_ms
        is_due = queue.wake_ms <= now_ms
        while queue.wake_ms <= now_ms:
            for job in self.jobs.select(LAPSED_ROWS, (queue.id, now_ms)):
                self._lapse(queue, job)
            ended = self.jobs.select(ENDED_ROWS, (queue.id, now_ms))
            self.jobs.remove(queue, [job for job in ended if job.state != WAITING])
            for job in ended:
                if job.state == WAITING:
                    assert job.ends_ms is not None
                    self.die(queue, job, job.ends_ms, EXPIRED, "", fails=False)
            self.jobs.look_ahead(queue)
        self.jobs.see(queue, now_ms)
        return is_due

    def _lapse(self, queue: Queue, job: Record) -> None:
        job.strikes += job.is_alone
        job.is_alone = True
        self.fail(queue, job, job.due_ms, LAPSED, "")

    def expires_at_ms(self, job: Record) -> int | None:
        """Return when a job that has not started expires, if it does."""
        return expires_at_ms(job.first_ms, self.jobs.bodies.expires_ms(job.number), self.now_ms)

    def fail(
        self, queue: Queue, job: Record, at_ms: int, reason: str, details: str, delay_ms: int | None = None
    ) -> None:
        """Let a job follow by the queue's policy, or after a delay; or die, if its attempts are used up."""
        chance = self.jobs.options.chance()
        by_policy_ms = after_failure(queue.options.retry, job.attempt, job.strikes, chance)
        if by_policy_ms is None:
            self.die(queue, job, at_ms, reason, details)
            return
        queue.failed += 1
        self.jobs.bodies.note(job.number, 0, reason, details)
        delay_ms = by_policy_ms if delay_ms is None else delay_ms
        self.jobs.move(queue, job, WAITING, due_ms=at_ms + delay_ms)

    def die(
        self, queue: Queue, job: Record, at_ms: int, reason: str, details: str, *, fails: bool = True
    ) -> None:
        """Make a job a dead letter."""
        queue.died += 1
        queue.failed += fails
        self.jobs.bodies.note(job.number, at_ms, reason, details)
        kept_ms = queue.options.dead_ms
        self.jobs.move(queue, job, DEAD, ends_ms=at_ms + kept_ms if kept_ms else None)
