"""The use cases of queues: what each verb does, whoever calls it. Requests and answers are the wire's."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from hashlib import blake2b
from typing import Any, Final, TypeVar

from msgspec.structs import replace

from gapless.broker.audit import record
from gapless.broker.claiming import Claiming
from gapless.broker.declaring import Declaring
from gapless.broker.emitting import Emitting
from gapless.broker.jobs import (
    claimed_job,
    cut_details,
    cut_reason,
    enqueued_item,
    job_of,
    job_view,
    result_of,
)
from gapless.broker.rates import COUNTERS, Rates
from gapless.broker.results import Results
from gapless.broker.rules import QueueRule
from gapless.broker.schedules import Scheduler
from gapless.core.errors import BadRequest, GaplessError, UnknownJob, UnknownQueue
from gapless.core.jobs import (
    Counted,
    Deed,
    Enqueued,
    Job,
    Lease,
    QueueInfo,
    Settled,
    Settlement,
    State,
)
from gapless.core.limits import RATES_STEP_MS
from gapless.core.stream import Entry, Outcome
from gapless.ports import Clock, Store, Timer
from gapless.protocol import queues as wire
from gapless.protocol import schedules as recurring
from gapless.protocol.payloads import Nothing, failure_of

__all__ = ["LIBRARY", "Queueing"]

SETTLES: Final = (Deed.ACK, Deed.RETRY, Deed.RELEASE, Deed.BURY)
LIBRARY: Final = "library"  # who calls in process, if nothing else is said
NOW: Final = ("ready", "delayed", "leased", "dead", "done", "oldest_ms")
T = TypeVar("T")

log: Final = logging.getLogger("gapless.queues")

Outcomes = list[list[Enqueued] | GaplessError]
Settlings = list[Settled | GaplessError]


class Queueing:
    """One node's queues over one store. `who` is whoever calls, for the audit stream."""

    def __init__(
        self, store: Store, clock: Clock, emitting: Emitting, rules: Sequence[QueueRule] = ()
    ) -> None:
        self._store = store
        self._clock = clock
        self._emitting = emitting
        self.declaring = Declaring(store, clock, rules)
        self._claiming = Claiming(store, clock, self.declaring.by_worker)
        self._results = Results(store, clock)
        self._scheduler = Scheduler(store, clock, self.declaring.check, self._record)
        self._rates = Rates()
        self._timer: Timer | None = None
        self._sampling: asyncio.Task[None] | None = None
        self._following: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._stopped = False

    async def start(self) -> None:
        """Make the queues that rules name; begin to fire what recurs, and to measure rates."""
        await self.declaring.apply(self.declaring.rules)
        self._scheduler.start()
        await self._sample()

    def follow(self, rules: Sequence[QueueRule]) -> None:
        """Go by other rules from now on; the queues that they name are made soon."""
        self._following = self._run(self._apply(rules))

    async def _apply(self, rules: Sequence[QueueRule]) -> None:
        try:
            await self.declaring.apply(rules)
        except GaplessError as error:
            log.error("rules for queues could not be applied: %s", error)

    def stop_waiting(self) -> None:
        """Answer all that wait that there is nothing: the node stops."""
        self._claiming.stop_waiting()
        self._results.stop()

    async def stop(self) -> None:
        """End what runs by itself; what is being settled is finished."""
        self._stopped = True
        self.stop_waiting()
        if self._timer is not None:
            self._timer.cancel()
        await self._scheduler.stop()
        await self._claiming.finish()
        await self._results.finish()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # Queues -------------------------------------------------------------------------------

    async def declare(self, request: wire.DeclareQueueRequest, who: str = LIBRARY) -> wire.DeclareQueueAnswer:
        """See `DeclareQueueRequest`."""
        declared = await self.declaring.declare(request.queue, request.options)
        if declared.fresh or declared.changed:
            await self._record("declare", who, request.queue, fresh=declared.fresh, **declared.changed)
        return wire.DeclareQueueAnswer(fresh=declared.fresh, options=declared.options)

    async def drop(self, request: wire.DropQueueRequest, who: str = LIBRARY) -> wire.DropQueueAnswer:
        """See `DropQueueRequest`."""
        jobs = await self._store.drop(request.queue)
        self.declaring.forget()
        await self._record("drop", who, request.queue, jobs=jobs)
        return wire.DropQueueAnswer(jobs=jobs)

    async def list(self, request: wire.ListQueuesRequest, who: str = LIBRARY) -> wire.ListQueuesAnswer:
        """See `ListQueuesRequest`."""
        queues = await self.declaring.queues()
        names = [name for name in sorted(queues) if name > request.after]
        shown, more = names[: request.limit], len(names) > request.limit
        return wire.ListQueuesAnswer(
            queues=[
                wire.QueueStatus(queue=name, options=queues[name].options, **_now(queues[name]))
                for name in shown
            ],
            next=shown[-1] if more else "",
        )

    async def stats(self, request: wire.StatsRequest, who: str = LIBRARY) -> wire.StatsAnswer:
        """See `StatsRequest`."""
        queues = await self.declaring.queues()
        if request.queue and request.queue not in queues:
            raise UnknownQueue(f"there is no queue {request.queue!r}")
        names = [request.queue] if request.queue else sorted(queues)
        return wire.StatsAnswer(queues=[self._stats(name, queues[name]) for name in names])

    def _stats(self, name: str, info: QueueInfo) -> wire.QueueStats:
        rates = self._rates.per_second(self._clock.now_ms(), name, info.counted)
        counters = {counter: getattr(info.counted, counter) for counter in COUNTERS}
        told: dict[str, Any] = {f"{counter}_per_second": rate for counter, rate in rates.items()}
        told["claimers"] = self._claiming.waiting(name)
        return wire.QueueStats(queue=name, **_now(info), **counters, **told)

    async def _sample(self) -> None:
        try:
            queues = await self.declaring.queues()
            counted: dict[str, Counted] = {name: info.counted for name, info in queues.items()}
            self._rates.sample(self._clock.now_ms(), counted)
        except GaplessError as error:
            log.warning("queues could not be counted: %s", error)
        if not self._stopped:
            self._timer = self._clock.after(RATES_STEP_MS, self._sample_soon)

    def _sample_soon(self) -> None:
        self._sampling = self._run(self._sample())

    async def pause(self, request: wire.PauseRequest, who: str = LIBRARY) -> Nothing:
        """See `PauseRequest`."""
        audit = record("pause", who, request.queue)
        await self._store.pause(request.queue, paused=True, audit=audit)
        return Nothing()

    async def resume(self, request: wire.ResumeRequest, who: str = LIBRARY) -> Nothing:
        """See `ResumeRequest`."""
        audit = record("resume", who, request.queue)
        await self._store.pause(request.queue, paused=False, audit=audit)
        return Nothing()

    # Enqueue ------------------------------------------------------------------------------

    async def enqueue(self, request: wire.EnqueueRequest, who: str = LIBRARY) -> wire.EnqueueAnswer:
        """See `EnqueueRequest`."""
        asked = _request_of(who, request.request)
        if request.atomic:
            outcome = (await self._enqueue([[job_of(new) for new in request.jobs]], asked))[0]
            if isinstance(outcome, GaplessError):
                raise outcome
            return wire.EnqueueAnswer(jobs=[enqueued_item(each) for each in outcome])
        items: list[wire.EnqueuedItem | None] = [None] * len(request.jobs)
        batches, places = [], []
        for index, new in enumerate(request.jobs):
            try:
                batches.append([job_of(new)])
                places.append(index)
            except BadRequest as error:
                items[index] = enqueued_item(error)
        outcomes = await self._enqueue(batches, asked) if batches else []
        for index, each in zip(places, outcomes, strict=True):
            items[index] = enqueued_item(each if isinstance(each, GaplessError) else each[0])
        return wire.EnqueueAnswer(jobs=[item for item in items if item is not None])

    async def _enqueue(self, batches: Sequence[Sequence[Job]], request: str) -> Outcomes:
        """Enqueue; what fails because its queue is not there is tried once more if a rule makes it."""
        outcomes = await self._store.enqueue(batches, request=request)
        again = [index for index, each in enumerate(outcomes) if isinstance(each, UnknownQueue)]
        if not again:
            return outcomes
        for queue in {job.queue for index in again for job in batches[index]}:
            await self.declaring.make(queue)
        if request:  # what was taken is answered as before
            return await self._store.enqueue(batches, request=request)
        retried = await self._store.enqueue([batches[index] for index in again])
        for index, outcome in zip(again, retried, strict=True):
            outcomes[index] = outcome
        return outcomes

    # Claim and settle ---------------------------------------------------------------------

    async def claim(
        self, request: wire.ClaimRequest, who: str = LIBRARY, is_there: Callable[[], bool] = lambda: True
    ) -> wire.ClaimAnswer:
        """See `ClaimRequest`. `is_there` tells whether the answer would be heard."""
        request = replace(request, worker=request.worker or who, request=_request_of(who, request.request))
        try:
            jobs = await self._claiming.claim(request, is_there)
        except UnknownQueue:
            await self.declaring.check(request.queue)
            jobs = await self._claiming.claim(request, is_there)
        return wire.ClaimAnswer(jobs=[claimed_job(job) for job in jobs])

    async def extend(self, request: wire.ExtendRequest, who: str = LIBRARY) -> wire.ExtendAnswer:
        """See `ExtendRequest`."""
        leases = [Lease(lease.id, lease.fence) for lease in request.leases]
        outcomes = await self._store.extend(leases, request.lease_ms)
        return wire.ExtendAnswer(
            leases=[
                wire.ExtendedItem(error=failure_of(each))
                if isinstance(each, GaplessError)
                else wire.ExtendedItem(result=wire.ExtendedLease(lease_until_ms=each))
                for each in outcomes
            ]
        )

    async def settle(self, request: wire.SettleRequest, who: str = LIBRARY) -> wire.SettleAnswer:
        """See `SettleRequest`. What is emitted is told to its followers whether or not the caller waits."""
        if any(new.emit for new in request.settlements):
            return await asyncio.shield(self._run(self._settle(request)))
        return await self._settle(request)

    async def _settle(self, request: wire.SettleRequest) -> wire.SettleAnswer:
        items: list[wire.SettledItem | None] = [None] * len(request.settlements)
        settlements, places = [], []
        for index, new in enumerate(request.settlements):
            try:
                settlement = _settlement(new)
                if new.emit:
                    settlement.emit = await self._emitting.taken(new.emit)
                settlements.append(settlement)
                places.append(index)
            except GaplessError as error:
                items[index] = wire.SettledItem(error=failure_of(error))
        outcomes = await self._settle_all(settlements) if settlements else []
        for index, settlement, outcome in zip(places, settlements, outcomes, strict=True):
            items[index] = self._settled(settlement, outcome)
        return wire.SettleAnswer(settlements=[item for item in items if item is not None])

    async def _settle_all(self, settlements: Sequence[Settlement]) -> Settlings:
        """Settle; what fails for want of a queue to emit to is tried once more if a rule makes that queue."""
        outcomes = await self._store.settle(settlements)
        again = [index for index, each in enumerate(outcomes) if isinstance(each, UnknownQueue)]
        if not again:
            return outcomes
        emits = (emit for index in again for emit in settlements[index].emit)
        for queue in {emit.queue for emit in emits if isinstance(emit, Job)}:
            await self.declaring.make(queue)
        for index, outcome in zip(
            again, await self._store.settle([settlements[i] for i in again]), strict=True
        ):
            outcomes[index] = outcome
        return outcomes

    def _settled(self, settlement: Settlement, outcome: Settled | GaplessError) -> wire.SettledItem:
        if isinstance(outcome, GaplessError):
            return wire.SettledItem(error=failure_of(outcome))
        self._results.ended(settlement.id)
        hand_on = self._emitting.told if outcome.again else self._emitting.landed
        emitted = hand_on(settlement.emit, outcome.emitted) if settlement.emit else ()
        return wire.SettledItem(
            result=wire.SettledJob(state=outcome.state, due_ms=outcome.due_ms, emitted=emitted)
        )

    async def result(self, request: wire.ResultRequest, who: str = LIBRARY) -> wire.ResultAnswer:
        """See `ResultRequest`."""
        view = await self._results.wait(request.id, request.wait_ms)
        return wire.ResultAnswer(
            state=view.state,
            reason=view.reason if view.state is State.DEAD else "",
            details=view.details if view.state is State.DEAD else "",
            **result_of(view),
        )

    # Look and tend ------------------------------------------------------------------------

    async def job(self, request: wire.JobRequest, who: str = LIBRARY) -> wire.JobView:
        """See `JobRequest`."""
        return job_view(await self._store.look(request.id))

    async def cancel(self, request: wire.CancelRequest, who: str = LIBRARY) -> wire.JobView:
        """See `CancelRequest`."""
        view = await self._store.cancel(request.id)
        self._results.ended(request.id)
        await self._record("cancel", who, view.queue, id=request.id)
        return job_view(view)

    async def browse(self, request: wire.BrowseRequest, who: str = LIBRARY) -> wire.BrowseAnswer:
        """See `BrowseRequest`."""
        page = await self._store.browse(
            request.queue, request.state, after=request.after, limit=request.limit
        )
        return wire.BrowseAnswer(jobs=[job_view(view) for view in page.jobs], next=page.next_id)

    async def redrive(self, request: wire.RedriveRequest, who: str = LIBRARY) -> wire.RedriveAnswer:
        """See `RedriveRequest`."""
        data = None
        if bytes(request.data) or request.b64data is not None:
            if request.ids is None or len(request.ids) != 1:
                raise BadRequest("a payload replaces that of a single job: name one in ids")
            data = request.stored()[0]
        limit = min(request.limit, request.per_second) if request.per_second else request.limit
        told = {"ids": request.ids} if request.ids is not None else {"limit": limit}
        audit = record("redrive", who, request.queue, **told, edited=data is not None)
        moved = await self._store.redrive(request.queue, request.ids, limit=limit, data=data, audit=audit)
        more = request.ids is None and await self._more(request.queue, State.DEAD)
        wait_ms = moved * 1000 // request.per_second if request.per_second and more else 0
        return wire.RedriveAnswer(jobs=moved, more=more, wait_ms=wait_ms)

    async def purge(self, request: wire.PurgeRequest, who: str = LIBRARY) -> wire.PurgeAnswer:
        """See `PurgeRequest`."""
        if request.state not in (State.WAITING, State.DEAD, State.DONE):
            raise BadRequest("only jobs that are waiting, dead or done can be purged")
        told = {"ids": request.ids} if request.ids is not None else {"limit": request.limit}
        audit = record("purge", who, request.queue, **told, state=request.state)
        gone = await self._store.purge(
            request.queue, request.state, request.ids, limit=request.limit, audit=audit
        )
        more = request.ids is None and await self._more(request.queue, request.state)
        return wire.PurgeAnswer(jobs=gone, more=more)

    async def _more(self, queue: str, state: State) -> bool:
        return bool((await self._store.browse(queue, state, limit=1)).jobs)

    async def queue_of(self, id: str) -> str:
        """Return the queue of a job, "" if there is none (any more)."""
        try:
            return (await self._store.look(id)).queue
        except UnknownJob:
            return ""

    async def scheduled_for(self, name: str) -> str:
        """Return the queue of a recurring job, "" if there is none of that name."""
        held = (await self._store.schedules())[1]
        return next((schedule.queue for schedule in held if schedule.name == name), "")

    # Recurring jobs -----------------------------------------------------------------------

    async def schedule(
        self, request: recurring.ScheduleRequest, who: str = LIBRARY
    ) -> recurring.ScheduleAnswer:
        """See `ScheduleRequest`."""
        answer = await self._scheduler.schedule(request)
        await self._record("schedule", who, request.queue, schedule=request.name)
        return answer

    async def unschedule(
        self, request: recurring.UnscheduleRequest, who: str = LIBRARY
    ) -> recurring.UnscheduleAnswer:
        """See `UnscheduleRequest`."""
        answer = await self._scheduler.unschedule(request)
        if answer.found:
            await self._record("unschedule", who, "", schedule=request.name)
        return answer

    async def schedules(
        self, request: recurring.SchedulesRequest, who: str = LIBRARY
    ) -> recurring.SchedulesAnswer:
        """See `SchedulesRequest`."""
        return await self._scheduler.schedules()

    # What runs beside a call --------------------------------------------------------------

    def _run(self, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _record(self, what: str, who: str, queue: str, **details: Any) -> None:
        """Record what was done in a call of its own, after it: it holds, whatever becomes of the record."""
        recorded: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

        def done(entries: Sequence[Entry], outcomes: Sequence[Outcome]) -> None:
            if not recorded.done():
                recorded.set_result(outcomes[0])

        try:
            self._store.append([record(what, who, queue, **details)], done)
            outcome = await recorded
            if isinstance(outcome, GaplessError):
                raise outcome
        except GaplessError as error:
            log.warning("%s of %r by %s is not in the audit stream: %s", what, queue, who, error)


def _now(info: QueueInfo) -> dict[str, Any]:
    return {
        "paused": info.paused,
        **{name: getattr(info.counted, name) for name in NOW},
    }


def _request_of(who: str, request: str) -> str:
    """Return what a caller's request id is among those of all callers."""
    return blake2b(f"{len(who)} {who} {request}".encode(), digest_size=16).hexdigest() if request else ""


def _settlement(new: wire.NewSettlement) -> Settlement:
    """Return a settlement as a store takes it, without what it emits."""
    if new.deed not in SETTLES:
        raise BadRequest("a job is settled by " + ", ".join(SETTLES))
    result = new.b64result if new.b64result is not None else bytes(new.result) or None
    reason, details = new.reason and cut_reason(new.reason), new.details and cut_details(new.details)
    return Settlement(new.id, new.fence, new.deed, new.delay_ms, result, reason, details)
