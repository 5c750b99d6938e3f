"""What a commit emits is stored with it, or neither holds."""

import pytest

from gapless.core.errors import BadRequest, GaplessError, LeaseLost, PositionConflict, UnknownQueue
from gapless.core.groups import Commit
from gapless.core.jobs import Emit, Enqueued, Job, QueueOptions
from gapless.core.stream import Position, Stored
from gapless.ports import Store
from gapless.testing.conformance.groups.verbs import beat, begun, commit, held, look, stands, try_commit
from gapless.testing.conformance.places import Place, entry, head, promise, read

__all__ = ["Emitting"]

TOO_LARGE = bytes(10**6)


class Emitting:
    """What a commit emits is stored with it, or neither holds."""

    @promise
    async def test_what_is_emitted_is_stored_with_the_commit(self, place: Place, store: Store) -> None:
        mine = await begun(store)
        await store.declare("mail", QueueOptions())
        place.time_ms += 7
        emit = [entry("out", b"1"), Job("mail", b"2"), entry("out", b"3")]
        answer = await commit(store, mine, Position(store.epoch, 2), emit=emit)
        assert isinstance(answer, tuple)
        first, job, second = answer
        assert first == Stored(store.epoch, 1, place.time_ms)
        assert second == Stored(store.epoch, 2, place.time_ms)
        assert isinstance(job, Enqueued)
        assert [message.data for message in (await read(store, "out")).messages] == [b"1", b"3"]
        assert [one.id for one in await store.claim("mail", worker="w", limit=9)] == [job.id]
        assert await stands(store) == Position(store.epoch, 2)

    @promise
    async def test_a_stale_fence_refuses_what_is_emitted_too(self, place: Place, store: Store) -> None:
        mine = await begun(store)
        place.time_ms = (await beat(store)).session_until_ms
        await held(store, "b")
        there = Position(store.epoch, 2)
        assert await commit(store, mine, there, emit=[entry("out")]) is LeaseLost
        assert (await head(store, "out")).last == 0
        assert await stands(store) is None

    @promise
    async def test_a_commit_that_leads_nowhere_emits_nothing(self, place: Place, store: Store) -> None:
        mine = await begun(store)
        for wrong in (6, -1):
            there = Position(store.epoch, wrong)
            assert await commit(store, mine, there, emit=[entry("out")]) is PositionConflict
        assert (await head(store, "out")).last == 0

    @promise
    async def test_a_commit_that_is_repeated_emits_once(self, place: Place, store: Store) -> None:
        mine = await begun(store)
        there = Position(store.epoch, 2)
        assert await commit(store, mine, there, emit=[entry("out")]) != ()
        assert await commit(store, mine, there, emit=[entry("out")]) == ()
        assert (await head(store, "out")).last == 1

    @promise
    async def test_if_anything_emitted_is_refused_all_is_and_the_commit(
        self, place: Place, store: Store
    ) -> None:
        mine = await begun(store)
        there = Position(store.epoch, 2)
        emit = [entry("out"), entry("other"), entry("out", TOO_LARGE)]
        assert await commit(store, mine, there, emit=emit) is BadRequest
        assert await commit(store, mine, there, emit=[entry("out"), Job("none", b"")]) is UnknownQueue
        assert [(await head(store, name)).last for name in ("out", "other")] == [0, 0]
        assert await stands(store) is None
        assert await commit(store, mine, there, emit=[entry("out")]) == (
            Stored(store.epoch, 1, place.time_ms),
        )

    @promise
    async def test_what_shows_only_when_all_is_stored_refuses_all_too(
        self, place: Place, store: Store
    ) -> None:
        mine = await begun(store)
        there = Position(store.epoch, 2)
        at_start = Position(store.epoch, 0)
        emit = [entry("out", expected=at_start), entry("other"), entry("out", expected=at_start)]
        assert await commit(store, mine, there, emit=emit) is PositionConflict
        assert [(await head(store, name)).last for name in ("out", "other")] == [0, 0]
        assert await stands(store) is None
        assert await commit(store, mine, there) == ()

    @promise
    async def test_a_commit_that_is_refused_leaves_the_others_of_its_call(
        self, place: Place, store: Store
    ) -> None:
        await begun(store)
        one, two, three, _ = (await beat(store)).held
        there = Position(store.epoch, 2)
        at_start = Position(store.epoch, 0)
        answers = await try_commit(
            store,
            "a",
            [
                Commit(0, one.fence, there, [entry("out", b"1")]),
                Commit(1, two.fence, there, [entry("out", b"2"), entry("out", b"3", expected=at_start)]),
                Commit(2, three.fence, there, [entry("out", b"4")]),
            ],
        )
        assert answers[0] == (Stored(store.epoch, 1, place.time_ms),)
        assert answers[1] is PositionConflict
        assert answers[2] == (Stored(store.epoch, 2, place.time_ms),)
        assert [message.data for message in (await read(store, "out")).messages] == [b"1", b"4"]
        assert (await look(store)).positions == {0: there, 2: there}

    @promise
    async def test_an_emit_may_go_to_the_stream_that_is_read(self, place: Place, store: Store) -> None:
        mine = await begun(store)
        answer = await commit(store, mine, Position(store.epoch, 5), emit=[entry("stream:orders/0")])
        assert answer == (Stored(store.epoch, 6, place.time_ms),)
        assert await commit(store, mine, Position(store.epoch, 6)) == ()

    @promise
    async def test_what_is_stored_together_is_stored_whole_or_not_at_all(
        self, place: Place, store: Store
    ) -> None:
        await store.declare("mail", QueueOptions())
        refused: list[list[Emit]] = [
            [entry("out"), Job("mail", b""), entry("out", TOO_LARGE)],
            [entry("out"), entry("other", expected=Position(store.epoch, 7))],
            [entry("out", key="k"), Job("none", b"")],
        ]
        for together in refused:
            with pytest.raises(GaplessError):
                await store.store_all(together)
        assert [(await head(store, name)).last for name in ("out", "other")] == [0, 0]
        assert await store.claim("mail", worker="w", limit=9) == []
        first, job, second = await store.store_all(
            [entry("out", b"1", key="k"), Job("mail", b"2"), entry("other", b"3")]
        )
        assert first == Stored(store.epoch, 1, place.time_ms)
        assert second == Stored(store.epoch, 1, place.time_ms)
        assert isinstance(job, Enqueued)
        (again,) = await store.store_all([entry("out", b"1", key="k")])
        assert isinstance(again, Stored)
        assert (again.offset, again.fresh) == (1, False)
