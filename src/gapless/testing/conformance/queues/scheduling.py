"""Recurring jobs: one firing a tick, in one step with what it enqueues."""

import asyncio

import pytest

from gapless.core.errors import BadRequest, LimitExceeded, UnknownQueue
from gapless.core.jobs import Job, Schedule, State
from gapless.ports import Store
from gapless.testing.conformance.places import Place, promise
from gapless.testing.conformance.queues.verbs import QUEUE, counted, declare, found

__all__ = ["Scheduling"]


class Scheduling:
    """Recurring jobs: one firing a tick, in one step with what it enqueues."""

    @promise
    async def test_schedules_are_kept_and_told_with_the_stores_time(self, place: Place, store: Store) -> None:
        await declare(store)
        await store.schedule(Schedule("b", QUEUE, b"spec", 5))
        await store.schedule(Schedule("a", QUEUE, b"", 0))
        place.time_ms += 7
        told = await store.schedules()
        assert told == (place.time_ms, [Schedule("a", QUEUE, b"", 0), Schedule("b", QUEUE, b"spec", 5)])
        assert await store.unschedule("a") is True
        assert await store.unschedule("a") is False
        assert [one.name for one in (await store.schedules())[1]] == ["b"]

    @promise
    async def test_the_last_tick_of_a_schedule_that_is_changed_never_falls(
        self, place: Place, store: Store
    ) -> None:
        await declare(store)
        await declare(store, "other")
        await store.schedule(Schedule("a", QUEUE, b"old", 5))
        await store.schedule(Schedule("a", "other", b"new", 99))
        assert (await store.schedules())[1] == [Schedule("a", "other", b"new", 99)]
        await store.schedule(Schedule("a", QUEUE, b"newer", 7))
        assert (await store.schedules())[1] == [Schedule("a", QUEUE, b"newer", 99)]

    @promise
    async def test_a_tick_fires_once_however_many_nodes_try(self, place: Place, store: Store) -> None:
        await declare(store)
        await store.schedule(Schedule("a", QUEUE, b"", 0))
        tick_ms = place.time_ms
        fired = await asyncio.gather(
            *(store.fire("a", b"", tick_ms, [Job(QUEUE, b"%d" % node)]) for node in range(5))
        )
        assert sorted(fired) == [False] * 4 + [True]
        assert len(await found(store, State.WAITING)) == 1
        assert (await store.schedules())[1] == [Schedule("a", QUEUE, b"", tick_ms)]

    @promise
    async def test_a_tick_lies_after_the_last_one_and_not_after_the_stores_time(
        self, place: Place, store: Store
    ) -> None:
        await declare(store)
        start_ms = place.time_ms
        await store.schedule(Schedule("a", QUEUE, b"", start_ms))
        job = [Job(QUEUE, b"x")]
        assert await store.fire("a", b"", start_ms, job) is False
        assert await store.fire("a", b"", start_ms + 10, job) is False
        place.time_ms += 10
        assert await store.fire("a", b"", start_ms + 11, job) is False
        assert await store.fire("a", b"", start_ms + 10, job) is True
        assert await store.fire("a", b"", start_ms + 5, job) is False
        assert (await counted(store)).ready == 1

    @promise
    async def test_a_schedule_that_was_changed_or_forgotten_does_not_fire(
        self, place: Place, store: Store
    ) -> None:
        await declare(store)
        await store.schedule(Schedule("a", QUEUE, b"old", 0))
        await store.schedule(Schedule("a", QUEUE, b"new", 0))
        assert await store.fire("a", b"old", place.time_ms, [Job(QUEUE, b"x")]) is False
        await store.unschedule("a")
        assert await store.fire("a", b"new", place.time_ms, [Job(QUEUE, b"x")]) is False
        assert await found(store, State.WAITING) == []

    @promise
    async def test_a_tick_without_jobs_is_passed_over(self, place: Place, store: Store) -> None:
        await declare(store)
        await store.schedule(Schedule("a", QUEUE, b"", 0))
        assert await store.fire("a", b"", place.time_ms, []) is True
        assert await store.fire("a", b"", place.time_ms, [Job(QUEUE, b"x")]) is False

    @promise
    async def test_a_tick_whose_jobs_are_refused_has_not_fired(self, place: Place, store: Store) -> None:
        await declare(store, waiting_max=2)
        await store.schedule(Schedule("a", QUEUE, b"", 0))
        good = Job(QUEUE, b"x")
        for wrong, error in (
            ([good, Job("unknown", b"")], UnknownQueue),
            ([good] * 3, LimitExceeded),
            ([good, Job(QUEUE, b"", priority=10)], BadRequest),
        ):
            with pytest.raises(error):
                await store.fire("a", b"", place.time_ms, wrong)
        assert await found(store, State.WAITING) == []
        assert await store.fire("a", b"", place.time_ms, [good]) is True

    @promise
    async def test_a_schedule_has_a_name(self, place: Place, store: Store) -> None:
        await declare(store)
        for wrong in ("", "s" * 10_000):
            with pytest.raises(BadRequest):
                await store.schedule(Schedule(wrong, QUEUE, b"", 0))
