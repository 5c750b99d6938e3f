"""Bugs of queues (semantics 10), planted in the model: the suite catches each."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from inspect import signature
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from msgspec import structs

from gapless.backends.memory import emitting, lines, queues, tending
from gapless.backends.memory.emitting import Emitting
from gapless.backends.memory.jobs import KeptJob, KeptQueue
from gapless.backends.memory.queues import MemoryQueues
from gapless.backends.memory.streams import MemoryStreams
from gapless.backends.memory.tending import Tending
from gapless.core.errors import LeaseLost
from gapless.core.fences import Fences
from gapless.core.jobs import Deed, OnDead, State
from gapless.testing.conformance import QueuesConformance
from tests.backends import test_queues_rewound
from tests.backends.conftest import MemoryPlace
from tests.backends.rewinding import REWINDING
from tests.backends.test_queues_machine import Machine

Plant = Callable[[], AbstractContextManager[Any]]

BUGS: dict[str, Plant] = {}


def bug(plant: Plant) -> Plant:
    """Keep what plants a bug under its name."""
    BUGS[plant.__name__] = plant
    return plant


# Leases and fences ----------------------------------------------------------------------------


@bug
def settle_without_fence() -> AbstractContextManager[Any]:
    def leased(self: Any, id: str, fence: str, now_ms: int) -> KeptJob:
        job: KeptJob = self._job_now(id, now_ms)
        if job.state is not State.LEASED:
            raise LeaseLost
        return job

    return patch.object(MemoryQueues, "_leased", leased)


@bug
def fence_reused_after_a_rewind() -> AbstractContextManager[Any]:
    def next_fence(self: Fences) -> str:
        self.last += 1
        return f"{'0' * 16}:{self.last}"

    return patch.object(Fences, "next", next_fence)


@bug
def callers_clock_expires_leases() -> AbstractContextManager[Any]:
    return patch.object(MemoryStreams, "_now_ms", lambda self: self._clock())


@bug
def lease_lasts_until_the_job_is_claimed_again() -> AbstractContextManager[Any]:
    def leased(self: Any, id: str, fence: str, now_ms: int) -> KeptJob:
        job: KeptJob | None = next((one for one in self._kept.jobs.jobs.values() if one.id == id), None)
        if job is None or job.state is not State.LEASED or job.fence != fence:
            raise LeaseLost
        return job

    return patch.object(MemoryQueues, "_leased", leased)


@bug
def attempts_counted_at_failure() -> AbstractContextManager[Any]:
    lease, fail = MemoryQueues._lease, Tending._fail

    def leased(self: Any, queue: KeptQueue, job: KeptJob, *rest: Any) -> None:
        lease(self, queue, job, *rest)
        job.attempt -= 1

    def failed(self: Any, queue: KeptQueue, job: KeptJob, *rest: Any) -> None:
        job.attempt += 1
        fail(self, queue, job, *rest)

    return both(patch.object(MemoryQueues, "_lease", leased), patch.object(Tending, "_fail", failed))


@contextmanager
def both(*plants: AbstractContextManager[Any]) -> Iterator[None]:
    with ExitStack() as stack:
        for plant in plants:
            stack.enter_context(plant)
        yield


@bug
def lapse_counts_from_when_it_is_noticed() -> AbstractContextManager[Any]:
    fail = Tending._fail

    def failed(self: Any, queue: KeptQueue, job: KeptJob, deed: Deed, at_ms: int, *rest: Any) -> None:
        fail(self, queue, job, deed, self._now_ms(), *rest)

    return patch.object(Tending, "_fail", failed)


@bug
def every_lapse_counts_towards_burial() -> AbstractContextManager[Any]:
    fail = Tending._fail

    def failed(self: Any, queue: KeptQueue, job: KeptJob, deed: Deed, *rest: Any) -> None:
        job.strikes = job.attempt
        fail(self, queue, job, deed, *rest)

    return patch.object(Tending, "_fail", failed)


@bug
def poison_takes_its_batch_with_it() -> AbstractContextManager[Any]:
    lease = MemoryQueues._lease

    def leased(self: Any, queue: KeptQueue, job: KeptJob, *rest: Any) -> None:
        job.alone = False
        lease(self, queue, job, *rest)

    return patch.object(MemoryQueues, "_lease", leased)


@bug
def release_is_an_attempt() -> AbstractContextManager[Any]:
    carry_out = MemoryQueues._carry_out

    def released(self: Any, job: KeptJob, asked: Any, now_ms: int) -> None:
        job.attempt += asked.deed is Deed.RELEASE
        carry_out(self, job, asked, now_ms)

    return patch.object(MemoryQueues, "_carry_out", released)


@bug
def repeated_claim_burns_an_attempt() -> AbstractContextManager[Any]:
    return patch.object(MemoryQueues, "_claimed_before", lambda *_: [])


@bug
def repeated_settlement_is_refused() -> AbstractContextManager[Any]:
    settle = MemoryQueues._settle

    def settled(self: Any, asked: Any, now_ms: int) -> Any:
        self._kept.jobs.settled.clear()
        return settle(self, asked, now_ms)

    return patch.object(MemoryQueues, "_settle", settled)


# Lines ----------------------------------------------------------------------------------------


def claimable(choose: Callable[[KeptQueue, int], list[KeptJob]]) -> AbstractContextManager[Any]:
    def chosen(queue: KeptQueue, now_ms: int, limit: int) -> list[KeptJob]:
        return sorted(choose(queue, now_ms), key=KeptJob.rank)[:limit]

    return patch.object(queues, "claimable", chosen)


def honest(queue: KeptQueue, now_ms: int) -> list[KeptJob]:
    return lines.claimable(queue, now_ms, len(queue.jobs[State.WAITING]))


def waiting(queue: KeptQueue, now_ms: int) -> list[KeptJob]:
    return [job for job in queue.jobs[State.WAITING].values() if job.due_ms <= now_ms]


def heads(queue: KeptQueue, jobs: list[KeptJob], line: Callable[[KeptJob], Any]) -> list[KeptJob]:
    busy = {job.job.key for job in queue.jobs[State.LEASED].values()}
    first: dict[Any, KeptJob] = {}
    for job in sorted(jobs, key=line):
        first.setdefault(job.job.key if queue.options.ordered else None, job)
    ordered = queue.options.ordered
    return [
        job
        for job in jobs
        if job.job.key is None or not ordered or (first[job.job.key] is job and job.job.key not in busy)
    ]


@bug
def batch_claim_takes_two_of_one_key() -> AbstractContextManager[Any]:
    def choose(queue: KeptQueue, now_ms: int) -> list[KeptJob]:
        first = honest(queue, now_ms)
        keys = {job.job.key for job in first}
        return [job for job in waiting(queue, now_ms) if job in first or job.job.key in keys - {None}]

    return claimable(choose)


@bug
def retrying_head_does_not_block() -> AbstractContextManager[Any]:
    return claimable(
        lambda queue, now_ms: heads(queue, waiting(queue, now_ms), lambda job: (job.first_ms, job.place))
    )


@bug
def retried_job_joins_the_end_of_its_line() -> AbstractContextManager[Any]:
    def choose(queue: KeptQueue, now_ms: int) -> list[KeptJob]:
        due = waiting(queue, now_ms)
        return heads(queue, due, lambda job: (job.due_ms, job.place))

    return claimable(choose)


@bug
def delayed_job_holds_its_line_up() -> AbstractContextManager[Any]:
    def choose(queue: KeptQueue, now_ms: int) -> list[KeptJob]:
        first = heads(queue, list(queue.jobs[State.WAITING].values()), lambda job: job.place)
        return [job for job in first if job.due_ms <= now_ms]

    return claimable(choose)


@bug
def priority_ranks_within_a_line() -> AbstractContextManager[Any]:
    return claimable(lambda queue, now_ms: heads(queue, waiting(queue, now_ms), KeptJob.rank))


@bug
def dead_job_stops_no_line() -> AbstractContextManager[Any]:
    def choose(queue: KeptQueue, now_ms: int) -> list[KeptJob]:
        going_on = KeptQueue(structs.replace(queue.options, on_dead=OnDead.GO_ON), jobs=queue.jobs)
        lines.line_up(going_on)
        return honest(going_on, now_ms)

    return claimable(choose)


@bug
def next_of_a_line_does_not_come_up() -> AbstractContextManager[Any]:
    return patch.object(tending, "pass_on", lambda queue, key: None)


@bug
def lines_stay_as_they_were_when_options_change() -> AbstractContextManager[Any]:
    return patch.object(queues, "line_up", lambda queue: None)


@bug
def redriven_job_takes_its_old_place() -> AbstractContextManager[Any]:
    begin = MemoryQueues._begin_anew

    def begun(self: Any, job: KeptJob, now_ms: int, data: bytes | None) -> None:
        place = job.place
        begin(self, job, now_ms, data)
        job.place = place
        lines.join(self._kept.jobs.queues[job.job.queue], job)

    return patch.object(MemoryQueues, "_begin_anew", begun)


@bug
def priority_before_fairness() -> AbstractContextManager[Any]:
    def ranked(self: Any, queue: KeptQueue, now_ms: int, limit: int) -> list[KeptJob]:
        return honest(queue, now_ms)[:limit]

    return patch.object(MemoryQueues, "_ranked", ranked)


# What is one job, what is dead, what is stored together --------------------------------------------


@bug
def redrive_hits_dedup() -> AbstractContextManager[Any]:
    select = MemoryQueues._select

    def selected(self: Any, queue: str, state: State, *rest: Any) -> list[KeptJob]:
        jobs = select(self, queue, state, *rest)
        return [job for job in jobs if state is not State.DEAD or job.job.message_id is None]

    return patch.object(MemoryQueues, "_select", selected)


@bug
def message_id_is_forgotten_with_its_job() -> AbstractContextManager[Any]:
    move = Tending._move

    def moved(self: Any, job: KeptJob, deed: Deed, to: State) -> None:
        move(self, job, deed, to)
        if to is State.GONE:
            self._kept.jobs.message_ids.pop((job.job.queue, job.job.message_id), None)

    return patch.object(Tending, "_move", moved)


@bug
def unique_name_is_held_by_a_dead_job() -> AbstractContextManager[Any]:
    free = Tending._free

    def freed(self: Any, job: KeptJob) -> None:
        if job.state is not State.DEAD:
            free(self, job)

    return patch.object(Tending, "_free", freed)


@bug
def refused_batch_leaves_what_came_before() -> AbstractContextManager[Any]:
    return patch.object(Emitting, "_take_back", lambda *_: None)


@bug
def emit_stored_and_ack_refused() -> AbstractContextManager[Any]:
    settle = MemoryQueues._settle

    def settled(self: Any, asked: Any, now_ms: int) -> Any:
        emitted = self.emit(asked.emit, now_ms)
        return structs.replace(settle(self, structs.replace(asked, emit=()), now_ms), emitted=emitted)

    return patch.object(MemoryQueues, "_settle", settled)


@bug
def ack_holds_though_its_emits_are_refused() -> AbstractContextManager[Any]:
    carry_out, emit_of = MemoryQueues._carry_out, MemoryQueues._emit_of

    def emitted(self: Any, job: KeptJob, asked: Any, now_ms: int) -> Any:
        carry_out(self, job, asked, now_ms)
        return emit_of(self, job, asked, now_ms)

    return both(
        patch.object(MemoryQueues, "_emit_of", emitted),
        patch.object(MemoryQueues, "_carry_out", lambda *_: None),
    )


@bug
def claimed_job_expires_all_the_same() -> AbstractContextManager[Any]:
    lease = MemoryQueues._lease

    def leased(self: Any, queue: KeptQueue, job: KeptJob, *rest: Any) -> None:
        expires_at_ms = job.expires_at_ms
        lease(self, queue, job, *rest)
        if expires_at_ms:
            job.expires_at_ms = expires_at_ms
            queue.wakes.append((expires_at_ms, job.number))
            queue.wakes.sort()

    return patch.object(MemoryQueues, "_lease", leased)


@bug
def released_job_never_expires() -> AbstractContextManager[Any]:
    let_expire = MemoryQueues._let_expire

    def let(self: Any, job: KeptJob, now_ms: int) -> None:
        if job.enqueued_ms == now_ms or not job.worker:
            let_expire(self, job, now_ms)

    return patch.object(MemoryQueues, "_let_expire", let)


@bug
def failures_never_bury() -> AbstractContextManager[Any]:
    return patch.object(tending, "after_failure", lambda retry, attempt, *_: retry.delay_ms(attempt, 0.5))


@bug
def tick_fires_twice() -> AbstractContextManager[Any]:
    fire = MemoryQueues.fire

    async def fired(self: Any, name: str, *rest: Any) -> bool:
        schedules = self._kept.jobs.schedules
        if name in schedules:
            schedules[name] = structs.replace(schedules[name], last_ms=0)
        return await fire(self, name, *rest)

    return patch.object(MemoryQueues, "fire", fired)


@bug
def job_falls_due_before_it_is_enqueued() -> AbstractContextManager[Any]:
    return patch.object(emitting, "first_due_ms", lambda job, now_ms: job.at_ms or now_ms + job.delay_ms)


# What catches them ----------------------------------------------------------------------------


def sentences() -> Iterator[Callable[[Any], None]]:
    """The suite's tests, but for those of several cases and the one that fills a store to its limit."""
    suite = QueuesConformance()
    for name in dir(suite):
        test = getattr(suite, name)
        if name.startswith("test_") and "so_many_queues" not in name and len(signature(test).parameters) == 1:
            yield test


