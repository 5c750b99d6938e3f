"""The model: which jobs may be claimed, and in what order.

What falls due later, and what may be claimed now, stand in heaps; what has one key, in a line, of which only
the head may be claimed. Entries are never sought and removed: one that its job has outlived is dropped where
it comes up, or with all others when those are the most. What is behind another of its key is dropped too, and
comes back when it gets to the head.
"""

from heapq import heapify, heappop, heappush
from typing import Final

from gapless.backends.memory.jobs import KeptJob, KeptQueue
from gapless.core.jobs import OnDead, State

__all__ = ["claimable", "join", "line_up", "next_due_ms", "pass_on", "tidy", "wait"]

# A job stands in its line, among those that wait or are ready, and it may lapse or expire.
ENTRIES_MAX: Final = 3
OUTLIVED_MAX: Final = 64  # for which it is not worth the trouble


def wait(queue: KeptQueue, job: KeptJob) -> None:
    """Have a job come up when it falls due."""
    heappush(queue.later, (job.due_ms, job.number))


def join(queue: KeptQueue, job: KeptJob) -> None:
    """Have a job that waits join its key's line."""
    wait(queue, job)
    if queue.options.ordered and job.job.key is not None:
        heappush(queue.lines.setdefault(job.job.key, []), (job.first_ms, job.place, job.number))
        queue.lined += 1


def line_up(queue: KeptQueue) -> None:
    """Have all jobs stand in their lines anew, as the queue's options are now."""
    queue.later, queue.ready, queue.lines, queue.lined = [], [], {}, 0
    for state in (State.WAITING, State.LEASED, State.DEAD):
        for job in queue.jobs[state].values():
            join(queue, job)
    waiting, leased = queue.jobs[State.WAITING].values(), queue.jobs[State.LEASED].values()
    queue.wakes = [(job.expires_at_ms, job.number) for job in waiting if job.expires_at_ms]
    queue.wakes += [(job.due_ms, job.number) for job in leased]
    heapify(queue.wakes)


def tidy(queue: KeptQueue) -> None:
    """Drop what its jobs have outlived, if that is more than half."""
    living = sum(len(queue.jobs[state]) for state in (State.WAITING, State.LEASED, State.DEAD))
    entries = len(queue.later) + len(queue.ready) + len(queue.wakes) + queue.lined
    if entries > 2 * (ENTRIES_MAX * living + OUTLIVED_MAX):
        line_up(queue)


def pass_on(queue: KeptQueue, key: str | None) -> None:
    """Have the head of a key's line come up, of which a job has moved."""
    head = _head(queue, key) if key is not None else None
    if head is not None and head.state is State.WAITING:
        wait(queue, head)


def _head(queue: KeptQueue, key: str) -> KeptJob | None:
    """Return who is first of those that hold up the others of a key."""
    states = [State.WAITING, State.LEASED] + [State.DEAD] * (queue.options.on_dead is OnDead.STOP)
    line = queue.lines.get(key, [])
    while line:
        first_ms, place, number = line[0]
        for state in states:
            job = queue.jobs[state].get(number)
            if job is not None and (job.first_ms, job.place, job.job.key) == (first_ms, place, key):
                return job
        heappop(line)
        queue.lined -= 1
    queue.lines.pop(key, None)
    return None


def next_due_ms(queue: KeptQueue, now_ms: int) -> int | None:
    """Return when the next job falls due that waits for that."""
    waiting = queue.jobs[State.WAITING]
    while queue.later:
        due_ms, number = queue.later[0]
        job = waiting.get(number)
        if job is not None and job.due_ms == due_ms:
            if due_ms > now_ms:
                return due_ms
            heappush(queue.ready, (*job.rank(), number))
        heappop(queue.later)
    return None


def claimable(queue: KeptQueue, now_ms: int, limit: int) -> list[KeptJob]:
    """Return the first jobs, up to `limit`, that may be claimed now."""
    next_due_ms(queue, now_ms)
    busy = {job.job.key for job in queue.jobs[State.LEASED].values()} if queue.options.ordered else set()
    found: dict[int, KeptJob] = {}
    while queue.ready and len(found) < limit:
        *rank, number = heappop(queue.ready)
        job = queue.jobs[State.WAITING].get(number)
        if job is None or job.rank() != tuple(rank):
            continue
        key = job.job.key
        if not queue.options.ordered or key is None or (key not in busy and _head(queue, key) is job):
            found[number] = job
    for number, job in found.items():
        heappush(queue.ready, (*job.rank(), number))
    return list(found.values())
