"""The words of a queue: what is enqueued, claimed and settled; and the table of a job's states."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Final

from msgspec import Meta, Struct, field

from gapless.core.limits import LEASE_MAX_MS, LEASE_MIN_MS, LEASE_MS
from gapless.core.retry import Retry
from gapless.core.stream import Entry, Stored

__all__ = [
    "STATES",
    "Claimed",
    "Counted",
    "Deed",
    "Emit",
    "Enqueued",
    "Job",
    "JobPage",
    "Lease",
    "Limit",
    "OnDead",
    "QueueInfo",
    "QueueOptions",
    "Schedule",
    "Settled",
    "Settlement",
    "State",
    "View",
]


class State(StrEnum):
    """What is stored of where a job is. Falling due, and a lease that ran out, are comparisons."""

    WAITING = "waiting"  # ready, delayed until its time, or behind the head of its key's line
    LEASED = "leased"
    DEAD = "dead"
    DONE = "done"  # its result is kept
    GONE = "gone"


class Deed(StrEnum):
    """What happens to a job."""

    CLAIM = "claim"
    ACK = "ack"
    RETRY = "retry"
    RELEASE = "release"
    BURY = "bury"
    LAPSE = "lapse"  # the lease ran out: as a retry by the policy, or a burial if attempts are used up
    EXPIRE = "expire"  # not started in time
    CANCEL = "cancel"
    REDRIVE = "redrive"
    PURGE = "purge"


STATES: Final[dict[tuple[State, Deed], tuple[State, ...]]] = {
    (State.WAITING, Deed.CLAIM): (State.LEASED,),
    (State.WAITING, Deed.EXPIRE): (State.DEAD,),
    (State.WAITING, Deed.CANCEL): (State.GONE,),
    (State.WAITING, Deed.PURGE): (State.GONE,),
    (State.LEASED, Deed.ACK): (State.DONE, State.GONE),
    (State.LEASED, Deed.RETRY): (State.WAITING, State.DEAD),
    (State.LEASED, Deed.RELEASE): (State.WAITING,),
    (State.LEASED, Deed.BURY): (State.DEAD,),
    (State.LEASED, Deed.LAPSE): (State.WAITING, State.DEAD),
    (State.DEAD, Deed.REDRIVE): (State.WAITING,),
    (State.DEAD, Deed.PURGE): (State.GONE,),
    (State.DONE, Deed.PURGE): (State.GONE,),
}
"""Where each deed may lead; what is not here is refused, or means that the job is gone."""


class OnDead(StrEnum):
    """What a dead job does to the line of its key."""

    GO_ON = "go_on"
    STOP = "stop"  # until it is redriven or purged


Limit = Annotated[int, Meta(ge=0, le=10**12)]


class QueueOptions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a queue behaves; 0 means no such limit. Units: milliseconds, jobs.

    With `ordered`, at most one job of a key is in flight. `fair` serves the keys by turns: the one with
    the fewest jobs in flight first, then the one served longest ago. `result_ms` is how long a job that is
    done is kept with its result; `dead_ms` how long a dead one is. `waiting_max` bounds the jobs that wait.
    """

    retry: Retry = field(default_factory=Retry)
    lease_ms: Annotated[int, Meta(ge=LEASE_MIN_MS, le=LEASE_MAX_MS)] = LEASE_MS
    in_flight_max: Limit = 0
    in_flight_per_worker_max: Limit = 0
    ordered: bool = True
    fair: bool = False
    on_dead: OnDead = OnDead.GO_ON
    result_ms: Limit = 0
    dead_ms: Limit = 0
    waiting_max: Limit = 0


