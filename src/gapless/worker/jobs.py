"""One queue in a worker: jobs are claimed as there is room, kept under their leases, handled, settled."""

import asyncio
import logging
from collections.abc import Iterable, Sequence
from typing import Any, Final

from gapless.client.connection import backoff_ms
from gapless.core.errors import GaplessError, LeaseLost, UnknownQueue
from gapless.core.jobs import Deed, QueueOptions
from gapless.core.limits import CLAIM_JOBS_MAX, LEASE_MIN_MS
from gapless.library.declaring import declared
from gapless.library.handlers import JobHandler
from gapless.library.outcomes import Outcome
from gapless.protocol.queues import (
    ClaimAnswer,
    ClaimedJob,
    ClaimRequest,
    ExtendAnswer,
    ExtendRequest,
    HeldLease,
    SettledItem,
)
from gapless.server.parting import pause
from gapless.worker.frames import HandleJob
from gapless.worker.runners import End, How, Task
from gapless.worker.settling import settlement
from gapless.worker.shared import Shared
from gapless.worker.standing import TICK_MS

__all__ = ["JobServing"]

WAIT_MS: Final = 5_000
EXTENDS_PER_LEASE: Final = 3
log: Final = logging.getLogger("gapless.worker")


class _Held:
    """A job from its claim to its end; its lease is extended until it is settled."""

    __slots__ = ("job", "lost", "number", "settled")

    def __init__(self, job: ClaimedJob, number: int) -> None:
        self.job = job
        self.number = number
        self.settled = False
        self.lost = False


