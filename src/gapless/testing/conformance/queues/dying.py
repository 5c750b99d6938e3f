"""Dead letters: what dies by itself, how long it is kept, and how it is brought back."""

from typing import Any

import pytest
from msgspec import structs

from gapless.backends import Options
from gapless.core.errors import BadRequest, PositionConflict, UnknownJob
from gapless.core.job_rules import EXPIRED
from gapless.core.jobs import Deed, State
from gapless.core.limits import BROWSE_JOBS_MAX
from gapless.core.stream import Head, Position
from gapless.ports import Store
from gapless.testing.conformance.places import Place, entry, head, promise
from gapless.testing.conformance.queues.verbs import (
    QUEUE,
    acked,
    claim,
    claim_one,
    counted,
    declare,
    enqueue,
    enqueue_one,
    found,
    payloads,
    settle,
)

__all__ = ["Dying"]


async def bury(store: Store, *datas: bytes, **rest: Any) -> list[str]:
    """Enqueue jobs and bury each."""
    ids = []
    for data in datas:
        ids += await enqueue(store, data, **rest)
        await settle(store, await claim_one(store), Deed.BURY, reason="bad", details="very")
    return ids


class Dying:
    """Dead letters: what dies by itself, how long it is kept, and how it is brought back."""

    @promise
    async def test_a_job_that_is_not_claimed_in_time_is_dead(self, place: Place, store: Store) -> None:
        await declare(store)
        [id] = await enqueue(store, b"1", delay_ms=500, expires_ms=1_000)
        due_ms = place.time_ms + 500
        place.time_ms = due_ms + 999
        assert (await store.look(id)).state is State.WAITING
        place.time_ms += 700
        view = await store.look(id)
        assert (view.state, view.reason, view.ended_ms) == (State.DEAD, EXPIRED, due_ms + 1_000)
        assert (view.attempt, view.worker) == (0, "")
        assert await claim(store) == []
        told = await counted(store)
        assert (told.dead, told.died, told.failed) == (1, 1, 0)

    @promise
    async def test_a_job_that_was_claimed_in_time_does_not_expire(self, place: Place, store: Store) -> None:
        await declare(store, lease_ms=1_500)
        await enqueue(store, b"1", b"2", b"3", expires_ms=1_000)
        told, again, _ = await claim(store)
        await settle(store, told, Deed.RETRY)
        await settle(store, again, Deed.RETRY, delay_ms=0)
        await settle(store, await claim_one(store), Deed.RELEASE)
        place.time_ms += 5_000
        assert await found(store, State.WAITING) == [b"1", b"2", b"3"]

    @promise
    async def test_a_job_whose_only_claim_was_released_expires_as_if_it_had_not_been_claimed(
        self, place: Place, store: Store
    ) -> None:
        await declare(store)
        [id] = await enqueue(store, b"1", expires_ms=1_000)
        due_ms = place.time_ms
        place.time_ms += 400
        assert (await settle(store, await claim_one(store), Deed.RELEASE)).state is State.WAITING
        place.time_ms += 599
        assert await found(store, State.WAITING) == [b"1"]
        assert (await settle(store, await claim_one(store), Deed.RELEASE)).state is State.WAITING
        place.time_ms += 100
        view = await store.look(id)
        assert (view.state, view.reason, view.ended_ms) == (State.DEAD, EXPIRED, due_ms + 1_000)
        told = await counted(store)
        assert (told.ready, told.dead, told.died, told.failed) == (0, 1, 1, 0)

    @promise
    async def test_a_job_whose_time_to_be_started_passed_while_it_was_leased_dies_when_it_is_released(
        self, place: Place, store: Store
    ) -> None:
        await declare(store)
        [id] = await enqueue(store, b"1", key="k", expires_ms=1_000)
        await enqueue(store, b"2", key="k")
        claimed = await claim_one(store)
        place.time_ms += 2_000
        settled = await settle(store, claimed, Deed.RELEASE, delay_ms=500)
        assert (settled.state, settled.due_ms) == (State.DEAD, 0)
        assert await settle(store, claimed, Deed.RELEASE, delay_ms=500) == structs.replace(
            settled, again=True
        )
        view = await store.look(id)
        assert (view.state, view.reason, view.ended_ms) == (State.DEAD, EXPIRED, place.time_ms)
        told = await counted(store)
        assert (told.ready, told.leased, told.died, told.failed) == (1, 0, 1, 0)
        assert payloads(await claim(store)) == [b"2"]

    @promise
    async def test_a_job_expires_in_a_paused_queue_and_behind_the_head_of_its_line(
        self, place: Place, store: Store
    ) -> None:
        await declare(store)
        await enqueue(store, b"a1", key="a")
        await enqueue(store, b"a2", key="a", expires_ms=100)
        await claim_one(store)
        await enqueue(store, b"1", expires_ms=100)
        await store.pause(QUEUE, paused=True)
        place.time_ms += 100
        assert await found(store, State.DEAD) == [b"a2", b"1"]

    @promise
    async def test_dead_jobs_are_kept_for_so_long_or_for_good(self, place: Place, store: Store) -> None:
        await declare(store)
        await declare(store, "brief", dead_ms=1_000)
        [kept] = await bury(store, b"1")
        [gone] = await enqueue(store, b"1", queue="brief")
        await settle(store, await claim_one(store, queue="brief"), Deed.BURY)
        place.time_ms += 999
        assert (await store.look(gone)).state is State.DEAD
        place.time_ms += 1
        with pytest.raises(UnknownJob):
            await store.look(gone)
        place.time_ms += 1_000_000_000
        assert (await store.look(kept)).state is State.DEAD

    @promise
    async def test_how_long_dead_jobs_are_kept_may_be_changed(self, place: Place, store: Store) -> None:
        await declare(store, dead_ms=1_000)
        await bury(store, b"1")
        place.time_ms += 500
        await bury(store, b"2")
        await declare(store, dead_ms=5_000)
        place.time_ms += 4_499
        assert await found(store, State.DEAD) == [b"1", b"2"]
        await declare(store, dead_ms=4_999)
        assert await found(store, State.DEAD) == [b"2"]

    @promise
    async def test_a_redriven_job_waits_as_if_new(self, place: Place, store: Store) -> None:
        await declare(store)
        [id] = await bury(store, b"1", key="k", headers=b"{}", priority=4)
        place.time_ms += 50
        assert await store.redrive(QUEUE, [id], limit=1) == 1
        view = await store.look(id)
        assert (view.state, view.attempt, view.due_ms) == (State.WAITING, 0, place.time_ms)
        assert (view.reason, view.details, view.worker, view.ended_ms) == ("", "", "", 0)
        assert (view.key, view.headers, view.priority) == ("k", b"{}", 4)
        for _ in range(2):
            claimed = await claim_one(store)
            assert (await settle(store, claimed, Deed.RETRY, delay_ms=0)).state is State.WAITING
        assert (await settle(store, await claim_one(store), Deed.RETRY)).state is State.DEAD

    @promise
    async def test_a_redriven_job_joins_the_end_of_its_line(self, place: Place, store: Store) -> None:
        await declare(store)
        await bury(store, b"1", b"2", key="a")
        await enqueue(store, b"3", b"4", key="a")
        assert await store.redrive(QUEUE, None, limit=10) == 2
        await enqueue(store, b"5", key="a")
        assert await acked(store) == [b"3", b"4", b"1", b"2", b"5"]

    @promise
    async def test_redrive_takes_the_oldest_or_those_that_are_named(self, place: Place, store: Store) -> None:
        await declare(store)
        await declare(store, "other")
        ids = await bury(store, b"1", b"2", b"3", b"4", b"5")
        [waiting] = await enqueue(store, b"6", delay_ms=1)
        [elsewhere] = await enqueue(store, b"7", queue="other")
        await settle(store, await claim_one(store, queue="other"), Deed.BURY)
        assert await store.redrive(QUEUE, None, limit=2) == 2
        asked = [ids[4], ids[3], ids[3], ids[0], waiting, elsewhere, "none", "9-"]
        assert await store.redrive(QUEUE, asked, limit=1) == 2
        assert payloads(await claim(store)) == [b"1", b"2", b"4", b"5"]
        assert await found(store, State.DEAD) == [b"3"]
        assert await store.redrive(QUEUE, [], limit=1) == 0

    @promise
    async def test_redrive_skips_dedup_and_bounds(self, place: Place, store: Store) -> None:
        await declare(store, waiting_max=1)
        [id] = await bury(store, b"1", message_id="m", unique="u")
        second = await enqueue_one(store, b"2", unique="u")
        assert second.fresh
        assert await store.redrive(QUEUE, [id], limit=1) == 1
        assert (await counted(store)).ready == 2

    @promise
    async def test_an_expired_job_that_is_redriven_has_its_time_anew(
        self, place: Place, store: Store
    ) -> None:
        await declare(store)
        await enqueue(store, b"1", expires_ms=1_000)
        place.time_ms += 1_000
        assert await store.redrive(QUEUE, None, limit=1) == 1
        place.time_ms += 999
        assert await found(store, State.WAITING) == [b"1"]
        place.time_ms += 1
        assert await found(store, State.DEAD) == [b"1"]

    @promise
    async def test_the_payload_of_one_redriven_job_may_be_replaced(self, place: Place, store: Store) -> None:
        await declare(store)
        ids = await bury(store, b"1", b"2")
        for wrong in (None, [], ids):
            with pytest.raises(BadRequest):
                await store.redrive(QUEUE, wrong, limit=1, data=b"3")
        with pytest.raises(BadRequest):
            await store.redrive(QUEUE, ids[:1], limit=1, data=bytes(Options().message_bytes_max + 1))
        assert await store.redrive(QUEUE, ids[:1], limit=1, data=b"3") == 1
        assert payloads(await claim(store)) == [b"3"]
        assert (await store.look(ids[0])).data == b"3"

    @promise
    async def test_purge_removes_the_oldest_or_those_that_are_named(self, place: Place, store: Store) -> None:
        await declare(store, result_ms=60_000)
        await enqueue(store, b"done")
        await settle(store, await claim_one(store))
        dead = await bury(store, b"1", b"2", b"3")
        waiting = await enqueue(store, b"4", b"5", delay_ms=1)
        assert await store.purge(QUEUE, State.DEAD, None, limit=1) == 1
        assert await store.purge(QUEUE, State.DEAD, [dead[0], dead[2], waiting[0]], limit=1) == 1
        assert await found(store, State.DEAD) == [b"2"]
        assert await store.purge(QUEUE, State.WAITING, None, limit=10) == 2
        assert await store.purge(QUEUE, State.DONE, None, limit=10) == 1
        assert await store.purge(QUEUE, State.DONE, None, limit=10) == 0
        with pytest.raises(UnknownJob):
            await store.look(dead[0])

    @promise
    async def test_what_is_leased_is_not_purged(self, place: Place, store: Store) -> None:
        await declare(store)
        await enqueue(store, b"1")
        claimed = await claim_one(store)
        for state in (State.LEASED, State.GONE):
            with pytest.raises(BadRequest):
                await store.purge(QUEUE, state, None, limit=1)
        assert await store.purge(QUEUE, State.WAITING, [claimed.id], limit=1) == 0
        assert (await settle(store, claimed)).state is State.GONE

    @promise
    async def test_a_selection_has_its_limits(self, place: Place, store: Store) -> None:
        await declare(store)
        for wrong in (0, BROWSE_JOBS_MAX + 1):
            with pytest.raises(BadRequest):
                await store.redrive(QUEUE, None, limit=wrong)
            with pytest.raises(BadRequest):
                await store.purge(QUEUE, State.DEAD, None, limit=wrong)
        with pytest.raises(BadRequest):
            await store.redrive(QUEUE, ["1-x"] * (BROWSE_JOBS_MAX + 1), limit=1)

    @promise
    async def test_redrive_and_purge_are_audited_with_them_or_do_not_hold(
        self, place: Place, store: Store
    ) -> None:
        await declare(store)
        await bury(store, b"1", b"2")
        wrong = entry("audit", expected=Position(store.epoch, 7))
        with pytest.raises(PositionConflict):
            await store.redrive(QUEUE, None, limit=1, audit=wrong)
        with pytest.raises(PositionConflict):
            await store.purge(QUEUE, State.DEAD, None, limit=1, audit=wrong)
        assert (await counted(store)).dead == 2
        assert await store.redrive(QUEUE, None, limit=1, audit=entry("audit")) == 1
        assert await store.purge(QUEUE, State.DEAD, None, limit=1, audit=entry("audit")) == 1
        assert await store.purge(QUEUE, State.DEAD, None, limit=1, audit=entry("audit")) == 0
        assert await store.redrive(QUEUE, None, limit=1, audit=entry("audit")) == 0
        assert await head(store, "audit") == Head(0, 2)
