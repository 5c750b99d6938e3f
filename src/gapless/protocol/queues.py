"""The verbs of queues: what each is asked and what it answers. JSON on the wire, the same objects in process.

Times are milliseconds since the Unix epoch by the store's clock, durations (`_ms`) milliseconds.
A field that a request does not have is an error. Where several items are asked for that do not depend on each
other, each is answered: with `result`, or with `error`.
"""

from typing import Annotated, Any, Final

from msgspec import Meta, field

from gapless.core.jobs import Deed, QueueOptions, State
from gapless.core.limits import (
    ATTEMPTS_MAX,
    BROWSE_JOBS_MAX,
    CLAIM_JOBS_MAX,
    JOB_EMITS_MAX,
    JOB_KEY_BYTES_MAX,
    LEASE_MAX_MS,
    LEASE_MS,
)
from gapless.protocol.messages import NO_PAYLOAD, Payload
from gapless.protocol.payloads import (
    Answer,
    Body,
    Carried,
    Count,
    DelayMs,
    DurationMs,
    Failure,
    Key,
    Name,
    Nothing,
    Offset,
    Priority,
    Request,
    TimeMs,
    Wait,
)
from gapless.protocol.schedules import (
    ScheduleAnswer,
    ScheduleRequest,
    SchedulesAnswer,
    SchedulesRequest,
    UnscheduleAnswer,
    UnscheduleRequest,
)
from gapless.protocol.settings import QueueSettings

__all__ = [
    "VERBS",
    "BrowseAnswer",
    "BrowseRequest",
    "CancelRequest",
    "ClaimAnswer",
    "ClaimRequest",
    "ClaimedJob",
    "DeclareQueueAnswer",
    "DeclareQueueRequest",
    "DropQueueAnswer",
    "DropQueueRequest",
    "Emit",
    "EmitAppend",
    "EmitPublish",
    "Emitted",
    "EnqueueAnswer",
    "EnqueueRequest",
    "EnqueuedItem",
    "EnqueuedJob",
    "ExtendAnswer",
    "ExtendRequest",
    "ExtendedItem",
    "ExtendedLease",
    "HeldLease",
    "JobRequest",
    "JobView",
    "ListQueuesAnswer",
    "ListQueuesRequest",
    "NewJob",
    "NewSettlement",
    "PauseRequest",
    "PurgeAnswer",
    "PurgeRequest",
    "QueueStats",
    "QueueStatus",
    "RedriveAnswer",
    "RedriveRequest",
    "ResultAnswer",
    "ResultRequest",
    "ResumeRequest",
    "SettleAnswer",
    "SettleRequest",
    "SettledItem",
    "SettledJob",
    "StatsAnswer",
    "StatsRequest",
]

Slice = Annotated[int, Meta(ge=1, le=BROWSE_JOBS_MAX)]
JobId = Annotated[str, Meta(min_length=1, max_length=128)]
JobIds = Annotated[list[JobId], Meta(max_length=BROWSE_JOBS_MAX)]


# Queues ---------------------------------------------------------------------------------------


class DeclareQueueRequest(Request):
    """Make a queue, or let one that is there behave otherwise from now on: as far as `options` say.

    A queue has to be declared before jobs are enqueued, here or by a rule of the configuration. What is left
    out stays as it is; a rule holds, whatever is said here. Of a queue that is there, who may only claim from
    it is told how it behaves, if `options` say nothing. Errors: 106 when there are 10,000 queues.
    """

    queue: Name
    options: QueueSettings = field(default_factory=QueueSettings)


class DeclareQueueAnswer(Answer, omit_defaults=False):
    """Whether the queue is new, and how it behaves now."""

    fresh: bool
    options: QueueOptions


class DropQueueRequest(Request):
    """Remove a queue with all its jobs, leased ones too; it is recorded in the audit stream."""

    queue: Name


class DropQueueAnswer(Answer, omit_defaults=False):
    """How many jobs went with it."""

    jobs: Count = 0


class ListQueuesRequest(Request):
    """Ask which queues there are: up to `limit` in the order of their names, those after `after`."""

    after: str = ""
    limit: Slice = BROWSE_JOBS_MAX


class QueueStatus(Answer, omit_defaults=False):
    """A queue: how it was declared, and how many jobs are where.

    `ready` ones can be claimed now, or stand behind the head of their key's line; `delayed` ones fall due
    later. `oldest_ms` is for how long the oldest ready job has been due.
    """

    queue: str
    options: QueueOptions
    paused: bool = False
    ready: Count = 0
    delayed: Count = 0
    leased: Count = 0
    dead: Count = 0
    done: Count = 0
    oldest_ms: DurationMs = 0


