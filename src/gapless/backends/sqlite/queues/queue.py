"""What the writer knows of one queue: its options, and how many of its jobs are where."""

from copy import copy
from typing import Final, Self

from gapless.core.jobs import QueueOptions, State
from gapless.core.limits import PRIORITY_MAX

__all__ = [
    "CODES",
    "DEAD",
    "DONE",
    "FAIR",
    "FOREVER_MS",
    "GONE",
    "HELD",
    "LEASED",
    "WAITING",
    "Queue",
    "Record",
]

FOREVER_MS: Final = 1 << 62
# The states as they stand in the table; a job that is gone has no row.
WAITING, LEASED, DEAD, DONE, GONE = range(5)
CODES: Final = (State.WAITING, State.LEASED, State.DEAD, State.DONE)
# What is added to the rank of a job that stands behind the head of its key's line, or is in a fair queue.
HELD: Final = 10
FAIR: Final = 20


Row = tuple[
    int, int, str | None, int, int, int, int, int, int, int, int, int, int, int, int, int, int | None, str
]


class Record:
    """The row of a job that changes; its columns are explained in `schema.py`."""

    __slots__ = (
        "attempt",
        "due_ms",
        "ends_ms",
        "fence",
        "first_ms",
        "generation",
        "is_alone",
        "is_lined",
        "is_unique",
        "key",
        "number",
        "place",
        "priority",
        "queue",
        "rank",
        "state",
        "strikes",
        "worker",
    )

    COLUMNS: Final = (
        "number, queue, key, priority, is_unique, state, rank, due_ms, first_ms, is_lined, place, attempt, "
        "strikes, is_alone, fence, generation, ends_ms, worker"
    )

    def __init__(self, row: Row) -> None:
        (
            self.number,
            self.queue,
            self.key,
            self.priority,
            self.is_unique,
            self.state,
            self.rank,
            self.due_ms,
            self.first_ms,
            self.is_lined,
            self.place,
            self.attempt,
            self.strikes,
            self.is_alone,
            self.fence,
            self.generation,
            self.ends_ms,
            self.worker,
        ) = row


# What is counted of the jobs of a queue since the store was opened.
DONE_TO: Final = ("enqueued", "claimed", "acked", "failed", "died")


class Queue:
    """One queue. Of the jobs that wait, `delayed` were not due at `seen_ms`, the first of them at `turn_ms`.

    Nothing ends before `wake_ms`: no lease, no wait of a job that expires, no keeping of one that ended.
    """

    __slots__ = (
        "acked",
        "claimed",
        "dead",
        "delayed",
        "died",
        "done",
        "enqueued",
        "failed",
        "id",
        "is_paused",
        "leased",
        "name",
        "options",
        "ranks",
        "seen_ms",
        "served",
        "strays",
        "turn_ms",
        "waiting",
        "wake_ms",
        "workers",
    )

    def __init__(self, id: int, name: str, options: QueueOptions, *, is_paused: bool = False) -> None:
        self.id = id
        self.name = name
        self.options = options
        self.is_paused = is_paused
        self.waiting = self.leased = self.dead = self.done = 0
        self.delayed = self.seen_ms = 0
        self.turn_ms = self.wake_ms = FOREVER_MS
        self.ranks: set[int] = set()  # that jobs had, or may get, since the store was opened
        self.workers: dict[str, int] = {}  # how many leases each holds
        self.strays: dict[int, str | None] = {}  # leased jobs that do not head the lines of their keys
        self.served: dict[str | None, int] = {}  # of a fair queue, the keys and the fence each was given last
        self.enqueued = self.claimed = self.acked = self.failed = self.died = 0

    def snapshot(self) -> Self:
        """Return what it is now, to go back to."""
        held = copy(self)
        held.ranks, held.workers = set(self.ranks), dict(self.workers)
        held.strays, held.served = dict(self.strays), dict(self.served)
        return held

    @property
    def lowest(self) -> int:
        """The rank of a job with priority 0 that can be claimed once it is due."""
        return PRIORITY_MAX + (FAIR if self.options.fair else 0)

    def see_rank(self, rank: int) -> None:
        """Know that jobs have a rank, and may get those of a head of a line, and of one that is none."""
        if rank not in self.ranks:
            least = rank % HELD
            self.ranks |= {rank, HELD + least, self.lowest - PRIORITY_MAX + least}

    def claimable(self) -> list[int]:
        """Return the ranks of jobs that can be claimed, the most urgent first."""
        return sorted(rank for rank in self.ranks if not HELD <= rank < FAIR)

    def count_on(self, former: "Queue") -> None:
        """Go on from what was done to jobs since the store was opened."""
        for what in DONE_TO:
            setattr(self, what, getattr(former, what))

    def add(self, record: Record) -> None:
        """Count a job where it is."""
        if record.state == WAITING:
            self.wait(record.rank, record.due_ms)
        elif record.state == LEASED:
            self.lease(record.worker, 1, record.due_ms)
        elif record.state == DEAD:
            self.dead += 1
        else:
            self.done += 1
        if record.ends_ms is not None and record.ends_ms < self.wake_ms:
            self.wake_ms = record.ends_ms

    def wait(self, rank: int, due_ms: int) -> None:
        """Count one more that waits."""
        self.waiting += 1
        self.see_rank(rank)
        if due_ms > self.seen_ms:
            self.delayed += 1
            self.turn_ms = min(self.turn_ms, due_ms)

    def lease(self, worker: str, count: int, until_ms: int) -> None:
        """Count more that are leased."""
        self.leased += count
        self.workers[worker] = self.workers.get(worker, 0) + count
        self.wake_ms = min(self.wake_ms, until_ms)

    def take(self, record: Record) -> None:
        """Count a job where it is no longer."""
        if record.state == WAITING:
            self.waiting -= 1
            self.delayed -= record.due_ms > self.seen_ms
        elif record.state == LEASED:
            self.leased -= 1
            self.strays.pop(record.number, None)
            left = self.workers[record.worker] - 1
            if left:
                self.workers[record.worker] = left
            else:
                del self.workers[record.worker]
        elif record.state == DEAD:
            self.dead -= 1
        else:
            self.done -= 1
