"""The model: queues in memory."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from heapq import heappush
from itertools import chain

from msgspec import structs

from gapless.backends import each
from gapless.backends.memory.emitting import Emitting
from gapless.backends.memory.jobs import KeptJob, KeptQueue
from gapless.backends.memory.lines import claimable, join, line_up, next_due_ms
from gapless.core.errors import GaplessError, JobStarted, LeaseLost, LimitExceeded, UnknownJob, UnknownQueue
from gapless.core.fences import fence_number
from gapless.core.job_rules import (
    check_batch,
    check_claim,
    check_edit,
    check_ids,
    check_lease,
    check_limit,
    check_options,
    check_purge,
    check_queue,
    check_repeat,
    check_request,
    check_schedule,
    check_selection,
    check_settlement,
    cut_details,
    cut_reason,
    number_of,
)
from gapless.core.jobs import (
    Claimed,
    Counted,
    Deed,
    Enqueued,
    Job,
    JobPage,
    Lease,
    OnDead,
    QueueInfo,
    QueueOptions,
    Schedule,
    Settled,
    Settlement,
    State,
    View,
)
from gapless.core.limits import CLAIM_BYTES_MAX, CLAIM_JOBS_MAX, QUEUES_MAX, SCHEDULES_MAX, SETTLED_MS
from gapless.core.stream import Entry, Stored
from gapless.ports import Queues

__all__ = ["MemoryQueues"]


class MemoryQueues(Emitting, Queues):
    """Queues in memory."""

    # Queues --------------------------------------------------------------------------------------

    async def declare(self, queue: str, options: QueueOptions) -> bool:
        now_ms = await self._begin()
        check_queue(queue)
        check_options(options)
        queues = self._kept.jobs.queues
        if fresh := queue not in queues:
            if len(queues) >= QUEUES_MAX:
                raise LimitExceeded(f"there are {QUEUES_MAX} queues")
            queues[queue] = KeptQueue(options)
        declared = self._queue_now(queue, now_ms)
        declared.options = options
        line_up(declared)
        if not options.fair:
            declared.served.clear()
        self._ring(queue)
        return fresh

    async def drop(self, queue: str) -> int:
        now_ms = await self._begin()
        dropped = list(_all(self._queue_now(queue, now_ms)))
        kept = self._kept.jobs
        for job in dropped:
            self._free(job)
            del kept.jobs[job.number]
        del kept.queues[queue]
        self._counts.pop(queue, None)
        kept.schedules = {name: one for name, one in kept.schedules.items() if one.queue != queue}
        return len(dropped)

    async def queues(self) -> dict[str, QueueInfo]:
        now_ms = await self._begin()
        queues = {name: self._queue_now(name, now_ms) for name in sorted(self._kept.jobs.queues)}
        return {
            name: QueueInfo(queue.options, queue.paused, self._counted(name, queue, now_ms))
            for name, queue in queues.items()
        }

    def _counted(self, name: str, queue: KeptQueue, now_ms: int) -> Counted:
        due_ms = [job.due_ms for job in queue.jobs[State.WAITING].values()]
        ready_ms = [due for due in due_ms if due <= now_ms]
        return Counted(
            ready=len(ready_ms),
            delayed=len(due_ms) - len(ready_ms),
            leased=len(queue.jobs[State.LEASED]),
            dead=len(queue.jobs[State.DEAD]),
            done=len(queue.jobs[State.DONE]),
            oldest_ms=now_ms - min(ready_ms, default=now_ms),
            **self._counts.get(name, Counter()),
        )

    async def pause(self, queue: str, *, paused: bool, audit: Entry | None = None) -> None:
        now_ms = await self._begin()
        found = self._queue_now(queue, now_ms)
        self.emit([audit] if audit else [], now_ms)
        found.paused = paused
        if not paused:
            self._ring(queue)

    def hear_ready(self, heard: Callable[[str], object]) -> None:
        self._heard.append(heard)

    async def next_due_ms(self, queue: str) -> int | None:
        now_ms = await self._begin()
        found = self._queue_now(queue, now_ms)
        stops = found.options.on_dead is OnDead.STOP and found.options.dead_ms
        waiting_ms = next_due_ms(found, now_ms)
        due = chain(
            () if waiting_ms is None else (waiting_ms,),
            (job.due_ms for job in found.jobs[State.LEASED].values()),
            (job.ended_ms + found.options.dead_ms for job in found.jobs[State.DEAD].values() if stops),
        )
        return None if found.paused else min(due, default=None)

    # Enqueue and claim ---------------------------------------------------------------------------

    async def enqueue(
        self, batches: Sequence[Sequence[Job]], *, request: str = ""
    ) -> list[list[Enqueued] | GaplessError]:
        now_ms = await self._begin()
        check_request(request)
        requests = self._kept.jobs.requests
        while requests and requests[oldest := next(iter(requests))][1] + SETTLED_MS <= now_ms:
            del requests[oldest]
        before, _ = requests.get(request, ([None] * len(batches), 0))
        check_repeat(before, batches)
        told = each(
            list(zip(before, batches, strict=True)), lambda one: one[0] or self._enqueue_all(one[1], now_ms)
        )
        if request:
            requests.pop(request, None)
            requests[request] = [each if isinstance(each, list) else None for each in told], now_ms
        return told

    def _enqueue_all(self, batch: Sequence[Job], now_ms: int) -> list[Enqueued]:
        check_batch(batch, self._bytes_max)
        return [one for one in self.emit(batch, now_ms) if isinstance(one, Enqueued)]

    async def claim(
        self, queue: str, *, worker: str, limit: int, lease_ms: int = 0, request: str = ""
    ) -> list[Claimed]:
        now_ms = await self._begin()
        check_claim(worker, limit, lease_ms, request)
        found = self._queue_now(queue, now_ms)
        if request and (again := self._claimed_before(queue, worker, request, now_ms)):
            return again
        chosen = [] if found.paused else self._choose(found, worker, limit, now_ms)
        for job in chosen:
            self._lease(found, job, worker, now_ms + (lease_ms or found.options.lease_ms))
        if request and chosen:
            claims = self._kept.jobs.claims
            claims.pop((queue, worker, request), None)
            claims[queue, worker, request] = [Lease(job.id, job.fence) for job in chosen], now_ms
        return [_claimed(job) for job in chosen]

    def _claimed_before(self, queue: str, worker: str, request: str, now_ms: int) -> list[Claimed]:
        claims, jobs = self._kept.jobs.claims, self._kept.jobs.jobs
        while claims and claims[oldest := next(iter(claims))][1] + SETTLED_MS <= now_ms:
            del claims[oldest]
        leases, _ = claims.get((queue, worker, request), ([], 0))
        held = ((jobs.get(number_of(lease.id)), lease) for lease in leases)
        return [
            structs.replace(_claimed(job), again=True)
            for job, lease in held
            if job is not None and job.fence == lease.fence
        ]

    def _choose(self, queue: KeptQueue, worker: str, limit: int, now_ms: int) -> list[KeptJob]:
        options, leased = queue.options, queue.jobs[State.LEASED].values()
        limit = min(limit, CLAIM_JOBS_MAX)
        if options.in_flight_max:
            limit = min(limit, options.in_flight_max - len(leased))
        if options.in_flight_per_worker_max:
            mine = sum(job.worker == worker for job in leased)
            limit = min(limit, options.in_flight_per_worker_max - mine)
        chosen: list[KeptJob] = []
        left_bytes = CLAIM_BYTES_MAX
        for job in self._ranked(queue, now_ms, limit):
            left_bytes -= _weight(job)
            if len(chosen) >= limit or (chosen and (job.alone or left_bytes < 0)):
                break
            chosen.append(job)
            if job.alone:
                break
        return chosen

    def _ranked(self, queue: KeptQueue, now_ms: int, limit: int) -> list[KeptJob]:
        if not queue.options.fair:
            return claimable(queue, now_ms, limit)
        left = claimable(queue, now_ms, len(queue.jobs[State.WAITING]))
        in_flight = Counter(job.job.key for job in queue.jobs[State.LEASED].values())
        served, last = dict(queue.served), self._kept.fences.last
        ranked: list[KeptJob] = []
        while left and len(ranked) < limit:
            job = min(left, key=lambda job: (in_flight[job.job.key], served.get(job.job.key, 0)))
            left.remove(job)
            in_flight[job.job.key] += 1
            served[job.job.key] = last = last + 1
            ranked.append(job)
        return ranked

    def _lease(self, queue: KeptQueue, job: KeptJob, worker: str, until_ms: int) -> None:
        self._move(job, Deed.CLAIM, State.LEASED)
        self._count(job, "claimed")
        job.fence = self._kept.fences.next()
        job.worker = worker
        job.attempt += 1
        job.expires_at_ms = 0
        if queue.options.fair:
            queue.served[job.job.key] = fence_number(job.fence)
        self._last_until(queue, job, until_ms)

    def _last_until(self, queue: KeptQueue, job: KeptJob, until_ms: int) -> None:
        job.due_ms = until_ms
        heappush(queue.wakes, (until_ms, job.number))

    # Extend and settle ---------------------------------------------------------------------------

    async def extend(self, leases: Sequence[Lease], lease_ms: int) -> list[int | GaplessError]:
        now_ms = await self._begin()
        check_lease(lease_ms)
        return each(leases, lambda lease: self._extend(lease, now_ms, lease_ms))

    def _extend(self, lease: Lease, now_ms: int, lease_ms: int) -> int:
        job = self._leased(lease.id, lease.fence, now_ms)
        self._last_until(self._kept.jobs.queues[job.job.queue], job, now_ms + lease_ms)
        return job.due_ms

    def _leased(self, id: str, fence: str, now_ms: int) -> KeptJob:
        try:
            job = self._job_now(id, now_ms)
        except UnknownJob as error:
            raise LeaseLost(str(error)) from None
        if job.state is not State.LEASED or job.fence != fence:
            raise LeaseLost(f"the lease {fence!r} of job {id!r} has ended")
        return job

    async def settle(self, settlements: Sequence[Settlement]) -> list[Settled | GaplessError]:
        now_ms = await self._begin()
        return each(settlements, lambda settlement: self._settle(settlement, now_ms))

    def _settle(self, asked: Settlement, now_ms: int) -> Settled:
        check_settlement(asked, self._bytes_max)
        settled = self._kept.jobs.settled
        while settled and settled[oldest := next(iter(settled))][3] + SETTLED_MS <= now_ms:
            del settled[oldest]
        if asked.fence in settled and settled[asked.fence][:2] == (asked.id, asked.deed):
            return structs.replace(settled[asked.fence][2], again=True)
        job = self._leased(asked.id, asked.fence, now_ms)
        emitted = self._emit_of(job, asked, now_ms)
        self._carry_out(job, asked, now_ms)
        due_ms = job.due_ms if job.state is State.WAITING else 0
        answer = Settled(job.state, due_ms, emitted)
        settled[asked.fence] = asked.id, asked.deed, answer, now_ms
        self._ring(job.job.queue)
        return answer

    def _emit_of(self, job: KeptJob, asked: Settlement, now_ms: int) -> tuple[Stored | Enqueued, ...]:
        """Emit; what ends the job has freed its unique name by then."""
        uniques, name = self._kept.jobs.uniques, (job.job.queue, job.job.unique or "")
        held = uniques.get(name)
        if asked.deed in (Deed.ACK, Deed.BURY):
            self._free(job)
        try:
            return self.emit(asked.emit, now_ms)
        except GaplessError:
            if held is not None:
                uniques[name] = held
            raise

    def _carry_out(self, job: KeptJob, asked: Settlement, now_ms: int) -> None:
        queue = self._kept.jobs.queues[job.job.queue]
        reason, details = cut_reason(asked.reason), cut_details(asked.details)
        match asked.deed:
            case Deed.ACK:
                self._count(job, "acked")
                job.result, job.ended_ms, job.due_ms = asked.result, now_ms, 0
                self._move(job, Deed.ACK, State.DONE if queue.options.result_ms else State.GONE)
            case Deed.RETRY:
                job.strikes += 1
                job.alone = False
                self._fail(queue, job, Deed.RETRY, now_ms, reason, details, asked.delay_ms)
            case Deed.RELEASE:
                job.attempt -= 1
                job.due_ms = now_ms + (asked.delay_ms or 0)
                self._move(job, Deed.RELEASE, State.WAITING)
                if not job.attempt:
                    self._let_expire(job, now_ms)
                    self._tend(queue, now_ms)
            case Deed.BURY:
                self._die(job, Deed.BURY, now_ms, reason, details)

    # Looking and tending -------------------------------------------------------------------------

    async def cancel(self, id: str) -> View:
        job = self._job_now(id, await self._begin())
        if job.state is not State.WAITING:
            raise JobStarted(f"job {id!r} is {job.state.value}; only one that waits can be cancelled")
        view = job.view()
        self._move(job, Deed.CANCEL, State.GONE)
        self._ring(view.queue)
        return view

    async def look(self, id: str) -> View:
        return self._job_now(id, await self._begin()).view()

    async def states(self, ids: Sequence[str]) -> list[State]:
        now_ms = await self._begin()
        check_ids(ids)
        return [self._state_now(id, now_ms) for id in ids]

    def _state_now(self, id: str, now_ms: int) -> State:
        try:
            return self._job_now(id, now_ms).state
        except UnknownJob:
            return State.GONE

    async def browse(self, queue: str, state: State, *, after: str = "", limit: int) -> JobPage:
        now_ms = await self._begin()
        check_limit(limit)
        jobs = _in_order(self._queue_now(queue, now_ms), state)
        follow = [job for job in jobs if job.number > number_of(after)]
        page: list[KeptJob] = []
        left_bytes = CLAIM_BYTES_MAX
        for job in follow[:limit]:
            left_bytes -= _weight(job)
            if page and left_bytes < 0:
                break
            page.append(job)
        return JobPage([job.view() for job in page], page[-1].id if len(page) < len(follow) else "")

    async def redrive(
        self,
        queue: str,
        ids: Sequence[str] | None,
        *,
        limit: int,
        data: bytes | None = None,
        audit: Entry | None = None,
    ) -> int:
        now_ms = await self._begin()
        check_selection(ids, limit)
        if data is not None:
            check_edit(ids, data, self._bytes_max)
        dead = self._select(queue, State.DEAD, ids, limit, now_ms)
        self.emit([audit] if audit and dead else [], now_ms)
        for job in dead:
            self._begin_anew(job, now_ms, data)
            self._move(job, Deed.REDRIVE, State.WAITING)
        if dead:
            self._ring(queue)
        return len(dead)

    def _begin_anew(self, job: KeptJob, now_ms: int, data: bytes | None) -> None:
        if data is not None:
            job.job = structs.replace(job.job, data=data)
        # A place of its own: with the old one it would get before whatever was claimed in this millisecond.
        self._kept.jobs.last = job.place = self._kept.jobs.last + 1
        job.first_ms = job.due_ms = now_ms
        job.attempt = job.strikes = job.ended_ms = 0
        job.alone = False
        job.worker = job.reason = job.details = ""
        self._let_expire(job, now_ms)
        join(self._kept.jobs.queues[job.job.queue], job)

    async def purge(
        self, queue: str, state: State, ids: Sequence[str] | None, *, limit: int, audit: Entry | None = None
    ) -> int:
        now_ms = await self._begin()
        check_purge(state)
        check_selection(ids, limit)
        jobs = self._select(queue, state, ids, limit, now_ms)
        self.emit([audit] if audit and jobs else [], now_ms)
        for job in jobs:
            self._move(job, Deed.PURGE, State.GONE)
        if jobs:
            self._ring(queue)
        return len(jobs)

    def _select(
        self, queue: str, state: State, ids: Sequence[str] | None, limit: int, now_ms: int
    ) -> list[KeptJob]:
        jobs = _in_order(self._queue_now(queue, now_ms), state)
        return jobs[:limit] if ids is None else [job for job in jobs if job.id in set(ids)]

    # Schedules -----------------------------------------------------------------------------------

    async def schedule(self, schedule: Schedule) -> None:
        await self._begin()
        check_schedule(schedule)
        schedules = self._kept.jobs.schedules
        if schedule.queue not in self._kept.jobs.queues:
            raise UnknownQueue(f"there is no queue {schedule.queue!r}; declare it first")
        held = schedules.get(schedule.name)
        if held is None and len(schedules) >= SCHEDULES_MAX:
            raise LimitExceeded(f"there are {SCHEDULES_MAX} schedules")
        last_ms = max(schedule.last_ms, held.last_ms if held else 0)
        schedules[schedule.name] = structs.replace(schedule, last_ms=last_ms)

    async def unschedule(self, name: str) -> bool:
        await self._begin()
        return self._kept.jobs.schedules.pop(name, None) is not None

    async def schedules(self) -> tuple[int, list[Schedule]]:
        now_ms = await self._begin()
        schedules = self._kept.jobs.schedules
        return now_ms, [schedules[name] for name in sorted(schedules)]

    async def fire(self, name: str, spec: bytes, tick_ms: int, jobs: Sequence[Job]) -> bool:
        now_ms = await self._begin()
        schedule = self._kept.jobs.schedules.get(name)
        if schedule is None or schedule.spec != spec or not schedule.last_ms < tick_ms <= now_ms:
            return False
        self._enqueue_all(jobs, now_ms)
        self._kept.jobs.schedules[name] = structs.replace(schedule, last_ms=tick_ms)
        return True

    async def _begin(self) -> int:
        """Come after what was appended before, and return the time."""
        self._check_open()
        await self._drain()
        now_ms = self._now_ms()
        self._drop_forgotten(now_ms)
        return now_ms


def _all(queue: KeptQueue) -> Iterator[KeptJob]:
    return chain.from_iterable(jobs.values() for jobs in queue.jobs.values())


def _in_order(queue: KeptQueue, state: State) -> list[KeptJob]:
    return sorted(queue.jobs[state].values(), key=lambda job: job.number)


def _weight(job: KeptJob) -> int:
    return len(job.job.data) + len(job.job.headers)


def _claimed(job: KeptJob) -> Claimed:
    return Claimed(
        id=job.id,
        queue=job.job.queue,
        data=job.job.data,
        headers=job.job.headers,
        key=job.job.key,
        priority=job.job.priority,
        attempt=job.attempt,
        fence=job.fence,
        fence_number=fence_number(job.fence),
        enqueued_ms=job.enqueued_ms,
        lease_until_ms=job.due_ms,
        alone=job.alone,
    )