class ListQueuesAnswer(Answer, omit_defaults=False):
    """The queues; with `next` there are more, which that asks for as `after`."""

    queues: list[QueueStatus]
    next: str = ""


class StatsRequest(Request):
    """Ask how a queue is doing, or all of them (an empty name)."""

    queue: str = ""


class QueueStats(Answer, omit_defaults=False):
    """How many jobs of a queue are where now, and what became of how many.

    The counters count since the store was opened; a job failed that was retried, buried, or whose lease ran
    out. The rates are per second, over the last minute of this node; `claimers` are claims that wait on it.
    """

    queue: str
    paused: bool = False
    ready: Count = 0
    delayed: Count = 0
    leased: Count = 0
    dead: Count = 0
    done: Count = 0
    oldest_ms: DurationMs = 0
    enqueued: Count = 0
    claimed: Count = 0
    acked: Count = 0
    failed: Count = 0
    died: Count = 0
    enqueued_per_second: float = 0.0
    claimed_per_second: float = 0.0
    acked_per_second: float = 0.0
    failed_per_second: float = 0.0
    died_per_second: float = 0.0
    claimers: Count = 0


class StatsAnswer(Answer):
    """The queues in the order of their names."""

    queues: list[QueueStats]


class PauseRequest(Request):
    """Let a queue give no jobs until it is resumed. Leases go on; jobs may be enqueued."""

    queue: Name


class ResumeRequest(Request):
    """Let a queue give jobs again."""

    queue: Name


# Enqueue --------------------------------------------------------------------------------------


class NewJob(Body):
    """A job to be: `data` (any JSON) or `b64data` (any bytes), and `headers`.

    Jobs of one `key` are done one after the other, in their order. `priority` 9 is most urgent, 0 least. The
    job is due at once, after `delay_ms`, or at `at_ms`, up to 366 days ahead. One that is not claimed within
    `expires_ms` of first falling due, but for claims that were released, is dead. A repeat with the same
    `message_id` (and the same payload, or it is error 1002) within the window of idempotency keys is the same
    job. While a job that was enqueued as `unique` is not done, and for no longer than `unique_ms`, another
    under that name is the same job.
    """

    queue: Name
    key: Key | None = None
    priority: Priority = 0
    delay_ms: DelayMs = 0
    at_ms: TimeMs = 0
    expires_ms: DelayMs = 0
    message_id: str | None = None
    unique: str | None = None
    unique_ms: DelayMs = 0


class EnqueueRequest(Request):
    """Enqueue jobs, into one queue or several.

    With `atomic` (the default) all of them are taken, or none and the call is an error; without, each is
    answered by itself. Up to 1,000 jobs. Errors: 1003 no such queue, 1002 message id with another payload,
    106 `waiting_max` of the queue is reached, 107 beyond a limit. A repeat of the caller's with the same
    `request` id within 10 minutes is answered as the first was, so that a lost answer makes no job twice;
    what was refused is tried anew. Who is anonymous is the same caller on the same connection only, but with
    an id of 32 characters or more on any: that is for whoever knows it, so let chance make it.
    """

    jobs: Annotated[list[NewJob], Meta(min_length=1, max_length=CLAIM_JOBS_MAX)]
    atomic: bool = True
    request: Annotated[str, Meta(max_length=128)] = ""


class EnqueuedJob(Answer):
    """A job that holds. `fresh` is false when it was there already, by its message id or by `unique`."""

    id: str
    fresh: bool


class EnqueuedItem(Answer):
    """What became of one job."""

    result: EnqueuedJob | None = None
    error: Failure | None = None


class EnqueueAnswer(Answer):
    """One for each job, in the order of the request."""

    jobs: list[EnqueuedItem]


# Claim and settle -----------------------------------------------------------------------------


class ClaimRequest(Request):
    """Lease up to `limit` jobs of a queue; if there are none, wait for up to `wait_ms` for the first.

    `worker` names who claims: a name of its own for each start of a process, or else its caller is meant. A
    repeat of the caller's with the same `request` id and worker ends the wait of the first and gets the same
    jobs, for 10 minutes and while their leases last, so that a lost answer burns no attempt; who is anonymous
    is a caller as for `enqueue`. `lease_ms` 0 is the queue's. An answer has at most 4 MiB of
    payloads, and at least one job if any can be claimed. Who goes away while waiting waits no more, and what
    was claimed for it is released.
    """

    queue: Name
    worker: Annotated[str, Meta(max_length=JOB_KEY_BYTES_MAX)] = ""
    limit: Annotated[int, Meta(ge=1, le=CLAIM_JOBS_MAX)] = 1
    wait_ms: Wait = 0
    lease_ms: Annotated[int, Meta(ge=0, le=LEASE_MAX_MS)] = 0
    request: Annotated[str, Meta(max_length=128)] = ""


