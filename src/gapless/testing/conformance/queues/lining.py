"""Lines: the order of jobs that have a key, and what holds it up."""

import pytest

from gapless.core.jobs import Deed, Job, OnDead, State
from gapless.ports import Store
from gapless.testing.conformance.places import Place, promise
from gapless.testing.conformance.queues.verbs import (
    QUEUE,
    acked,
    claim,
    claim_one,
    declare,
    enqueue,
    enqueue_one,
    extend,
    payloads,
    settle,
    try_enqueue,
)

__all__ = ["Lining"]


class Lining:
    """Lines: the order of jobs that have a key, and what holds it up."""

    @promise
    async def test_one_job_of_a_key_is_in_flight_within_a_claim_too(self, place: Place, store: Store) -> None:
        await declare(store)
        await enqueue(store, b"a1", b"a2", key="a")
        await enqueue(store, b"b1", key="b")
        await enqueue(store, b"1", b"2")
        first = await claim(store)
        assert payloads(first) == [b"a1", b"b1", b"1", b"2"]
        assert await claim(store, worker="other") == []
        await settle(store, first[0])
        assert payloads(await claim(store)) == [b"a2"]

    @promise
    async def test_jobs_of_a_key_run_in_the_order_in_which_they_were_enqueued(
        self, place: Place, store: Store
    ) -> None:
        await declare(store)
        numbers = [b"%d" % number for number in range(20)]
        assert isinstance(await try_enqueue(store, *(Job(QUEUE, one, key="k") for one in numbers)), list)
        assert await acked(store) == numbers

    @promise
    async def test_a_head_that_waits_for_its_retry_holds_its_line_up_and_no_other(
        self, place: Place, store: Store
    ) -> None:
        await declare(store)
        await enqueue(store, b"a1", b"a2", key="a")
        await enqueue(store, b"b1", key="b")
        await settle(store, await claim_one(store), Deed.RETRY, delay_ms=1_000)
        assert payloads(await claim(store)) == [b"b1"]
        place.time_ms += 999
        assert await claim(store) == []
        place.time_ms += 1
        assert await acked(store) == [b"a1", b"a2"]

    @promise
    async def test_a_head_whose_lease_ran_out_holds_its_line_up(self, place: Place, store: Store) -> None:
        await declare(store, lease_ms=500)
        await enqueue(store, b"a1", b"a2", key="a")
        await claim_one(store)
        place.time_ms += 500
        assert await claim(store) == []
        place.time_ms += 1_000
        assert payloads(await claim(store)) == [b"a1"]

    @promise
    async def test_a_released_head_is_the_head_again(self, place: Place, store: Store) -> None:
        await declare(store)
        await enqueue(store, b"a1", b"a2", key="a")
        await settle(store, await claim_one(store), Deed.RELEASE)
        assert await acked(store) == [b"a1", b"a2"]

    @promise
    async def test_priority_never_ranks_within_a_line(self, place: Place, store: Store) -> None:
        await declare(store)
        await enqueue(store, b"a1", key="a", priority=0)
        await enqueue(store, b"a2", key="a", priority=9)
        await enqueue(store, b"b1", key="b", priority=5)
        assert await acked(store) == [b"b1", b"a1", b"a2"]

    @promise
    async def test_a_job_joins_its_line_when_it_falls_due(self, place: Place, store: Store) -> None:
        await declare(store)
        await enqueue(store, b"delayed", key="a", delay_ms=1_000)
        await enqueue(store, b"a1", key="a")
        place.time_ms += 500
        await enqueue(store, b"a2", key="a")
        place.time_ms += 500
        await enqueue(store, b"a3", key="a")
        place.time_ms += 500
        assert await acked(store) == [b"a1", b"a2", b"delayed", b"a3"]

    @promise
    async def test_a_delayed_job_holds_nothing_up(self, place: Place, store: Store) -> None:
        await declare(store)
        await enqueue(store, b"delayed", key="a", delay_ms=1_000)
        await enqueue(store, b"a1", key="a")
        assert payloads(await claim(store)) == [b"a1"]

    @promise
    async def test_a_job_that_falls_due_while_another_of_its_key_is_leased_waits(
        self, place: Place, store: Store
    ) -> None:
        await declare(store)
        await enqueue(store, b"delayed", key="a", delay_ms=1_000)
        await enqueue(store, b"a1", key="a")
        claimed = await claim_one(store)
        place.time_ms += 2_000
        assert await claim(store) == []
        await settle(store, claimed)
        assert payloads(await claim(store)) == [b"delayed"]

    @promise
    async def test_a_head_may_be_cancelled_or_purged_and_the_line_goes_on(
        self, place: Place, store: Store
    ) -> None:
        await declare(store)
        first, second, _ = await enqueue(store, b"a1", b"a2", b"a3", key="a")
        await store.cancel(first)
        await store.purge(QUEUE, State.WAITING, [second], limit=1)
        assert payloads(await claim(store)) == [b"a3"]

    @promise
    async def test_a_line_goes_on_after_a_dead_job(self, place: Place, store: Store) -> None:
        await declare(store)
        await enqueue(store, b"a1", b"a2", key="a")
        await settle(store, await claim_one(store), Deed.BURY)
        assert payloads(await claim(store)) == [b"a2"]

    @promise
    async def test_a_dead_job_stops_its_line_where_that_is_asked_for(
        self, place: Place, store: Store
    ) -> None:
        await declare(store, on_dead=OnDead.STOP)
        await enqueue(store, b"a1", b"a2", key="a")
        await enqueue(store, b"b1", key="b")
        await enqueue(store, b"1", b"2")
        for claimed in await claim(store):
            await settle(store, claimed, Deed.BURY)
        assert await claim(store) == []
        await store.purge(QUEUE, State.DEAD, None, limit=10)
        assert payloads(await claim(store)) == [b"a2"]

    @promise
    async def test_a_stopped_line_goes_on_when_its_dead_job_is_redriven_which_joins_at_the_end(
        self, place: Place, store: Store
    ) -> None:
        await declare(store, on_dead=OnDead.STOP)
        await enqueue(store, b"a1", b"a2", key="a")
        await settle(store, await claim_one(store), Deed.BURY)
        assert await claim(store) == []
        assert await store.redrive(QUEUE, None, limit=10) == 1
        assert await acked(store) == [b"a2", b"a1"]

    @promise
    async def test_a_job_that_expires_behind_its_head_stops_the_line_only_there(
        self, place: Place, store: Store
    ) -> None:
        await declare(store, on_dead=OnDead.STOP)
        await enqueue(store, b"a1", key="a")
        await enqueue(store, b"a2", key="a", expires_ms=100)
        await enqueue(store, b"a3", key="a")
        claimed = await claim_one(store)
        place.time_ms += 100
        await settle(store, claimed, Deed.RETRY, delay_ms=0)
        assert await acked(store) == [b"a1"]
        await declare(store, on_dead=OnDead.GO_ON)
        assert await acked(store) == [b"a3"]

    @promise
    async def test_a_stopped_line_goes_on_when_its_dead_job_is_no_longer_kept(
        self, place: Place, store: Store
    ) -> None:
        await declare(store, on_dead=OnDead.STOP, dead_ms=1_000)
        await enqueue(store, b"a1", b"a2", key="a")
        await settle(store, await claim_one(store), Deed.BURY)
        assert await store.next_due_ms(QUEUE) == place.time_ms + 1_000
        place.time_ms += 1_000
        assert await acked(store) == [b"a2"]

    @promise
    async def test_without_order_jobs_of_a_key_run_side_by_side(self, place: Place, store: Store) -> None:
        await declare(store, ordered=False, on_dead=OnDead.STOP)
        await enqueue(store, b"a1", b"a2", b"a3", key="a")
        claimed = await claim(store, 2)
        assert payloads(claimed) == [b"a1", b"a2"]
        await settle(store, claimed[0], Deed.RETRY, delay_ms=1_000)
        await settle(store, claimed[1], Deed.BURY)
        assert payloads(await claim(store)) == [b"a3"]

    @promise
    async def test_order_that_is_asked_for_later_holds_from_then_on(self, place: Place, store: Store) -> None:
        await declare(store, ordered=False)
        await enqueue(store, b"a1", b"a2", b"a3", key="a")
        first, second = await claim(store, 2)
        await declare(store)
        await settle(store, first)
        assert await claim(store) == []
        await settle(store, second, Deed.RELEASE)
        assert await acked(store) == [b"a2", b"a3"]
        await enqueue(store, b"a4", b"a5", key="a")
        assert payloads(await claim(store)) == [b"a4"]
        await declare(store, ordered=False)
        assert payloads(await claim(store)) == [b"a5"]

    @pytest.mark.parametrize("deed", [Deed.RELEASE, Deed.RETRY])
    def test_what_is_redriven_does_not_get_before_what_was_claimed_in_the_same_instant(
        self, place: Place, deed: Deed
    ) -> None:
        @promise
        async def scenario(self: object, place: Place, store: Store) -> None:
            await declare(store)
            await enqueue(store, b"old", key="a")
            await settle(store, await claim_one(store), Deed.BURY)
            await enqueue(store, b"new", key="a")
            claimed = await claim_one(store)
            await store.redrive(QUEUE, None, limit=1)
            assert await claim(store) == []
            await extend(store, claimed, 60_000)
            await settle(store, claimed, deed, delay_ms=0)
            assert await acked(store) == [b"new", b"old"]

        scenario(self, place)

    @promise
    async def test_keys_are_told_apart_by_every_character(self, place: Place, store: Store) -> None:
        await declare(store)
        for key in ("", "a", "A", "a ", "ä", "a\x00b", None):
            await enqueue_one(store, repr(key).encode(), key=key)
        assert len(await claim(store)) == 7
