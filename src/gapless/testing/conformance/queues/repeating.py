"""What makes one job of several: message ids, and names under which there is one job."""

from gapless.backends import KEY_HOUR_MS
from gapless.core.errors import KeyConflict, TooManyRequests, UnknownQueue
from gapless.core.jobs import Deed, Enqueued, Job, State
from gapless.core.limits import IDEMPOTENCY_WINDOW_MS
from gapless.ports import Store
from gapless.testing.conformance.places import Place, promise
from gapless.testing.conformance.queues.verbs import (
    QUEUE,
    acked,
    claim_one,
    declare,
    enqueue_one,
    found,
    settle,
    try_enqueue,
)

__all__ = ["Repeating"]


class Repeating:
    """What makes one job of several: message ids, and names under which there is one job."""

    @promise
    async def test_a_repeat_of_a_message_id_is_the_same_job(self, place: Place, store: Store) -> None:
        await declare(store)
        first = await enqueue_one(store, b"x", message_id="m")
        assert first.fresh
        again = await enqueue_one(store, b"x", message_id="m", priority=4, delay_ms=5)
        assert again == Enqueued(first.id, fresh=False)
        assert await acked(store) == [b"x"]

    @promise
    async def test_a_message_id_with_another_payload_is_a_conflict(self, place: Place, store: Store) -> None:
        await declare(store)
        await enqueue_one(store, b"x", message_id="m")
        assert isinstance(await try_enqueue(store, Job(QUEUE, b"y", message_id="m")), KeyConflict)
        assert isinstance(
            await try_enqueue(store, Job(QUEUE, b"1", message_id="n"), Job(QUEUE, b"2", message_id="n")),
            KeyConflict,
        )
        assert await found(store, State.WAITING) == [b"x"]

    @promise
    async def test_a_batch_may_repeat_itself(self, place: Place, store: Store) -> None:
        await declare(store)
        same = Job(QUEUE, b"x", message_id="m")
        answer = await try_enqueue(store, same, same)
        assert isinstance(answer, list)
        assert answer == [Enqueued(answer[0].id), Enqueued(answer[0].id, fresh=False)]

    @promise
    async def test_message_ids_of_two_queues_are_two(self, place: Place, store: Store) -> None:
        await declare(store, "a")
        await declare(store, "b")
        assert (await enqueue_one(store, b"1", "a", message_id="m")).fresh
        assert (await enqueue_one(store, b"2", "b", message_id="m")).fresh

    @promise
    async def test_a_message_id_is_held_whatever_becomes_of_the_job(self, place: Place, store: Store) -> None:
        await declare(store)
        first = await enqueue_one(store, message_id="m")
        await settle(store, await claim_one(store))
        place.time_ms += IDEMPOTENCY_WINDOW_MS - 1
        assert await enqueue_one(store, message_id="m") == Enqueued(first.id, fresh=False)
        place.time_ms += KEY_HOUR_MS + 1
        assert (await enqueue_one(store, message_id="m")).fresh

    @promise
    async def test_a_refused_batch_holds_no_message_id_though_it_was_held_before(
        self, place: Place, store: Store
    ) -> None:
        await declare(store)
        await enqueue_one(store, message_id="m")
        place.time_ms += IDEMPOTENCY_WINDOW_MS + KEY_HOUR_MS
        refused = await try_enqueue(store, Job(QUEUE, b"x", message_id="m"), Job("unknown", b"x"))
        assert isinstance(refused, UnknownQueue)
        assert (await enqueue_one(store, b"x", message_id="m")).fresh

    @promise
    async def test_a_message_id_is_held_also_where_a_unique_job_answered(
        self, place: Place, store: Store
    ) -> None:
        await declare(store)
        first = await enqueue_one(store, b"1", unique="u")
        assert await enqueue_one(store, b"2", unique="u", message_id="m") == Enqueued(first.id, fresh=False)
        await settle(store, await claim_one(store))
        assert await enqueue_one(store, b"2", unique="u", message_id="m") == Enqueued(first.id, fresh=False)

    def test_only_so_many_message_ids_are_held(self, place: Place) -> None:
        @promise
        async def scenario(self: object, place: Place, store: Store) -> None:
            await declare(store)
            await enqueue_one(store, b"1", message_id="1")
            await enqueue_one(store, b"2", message_id="2")
            assert isinstance(await try_enqueue(store, Job(QUEUE, b"3", message_id="3")), TooManyRequests)
            assert not (await enqueue_one(store, b"1", message_id="1")).fresh
            await enqueue_one(store, b"3")

        place.options["keys_max"] = 2
        scenario(self, place)

    @promise
    async def test_there_is_one_job_under_a_unique_name_until_it_is_done(
        self, place: Place, store: Store
    ) -> None:
        await declare(store)
        first = await enqueue_one(store, b"1", unique="u")
        for _ in range(2):
            assert await enqueue_one(store, b"2", unique="u") == Enqueued(first.id, fresh=False)
            claimed = await claim_one(store)
            assert await enqueue_one(store, b"2", unique="u") == Enqueued(first.id, fresh=False)
            await settle(store, claimed, Deed.RETRY, delay_ms=0)
        await settle(store, await claim_one(store))
        assert (await enqueue_one(store, b"2", unique="u")).fresh

    @promise
    async def test_unique_names_of_two_queues_are_two(self, place: Place, store: Store) -> None:
        await declare(store, "a")
        await declare(store, "b")
        assert (await enqueue_one(store, b"1", "a", unique="u")).fresh
        assert (await enqueue_one(store, b"2", "b", unique="u")).fresh

    @promise
    async def test_a_unique_name_is_free_when_its_job_is_dead_cancelled_or_purged(
        self, place: Place, store: Store
    ) -> None:
        await declare(store)
        await enqueue_one(store, unique="u")
        await settle(store, await claim_one(store), Deed.BURY)
        second = await enqueue_one(store, unique="u")
        await store.cancel(second.id)
        third = await enqueue_one(store, unique="u", expires_ms=10)
        assert third.fresh
        place.time_ms += 10
        assert (await enqueue_one(store, unique="u")).fresh
        await store.purge(QUEUE, State.WAITING, None, limit=10)
        assert (await enqueue_one(store, unique="u")).fresh

    @promise
    async def test_a_unique_name_is_free_when_its_time_has_passed(self, place: Place, store: Store) -> None:
        await declare(store)
        await enqueue_one(store, unique="u", unique_ms=1_000, delay_ms=5_000)
        place.time_ms += 999
        assert not (await enqueue_one(store, unique="u")).fresh
        place.time_ms += 1
        second = await enqueue_one(store, unique="u")
        assert second.fresh
        place.time_ms += 4_000
        assert await acked(store) == [b"x", b"x"]

    @promise
    async def test_the_end_of_an_older_job_does_not_free_the_name_of_a_younger(
        self, place: Place, store: Store
    ) -> None:
        await declare(store)
        await enqueue_one(store, b"1", unique="u", unique_ms=10)
        claimed = await claim_one(store)
        place.time_ms += 10
        second = await enqueue_one(store, b"2", unique="u")
        await settle(store, claimed)
        assert await enqueue_one(store, b"3", unique="u") == Enqueued(second.id, fresh=False)

    @promise
    async def test_without_a_time_a_unique_name_is_held_as_long_as_the_job_lives(
        self, place: Place, store: Store
    ) -> None:
        await declare(store)
        first = await enqueue_one(store, unique="u")
        place.time_ms += 3 * IDEMPOTENCY_WINDOW_MS
        assert await enqueue_one(store, unique="u") == Enqueued(first.id, fresh=False)
