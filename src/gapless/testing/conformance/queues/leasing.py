"""Leases and their fences: what `extend` promises, and what a lease that ran out leads to."""

import pytest

from gapless.core.errors import BadRequest, LeaseLost
from gapless.core.fences import fence_number
from gapless.core.job_rules import LAPSED
from gapless.core.jobs import Deed, Lease, Settlement, State
from gapless.core.limits import LEASE_MAX_MS, LEASE_MIN_MS
from gapless.ports import Store
from gapless.testing.conformance.places import Place, promise
from gapless.testing.conformance.queues.verbs import (
    STEADY,
    claim,
    claim_one,
    counted,
    declare,
    enqueue,
    extend,
    payloads,
    settle,
    try_extend,
    try_settle,
)

__all__ = ["Leasing"]


class Leasing:
    """Leases and their fences: what `extend` promises, and what a lease that ran out leads to."""

    @promise
    async def test_a_lease_lasts_as_asked_for_or_as_the_queue_says(self, place: Place, store: Store) -> None:
        await declare(store, lease_ms=5_000)
        await enqueue(store, b"1", b"2")
        assert (await claim_one(store)).lease_until_ms == place.time_ms + 5_000
        assert (await claim_one(store, lease_ms=700)).lease_until_ms == place.time_ms + 700

    @promise
    async def test_every_lease_has_a_fence_of_its_own_and_their_numbers_rise(
        self, place: Place, store: Store
    ) -> None:
        await declare(store)
        await enqueue(store, b"1", b"2", b"3")
        fences = [one.fence for one in await claim(store)]
        numbers = [fence_number(fence) for fence in fences]
        assert len(set(fences)) == 3
        assert numbers == sorted(set(numbers))
        assert place.time_ms * 1_000 <= numbers[0] < numbers[-1] < 2**53

    @promise
    async def test_a_fence_is_never_given_again(self, place: Place, store: Store) -> None:
        await declare(store)
        await enqueue(store, b"1")
        numbers = [0]
        for deed in (Deed.RELEASE, Deed.RETRY, Deed.RELEASE, Deed.BURY):
            claimed = await claim_one(store)
            assert claimed.fence_number == fence_number(claimed.fence) > numbers[-1]
            numbers.append(claimed.fence_number)
            await settle(store, claimed, deed, delay_ms=0)

    @promise
    async def test_a_lease_is_extended_from_now(self, place: Place, store: Store) -> None:
        await declare(store, lease_ms=1_000)
        await enqueue(store, b"1")
        claimed = await claim_one(store)
        for _ in range(5):
            place.time_ms += 900
            assert await extend(store, claimed, 1_000) == place.time_ms + 1_000
        assert await extend(store, claimed, 500) == place.time_ms + 500
        assert (await settle(store, claimed)).state is State.GONE

    @promise
    async def test_leases_are_extended_one_by_one(self, place: Place, store: Store) -> None:
        await declare(store)
        await enqueue(store, b"1", b"2", b"3")
        one, two, three = await claim(store)
        await settle(store, one)
        asked = [
            Lease(one.id, one.fence),
            Lease(two.id, three.fence),
            Lease(three.id, three.fence),
            Lease("none", three.fence),
        ]
        told = await store.extend(asked, 40_000)
        assert [type(answer) for answer in told] == [LeaseLost, LeaseLost, int, LeaseLost]

    @promise
    async def test_a_lease_is_as_long_as_the_limits_allow(self, place: Place, store: Store) -> None:
        for wrong in (0, -1, LEASE_MIN_MS - 1, LEASE_MAX_MS + 1):
            with pytest.raises(BadRequest):
                await store.extend([], wrong)

    @promise
    async def test_a_lease_that_ran_out_is_lost_though_nobody_else_has_the_job(
        self, place: Place, store: Store
    ) -> None:
        await declare(store, lease_ms=1_000)
        await enqueue(store, b"1")
        claimed = await claim_one(store)
        place.time_ms += 999
        assert await try_extend(store, claimed, 1_000) == place.time_ms + 1_000
        place.time_ms += 1_000
        assert isinstance(await try_extend(store, claimed, 1_000), LeaseLost)
        assert isinstance(await try_settle(store, claimed), LeaseLost)
        assert (await counted(store)).leased == 0

    @promise
    async def test_a_stale_lease_changes_nothing_once_the_job_is_claimed_again(
        self, place: Place, store: Store
    ) -> None:
        await declare(store, lease_ms=1_000)
        await enqueue(store, b"1")
        stale = await claim_one(store, worker="v")
        place.time_ms += 2_000
        claimed = await claim_one(store)
        for deed in (Deed.ACK, Deed.RETRY, Deed.RELEASE, Deed.BURY):
            assert isinstance(await try_settle(store, stale, deed), LeaseLost)
        assert isinstance(await try_extend(store, stale, 60_000), LeaseLost)
        view = await store.look(claimed.id)
        assert (view.state, view.due_ms, view.worker) == (State.LEASED, claimed.lease_until_ms, "w")
        assert (await settle(store, claimed)).state is State.GONE

    @promise
    async def test_a_fence_is_of_one_job_and_of_no_other_id(self, place: Place, store: Store) -> None:
        await declare(store)
        await enqueue(store, b"1")
        claimed = await claim_one(store)
        wrong = claimed.id.partition("-")[0] + "-another"
        assert isinstance((await store.extend([Lease(wrong, claimed.fence)], 60_000))[0], LeaseLost)
        [settled] = await store.settle([Settlement(wrong, claimed.fence, Deed.ACK)])
        assert isinstance(settled, LeaseLost)
        assert (await store.look(claimed.id)).state is State.LEASED

    @promise
    async def test_a_lapse_is_a_failure_by_the_policy_whose_delay_counts_from_when_the_lease_ran_out(
        self, place: Place, store: Store
    ) -> None:
        await declare(store, lease_ms=500)
        [id] = await enqueue(store, b"1")
        start_ms = place.time_ms
        await claim_one(store)
        place.time_ms += 1_200
        view = await store.look(id)
        assert (view.state, view.due_ms, view.reason) == (State.WAITING, start_ms + 1_500, LAPSED)
        assert await claim(store) == []
        assert (await counted(store)).failed == 1
        place.time_ms += 300
        claimed = await claim_one(store)
        assert (claimed.attempt, claimed.lease_until_ms) == (2, place.time_ms + 500)

    @promise
    async def test_a_job_whose_lease_ran_out_is_claimed_by_itself(self, place: Place, store: Store) -> None:
        await declare(store, lease_ms=500)
        await enqueue(store, b"1", b"2")
        await claim(store)
        place.time_ms += 1_600
        await enqueue(store, b"3", b"4", b"5")
        [one] = await claim(store)
        [two] = await claim(store)
        rest = await claim(store)
        assert [(job.data, job.alone) for job in (one, two)] == [(b"1", True), (b"2", True)]
        assert [(job.data, job.alone) for job in rest] == [(b"3", False), (b"4", False), (b"5", False)]

    @promise
    async def test_a_claim_ends_before_a_job_that_is_to_be_alone(self, place: Place, store: Store) -> None:
        await declare(store, lease_ms=500)
        await enqueue(store, b"alone")
        await claim(store)
        await enqueue(store, b"1", delay_ms=600)
        place.time_ms += 1_600
        await enqueue(store, b"2")
        assert payloads(await claim(store)) == [b"1"]
        assert payloads(await claim(store)) == [b"alone"]
        assert payloads(await claim(store)) == [b"2"]

    @promise
    async def test_a_lapse_counts_towards_burial_only_if_the_lease_was_alone(
        self, place: Place, store: Store
    ) -> None:
        await declare(store, lease_ms=500)
        [id] = await enqueue(store, b"1")
        seen = []
        while claimed := await claim(store):
            seen.append((claimed[0].attempt, claimed[0].alone))
            place.time_ms += 500 + STEADY.cap_ms
        assert seen == [(1, False), (2, True), (3, True), (4, True)]
        view = await store.look(id)
        assert (view.state, view.reason, view.attempt) == (State.DEAD, LAPSED, 4)
        assert view.ended_ms == place.time_ms - STEADY.cap_ms

    @promise
    async def test_a_release_leaves_a_job_alone_a_failure_that_is_told_does_not(
        self, place: Place, store: Store
    ) -> None:
        await declare(store, lease_ms=500)
        await enqueue(store, b"1")
        await claim_one(store)
        place.time_ms += 1_500
        for attempt in (2, 2):
            claimed = await claim_one(store)
            assert (claimed.alone, claimed.attempt) == (True, attempt)
            await settle(store, claimed, Deed.RELEASE)
        await settle(store, await claim_one(store), Deed.RETRY, delay_ms=0)
        claimed = await claim_one(store)
        assert (claimed.alone, claimed.attempt) == (False, 3)
