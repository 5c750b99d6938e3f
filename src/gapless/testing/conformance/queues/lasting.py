"""What outlives the process: everything that was acknowledged, and leases too."""

from typing import Any

import pytest
from msgspec import structs

from gapless.core.errors import LeaseLost, StoreFailed
from gapless.core.jobs import Deed, Enqueued, Job, OnDead, Schedule, State
from gapless.core.stream import Head
from gapless.ports import Store
from gapless.testing.conformance.places import Place, entry, head, promise
from gapless.testing.conformance.queues.verbs import (
    QUEUE,
    STEADY,
    acked,
    as_repeated,
    claim,
    claim_one,
    counted,
    declare,
    enqueue,
    enqueue_one,
    extend,
    found,
    payloads,
    settle,
    try_settle,
)

__all__ = ["Lasting"]


async def reopened(place: Place, store: Store) -> Any:
    """Close a store, and open it as the next process would."""
    await store.close()
    again = await place.open()
    assert again.epoch != store.epoch
    return again


class Lasting:
    """What outlives the process: everything that was acknowledged, and leases too."""

    @promise
    async def test_queues_and_jobs_are_there_after_reopening(self, place: Place, store: Store) -> None:
        await declare(store, result_ms=60_000, on_dead=OnDead.STOP)
        await declare(store, "paused")
        await store.pause("paused", paused=True)
        ids = await enqueue(store, b"1", b"2", b"3", b"4", key="k", headers=b"{}")
        ids += await enqueue(store, b"5", delay_ms=500, expires_ms=500, priority=3)
        await settle(store, await claim_one(store), result=b"r")
        await settle(store, await claim_one(store), Deed.BURY, reason="bad", details="very")
        before = [await store.look(id) for id in ids]
        told = await store.queues()
        store = await reopened(place, store)
        assert [await store.look(id) for id in ids] == before
        again = await store.queues()
        assert {name: (info.options, info.paused) for name, info in again.items()} == {
            name: (info.options, info.paused) for name, info in told.items()
        }
        now = again[QUEUE].counted
        assert (now.ready, now.delayed, now.dead, now.done) == (2, 1, 1, 1)
        assert (now.enqueued, now.claimed, now.acked, now.failed, now.died) == (0, 0, 0, 0, 0)
        assert await claim(store) == []
        place.time_ms += 500 + 500
        assert await found(store, State.DEAD) == [b"2", b"5"]
        await store.purge(QUEUE, State.DEAD, None, limit=10)
        assert await acked(store) == [b"3", b"4"]
        await store.close()

    @promise
    async def test_a_lease_survives_a_restart_of_the_store(self, place: Place, store: Store) -> None:
        await declare(store, lease_ms=10_000)
        await enqueue(store, b"1", b"2", key="k")
        await enqueue(store, b"3")
        one, three = await claim(store, request="r")
        store = await reopened(place, store)
        assert await claim(store) == []
        assert await claim(store, request="r") == as_repeated([one, three])
        assert await extend(store, one, 20_000) == place.time_ms + 20_000
        assert (await settle(store, one)).state is State.GONE
        assert payloads(await claim(store)) == [b"2"]
        place.time_ms += 10_000
        assert isinstance(await try_settle(store, three), LeaseLost)
        await store.close()

    @promise
    async def test_a_lease_runs_out_while_the_store_is_closed(self, place: Place, store: Store) -> None:
        await declare(store, lease_ms=1_000)
        [id] = await enqueue(store, b"1")
        claimed = await claim_one(store)
        await store.close()
        place.time_ms += 5_000
        store = await reopened(place, store)
        assert isinstance(await try_settle(store, claimed), LeaseLost)
        view = await store.look(id)
        assert (view.state, view.due_ms) == (State.WAITING, claimed.lease_until_ms + STEADY.base_ms)
        assert (await claim_one(store)).alone
        await store.close()

    @promise
    async def test_a_repeated_settlement_is_answered_after_a_restart(
        self, place: Place, store: Store
    ) -> None:
        await declare(store)
        await enqueue(store, b"1", b"2")
        one, two = await claim(store)
        emit = [entry("s"), Job(QUEUE, b"3")]
        settled = await settle(store, one, emit=emit)
        await settle(store, two, Deed.BURY)
        store = await reopened(place, store)
        assert await settle(store, one, emit=emit) == structs.replace(settled, again=True)
        assert isinstance(await try_settle(store, two), LeaseLost)
        assert await head(store, "s") == Head(0, 1)
        assert payloads(await claim(store)) == [b"3"]
        await store.close()

    @promise
    async def test_what_makes_one_job_of_several_is_held_after_a_restart(
        self, place: Place, store: Store
    ) -> None:
        await declare(store)
        first = await enqueue_one(store, b"1", message_id="m")
        second = await enqueue_one(store, b"2", unique="u")
        store = await reopened(place, store)
        assert await enqueue_one(store, b"1", message_id="m") == Enqueued(first.id, fresh=False)
        assert await enqueue_one(store, b"2", unique="u") == Enqueued(second.id, fresh=False)
        await store.close()

    @promise
    async def test_attempts_strikes_and_turns_are_counted_on_after_a_restart(
        self, place: Place, store: Store
    ) -> None:
        await declare(store, fair=True)
        await enqueue(store, b"a1", b"a2", key="a")
        await enqueue(store, b"b1", key="b")
        for _ in range(2):
            await settle(store, await claim_one(store), Deed.RETRY, delay_ms=0)
            await settle(store, await claim_one(store), Deed.RETRY, delay_ms=0)
            store = await reopened(place, store)
        claimed = await claim_one(store)
        assert (claimed.data, claimed.attempt) == (b"a1", 3)
        assert (await settle(store, claimed, Deed.RETRY)).state is State.DEAD
        store = await reopened(place, store)
        assert (await claim_one(store)).data == b"b1"
        await store.close()

    @promise
    async def test_fences_and_ids_never_repeat_nor_their_numbers_fall_over_restarts(
        self, place: Place, store: Store
    ) -> None:
        await declare(store)
        fences: list[str] = []
        numbers: list[int] = []
        ids: list[str] = []
        for _ in range(4):
            for _ in range(3):
                ids += await enqueue(store, b"1")
                claimed = await claim_one(store)
                fences.append(claimed.fence)
                numbers.append(claimed.fence_number)
                await settle(store, claimed)
            place.time_ms -= 60_000
            store = await reopened(place, store)
        assert numbers == sorted(set(numbers))
        assert len(set(fences)) == len(set(ids)) == 12
        await store.close()

    @promise
    async def test_the_stores_time_goes_on_though_the_next_process_has_a_clock_that_lags(
        self, place: Place, store: Store
    ) -> None:
        await declare(store, lease_ms=1_000)
        await enqueue(store, b"1", b"2")
        claimed = await claim_one(store)
        before_ms = place.time_ms
        place.time_ms -= 3_600_000
        store = await reopened(place, store)
        assert payloads(await claim(store, lease_ms=5_000)) == [b"2"]
        [id] = await enqueue(store, b"3", delay_ms=10)
        assert (await store.look(id)).due_ms >= before_ms + 10
        assert (await store.look(claimed.id)).state is State.LEASED
        place.time_ms = before_ms + 1_000
        assert isinstance(await try_settle(store, claimed), LeaseLost)
        await store.close()

    @promise
    async def test_a_redriven_job_keeps_its_place_after_a_restart(self, place: Place, store: Store) -> None:
        await declare(store)
        await enqueue(store, b"1", b"2", key="k")
        await settle(store, await claim_one(store), Deed.BURY)
        await store.redrive(QUEUE, None, limit=1)
        store = await reopened(place, store)
        assert await acked(store) == [b"2", b"1"]
        await store.close()

    @promise
    async def test_a_tick_that_fired_does_not_fire_after_a_restart(self, place: Place, store: Store) -> None:
        await declare(store)
        await store.schedule(Schedule("a", QUEUE, b"s", 0))
        tick_ms = place.time_ms
        assert await store.fire("a", b"s", tick_ms, [Job(QUEUE, b"1")]) is True
        store = await reopened(place, store)
        assert (await store.schedules())[1] == [Schedule("a", QUEUE, b"s", tick_ms)]
        assert await store.fire("a", b"s", tick_ms, [Job(QUEUE, b"1")]) is False
        assert (await counted(store)).ready == 1
        await store.close()

    @promise
    async def test_a_closed_store_refuses_every_call_about_queues(self, place: Place, store: Store) -> None:
        await declare(store)
        await store.close()
        calls = [
            declare(store),
            store.drop(QUEUE),
            store.queues(),
            store.enqueue([[Job(QUEUE, b"1")]]),
            claim(store),
            store.extend([], 1_000),
            store.settle([]),
            store.cancel("1-x"),
            store.look("1-x"),
            store.browse(QUEUE, State.DEAD, limit=1),
            store.redrive(QUEUE, None, limit=1),
            store.purge(QUEUE, State.DEAD, None, limit=1),
            store.pause(QUEUE, paused=True),
            store.next_due_ms(QUEUE),
            store.schedule(Schedule("a", QUEUE, b"", 0)),
            store.unschedule("a"),
            store.schedules(),
            store.fire("a", b"", 1, []),
        ]
        for call in calls:
            with pytest.raises(StoreFailed):
                await call
