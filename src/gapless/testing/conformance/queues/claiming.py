"""What `claim` promises: the order, the bounds, and the same answer to a repeat."""

import pytest

from gapless.core.errors import BadRequest
from gapless.core.jobs import Deed, Job
from gapless.core.limits import CLAIM_BYTES_MAX, CLAIM_JOBS_MAX, LEASE_MAX_MS, LEASE_MIN_MS, SETTLED_MS
from gapless.ports import Store
from gapless.testing.conformance.places import Place, promise
from gapless.testing.conformance.queues.verbs import (
    QUEUE,
    as_repeated,
    claim,
    claim_one,
    declare,
    enqueue,
    extend,
    payloads,
    settle,
    try_enqueue,
)

__all__ = ["Claiming"]


class Claiming:
    """What `claim` promises: the order, the bounds, and the same answer to a repeat."""

    @promise
    async def test_claims_go_by_priority_then_by_when_jobs_fell_due_then_by_age(
        self, place: Place, store: Store
    ) -> None:
        await declare(store)
        await enqueue(store, b"5", delay_ms=20)
        await enqueue(store, b"4", delay_ms=10)
        await enqueue(store, b"2", b"3")
        await enqueue(store, b"1", priority=1, delay_ms=20)
        await enqueue(store, b"0", priority=9, delay_ms=20)
        place.time_ms += 20
        await enqueue(store, b"6")
        assert payloads(await claim(store)) == [b"%d" % number for number in range(7)]

    @promise
    async def test_a_retried_job_goes_by_when_it_is_due_again(self, place: Place, store: Store) -> None:
        await declare(store)
        await enqueue(store, b"1")
        await settle(store, await claim_one(store), Deed.RETRY, delay_ms=10)
        place.time_ms += 5
        await enqueue(store, b"2")
        place.time_ms += 10
        assert payloads(await claim(store)) == [b"2", b"1"]

    @promise
    async def test_a_claim_takes_no_more_than_asked_for(self, place: Place, store: Store) -> None:
        await declare(store)
        await enqueue(store, b"1", b"2", b"3")
        assert payloads(await claim(store, 2)) == [b"1", b"2"]
        assert payloads(await claim(store, 2)) == [b"3"]
        assert await claim(store, 2) == []

    @promise
    async def test_a_claim_takes_no_more_than_the_limit(self, place: Place, store: Store) -> None:
        await declare(store)
        for _ in range(2):
            assert isinstance(await try_enqueue(store, *[Job(QUEUE, b"")] * CLAIM_JOBS_MAX), list)
        assert len(await claim(store, 10 * CLAIM_JOBS_MAX)) == CLAIM_JOBS_MAX

    @promise
    async def test_a_claim_weighs_no_more_than_the_limit(self, place: Place, store: Store) -> None:
        await declare(store)
        size = 50_000
        assert isinstance(await try_enqueue(store, *[Job(QUEUE, bytes(size - 100), bytes(100))] * 100), list)
        assert len(await claim(store)) == CLAIM_BYTES_MAX // size

    @promise
    async def test_a_claim_that_makes_no_sense_is_refused(self, place: Place, store: Store) -> None:
        await declare(store)
        for wrong in (0, -1):
            with pytest.raises(BadRequest):
                await claim(store, wrong)
        for lease_ms in (-1, LEASE_MIN_MS - 1, LEASE_MAX_MS + 1):
            with pytest.raises(BadRequest):
                await claim(store, lease_ms=lease_ms)
        with pytest.raises(BadRequest):
            await claim(store, worker="")

    @promise
    async def test_only_so_many_jobs_of_a_queue_are_in_flight(self, place: Place, store: Store) -> None:
        await declare(store, in_flight_max=3)
        await enqueue(store, b"1", b"2", b"3", b"4", b"5")
        first = await claim(store, 2, worker="v")
        assert payloads(await claim(store)) == [b"3"]
        assert await claim(store) == []
        await settle(store, first[0])
        assert payloads(await claim(store)) == [b"4"]
        place.time_ms += 29_000
        await settle(store, first[1], Deed.RETRY, delay_ms=60_000)
        assert payloads(await claim(store)) == [b"5"]

    @promise
    async def test_a_lease_that_ran_out_is_not_in_flight(self, place: Place, store: Store) -> None:
        await declare(store, in_flight_max=1, lease_ms=1_000)
        await enqueue(store, b"1", b"2")
        await claim_one(store)
        place.time_ms += 1_000
        assert payloads(await claim(store)) == [b"2"]

    @promise
    async def test_only_so_many_jobs_of_a_worker_are_in_flight(self, place: Place, store: Store) -> None:
        await declare(store, in_flight_per_worker_max=2, in_flight_max=3)
        await enqueue(store, b"1", b"2", b"3", b"4")
        first = await claim(store, worker="v")
        assert payloads(first) == [b"1", b"2"]
        assert await claim(store, worker="v") == []
        assert payloads(await claim(store, worker="u")) == [b"3"]
        await settle(store, first[0])
        assert payloads(await claim(store, worker="v")) == [b"4"]

    @promise
    async def test_a_repeated_claim_returns_the_same_jobs_and_burns_no_attempt(
        self, place: Place, store: Store
    ) -> None:
        await declare(store)
        await enqueue(store, b"1", b"2", b"3")
        first = await claim(store, 2, request="r")
        assert not any(job.again for job in first)
        assert await claim(store, 2, request="r") == as_repeated(first)
        place.time_ms += 10_000
        await settle(store, first[0])
        until_ms = await extend(store, first[1], 60_000)
        [again] = await claim(store, 2, request="r")
        assert (again.id, again.fence, again.attempt) == (first[1].id, first[1].fence, 1)
        assert again.again
        assert again.lease_until_ms == until_ms
        assert payloads(await claim(store, request="s")) == [b"3"]

    @promise
    async def test_a_repeat_is_of_the_same_worker_and_queue(self, place: Place, store: Store) -> None:
        await declare(store)
        await declare(store, "other")
        await enqueue(store, b"1", b"2")
        await enqueue(store, b"3", queue="other")
        assert payloads(await claim(store, 1, request="r")) == [b"1"]
        assert payloads(await claim(store, 1, request="r", worker="v")) == [b"2"]
        assert payloads(await claim(store, 1, request="r", queue="other")) == [b"3"]

    @promise
    async def test_a_claim_of_which_no_lease_lasts_is_made_anew(self, place: Place, store: Store) -> None:
        await declare(store, lease_ms=1_000)
        await enqueue(store, b"1")
        await settle(store, (await claim(store, request="r"))[0])
        assert await claim(store, request="r") == []
        await enqueue(store, b"2")
        first = await claim(store, request="r")
        assert payloads(first) == [b"2"]
        place.time_ms += 2_000
        [again] = await claim(store, request="r")
        assert (again.id, again.attempt, again.again) == (first[0].id, 2, False)
        assert again.fence != first[0].fence

    @promise
    async def test_a_claim_is_remembered_only_for_so_long(self, place: Place, store: Store) -> None:
        await declare(store, lease_ms=LEASE_MAX_MS)
        await enqueue(store, b"1", b"2")
        first = await claim(store, 1, request="r")
        place.time_ms += SETTLED_MS - 1
        assert await claim(store, 1, request="r") == as_repeated(first)
        place.time_ms += 3 * SETTLED_MS
        assert payloads(await claim(store, 1, request="r")) == [b"2"]

    @promise
    async def test_a_paused_queue_repeats_a_claim(self, place: Place, store: Store) -> None:
        await declare(store)
        await enqueue(store, b"1")
        first = await claim(store, request="r")
        await store.pause(QUEUE, paused=True)
        assert await claim(store, request="r") == as_repeated(first)

    @promise
    async def test_jobs_of_one_worker_are_not_given_to_another(self, place: Place, store: Store) -> None:
        await declare(store)
        await enqueue(store, *(b"%d" % number for number in range(50)))
        seen: list[bytes] = []
        while claimed := await claim(store, 3, worker=f"w{len(seen)}"):
            seen += payloads(claimed)
        assert sorted(seen, key=int) == [b"%d" % number for number in range(50)]
