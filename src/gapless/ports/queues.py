"""Jobs under leases."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

from gapless.core.errors import GaplessError
from gapless.core.jobs import (
    Claimed,
    Enqueued,
    Job,
    JobPage,
    Lease,
    QueueInfo,
    QueueOptions,
    Schedule,
    Settled,
    Settlement,
    State,
    View,
)
from gapless.core.stream import Entry

__all__ = ["Queues"]


class Queues(ABC):
    """Jobs under leases.

    Every call is atomic, and durable in the store's class once it returns; where it takes several items that
    are answered one by one, each of them is. Time is the store's. Nothing happens by itself: that a job falls
    due, or its lease runs out, is a comparison made by whoever looks. A job joins the line of its key when it
    first falls due, at the end. Of an ordered queue only heads of lines are claimed, one at a time; a head
    that waits for its retry holds its line up. Claims go by priority, then by when jobs fell due, then by
    when they were enqueued.
    """

    @abstractmethod
    async def declare(self, queue: str, options: QueueOptions) -> bool:
        """Make a queue, or let one that is there behave otherwise from now on; tell whether it is new.

        Raises:
            LimitExceeded: there are QUEUES_MAX.
        """

    @abstractmethod
    async def drop(self, queue: str) -> int:
        """Remove a queue with all its jobs and schedules, and tell how many jobs those were.

        Raises:
            UnknownQueue: there is no such queue.
        """

    @abstractmethod
    async def queues(self) -> dict[str, QueueInfo]:
        """Tell of each queue how it was declared and how many jobs are where."""

    @abstractmethod
    async def enqueue(
        self, batches: Sequence[Sequence[Job]], *, request: str = ""
    ) -> list[list[Enqueued] | GaplessError]:
        """Take jobs; of one batch all or none. What joins one commit is answered together.

        Of a batch that is refused the error stands in its place: UnknownQueue, BadRequest,
        KeyConflict (a message id with another payload), LimitExceeded (`waiting_max`), TooManyRequests,
        StoreFull. A message id is held for the window of idempotency keys, whatever becomes of the job. A
        repeat with the same `request` within SETTLED_MS is answered as the first was, but for batches that
        were refused, which are tried anew.

        Raises:
            BadRequest: the request came before with another number of batches.
        """

    @abstractmethod
    async def claim(
        self, queue: str, *, worker: str, limit: int, lease_ms: int = 0, request: str = ""
    ) -> list[Claimed]:
        """Lease up to `limit` jobs, at least one if any can be claimed, without waiting for any.

        Each claim is an attempt. A repeat with the same `request` and worker within SETTLED_MS, while a lease
        of it lasts, returns the jobs whose leases of that claim last still, marked `again`. `lease_ms` 0 is
        the queue's. A job whose lease ran out is claimed by itself, and marked `alone`. Only lapses of such
        leases, and failures that were told, count towards burial. A paused queue gives nothing, nor does one
        whose `in_flight_max`, or the worker's `in_flight_per_worker_max`, is reached.

        Raises:
            UnknownQueue: there is no such queue.
        """

    @abstractmethod
    async def extend(self, leases: Sequence[Lease], lease_ms: int) -> list[int | GaplessError]:
        """Let leases last until `lease_ms` from now; tell until when for each, or LeaseLost."""

    @abstractmethod
    async def settle(self, settlements: Sequence[Settlement]) -> list[Settled | GaplessError]:
        """Carry out settlements, each in one transaction with what it emits.

        A repeat of the same deed with the same fence within SETTLED_MS is answered as the first was, and
        marked `again`. With another deed, or when the lease has ended, it is LeaseLost, and nothing of it
        holds. What it emits is checked as by `append` and `enqueue`; if anything is refused, all of it is.
        """

    @abstractmethod
    async def cancel(self, id: str) -> View:
        """Remove a job that was not started, and return what it was.

        Raises:
            UnknownJob: there is none. JobStarted: it is leased, dead or done.
        """

    @abstractmethod
    async def look(self, id: str) -> View:
        """Return a job as it stands.

        Raises:
            UnknownJob: there is none (any more).
        """

    @abstractmethod
    async def states(self, ids: Sequence[str]) -> list[State]:
        """Tell where jobs are; GONE: there is none (any more).

        Raises:
            BadRequest: there are more than BROWSE_JOBS_MAX.
        """

    @abstractmethod
    async def browse(self, queue: str, state: State, *, after: str = "", limit: int) -> JobPage:
        """Return up to `limit` jobs of a state in the order of their ids, without touching them.

        Raises:
            BadRequest: `limit` is beyond BROWSE_JOBS_MAX.
        """

    @abstractmethod
    async def redrive(
        self,
        queue: str,
        ids: Sequence[str] | None,
        *,
        limit: int,
        data: bytes | None = None,
        audit: Entry | None = None,
    ) -> int:
        """Let dead jobs wait again, as if new: these, or up to `limit` of all, the oldest first.

        They join the ends of their keys' lines; `data`, for a single one, replaces its payload. `audit` is
        appended in the same transaction if any were. Tell how many.

        Raises:
            BadRequest: `limit`, or how many ids there are, is beyond BROWSE_JOBS_MAX.
        """

    @abstractmethod
    async def purge(
        self, queue: str, state: State, ids: Sequence[str] | None, *, limit: int, audit: Entry | None = None
    ) -> int:
        """Remove jobs that are WAITING, DEAD or DONE: these, or up to `limit` of all. Tell how many.

        Raises:
            BadRequest: `limit`, or how many ids there are, is beyond BROWSE_JOBS_MAX.
        """

    @abstractmethod
    async def pause(self, queue: str, *, paused: bool, audit: Entry | None = None) -> None:
        """Let a queue give no jobs, or give them again."""

    @abstractmethod
    async def next_due_ms(self, queue: str) -> int | None:
        """Return when, by the store's time, the next job can be claimed that cannot be now; None: nothing
        will, without somebody enqueuing or settling. It may be too early, never too late."""

    @abstractmethod
    def hear_ready(self, heard: Callable[[str], object]) -> None:
        """Call `heard`, on the loop, with each queue whose jobs may have become claimable: a hint, after
        an enqueue, settlement, cancel, purge, redrive, resumption or raised limit; not when time passes."""

    @abstractmethod
    async def schedule(self, schedule: Schedule) -> None:
        """Keep a recurring job, or change it; its `last_ms` never falls.

        Raises:
            UnknownQueue: there is no such queue.
            LimitExceeded: there are SCHEDULES_MAX.
        """

    @abstractmethod
    async def unschedule(self, name: str) -> bool:
        """Forget a recurring job; tell whether there was one."""

    @abstractmethod
    async def schedules(self) -> tuple[int, list[Schedule]]:
        """Return the store's time, and all recurring jobs."""

    @abstractmethod
    async def fire(self, name: str, spec: bytes, tick_ms: int, jobs: Sequence[Job]) -> bool:
        """Enqueue what is due at a tick, once however many nodes try.

        False, and nothing happens, unless the tick lies after the last one and not after the store's time,
        and the schedule is still this one. With no jobs the tick is passed over.
        """