class JobServing:
    """Serves a queue. `run` claims; what was claimed goes on when that is cancelled, until `idle`."""

    def __init__(self, handler: JobHandler[Any], shared: Shared, concurrency: int) -> None:
        self.queue = handler.name
        self._terms = handler.terms
        self._solo = handler.terms.executor == "process"
        self._concurrency = concurrency
        self._options = QueueOptions()
        self._limits = [concurrency] if concurrency else []
        self._shared = shared
        self._silence = shared.silence(f"claims from {handler.name}", WAIT_MS)
        self._held: dict[str, _Held] = {}  # by their fences
        self._freed = asyncio.Event()
        self._emptied = asyncio.Event()
        self._declared = asyncio.Event()
        self._asking: ClaimRequest | None = None
        shared.runners.freed.add(self._freed.set)

    # Claims -------------------------------------------------------------------------------

    async def run(self) -> None:
        """Claim jobs until this is cancelled."""
        failed = 0
        while True:
            room = await self._room()
            try:
                if not self._declared.is_set():
                    await self._declare()
                self._take(await self._claim(room))
                failed = 0
            except GaplessError as error:
                log.warning("nothing is claimed from %s: %s", self.queue, error)
                await pause(self._shared.clock, backoff_ms(failed, self._shared.random))
                failed += 1
                if isinstance(error, UnknownQueue):
                    self._declared.clear()  # somebody has dropped it

    async def _room(self) -> int:
        while True:
            self._freed.clear()
            room = self._free()
            if room > 0:
                return min(room, CLAIM_JOBS_MAX)
            await self._freed.wait()

    def _free(self) -> int:
        room = self._shared.runners.room(solo=self._solo)
        return min([room, *(limit - len(self._held) for limit in self._limits)])

    async def _claim(self, limit: int) -> list[ClaimedJob]:
        self._asking = ClaimRequest(
            queue=self.queue,
            worker=self._shared.name,
            limit=limit,
            wait_ms=WAIT_MS,
            lease_ms=self._options.lease_ms,
            request=self._shared.request_id(),
        )
        self._silence.asked()
        answer: ClaimAnswer = await self._shared.gl.ask("queue/claim", self._asking)
        self._silence.answered()
        self._asking = None
        return answer.jobs

    async def _declare(self) -> None:
        """Make the queue if it is not there, and hear how it behaves, whoever said so."""
        self._options = await declared(self._shared.gl.ask, self.queue, self._terms.settings)
        limits = self._concurrency, self._options.in_flight_per_worker_max
        self._limits = [limit for limit in limits if limit]
        self._declared.set()

    async def leave_none_behind(self) -> None:
        """Release what a claim that was cancelled has got: its repeat tells what that is."""
        asked, self._asking = self._asking, None
        if asked is None:
            return
        asked.wait_ms = 0
        try:
            answer: ClaimAnswer = await self._shared.gl.ask("queue/claim", asked)
        except GaplessError as error:
            log.warning("what was last claimed from %s may wait for its lease's end: %s", self.queue, error)
            return
        self._release(answer.jobs, "the worker stops")

    def _take(self, jobs: Sequence[ClaimedJob]) -> None:
        """Start what there is room for. Others of the worker's queues may have taken it meanwhile."""
        if jobs and self._shared.standing.stood_ms() > max(TICK_MS, self._options.lease_ms // 2):
            self._release(jobs, "the worker stood still, and the lease may be over")
            return
        for index, job in enumerate(jobs):
            if job.fence in self._held:
                continue
            if not job.alone and self._free() <= 0:
                self._release(jobs[index:], "the worker has no room for it")
                return
            self._start(job)

    def _start(self, job: ClaimedJob) -> None:
        held = self._held[job.fence] = _Held(job, next(self._shared.numbers))
        self._shared.counters.running += 1
        self._emptied.clear()
        task = Task(
            HandleJob(held.number, job, self._options.result_ms > 0),
            f"{job.queue} {job.id}",
            lambda end: self._ended(held, end),
            timeout_ms=self._terms.timeout_ms,
            solo=self._solo or job.alone,
        )
        self._shared.start(task)

    def _release(self, jobs: Iterable[ClaimedJob], why: str) -> None:
        for job in jobs:
            self._settle(job, Outcome(deed=Deed.RELEASE, delay_ms=0, reason=why))

    # Leases -------------------------------------------------------------------------------

    async def extend(self) -> None:
        """Extend the leases of what is held, until this is cancelled."""
        while True:
            await self._declared.wait()
            lease_ms = self._options.lease_ms
            await pause(self._shared.clock, lease_ms // EXTENDS_PER_LEASE)
            held = [each for each in self._held.values() if not (each.settled or each.lost)]
            for start in range(0, len(held), CLAIM_JOBS_MAX):
                await self._extend(held[start : start + CLAIM_JOBS_MAX], lease_ms)

    async def _extend(self, held: list[_Held], lease_ms: int) -> None:
        leases = [HeldLease(id=each.job.id, fence=each.job.fence) for each in held]
        try:
            answer: ExtendAnswer = await self._shared.gl.ask(
                "queue/extend", ExtendRequest(leases=leases, lease_ms=lease_ms)
            )
        except GaplessError as error:
            log.warning("%d leases of %s are not extended: %s", len(held), self.queue, error)
            return
        for each, item in zip(held, answer.leases, strict=True):
            if item.error is not None and not each.settled:
                self._lost(each)

    def _lost(self, held: _Held) -> None:
        """Give up a job that is another's: whatever becomes of it here is refused."""
        held.lost = True
        log.warning("%s %s: its lease has run out here, it is given up", self.queue, held.job.id)
        self._shared.runners.cancel(held.number)

    def settled_by_hand(self, fence: str) -> bool:
        """Hear that a job was settled by its handler; tell whether it is of this queue."""
        held = self._held.get(fence)
        if held is None:
            return False
        held.settled = True
        return True

    # Ends ---------------------------------------------------------------------------------

    def _ended(self, held: _Held, end: End) -> None:
        del self._held[held.job.fence]
        self._shared.counters.running -= 1
        if not self._held:
            self._emptied.set()
        match end.how:
            case How.DONE if end.outcome is not None and not held.settled:
                self._count(held, end.outcome)
                self._settle(held.job, end.outcome)
            case How.DONE:
                self._shared.counters.done += 1
                if self._terms.manual and not held.settled:
                    log.warning("%s %s was handled and not settled", self.queue, held.job.id)
            case How.TIMED_OUT | How.STUCK | How.CRASHED if not held.settled:
                self._fail(held, end.why)
            case How.LAPSED if not held.settled:
                self._shared.counters.failed += 1
                self._let_lapse(held)
            case How.GIVEN_UP if not (held.settled or held.lost):
                self._settle(held.job, Outcome(deed=Deed.RELEASE, delay_ms=0, reason=end.why))
            case _:
                self._shared.counters.failed += 1

    def _count(self, held: _Held, outcome: Outcome) -> None:
        if outcome.deed is Deed.ACK:
            self._shared.counters.done += 1
        elif outcome.deed in (Deed.RETRY, Deed.BURY):
            self._shared.counters.failed += 1
            told = "is dead" if outcome.deed is Deed.BURY else f"failed at attempt {held.job.attempt}"
            log.warning("%s %s %s: %s", self.queue, held.job.id, told, outcome.reason)

    def _fail(self, held: _Held, why: str) -> None:
        outcome = Outcome(deed=Deed.RETRY, reason=why)
        self._count(held, outcome)
        self._settle(held.job, outcome)

    def _let_lapse(self, held: _Held) -> None:
        """Let a lease run out, soon: then the job is run alone, and what fails is its own doing."""
        lease = HeldLease(id=held.job.id, fence=held.job.fence)
        request = ExtendRequest(leases=[lease], lease_ms=LEASE_MIN_MS)
        self._shared.spawn(self._ask_quietly("queue/extend", request))

    async def _ask_quietly(self, verb: str, request: Any) -> None:
        try:
            await self._shared.gl.ask(verb, request)
        except GaplessError as error:
            log.warning("%s: %s", verb, error)

    def _settle(self, job: ClaimedJob, outcome: Outcome) -> None:
        def told(item: SettledItem | Exception) -> None:
            if isinstance(item, Exception):
                self._refused(job, outcome, item)
            elif item.error is not None:
                self._refused(job, outcome, item.error.error())

        self._shared.settling.put(settlement(job.id, job.fence, outcome), told)

    def _refused(self, job: ClaimedJob, outcome: Outcome, error: Exception) -> None:
        if isinstance(error, LeaseLost):
            if outcome.deed is not Deed.RELEASE:
                log.warning("%s %s: its lease is over, its %s was refused", job.queue, job.id, outcome.deed)
        elif outcome.deed is Deed.ACK:
            reason = f"what it emits, or its result, is refused: {error}"
            log.warning("%s %s: %s", job.queue, job.id, reason)
            self._shared.counters.done -= 1
            self._shared.counters.failed += 1
            self._settle(job, Outcome(deed=Deed.RETRY, reason=reason))
        else:
            log.error("%s %s cannot be settled: %s", job.queue, job.id, error)

    # The end ------------------------------------------------------------------------------

    async def idle(self) -> None:
        """Wait until nothing of this queue runs."""
        while self._held:
            await self._emptied.wait()

    def give_up(self) -> None:
        """Cancel what runs; it is released when it lets go."""
        for held in list(self._held.values()):
            self._shared.runners.cancel(held.number)
