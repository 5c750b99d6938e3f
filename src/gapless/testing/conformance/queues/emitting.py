"""What a settlement emits: stored in one transaction with it, or nothing of either holds."""

import pytest
from msgspec import structs

from gapless.core.errors import (
    BadRequest,
    KeyConflict,
    LeaseLost,
    LimitExceeded,
    PositionConflict,
    UnknownQueue,
)
from gapless.core.jobs import Deed, Emit, Enqueued, Job, Settlement, State
from gapless.core.limits import CLAIM_JOBS_MAX
from gapless.core.stream import Head, Position, Stored
from gapless.ports import Store
from gapless.testing.conformance.places import Place, append, entry, head, promise, read
from gapless.testing.conformance.queues.verbs import (
    QUEUE,
    claim,
    claim_one,
    counted,
    declare,
    enqueue,
    found,
    payloads,
    settle,
    try_settle,
)

__all__ = ["Emitting"]


class Emitting:
    """What a settlement emits: stored in one transaction with it, or nothing of either holds."""

    @promise
    async def test_jobs_and_messages_are_emitted_in_their_order(self, place: Place, store: Store) -> None:
        await declare(store)
        await declare(store, "next")
        await enqueue(store, b"1")
        emit: list[Emit] = [
            entry("s", b"m1"),
            Job("next", b"j1"),
            entry("t", b"m2"),
            entry("s", b"m3"),
            Job("next", b"j2", delay_ms=5),
        ]
        settled = await settle(store, await claim_one(store), emit=emit)
        told = [one.offset if isinstance(one, Stored) else 0 for one in settled.emitted]
        assert told == [1, 0, 1, 2, 0]
        assert [message.data for message in (await read(store, "s")).messages] == [b"m1", b"m3"]
        claimed = await claim(store, queue="next")
        assert settled.emitted[1] == Enqueued(claimed[0].id)
        assert payloads(claimed) == [b"j1"]
        place.time_ms += 5
        assert payloads(await claim(store, queue="next")) == [b"j2"]

    @pytest.mark.parametrize("deed", [Deed.ACK, Deed.RETRY, Deed.RELEASE, Deed.BURY])
    def test_any_settlement_may_emit_and_a_repeat_emits_nothing_more(self, place: Place, deed: Deed) -> None:
        @promise
        async def scenario(self: object, place: Place, store: Store) -> None:
            await declare(store)
            await declare(store, "next")
            await enqueue(store, b"1")
            claimed = await claim_one(store)
            emit = [entry("s"), Job("next", b"j")]
            first = await settle(store, claimed, deed, emit=emit)
            assert len(first.emitted) == 2
            assert await settle(store, claimed, deed, emit=emit) == structs.replace(first, again=True)
            assert await head(store, "s") == Head(0, 1)
            assert await found(store, State.WAITING, queue="next") == [b"j"]

        scenario(self, place)

    @promise
    async def test_a_stale_fence_emits_nothing(self, place: Place, store: Store) -> None:
        await declare(store, lease_ms=500)
        await enqueue(store, b"1")
        stale = await claim_one(store)
        place.time_ms += 500
        assert isinstance(await try_settle(store, stale, emit=[entry("s"), Job(QUEUE, b"2")]), LeaseLost)
        assert await head(store, "s") == Head(0, 0)
        assert await found(store, State.WAITING) == [b"1"]

    @promise
    async def test_if_anything_emitted_is_refused_all_of_it_is_and_the_lease_stays(
        self, place: Place, store: Store
    ) -> None:
        await declare(store)
        await declare(store, "full", waiting_max=1)
        await enqueue(store, b"1")
        await append(store, "s", b"held", key="k")
        await enqueue(store, b"held", message_id="m", delay_ms=1)
        end = Position(store.epoch, 1)
        good: list[Emit] = [entry("s", b"no"), entry("new", b"no"), Job(QUEUE, b"no", message_id="n")]
        wrong: list[tuple[list[Emit], type[Exception]]] = [
            ([entry("s", expected=Position(store.epoch, 7))], PositionConflict),
            ([entry("s", b"other", key="k")], KeyConflict),
            ([Job("unknown", b"")], UnknownQueue),
            ([Job(QUEUE, b"other", message_id="m")], KeyConflict),
            ([Job(QUEUE, b"", priority=10)], BadRequest),
            # These are in the way of each other.
            ([Job("full", b"1"), Job("full", b"2")], LimitExceeded),
            ([entry("s", expected=end), entry("s", expected=end)], PositionConflict),
            ([entry("t", b"1", key="l"), entry("t", b"2", key="l")], KeyConflict),
            ([Job(QUEUE, b"1", message_id="o"), Job(QUEUE, b"2", message_id="o")], KeyConflict),
        ]
        claimed = await claim_one(store)
        before = await counted(store)
        for emit, error in wrong:
            for asked in (good + emit, emit + good):
                answer = await try_settle(store, claimed, emit=asked)
                assert isinstance(answer, error), (asked, answer)
        assert await store.heads(["s", "t", "new"]) == (
            store.epoch,
            {"s": Head(0, 1), "t": Head(0, 0), "new": Head(0, 0)},
        )
        assert (await counted(store), (await counted(store, queue="full")).enqueued) == (before, 0)
        settled = await settle(store, claimed, emit=good)
        assert [one.fresh for one in settled.emitted] == [True, True, True]
        assert await head(store, "s") == Head(0, 2)

    @promise
    async def test_however_many_settlements_of_a_call_are_refused_each_is_answered(
        self, place: Place, store: Store
    ) -> None:
        await declare(store)
        await enqueue(store, *[b"1"] * CLAIM_JOBS_MAX)
        expecting = [entry("s"), entry("s", expected=Position(store.epoch, 7))]
        claimed = await store.claim(QUEUE, worker="w", limit=CLAIM_JOBS_MAX)
        settlements = [Settlement(job.id, job.fence, Deed.ACK, emit=expecting) for job in claimed]
        answers = await store.settle(settlements)
        assert {type(answer) for answer in answers} == {PositionConflict}
        assert len(answers) == (await counted(store)).leased == CLAIM_JOBS_MAX
        assert await head(store, "s") == Head(0, 0)

    @promise
    async def test_what_is_refused_leaves_the_settlements_beside_it_alone(
        self, place: Place, store: Store
    ) -> None:
        await declare(store)
        await enqueue(store, b"1", b"2", b"3")
        one, two, three = await claim(store)
        end = Position(store.epoch, 0)
        expecting = [entry("s", expected=end), entry("s", expected=end)]
        answers = [
            await try_settle(store, one, emit=[entry("t")]),
            await try_settle(store, two, emit=expecting),
            await try_settle(store, three, emit=[entry("s", expected=end)]),
        ]
        assert [isinstance(answer, PositionConflict) for answer in answers] == [False, True, False]
        assert (await counted(store)).leased == 1

    @promise
    async def test_a_repeated_key_among_what_is_emitted_answers_the_first(
        self, place: Place, store: Store
    ) -> None:
        await declare(store)
        [held] = await enqueue(store, b"x", message_id="m", delay_ms=1)
        await append(store, "s", b"x", key="k")
        await enqueue(store, b"1")
        emit: list[Emit] = [entry("s", b"x", key="k"), Job(QUEUE, b"x", message_id="m")]
        stored, enqueued = (await settle(store, await claim_one(store), emit=emit)).emitted
        assert (stored.fresh, enqueued) == (False, Enqueued(held, fresh=False))

    @pytest.mark.parametrize("deed", [Deed.ACK, Deed.BURY])
    def test_a_job_that_ends_may_emit_its_successor_under_its_own_unique_name(
        self, place: Place, deed: Deed
    ) -> None:
        @promise
        async def scenario(self: object, place: Place, store: Store) -> None:
            await declare(store)
            await enqueue(store, b"1", unique="u")
            claimed = await claim_one(store)
            wrong: list[Emit] = [Job(QUEUE, b"no", unique="u"), Job("unknown", b"")]
            assert isinstance(await try_settle(store, claimed, deed, emit=wrong), UnknownQueue)
            assert await enqueue(store, b"no", unique="u") == [claimed.id]
            [successor] = (await settle(store, claimed, deed, emit=[Job(QUEUE, b"2", unique="u")])).emitted
            assert successor.fresh
            assert await found(store, State.WAITING) == [b"2"]

        scenario(self, place)

    @promise
    async def test_a_job_of_the_same_key_that_is_emitted_follows(self, place: Place, store: Store) -> None:
        await declare(store)
        await enqueue(store, b"1", b"2", key="k")
        await settle(store, await claim_one(store), emit=[Job(QUEUE, b"3", key="k")])
        first = await claim(store)
        assert payloads(first) == [b"2"]
        await settle(store, first[0])
        assert payloads(await claim(store)) == [b"3"]
