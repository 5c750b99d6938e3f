"""What `declare`, `drop`, `queues` and `pause` promise."""

import asyncio
from collections.abc import Awaitable
from typing import Any

import pytest
from msgspec import structs

from gapless.core.errors import (
    BadRequest,
    LeaseLost,
    LimitExceeded,
    PositionConflict,
    UnknownJob,
    UnknownQueue,
)
from gapless.core.jobs import Job, OnDead, QueueOptions, Schedule, State
from gapless.core.limits import LEASE_MAX_MS, LEASE_MIN_MS, QUEUE_NAME_BYTES_MAX, QUEUES_MAX
from gapless.core.retry import Retry
from gapless.core.stream import Head, Position
from gapless.ports import Store
from gapless.testing.conformance.places import Place, entry, head, promise
from gapless.testing.conformance.queues.verbs import (
    QUEUE,
    claim,
    claim_one,
    declare,
    enqueue,
    enqueue_one,
    payloads,
    try_enqueue,
    try_settle,
)

__all__ = ["Declaring"]


class Declaring:
    """What `declare`, `drop`, `queues` and `pause` promise."""

    @promise
    async def test_a_queue_is_new_once(self, place: Place, store: Store) -> None:
        assert await store.declare("a", QueueOptions()) is True
        assert await store.declare("a", QueueOptions()) is False
        assert await store.declare("b", QueueOptions()) is True

    @promise
    async def test_queues_are_told_with_their_options_by_name(self, place: Place, store: Store) -> None:
        options = QueueOptions(
            retry=Retry(attempts_max=7, delays_ms=(1, 2)),
            lease_ms=5_000,
            in_flight_max=3,
            in_flight_per_worker_max=2,
            ordered=False,
            fair=True,
            on_dead=OnDead.STOP,
            result_ms=4,
            dead_ms=5,
            waiting_max=6,
        )
        await store.declare("b", options)
        await store.declare("a", QueueOptions())
        told = await store.queues()
        assert list(told) == ["a", "b"]
        assert (told["b"].options, told["b"].paused) == (options, False)
        assert told["a"].options == QueueOptions()

    @promise
    async def test_a_queue_that_is_declared_again_behaves_so_from_now_on(
        self, place: Place, store: Store
    ) -> None:
        await declare(store, in_flight_max=1)
        await enqueue(store, b"1", b"2")
        assert payloads(await claim(store)) == [b"1"]
        await declare(store, lease_ms=7_000)
        [second] = await claim(store)
        assert (second.data, second.lease_until_ms) == (b"2", place.time_ms + 7_000)

    @promise
    async def test_an_unknown_queue_is_an_error_and_is_not_made(self, place: Place, store: Store) -> None:
        calls: list[Awaitable[Any]] = [
            store.drop(QUEUE),
            store.claim(QUEUE, worker="w", limit=1),
            store.browse(QUEUE, State.WAITING, limit=1),
            store.redrive(QUEUE, None, limit=1),
            store.purge(QUEUE, State.DEAD, None, limit=1),
            store.pause(QUEUE, paused=True),
            store.next_due_ms(QUEUE),
            store.schedule(Schedule("s", QUEUE, b"", 0)),
            enqueue_one(store),
        ]
        for call in calls:
            with pytest.raises(UnknownQueue):
                await call
        assert await store.queues() == {}

    @promise
    async def test_options_beyond_their_limits_are_refused(self, place: Place, store: Store) -> None:
        good = QueueOptions()
        wrong: list[dict[str, Any]] = [
            {"lease_ms": LEASE_MIN_MS - 1},
            {"lease_ms": LEASE_MAX_MS + 1},
            {"in_flight_max": -1},
            {"dead_ms": -1},
            {"result_ms": 2**62},
            {"retry": Retry(attempts_max=0)},
            {"retry": Retry(attempts_max=2_000)},
            {"retry": Retry(factor=0.5)},
            {"retry": Retry(factor=float("nan"))},
            {"retry": Retry(base_ms=-1)},
            {"retry": Retry(delays_ms=(1, -1))},
        ]
        for changes in wrong:
            with pytest.raises(BadRequest):
                await store.declare(QUEUE, structs.replace(good, **changes))
        for name in ("", "q" * (QUEUE_NAME_BYTES_MAX + 1), "ä" * (QUEUE_NAME_BYTES_MAX // 2 + 1), "q\n"):
            with pytest.raises(BadRequest):
                await store.declare(name, good)
        assert await store.queues() == {}

    @promise
    async def test_there_are_only_so_many_queues(self, place: Place, store: Store) -> None:
        names = [f"q{number}" for number in range(QUEUES_MAX)]
        for start in range(0, QUEUES_MAX, 500):
            await asyncio.gather(
                *(store.declare(name, QueueOptions()) for name in names[start : start + 500])
            )
        with pytest.raises(LimitExceeded):
            await store.declare("more", QueueOptions())
        assert await store.declare(names[0], QueueOptions(lease_ms=1_000)) is False
        await store.drop(names[1])
        assert await store.declare("more", QueueOptions()) is True

    @promise
    async def test_a_dropped_queue_is_gone_with_its_jobs(self, place: Place, store: Store) -> None:
        await declare(store)
        await declare(store, "other")
        ids = await enqueue(store, b"1", b"2", b"3")
        await enqueue(store, b"4", delay_ms=5_000)
        await enqueue(store, b"kept", queue="other")
        claimed = await claim_one(store)
        await store.schedule(Schedule("s", QUEUE, b"", 0))
        assert await store.drop(QUEUE) == 4
        assert list(await store.queues()) == ["other"]
        for id in ids:
            with pytest.raises(UnknownJob):
                await store.look(id)
        assert isinstance(await try_settle(store, claimed), LeaseLost)
        assert isinstance(await try_enqueue(store, Job(QUEUE, b"5")), UnknownQueue)
        assert (await store.schedules())[1] == []
        await declare(store)
        assert await claim(store) == []
        assert payloads(await claim(store, queue="other")) == [b"kept"]

    @promise
    async def test_a_paused_queue_gives_nothing_and_takes_jobs(self, place: Place, store: Store) -> None:
        await declare(store)
        await enqueue(store, b"1")
        await store.pause(QUEUE, paused=True)
        await enqueue(store, b"2")
        assert await claim(store) == []
        assert (await store.queues())[QUEUE].paused is True
        await store.declare(QUEUE, QueueOptions())
        assert await claim(store) == []
        await store.pause(QUEUE, paused=False)
        assert payloads(await claim(store)) == [b"1", b"2"]
        assert (await store.queues())[QUEUE].paused is False

    @promise
    async def test_a_pause_is_audited_with_it_or_does_not_hold(self, place: Place, store: Store) -> None:
        await declare(store)
        await store.pause(QUEUE, paused=True, audit=entry("audit"))
        assert await head(store, "audit") == Head(0, 1)
        with pytest.raises(PositionConflict):
            await store.pause(QUEUE, paused=False, audit=entry("audit", expected=Position(store.epoch, 7)))
        assert (await store.queues())[QUEUE].paused is True
