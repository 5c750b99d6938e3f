"""The model: jobs and messages that are stored together, or not at all."""

from collections.abc import Sequence
from copy import copy
from dataclasses import fields, replace
from hashlib import blake2b
from heapq import heappush
from typing import Any

from gapless.backends import KEY_HOUR_MS
from gapless.backends.memory.jobs import KeptJob
from gapless.backends.memory.lines import join
from gapless.backends.memory.streams import Kept
from gapless.backends.memory.tending import Tending
from gapless.core.errors import GaplessError, KeyConflict, LimitExceeded, TooManyRequests
from gapless.core.job_rules import check_job, expires_at_ms, first_due_ms, id_of
from gapless.core.jobs import Emit, Enqueued, Job, State
from gapless.core.stream import Entry, Stored

__all__ = ["Emitting"]


class Emitting(Tending):
    """What a deed emits is stored in its transaction."""

    def emit(self, emits: Sequence[Emit], now_ms: int) -> tuple[Stored | Enqueued, ...]:
        """Append and enqueue at once; what was queued before has to be committed.

        Raises:
            GaplessError: some of it is refused; nothing has changed then.
        """
        if not emits:
            return ()
        before = _Before(self._kept, emits)
        try:
            return tuple([self._emit(one, now_ms) for one in emits])
        except GaplessError:
            self._take_back(before)
            raise

    def _emit(self, one: Emit, now_ms: int) -> Stored | Enqueued:
        return self.admit(one, now_ms) if isinstance(one, Entry) else self._enqueue(one, now_ms)

    def _take_back(self, before: "_Before") -> None:
        jobs = self._kept.jobs
        for number in range(before.last + 1, jobs.last + 1):
            job = jobs.jobs.pop(number)
            del jobs.queues[job.job.queue].jobs[State.WAITING][number]
            self._free(job)
            self._count(job, "enqueued", -1)
        # Their numbers are not given again: entries in heaps would be taken for those of other jobs.
        before.restore()

    def _enqueue(self, job: Job, now_ms: int) -> Enqueued:
        check_job(job, self._bytes_max)
        queue = self._queue_now(job.queue, now_ms)
        first_ms = first_due_ms(job, now_ms)
        again = self._repeated(job, now_ms)
        if again is not None:
            return again
        jobs = self._kept.jobs
        id, until_ms = jobs.uniques.get((job.queue, job.unique or ""), ("", 0))
        fresh = not id or 0 < until_ms <= now_ms
        options = queue.options
        if fresh and options.waiting_max and len(queue.jobs[State.WAITING]) >= options.waiting_max:
            raise LimitExceeded(f"{options.waiting_max} jobs wait in {job.queue!r}, and no more may")
        if job.message_id is not None and len(jobs.message_ids) >= self._options.keys_max:
            raise TooManyRequests("too many message ids are held")
        if fresh:
            id = self._place(job, first_ms, now_ms).id
        if job.message_id is not None:
            gone_ms = (now_ms // KEY_HOUR_MS + 1) * KEY_HOUR_MS + self._options.key_window_ms
            held = _digest(job), Enqueued(id, fresh=False), gone_ms
            jobs.message_ids[job.queue, job.message_id] = held
        return Enqueued(id, fresh)

    def _repeated(self, job: Job, now_ms: int) -> Enqueued | None:
        """Return what was answered under the job's message id, if that is held."""
        held = self._kept.jobs.message_ids
        while held and held[oldest := next(iter(held))][2] <= now_ms:
            del held[oldest]
        if job.message_id is None or (job.queue, job.message_id) not in held:
            return None
        payload, enqueued, _ = held[job.queue, job.message_id]
        if payload != _digest(job):
            raise KeyConflict("the message id belongs to another payload")
        return enqueued

    def _place(self, job: Job, first_ms: int, now_ms: int) -> KeptJob:
        jobs, queue = self._kept.jobs, self._kept.jobs.queues[job.queue]
        jobs.last = number = jobs.last + 1
        job = copy(job)
        placed = KeptJob(id_of(number, self.epoch), number, job, now_ms, first_ms, number, first_ms)
        jobs.jobs[number] = queue.jobs[State.WAITING][number] = placed
        join(queue, placed)
        if job.unique is not None:
            until_ms = now_ms + job.unique_ms if job.unique_ms else 0
            jobs.uniques[job.queue, job.unique] = placed.id, until_ms
        self._let_expire(placed, now_ms)
        self._count(placed, "enqueued")
        self._ring(job.queue)
        return placed

    def _let_expire(self, job: KeptJob, now_ms: int) -> None:
        at_ms = expires_at_ms(job.first_ms, job.job.expires_ms, now_ms)
        if at_ms is not None:
            job.expires_at_ms = at_ms
            heappush(self._kept.jobs.queues[job.job.queue].wakes, (at_ms, job.number))


class _Before:
    """What is about to change, as it was."""

    def __init__(self, kept: Kept, emits: Sequence[Emit]) -> None:
        self._kept = kept
        self.last = kept.jobs.last
        self._seq, self._groups = kept.seq, dict(kept.groups)
        self._key, self._message_id = _newest(kept.keys), _newest(kept.jobs.message_ids)
        self._streams = {
            entry.stream: _copied(kept.streams.get(entry.stream))
            for one in emits
            if isinstance(one, Entry)
            for entry in (one, one.also)
            if entry is not None
        }

    def restore(self) -> None:
        kept = self._kept
        kept.seq, kept.groups = self._seq, self._groups
        _drop_after(kept.keys, self._key)
        _drop_after(kept.jobs.message_ids, self._message_id)
        for name, log in self._streams.items():
            if log is not None:
                kept.streams[name] = log
            else:
                kept.streams.pop(name, None)


def _copied(log: Any) -> Any:
    if log is None:
        return None
    values = ((field.name, getattr(log, field.name)) for field in fields(log))
    return replace(log, **{name: copy(value) for name, value in values if isinstance(value, list | dict)})


def _newest(held: dict[Any, Any]) -> Any:
    return next(reversed(held.values()), None)


def _drop_after(held: dict[Any, Any], newest: Any) -> None:
    # By identity: a key whose time has passed may be there once more.
    while held and _newest(held) is not newest:
        held.popitem()


def _digest(job: Job) -> bytes:
    return blake2b(job.data, digest_size=16).digest()
