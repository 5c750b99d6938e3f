"""What `settle` promises: one answer for each, the same to a repeat, none to a stale fence."""

import pytest
from msgspec import structs

from gapless.backends import Options
from gapless.core.errors import BadRequest, LeaseLost, UnknownJob
from gapless.core.jobs import Deed, Settled, Settlement, State
from gapless.core.limits import JOB_DELAY_MAX_MS, JOB_EMITS_MAX, SETTLED_MS
from gapless.ports import Store
from gapless.testing.conformance.places import Place, promise
from gapless.testing.conformance.queues.verbs import (
    QUEUE,
    claim,
    claim_one,
    counted,
    declare,
    enqueue,
    found,
    settle,
    try_settle,
)

__all__ = ["Settling"]


class Settling:
    """What `settle` promises: one answer for each, the same to a repeat, none to a stale fence."""

    @promise
    async def test_an_acked_job_is_gone_and_never_runs_again(self, place: Place, store: Store) -> None:
        await declare(store)
        [id] = await enqueue(store, b"1")
        assert await settle(store, await claim_one(store)) == Settled(State.GONE)
        with pytest.raises(UnknownJob):
            await store.look(id)
        place.time_ms += 10 * SETTLED_MS
        assert await claim(store) == []

    @promise
    async def test_a_job_that_is_done_is_kept_with_its_result_for_so_long(
        self, place: Place, store: Store
    ) -> None:
        await declare(store, result_ms=1_000)
        first, second = await enqueue(store, b"1", b"2")
        assert await settle(store, await claim_one(store), result=b"42") == Settled(State.DONE)
        await settle(store, await claim_one(store))
        view = await store.look(first)
        assert (view.state, view.result, view.ended_ms) == (State.DONE, b"42", place.time_ms)
        assert (await store.look(second)).result is None
        assert (await counted(store)).done == 2
        place.time_ms += 999
        assert await found(store, State.DONE) == [b"1", b"2"]
        place.time_ms += 1
        assert await found(store, State.DONE) == []
        with pytest.raises(UnknownJob):
            await store.look(first)

    @promise
    async def test_settlements_are_answered_one_by_one(self, place: Place, store: Store) -> None:
        await declare(store)
        await enqueue(store, b"1", b"2", b"3", b"4", b"5")
        one, two, three, four, five = await claim(store)
        answers = await store.settle(
            [
                Settlement(one.id, one.fence, Deed.ACK),
                Settlement(two.id, one.fence, Deed.ACK),
                Settlement(two.id, two.fence, Deed.RETRY),
                Settlement("none", three.fence, Deed.ACK),
                Settlement(three.id, three.fence, Deed.RELEASE),
                Settlement(four.id, four.fence, Deed.BURY),
                Settlement(five.id, five.fence, Deed.CLAIM),
            ]
        )
        told = [answer.state if isinstance(answer, Settled) else type(answer) for answer in answers]
        assert told == [
            State.GONE,
            LeaseLost,
            State.WAITING,
            LeaseLost,
            State.WAITING,
            State.DEAD,
            BadRequest,
        ]
        assert (await counted(store)).leased == 1

    @pytest.mark.parametrize("deed", [Deed.ACK, Deed.RETRY, Deed.RELEASE, Deed.BURY])
    def test_a_repeat_is_answered_as_the_first_was(self, place: Place, deed: Deed) -> None:
        @promise
        async def scenario(self: object, place: Place, store: Store) -> None:
            await declare(store)
            await enqueue(store, b"1")
            claimed = await claim_one(store)
            first = await settle(store, claimed, deed)
            before = await counted(store)
            place.time_ms += SETTLED_MS - 1
            assert await settle(store, claimed, deed) == structs.replace(first, again=True)
            after = await counted(store)
            assert (after.acked, after.failed, after.died) == (before.acked, before.failed, before.died)

        scenario(self, place)

    @promise
    async def test_a_repeat_is_answered_so_though_the_job_runs_again(
        self, place: Place, store: Store
    ) -> None:
        await declare(store)
        await enqueue(store, b"1")
        first = await claim_one(store)
        settled = await settle(store, first, Deed.RELEASE)
        second = await claim_one(store)
        assert await settle(store, first, Deed.RELEASE) == structs.replace(settled, again=True)
        assert (await settle(store, second)).state is State.GONE

    @promise
    async def test_another_deed_under_the_same_fence_is_refused(self, place: Place, store: Store) -> None:
        await declare(store)
        await enqueue(store, b"1", b"2")
        one, two = await claim(store)
        await settle(store, one)
        assert isinstance(await try_settle(store, one, Deed.RETRY), LeaseLost)
        await settle(store, two, Deed.RETRY, delay_ms=0)
        assert isinstance(await try_settle(store, two), LeaseLost)
        assert (await claim_one(store)).attempt == 2

    @promise
    async def test_a_repeat_is_remembered_only_for_so_long(self, place: Place, store: Store) -> None:
        await declare(store)
        await enqueue(store, b"1")
        claimed = await claim_one(store)
        await settle(store, claimed)
        place.time_ms += 3 * SETTLED_MS
        assert isinstance(await try_settle(store, claimed), LeaseLost)

    @promise
    async def test_one_call_may_settle_a_job_twice(self, place: Place, store: Store) -> None:
        await declare(store)
        await enqueue(store, b"1")
        claimed = await claim_one(store)
        same = Settlement(claimed.id, claimed.fence, Deed.ACK)
        answers = await store.settle([same, same, Settlement(claimed.id, claimed.fence, Deed.BURY)])
        assert answers[:2] == [Settled(State.GONE), Settled(State.GONE, again=True)]
        assert isinstance(answers[2], LeaseLost)

    @promise
    async def test_a_settlement_beyond_its_limits_is_refused_and_the_lease_stays(
        self, place: Place, store: Store
    ) -> None:
        await declare(store)
        await enqueue(store, b"1")
        claimed = await claim_one(store)
        for deed in (Deed.CLAIM, Deed.LAPSE, Deed.CANCEL):
            assert isinstance(await try_settle(store, claimed, deed), BadRequest)
        for wrong in (-1, JOB_DELAY_MAX_MS + 1):
            assert isinstance(await try_settle(store, claimed, Deed.RETRY, delay_ms=wrong), BadRequest)
        big = bytes(Options().message_bytes_max + 1)
        assert isinstance(await try_settle(store, claimed, result=big), BadRequest)
        many = [None] * (JOB_EMITS_MAX + 1)
        assert isinstance(await try_settle(store, claimed, emit=many), BadRequest)
        assert (await settle(store, claimed)).state is State.GONE

    @promise
    async def test_a_paused_queue_lets_its_leases_be_settled(self, place: Place, store: Store) -> None:
        await declare(store)
        await enqueue(store, b"1")
        claimed = await claim_one(store)
        await store.pause(QUEUE, paused=True)
        assert (await settle(store, claimed)).state is State.GONE
