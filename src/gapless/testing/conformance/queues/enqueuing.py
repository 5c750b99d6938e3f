"""What `enqueue` promises: all or none of a batch, its limits, and when a job falls due."""

from typing import Any

import pytest

from gapless.backends import Options
from gapless.core.errors import BadRequest, KeyConflict, LimitExceeded, UnknownQueue
from gapless.core.jobs import Deed, Enqueued, Job, State
from gapless.core.limits import (
    CLAIM_JOBS_MAX,
    IDEMPOTENCY_KEY_BYTES_MAX,
    JOB_DELAY_MAX_MS,
    JOB_HEADERS_BYTES_MAX,
    JOB_KEY_BYTES_MAX,
    SETTLED_MS,
)
from gapless.ports import Store
from gapless.testing.conformance.places import Place, promise
from gapless.testing.conformance.queues.verbs import (
    QUEUE,
    claim,
    claim_one,
    counted,
    declare,
    enqueue,
    enqueue_one,
    found,
    payloads,
    settle,
    try_enqueue,
)

__all__ = ["Enqueuing"]


class Enqueuing:
    """What `enqueue` promises: all or none of a batch, its limits, and when a job falls due."""

    @promise
    async def test_a_job_is_claimed_with_all_that_came_with_it(self, place: Place, store: Store) -> None:
        await declare(store)
        held = await enqueue_one(store, b"data", headers=b'{"a":1}', key="k", priority=3)
        claimed = await claim_one(store)
        assert held == Enqueued(claimed.id)
        assert (claimed.queue, claimed.data, claimed.headers) == (QUEUE, b"data", b'{"a":1}')
        assert (claimed.key, claimed.priority, claimed.attempt, claimed.alone) == ("k", 3, 1, False)
        assert claimed.enqueued_ms == place.time_ms

    @promise
    async def test_every_job_has_an_id_of_its_own(self, place: Place, store: Store) -> None:
        await declare(store)
        answers = await store.enqueue([[Job(QUEUE, b"x")] * 20, [Job(QUEUE, b"x")] * 20])
        ids = [one.id for batch in answers if isinstance(batch, list) for one in batch]
        assert len(set(ids)) == 40

    @promise
    async def test_a_repeated_request_is_answered_as_before_and_what_was_refused_is_tried_anew(
        self, place: Place, store: Store
    ) -> None:
        await declare(store)
        batches = [[Job(QUEUE, b"1"), Job(QUEUE, b"2")], [Job("later", b"3")]]
        first, refused = await store.enqueue(batches, request="r")
        assert isinstance(refused, UnknownQueue)
        await declare(store, "later")
        again, taken = await store.enqueue(batches, request="r")
        assert again == first
        assert isinstance(taken, list)
        assert await store.enqueue(batches, request="r") == [first, taken]
        assert (await counted(store)).ready == 2
        other = await store.enqueue(batches, request="s")
        assert first not in other
        with pytest.raises(BadRequest):
            await store.enqueue(batches[:1], request="r")

    @promise
    async def test_a_repeated_request_is_known_for_so_long_over_a_restart(
        self, place: Place, store: Store
    ) -> None:
        await declare(store)
        first = await store.enqueue([[Job(QUEUE, b"1")]], request="r")
        await store.close()
        store = await place.open()
        place.time_ms += SETTLED_MS - 1
        assert await store.enqueue([[Job(QUEUE, b"1")]], request="r") == first
        place.time_ms += SETTLED_MS
        assert await store.enqueue([[Job(QUEUE, b"1")]], request="r") != first
        await store.close()

    @promise
    async def test_batches_are_answered_one_by_one_and_each_is_all_or_none(
        self, place: Place, store: Store
    ) -> None:
        await declare(store)
        held = Job(QUEUE, b"held", message_id="m")
        answers = await store.enqueue(
            [
                [Job(QUEUE, b"1"), Job(QUEUE, b"2"), held],
                [Job(QUEUE, b"no", message_id="n"), Job("unknown", b"no")],
                [Job(QUEUE, b"no", unique="u"), Job(QUEUE, b"no", priority=10)],
                [Job(QUEUE, b"no"), Job(QUEUE, b"other", message_id="m")],
                [],
                [Job(QUEUE, b"3", message_id="n", unique="u")],
            ]
        )
        assert [type(answer) for answer in answers] == [
            list,
            UnknownQueue,
            BadRequest,
            KeyConflict,
            list,
            list,
        ]
        assert await found(store, State.WAITING) == [b"1", b"2", b"held", b"3"]
        assert isinstance(answers[5], list)
        assert answers[5][0].fresh
        assert (await counted(store)).enqueued == 4

    @promise
    async def test_a_batch_may_go_to_several_queues(self, place: Place, store: Store) -> None:
        await declare(store, "a")
        await declare(store, "b")
        assert isinstance(await try_enqueue(store, Job("a", b"1"), Job("b", b"2")), list)
        assert payloads(await claim(store, queue="a")) == [b"1"]
        assert payloads(await claim(store, queue="b")) == [b"2"]

    @promise
    async def test_a_job_beyond_its_limits_is_refused(self, place: Place, store: Store) -> None:
        await declare(store)
        wrong: list[dict[str, Any]] = [
            {"data": bytes(Options().message_bytes_max + 1)},
            {"headers": bytes(JOB_HEADERS_BYTES_MAX + 1)},
            {"key": "k" * (JOB_KEY_BYTES_MAX + 1)},
            {"key": "\ud800"},
            {"priority": -1},
            {"priority": 10},
            {"delay_ms": -1},
            {"delay_ms": JOB_DELAY_MAX_MS + 1},
            {"at_ms": place.time_ms + JOB_DELAY_MAX_MS + 1},
            {"delay_ms": 1, "at_ms": place.time_ms + 1},
            {"expires_ms": -1},
            {"message_id": ""},
            {"message_id": "m" * (IDEMPOTENCY_KEY_BYTES_MAX + 1)},
            {"unique": ""},
            {"unique": "u" * (IDEMPOTENCY_KEY_BYTES_MAX + 1)},
            {"unique_ms": 1},
        ]
        for changes in wrong:
            answer = await try_enqueue(store, Job(**{"queue": QUEUE, "data": b"x"} | changes))
            assert isinstance(answer, BadRequest), changes
        assert isinstance(await try_enqueue(store, *[Job(QUEUE, b"")] * (CLAIM_JOBS_MAX + 1)), BadRequest)
        await enqueue_one(
            store,
            bytes(Options().message_bytes_max),
            headers=bytes(JOB_HEADERS_BYTES_MAX),
            key="k" * JOB_KEY_BYTES_MAX,
            delay_ms=JOB_DELAY_MAX_MS,
        )

    @promise
    async def test_only_so_many_jobs_wait(self, place: Place, store: Store) -> None:
        await declare(store, waiting_max=3)
        assert isinstance(await try_enqueue(store, *[Job(QUEUE, b"no")] * 4), LimitExceeded)
        await enqueue(store, b"1")
        await enqueue(store, b"2", delay_ms=1_000)
        await enqueue(store, b"3", message_id="m", unique="u")
        assert isinstance(await try_enqueue(store, Job(QUEUE, b"no")), LimitExceeded)
        assert not (await enqueue_one(store, b"3", message_id="m")).fresh
        assert not (await enqueue_one(store, b"any", unique="u")).fresh
        claimed = await claim_one(store)
        await enqueue(store, b"4")
        await settle(store, claimed, Deed.RELEASE)
        assert (await counted(store)).ready == 3
        assert isinstance(await try_enqueue(store, Job(QUEUE, b"no")), LimitExceeded)

    @promise
    async def test_a_delayed_job_falls_due_when_its_delay_has_passed(
        self, place: Place, store: Store
    ) -> None:
        await declare(store)
        await enqueue(store, b"1", delay_ms=1_000)
        place.time_ms += 999
        assert await claim(store) == []
        place.time_ms += 1
        assert payloads(await claim(store)) == [b"1"]

    @promise
    async def test_a_job_falls_due_at_its_time_or_at_once_if_that_has_passed(
        self, place: Place, store: Store
    ) -> None:
        await declare(store)
        await enqueue(store, b"later", at_ms=place.time_ms + 500)
        await enqueue(store, b"past", at_ms=place.time_ms - 500)
        assert payloads(await claim(store)) == [b"past"]
        place.time_ms += 500
        assert payloads(await claim(store)) == [b"later"]