class ClaimedJob(Carried):
    """A job under a lease.

    `attempt` counts claims, without those that were released. `fence` names this lease in `extend` and
    `settle`. `fence_number` only rises, below 2^53: for resources that refuse a number below the highest that
    they have seen. `alone`: its last lease ran out, so it should have a process of its own.
    """

    id: str
    queue: str
    fence: str
    fence_number: Count
    attempt: Annotated[int, Meta(ge=1, le=ATTEMPTS_MAX)]
    enqueued_ms: TimeMs
    lease_until_ms: TimeMs
    key: str | None = None
    priority: Priority = 0
    alone: bool = False


class ClaimAnswer(Answer):
    """The jobs; none if nothing could be claimed in the time."""

    jobs: list[ClaimedJob]


class HeldLease(Request):
    """A claimed job, by its fence."""

    id: JobId
    fence: str


class ExtendRequest(Request):
    """Let leases last until `lease_ms` from now, each answered by itself: up to 1,000. Errors: 1006."""

    leases: Annotated[list[HeldLease], Meta(min_length=1, max_length=CLAIM_JOBS_MAX)]
    lease_ms: Annotated[int, Meta(ge=1, le=LEASE_MAX_MS)] = LEASE_MS


class ExtendedLease(Answer):
    """Until when a lease lasts."""

    lease_until_ms: TimeMs


class ExtendedItem(Answer):
    """What became of one lease."""

    result: ExtendedLease | None = None
    error: Failure | None = None


class ExtendAnswer(Answer):
    """One for each lease, in the order of the request."""

    leases: list[ExtendedItem]


class EmitPublish(Body):
    """A publication to a channel, with `headers` as its tags."""

    channel: Annotated[str, Meta(min_length=1)]
    idempotency_key: str | None = None


class EmitAppend(Body):
    """A message to a declared stream, into the partition of its key or the one that is named."""

    stream: Name
    key: str | None = None
    partition: int | None = None
    message_id: str | None = None


class Emit(Request):
    """What a handler sends together with its ack or commit: exactly one field is set."""

    publish: EmitPublish | None = None
    append: EmitAppend | None = None
    enqueue: NewJob | None = None


class Emitted(Answer):
    """What became of one: where a message stands (`partition` of a stream), or the `id` of a job."""

    fresh: bool
    offset: Offset = 0
    epoch: str = ""
    partition: int = 0
    id: str = ""


class NewSettlement(Request):
    """What became of a claimed job: `deed` is `ack`, `retry`, `release` or `bury`.

    A retry follows after `delay_ms`, or by the queue's policy; it buries the job when its attempts are used
    up. A release is not an attempt. `result` (any JSON) or `b64result` go with an ack, `reason` (1 KiB) and
    `details` (16 KiB), such as a traceback, with a retry or burial; longer ones are cut. `emit` is stored
    in one transaction with it, or nothing is.
    """

    id: JobId
    fence: str
    deed: Deed
    delay_ms: DelayMs | None = None
    result: Payload = NO_PAYLOAD
    b64result: bytes | None = None
    reason: str = ""
    details: str = ""
    emit: Annotated[tuple[Emit, ...], Meta(max_length=JOB_EMITS_MAX)] = ()


class SettleRequest(Request):
    """Settle claimed jobs, each by itself: up to 1,000.

    A repeat of the same deed with the same fence gets the same answer for 10 minutes. Errors: 1006 the lease
    is over; what was emitted may have those of `publish`, `append` and `enqueue`.
    """

    settlements: Annotated[list[NewSettlement], Meta(min_length=1, max_length=CLAIM_JOBS_MAX)]


class SettledJob(Answer):
    """Where the job is now, when it is next due if it waits, and what became of what it emitted."""

    state: State
    due_ms: TimeMs = 0
    emitted: tuple[Emitted, ...] = ()


class SettledItem(Answer):
    """What became of one settlement."""

    result: SettledJob | None = None
    error: Failure | None = None


class SettleAnswer(Answer):
    """One for each settlement, in the order of the request."""

    settlements: list[SettledItem]


# Look and tend --------------------------------------------------------------------------------


