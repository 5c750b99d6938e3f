"""The model: what becomes of a job, by somebody's deed or while nobody looked."""

from collections import Counter
from collections.abc import Callable
from heapq import heappop
from itertools import takewhile

from gapless.backends import Options
from gapless.backends.memory.jobs import KeptJob, KeptQueue
from gapless.backends.memory.lines import pass_on, tidy, wait
from gapless.backends.memory.streams import Kept, MemoryStreams
from gapless.core.errors import UnknownJob, UnknownQueue
from gapless.core.job_rules import EXPIRED, LAPSED, after_failure, number_of
from gapless.core.jobs import STATES, Deed, State
from gapless.core.lineage import Fate

__all__ = ["Tending"]

LIVING = (State.WAITING, State.LEASED)


class Tending(MemoryStreams):
    """Queues as they stand now: each is brought up to date when it is looked at."""

    def __init__(self, options: Options, kept: Kept | None = None, fate: Fate = Fate.CLEAN) -> None:
        super().__init__(options, kept, fate)
        self._heard: list[Callable[[str], object]] = []
        self._counts: dict[str, Counter[str]] = {}

    def _queue_now(self, name: str, now_ms: int) -> KeptQueue:
        queue = self._kept.jobs.queues.get(name)
        if queue is None:
            raise UnknownQueue(f"there is no queue {name!r}; declare it first")
        self._tend(queue, now_ms)
        return queue

    def _job_now(self, id: str, now_ms: int) -> KeptJob:
        jobs, number = self._kept.jobs.jobs, number_of(id)
        if number in jobs:
            self._queue_now(jobs[number].job.queue, now_ms)
        job = jobs.get(number)
        if job is None or job.id != id:
            raise UnknownJob(f"there is no job {id!r}, or not any more")
        return job

    def _tend(self, queue: KeptQueue, now_ms: int) -> None:
        """Let everything happen that was to happen by now, in its order."""
        tidy(queue)
        while queue.wakes and queue.wakes[0][0] <= now_ms:
            at_ms, number = heappop(queue.wakes)
            job = self._kept.jobs.jobs.get(number)
            if job is None:
                continue
            if job.state is State.LEASED and job.due_ms == at_ms:
                job.strikes += job.alone
                job.alone = True
                self._fail(queue, job, Deed.LAPSE, at_ms)
            elif job.state is State.WAITING and job.expires_at_ms == at_ms:
                self._die(job, Deed.EXPIRE, at_ms, EXPIRED, "")
        for state, kept_ms in (
            (State.DEAD, queue.options.dead_ms),
            (State.DONE, queue.options.result_ms),
        ):
            if state is State.DEAD and not kept_ms:
                continue
            ended = queue.jobs[state].values()
            for job in list(takewhile(lambda job: job.ended_ms + kept_ms <= now_ms, ended)):  # noqa: B023
                self._move(job, Deed.PURGE, State.GONE)

    def _fail(
        self,
        queue: KeptQueue,
        job: KeptJob,
        deed: Deed,
        at_ms: int,
        reason: str = LAPSED,
        details: str = "",
        delay_ms: int | None = None,
    ) -> None:
        by_policy_ms = after_failure(queue.options.retry, job.attempt, job.strikes, self._options.chance())
        if by_policy_ms is None:
            self._die(job, deed, at_ms, reason, details)
            return
        self._count(job, "failed")
        job.reason, job.details = reason, details
        job.due_ms = at_ms + (by_policy_ms if delay_ms is None else delay_ms)
        self._move(job, deed, State.WAITING)

    def _die(self, job: KeptJob, deed: Deed, at_ms: int, reason: str, details: str) -> None:
        self._count(job, "died")
        if deed is not Deed.EXPIRE:
            self._count(job, "failed")
        job.reason, job.details, job.ended_ms, job.due_ms = reason, details, at_ms, 0
        self._move(job, deed, State.DEAD)

    def _move(self, job: KeptJob, deed: Deed, to: State) -> None:
        assert to in STATES[job.state, deed]
        queue = self._kept.jobs.queues[job.job.queue]
        del queue.jobs[job.state][job.number]
        job.state, job.fence = to, ""
        if to is State.GONE:
            del self._kept.jobs.jobs[job.number]
        else:
            queue.jobs[to][job.number] = job
        if to is State.WAITING:
            wait(queue, job)
        pass_on(queue, job.job.key)
        if to not in LIVING:
            self._free(job)
            if job.job.key in queue.served and not any(
                other.job.key == job.job.key for state in LIVING for other in queue.jobs[state].values()
            ):
                del queue.served[job.job.key]

    def _free(self, job: KeptJob) -> None:
        """Let go of the name under which there was no other job."""
        name = job.job.queue, job.job.unique or ""
        if self._kept.jobs.uniques.get(name, ("", 0))[0] == job.id:
            del self._kept.jobs.uniques[name]

    def _count(self, job: KeptJob, what: str, times: int = 1) -> None:
        self._counts.setdefault(job.job.queue, Counter())[what] += times

    def _ring(self, queue: str) -> None:
        for heard in self._heard:
            self._loop.call_soon(heard, queue)