def fails(test: Callable[[Any], None], place: Any) -> bool:
    try:
        test(place)
    except (Exception, pytest.fail.Exception):
        return True
    return False


RARE = "fence_reused_after_a_rewind"
# The machine is shown to see anything at all; to see each bug takes it half a minute.
SEEN_SOON = ["release_is_an_attempt", "failures_never_bury", "refused_batch_leaves_what_came_before"]


def test_the_suite_passes_when_nothing_is_planted() -> None:
    assert not any(fails(sentence, MemoryPlace()) for sentence in sentences())


@pytest.mark.parametrize("name", [name for name in BUGS if name != RARE])
def test_the_suite_catches(name: str) -> None:
    with BUGS[name]():
        assert any(fails(sentence, MemoryPlace()) for sentence in sentences())


def test_the_rewinds_catch_a_fence_that_is_reused(tmp_path: Path) -> None:
    test = test_queues_rewound.test_no_fence_or_id_is_given_again_after_a_rewind
    with BUGS[RARE]():
        assert fails(test, REWINDING["memory"](tmp_path))


class Beside(Machine):
    """The model, which has the bug, beside SQLite, which has not."""

    name = "sqlite"


@pytest.mark.parametrize("name", SEEN_SOON)
def test_the_machine_catches(name: str) -> None:
    with BUGS[name](), pytest.raises((AssertionError, ExceptionGroup)):
        run_state_machine_as_test(
            Beside,
            settings=settings(
                max_examples=400,
                stateful_step_count=40,
                deadline=None,
                database=None,
                phases=[Phase.generate],
                report_multiple_bugs=False,
                suppress_health_check=list(HealthCheck),
            ),
        )