class JobRequest(Request):
    """Look at a job. Errors: 1005 there is none (any more)."""

    id: JobId


class CancelRequest(Request):
    """Remove a job that was not started, and tell what it was. Errors: 1005, 1007."""

    id: JobId


class JobView(Carried):
    """A job as it stands.

    `reason`, `details` and `worker` are of its last failure or claim. `ended_ms` is when it died or was done,
    0 before. The result is `result` if it is JSON, else `b64result`.
    """

    id: str
    queue: str
    state: State
    attempt: Count
    enqueued_ms: TimeMs
    due_ms: TimeMs
    key: str | None = None
    priority: Priority = 0
    message_id: str | None = None
    worker: str = ""
    reason: str = ""
    details: str = ""
    ended_ms: TimeMs = 0
    result: Payload = NO_PAYLOAD
    b64result: bytes | None = None


class BrowseRequest(Request):
    """Look at up to `limit` jobs of a state, without touching them, in the order in which they were enqueued.

    `after` is `next` of the answer before.
    """

    queue: Name
    state: State = State.DEAD
    after: str = ""
    limit: Slice = 100


class BrowseAnswer(Answer):
    """The jobs; with `next` there are more, which that asks for as `after`."""

    jobs: list[JobView]
    next: str = ""


class ResultRequest(Request):
    """Ask for the result of a job, and wait for up to `wait_ms` until it is done or dead.

    Results are kept for `result_ms` of the queue. Errors: 1005 the job is gone, or none was kept.
    """

    id: JobId
    wait_ms: Wait = 0


class ResultAnswer(Answer):
    """Where the job is; `result` or `b64result` when it is done, `reason` and `details` when it is dead."""

    state: State
    result: Payload = NO_PAYLOAD
    b64result: bytes | None = None
    reason: str = ""
    details: str = ""

    def body(self) -> bytes | None:
        """Return the result, whatever it is; None if there is none."""
        return self.b64result if self.b64result is not None else bytes(self.result) or None


class RedriveRequest(Body):
    """Let dead jobs wait again, as if new: those of `ids`, or up to `limit` of all, the oldest first.

    They join the ends of their keys' lines. `data` or `b64data` replaces the payload of a single one. With
    `per_second` a call moves a second's worth at most, and tells how long to wait before the next: redriving
    goes on as long as somebody calls, and nothing of it is left behind by whoever stops.
    """

    queue: Name
    ids: JobIds | None = None
    limit: Slice = BROWSE_JOBS_MAX
    per_second: Count = 0


class RedriveAnswer(Answer, omit_defaults=False):
    """How many were moved, whether there are `more`, and how long to wait before asking for these."""

    jobs: Count = 0
    more: bool = False
    wait_ms: DurationMs = 0


class PurgeRequest(Request):
    """Remove jobs that are `waiting`, `dead` or `done`: those of `ids`, or up to `limit` of all."""

    queue: Name
    state: State = State.DEAD
    ids: JobIds | None = None
    limit: Slice = BROWSE_JOBS_MAX


class PurgeAnswer(Answer, omit_defaults=False):
    """How many were removed, and whether there are `more`."""

    jobs: Count = 0
    more: bool = False


VERBS: Final[dict[str, tuple[type[Any], type[Any]]]] = {
    "queue/declare": (DeclareQueueRequest, DeclareQueueAnswer),
    "queue/drop": (DropQueueRequest, DropQueueAnswer),
    "queue/list": (ListQueuesRequest, ListQueuesAnswer),
    "queue/enqueue": (EnqueueRequest, EnqueueAnswer),
    "queue/claim": (ClaimRequest, ClaimAnswer),
    "queue/extend": (ExtendRequest, ExtendAnswer),
    "queue/settle": (SettleRequest, SettleAnswer),
    "queue/cancel": (CancelRequest, JobView),
    "queue/job": (JobRequest, JobView),
    "queue/browse": (BrowseRequest, BrowseAnswer),
    "queue/redrive": (RedriveRequest, RedriveAnswer),
    "queue/purge": (PurgeRequest, PurgeAnswer),
    "queue/pause": (PauseRequest, Nothing),
    "queue/resume": (ResumeRequest, Nothing),
    "queue/stats": (StatsRequest, StatsAnswer),
    "queue/schedule": (ScheduleRequest, ScheduleAnswer),
    "queue/unschedule": (UnscheduleRequest, UnscheduleAnswer),
    "queue/schedules": (SchedulesRequest, SchedulesAnswer),
    "queue/result": (ResultRequest, ResultAnswer),
}
"""Every verb by its path, with what it is asked and what it answers."""
