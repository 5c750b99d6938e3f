"""What a store in memory keeps of queues from one incarnation to the next."""

from dataclasses import dataclass, field

from gapless.core.jobs import Deed, Enqueued, Job, Lease, QueueOptions, Schedule, Settled, State, View

__all__ = ["KeptJob", "KeptJobs", "KeptQueue"]


@dataclass(slots=True)
class KeptJob:
    """A job. Its line is ordered by (`first_ms`, `place`); `due_ms` is when its lease ends if it has one."""

    id: str
    number: int
    job: Job
    enqueued_ms: int
    first_ms: int
    place: int
    due_ms: int
    state: State = State.WAITING
    expires_at_ms: int = 0  # 0: never, or it was started
    attempt: int = 0
    strikes: int = 0
    alone: bool = False
    worker: str = ""
    fence: str = ""
    reason: str = ""
    details: str = ""
    ended_ms: int = 0
    result: bytes | None = None

    def rank(self) -> tuple[int, int, int]:
        """How claims are ordered."""
        return -self.job.priority, self.due_ms, self.place

    def view(self) -> View:
        """Return the job as one looks at it."""
        job = self.job
        return View(
            id=self.id,
            queue=job.queue,
            state=self.state,
            data=job.data,
            headers=job.headers,
            key=job.key,
            priority=job.priority,
            attempt=self.attempt,
            enqueued_ms=self.enqueued_ms,
            due_ms=self.due_ms,
            message_id=job.message_id,
            worker=self.worker,
            reason=self.reason,
            details=self.details,
            ended_ms=self.ended_ms,
            result=self.result,
        )


@dataclass(slots=True)
class KeptQueue:
    """A queue. What is dead or done is held in the order in which it ended."""

    options: QueueOptions
    paused: bool = False
    jobs: dict[State, dict[int, KeptJob]] = field(default_factory=lambda: {state: {} for state in State})
    wakes: list[tuple[int, int]] = field(default_factory=list)  # heap: (when, job) may lapse or expire
    later: list[tuple[int, int]] = field(default_factory=list)  # heap: (when, job) falls due
    ready: list[tuple[int, int, int, int]] = field(default_factory=list)  # heap: (its rank, job)
    lines: dict[str, list[tuple[int, int, int]]] = field(default_factory=dict)  # by key: heaps: (line, job)
    lined: int = 0  # how many stand in lines
    served: dict[str | None, int] = field(default_factory=dict)  # keys by when they were last served


@dataclass(slots=True)
class KeptJobs:
    """All queues. What is forgotten after some time stands in the order in which it goes."""

    last: int = 0  # number of a job, or place in a line
    queues: dict[str, KeptQueue] = field(default_factory=dict)
    jobs: dict[int, KeptJob] = field(default_factory=dict)
    message_ids: dict[tuple[str, str], tuple[bytes, Enqueued, int]] = field(default_factory=dict)
    uniques: dict[tuple[str, str], tuple[str, int]] = field(default_factory=dict)
    settled: dict[str, tuple[str, Deed, Settled, int]] = field(default_factory=dict)  # by fence
    claims: dict[tuple[str, str, str], tuple[list[Lease], int]] = field(default_factory=dict)
    requests: dict[str, tuple[list[list[Enqueued] | None], int]] = field(default_factory=dict)  # to enqueue
    schedules: dict[str, Schedule] = field(default_factory=dict)