class Job(Struct, tag="job"):
    """What a producer hands in. Times are the store's: `delay_ms` from now, or `at_ms` since the Unix epoch.

    `key` orders jobs, `priority` 9 is most urgent, `message_id` makes a repeat the same job (its payload
    must be the same too), `unique` with `unique_ms` makes any job under that name the same one until it is
    done or so long has passed. A job that has not started within `expires_ms` of first falling due is dead;
    its first claim starts it, unless that is released. `headers` are a JSON object, opaque to the store, and
    empty when there are none.
    """

    queue: str
    data: bytes
    headers: bytes = b""
    key: str | None = None
    priority: int = 0
    delay_ms: int = 0
    at_ms: int = 0
    expires_ms: int = 0
    message_id: str | None = None
    unique: str | None = None
    unique_ms: int = 0


class Enqueued(Struct, frozen=True, gc=False, tag="enqueued"):
    """A job that holds. `fresh` is False when it was there: by its message id, or by what is unique."""

    id: str
    fresh: bool = True


class Claimed(Struct, gc=False):
    """A job under a lease.

    `attempt` counts claims, without those that were released. `fence` names this lease, and is compared for
    equality; `fence_number` only rises, below 2**53, for resources that keep the highest they have seen.
    `alone`: its last lease ran out, so nothing else may run beside it; what then fails is its own doing.
    `again`: it was leased by an earlier claim with the same request, which this one repeats.
    """

    id: str
    queue: str
    data: bytes
    headers: bytes
    key: str | None
    priority: int
    attempt: int
    fence: str
    fence_number: int
    enqueued_ms: int
    lease_until_ms: int
    alone: bool = False
    again: bool = False


class Lease(Struct, frozen=True, gc=False):
    """A claimed job, by its fence."""

    id: str
    fence: str


Emit = Entry | Job
"""What a handler publishes, appends or enqueues together with its ack."""


class Settlement(Struct):
    """What became of a claimed job: `deed` is ACK, RETRY, RELEASE or BURY.

    A retry follows after `delay_ms`, or by the queue's policy (None). `result` goes with an ack, `reason` (a
    short line) and `details` (a traceback) with a retry or burial. `emit` is stored in the same transaction.
    """

    id: str
    fence: str
    deed: Deed
    delay_ms: int | None = None
    result: bytes | None = None
    reason: str = ""
    details: str = ""
    emit: Sequence[Emit] = ()


class Settled(Struct, frozen=True, tag="settled"):
    """A settlement that holds: where the job is now, when it is next due, and what became of its emits.

    `again`: it was carried out before, and this is how that was answered.
    """

    state: State
    due_ms: int = 0
    emitted: tuple[Stored | Enqueued, ...] = ()
    again: bool = False


class View(Struct):
    """A job as one looks at it. `reason`, `details` and `worker` are of its last failure or claim."""

    id: str
    queue: str
    state: State
    data: bytes
    headers: bytes
    key: str | None
    priority: int
    attempt: int
    enqueued_ms: int
    due_ms: int
    message_id: str | None = None
    worker: str = ""
    reason: str = ""
    details: str = ""
    ended_ms: int = 0  # when it died or was done
    result: bytes | None = None


class JobPage(Struct):
    """Some of a queue's jobs, in the order of their ids; `next_id` asks for those that follow, if any do."""

    jobs: list[View]
    next_id: str = ""


class Counted(Struct, frozen=True, gc=False):
    """How many jobs of a queue are where, and what was done to how many since the store was opened."""

    ready: int = 0  # claimable now, or behind the head of their key's line
    delayed: int = 0
    leased: int = 0
    dead: int = 0
    done: int = 0
    oldest_ms: int = 0  # how long the oldest ready job has been due
    enqueued: int = 0
    claimed: int = 0
    acked: int = 0
    failed: int = 0  # retried, lapsed or buried
    died: int = 0


class QueueInfo(Struct, frozen=True):
    """A queue that was declared."""

    options: QueueOptions
    paused: bool
    counted: Counted


class Schedule(Struct, frozen=True):
    """A recurring job of a queue: `spec` is opaque to the store, `last_ms` the last tick that was decided."""

    name: str
    queue: str
    spec: bytes
    last_ms: int
