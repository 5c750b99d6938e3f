"""What `look`, `browse`, `cancel` and the counts promise."""

import pytest

from gapless.core.errors import BadRequest, JobStarted, LeaseLost, UnknownJob
from gapless.core.jobs import Counted, Deed, Job, Lease, Settlement, State
from gapless.core.limits import BROWSE_JOBS_MAX, CLAIM_BYTES_MAX
from gapless.ports import Store
from gapless.testing.conformance.places import Place, promise
from gapless.testing.conformance.queues.verbs import (
    QUEUE,
    claim,
    claim_one,
    counted,
    declare,
    enqueue,
    settle,
    try_enqueue,
)

__all__ = ["Looking"]


class Looking:
    """What `look`, `browse`, `cancel` and the counts promise."""

    @promise
    async def test_a_job_is_seen_as_it_stands(self, place: Place, store: Store) -> None:
        await declare(store)
        [id] = await enqueue(store, b"1", key="k", headers=b"{}", priority=1, delay_ms=50, message_id="m")
        start_ms = place.time_ms
        view = await store.look(id)
        assert (view.id, view.queue, view.data, view.headers) == (id, QUEUE, b"1", b"{}")
        assert (view.key, view.priority, view.message_id) == ("k", 1, "m")
        assert (view.state, view.attempt, view.worker) == (State.WAITING, 0, "")
        assert (view.enqueued_ms, view.due_ms, view.ended_ms) == (start_ms, start_ms + 50, 0)
        place.time_ms += 60
        claimed = await claim_one(store, worker="v")
        view = await store.look(id)
        assert (view.state, view.attempt, view.worker) == (State.LEASED, 1, "v")
        assert view.due_ms == claimed.lease_until_ms

    @promise
    async def test_a_job_that_never_was_is_unknown(self, place: Place, store: Store) -> None:
        await declare(store)
        [id] = await enqueue(store, b"1")
        beyond = f"{2**63}-x", "9" * 19, "9" * 40 + "-x"
        for wrong in ("", "none", "0-x", id + "x", "x" + id, id.partition("-")[0], *beyond, "²-x"):
            with pytest.raises(UnknownJob):
                await store.look(wrong)
            with pytest.raises(UnknownJob):
                await store.cancel(wrong)
            assert isinstance((await store.extend([Lease(wrong, "x:1")], 1_000))[0], LeaseLost)
            assert isinstance((await store.settle([Settlement(wrong, "x:1", Deed.ACK)]))[0], LeaseLost)

    @promise
    async def test_where_many_jobs_are_is_told_in_one_call(self, place: Place, store: Store) -> None:
        await declare(store, result_ms=60_000)
        await declare(store, "other", lease_ms=1_000)
        done, dead, acked, leased, waiting = await enqueue(store, b"1", b"2", b"3", b"4", b"5")
        [lapsing] = await enqueue(store, b"6", queue="other")
        for claimed, deed in zip(await claim(store, 2), (Deed.ACK, Deed.BURY), strict=True):
            await settle(store, claimed, deed)
        await store.purge(QUEUE, State.WAITING, [acked], limit=1)
        await claim_one(store)
        await claim_one(store, queue="other")
        asked = [waiting, "none", lapsing, done, waiting, dead, acked, leased, "x" + waiting]
        told = [State.WAITING, State.GONE, State.LEASED, State.DONE, State.WAITING, State.DEAD]
        told += [State.GONE, State.LEASED, State.GONE]
        assert await store.states(asked) == told
        place.time_ms += 1_000
        told[2] = State.WAITING
        assert await store.states(asked) == told
        assert await store.states([]) == []
        with pytest.raises(BadRequest):
            await store.states([waiting] * (BROWSE_JOBS_MAX + 1))

    @promise
    async def test_browse_pages_through_a_state_in_the_order_of_ids(self, place: Place, store: Store) -> None:
        await declare(store)
        ids = [(await enqueue(store, b"%d" % number, priority=number))[0] for number in range(7)]
        await settle(store, await claim_one(store), Deed.RELEASE)
        seen: list[str] = []
        page = await store.browse(QUEUE, State.WAITING, limit=3)
        while page.next_id:
            assert len(page.jobs) == 3
            seen += [view.id for view in page.jobs]
            page = await store.browse(QUEUE, State.WAITING, after=page.next_id, limit=3)
        assert [*seen, *(view.id for view in page.jobs)] == ids
        assert page.jobs[0] == await store.look(ids[6])

    @promise
    async def test_a_page_goes_on_after_a_job_that_is_gone(self, place: Place, store: Store) -> None:
        await declare(store)
        ids = await enqueue(store, b"1", b"2", b"3")
        page = await store.browse(QUEUE, State.WAITING, limit=2)
        await store.cancel(ids[1])
        rest = await store.browse(QUEUE, State.WAITING, after=page.next_id, limit=2)
        assert ([view.id for view in rest.jobs], rest.next_id) == ([ids[2]], "")

    @promise
    async def test_browse_touches_nothing(self, place: Place, store: Store) -> None:
        await declare(store)
        await enqueue(store, b"1")
        for _ in range(3):
            page = await store.browse(QUEUE, State.WAITING, limit=1)
            assert (page.jobs[0].attempt, page.next_id) == (0, "")
        assert (await claim_one(store)).attempt == 1
        assert (await store.browse(QUEUE, State.WAITING, limit=1)).jobs == []
        assert (await store.browse(QUEUE, State.GONE, limit=1)).jobs == []

    @promise
    async def test_a_page_has_its_limits(self, place: Place, store: Store) -> None:
        await declare(store)
        for wrong in (0, BROWSE_JOBS_MAX + 1):
            with pytest.raises(BadRequest):
                await store.browse(QUEUE, State.DEAD, limit=wrong)
        size = 50_000
        assert isinstance(await try_enqueue(store, *[Job(QUEUE, bytes(size))] * 100), list)
        page = await store.browse(QUEUE, State.WAITING, limit=BROWSE_JOBS_MAX)
        assert len(page.jobs) == CLAIM_BYTES_MAX // size
        rest = await store.browse(QUEUE, State.WAITING, after=page.next_id, limit=BROWSE_JOBS_MAX)
        assert (len(page.jobs) + len(rest.jobs), rest.next_id) == (100, "")

    @promise
    async def test_a_job_that_waits_is_cancelled(self, place: Place, store: Store) -> None:
        await declare(store)
        ready, retrying, delayed = await enqueue(store, b"1", b"2", b"3")
        for claimed in (await claim(store))[1:]:
            await settle(store, claimed, Deed.RETRY)
        place.time_ms += 60_000
        for id in (ready, retrying, delayed):
            before = await store.look(id)
            assert before.state is State.WAITING
            assert await store.cancel(id) == before
            with pytest.raises(UnknownJob):
                await store.cancel(id)
        assert await claim(store) == []

    @promise
    async def test_a_job_that_is_leased_dead_or_done_is_not_cancelled(
        self, place: Place, store: Store
    ) -> None:
        await declare(store, result_ms=60_000)
        ids = await enqueue(store, b"1", b"2", b"3")
        claimed = await claim(store)
        await settle(store, claimed[1], Deed.BURY)
        await settle(store, claimed[2])
        for id in ids:
            with pytest.raises(JobStarted):
                await store.cancel(id)
        assert (await settle(store, claimed[0])).state is State.DONE

    @promise
    async def test_jobs_are_counted_where_they_are(self, place: Place, store: Store) -> None:
        await declare(store, result_ms=60_000, lease_ms=10_000)
        assert await counted(store) == Counted()
        await enqueue(store, b"1", b"2", b"3", b"4", key="k")
        await enqueue(store, b"5", b"6", delay_ms=700)
        await enqueue(store, b"7")
        place.time_ms += 100
        assert await counted(store) == Counted(ready=5, delayed=2, oldest_ms=100, enqueued=7)
        first, second = await claim(store)
        await settle(store, first, Deed.BURY)
        await settle(store, second)
        await claim_one(store)
        assert await counted(store) == Counted(
            ready=2,
            delayed=2,
            leased=1,
            dead=1,
            done=1,
            oldest_ms=100,
            enqueued=7,
            claimed=3,
            acked=1,
            failed=1,
            died=1,
        )
        place.time_ms += 10_000
        told = await counted(store)
        assert (told.ready, told.delayed, told.leased, told.failed) == (4, 1, 0, 2)
        assert told.oldest_ms == 10_100

    @promise
    async def test_queues_are_counted_apart(self, place: Place, store: Store) -> None:
        await declare(store, "a")
        await declare(store, "b")
        await enqueue(store, b"1", b"2", queue="a")
        assert (await counted(store, queue="a")).ready == 2
        assert await counted(store, queue="b") == Counted()
