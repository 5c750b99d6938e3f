"""What failures lead to: retries by the policy, and in the end a dead letter."""

from gapless.core.jobs import Deed, State
from gapless.core.limits import JOB_DETAILS_BYTES_MAX, JOB_REASON_BYTES_MAX
from gapless.core.retry import Retry
from gapless.ports import Store
from gapless.testing.conformance.places import Place, promise
from gapless.testing.conformance.queues.verbs import (
    claim,
    claim_one,
    counted,
    declare,
    enqueue,
    settle,
)

__all__ = ["Failing"]


class Failing:
    """What failures lead to: retries by the policy, and in the end a dead letter."""

    @promise
    async def test_retries_follow_the_policy_until_attempts_are_used_up(
        self, place: Place, store: Store
    ) -> None:
        await declare(store)
        await enqueue(store, b"1")
        for attempt, delay_ms in ((1, 1_000), (2, 2_000)):
            claimed = await claim_one(store)
            assert claimed.attempt == attempt
            settled = await settle(store, claimed, Deed.RETRY)
            assert (settled.state, settled.due_ms) == (State.WAITING, place.time_ms + delay_ms)
            place.time_ms += delay_ms - 1
            assert await claim(store) == []
            place.time_ms += 1
        settled = await settle(store, await claim_one(store), Deed.RETRY)
        assert (settled.state, settled.due_ms) == (State.DEAD, 0)
        assert await claim(store) == []

    @promise
    async def test_a_policy_may_be_a_list_whose_last_delay_goes_on(self, place: Place, store: Store) -> None:
        await declare(store, retry=Retry(attempts_max=4, delays_ms=(10, 70)))
        await enqueue(store, b"1")
        for delay_ms in (10, 70, 70):
            settled = await settle(store, await claim_one(store), Deed.RETRY)
            assert settled.due_ms == place.time_ms + delay_ms
            place.time_ms += delay_ms
        assert (await settle(store, await claim_one(store), Deed.RETRY)).state is State.DEAD

    @promise
    async def test_a_delay_that_is_asked_for_goes_before_the_policy_but_attempts_are_used_up_all_the_same(
        self, place: Place, store: Store
    ) -> None:
        await declare(store)
        await enqueue(store, b"1")
        for _ in range(2):
            settled = await settle(store, await claim_one(store), Deed.RETRY, delay_ms=7)
            assert settled.due_ms == place.time_ms + 7
            place.time_ms += 7
        assert (await settle(store, await claim_one(store), Deed.RETRY, delay_ms=7)).state is State.DEAD

    def test_jitter_spreads_retries_by_the_stores_chance(self, place: Place) -> None:
        @promise
        async def scenario(self: object, place: Place, store: Store) -> None:
            await declare(store, retry=Retry(base_ms=1_000, jitter=True))
            await enqueue(store, b"1", b"2", b"3")
            spread = [
                (await settle(store, claimed, Deed.RETRY)).due_ms - place.time_ms
                for claimed in await claim(store)
            ]
            assert spread == [500, 750, 875]

        chances = iter((0.0, 0.5, 0.75))
        place.options["chance"] = lambda: next(chances)
        scenario(self, place)

    @promise
    async def test_a_release_is_not_an_attempt(self, place: Place, store: Store) -> None:
        await declare(store)
        await enqueue(store, b"1")
        for _ in range(10):
            claimed = await claim_one(store)
            assert claimed.attempt == 1
            settled = await settle(store, claimed, Deed.RELEASE)
            assert (settled.state, settled.due_ms) == (State.WAITING, place.time_ms)
        told = await counted(store)
        assert (told.claimed, told.failed) == (10, 0)

    @promise
    async def test_a_release_may_be_for_later(self, place: Place, store: Store) -> None:
        await declare(store)
        await enqueue(store, b"1")
        settled = await settle(store, await claim_one(store), Deed.RELEASE, delay_ms=100)
        assert settled.due_ms == place.time_ms + 100
        assert await claim(store) == []
        place.time_ms += 100
        assert (await claim_one(store)).attempt == 1

    @promise
    async def test_attempts_are_counted_when_jobs_are_claimed(self, place: Place, store: Store) -> None:
        await declare(store)
        [id] = await enqueue(store, b"1")
        assert (await store.look(id)).attempt == 0
        await claim_one(store)
        assert (await store.look(id)).attempt == 1

    @promise
    async def test_a_buried_job_is_dead_at_once(self, place: Place, store: Store) -> None:
        await declare(store)
        [id] = await enqueue(store, b"1", headers=b"{}", key="k", priority=2, message_id="m")
        claimed = await claim_one(store, worker="v")
        place.time_ms += 5
        settled = await settle(store, claimed, Deed.BURY, reason="no such user", details="Traceback")
        assert (settled.state, settled.due_ms) == (State.DEAD, 0)
        view = await store.look(id)
        assert (view.reason, view.details, view.worker) == ("no such user", "Traceback", "v")
        assert (view.state, view.attempt, view.due_ms) == (State.DEAD, 1, 0)
        assert (view.enqueued_ms, view.ended_ms) == (place.time_ms - 5, place.time_ms)
        assert (view.data, view.headers, view.key, view.priority) == (b"1", b"{}", "k", 2)
        assert view.message_id == "m"

    @promise
    async def test_the_last_failure_is_told_while_a_job_waits_and_when_it_is_dead(
        self, place: Place, store: Store
    ) -> None:
        await declare(store)
        [id] = await enqueue(store, b"1")
        for number in (b"1", b"2", b"3"):
            text = number.decode()
            claimed = await claim_one(store, worker=f"w{text}")
            await settle(store, claimed, Deed.RETRY, reason=f"r{text}", details=f"d{text}", delay_ms=0)
            view = await store.look(id)
            assert (view.reason, view.details, view.worker) == (f"r{text}", f"d{text}", f"w{text}")
        assert (await store.look(id)).state is State.DEAD

    @promise
    async def test_reason_and_details_are_cut_where_their_limits_are(
        self, place: Place, store: Store
    ) -> None:
        await declare(store)
        [id] = await enqueue(store, b"1")
        await settle(store, await claim_one(store), Deed.BURY, reason="ä" * 5_000, details="x€" * 50_000)
        view = await store.look(id)
        assert view.reason == "ä" * (JOB_REASON_BYTES_MAX // 2)
        assert JOB_DETAILS_BYTES_MAX - 3 < len(view.details.encode()) <= JOB_DETAILS_BYTES_MAX

    @promise
    async def test_a_policy_that_is_changed_holds_from_the_next_failure_on(
        self, place: Place, store: Store
    ) -> None:
        await declare(store)
        await enqueue(store, b"1")
        await settle(store, await claim_one(store), Deed.RETRY, delay_ms=0)
        claimed = await claim_one(store)
        await declare(store, retry=Retry(attempts_max=2))
        assert (await settle(store, claimed, Deed.RETRY)).state is State.DEAD
