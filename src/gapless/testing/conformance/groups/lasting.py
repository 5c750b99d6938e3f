"""What outlives the process: positions, fences, members."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from gapless.core.errors import LeaseLost, PositionConflict, StoreFailed
from gapless.core.groups import Commit, Member, StreamOptions
from gapless.core.stream import Position
from gapless.ports import Store
from gapless.testing.conformance.groups.verbs import (
    GROUP,
    LANES,
    SESSION_MS,
    SOURCE,
    beat,
    begun,
    commit,
    held,
    look,
    stands,
)
from gapless.testing.conformance.places import Place, append, entry, fill, promise

__all__ = ["Lasting"]


def across(test: Callable[["Lasting", Place, Store, Store], Awaitable[None]]) -> Callable[..., None]:
    """Turn a coroutine that tests what is left after a restart into a test: `old` was closed."""

    def run(self: "Lasting", place: Place) -> None:
        async def scenario() -> None:
            old = await place.open()
            await begun(old)
            await beat(old, "b", session_ms=3_000)
            await beat(old, "a")
            await beat(old, "b", session_ms=3_000)
            await old.declare_stream(SOURCE, StreamOptions(partitions=4))
            await commit(old, (await beat(old)).held[0], Position(old.epoch, 3))
            await old.close()
            store = await place.open()
            try:
                await test(self, place, old, store)
            finally:
                await store.close()

        asyncio.run(scenario())

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


class Lasting:
    """What outlives the process: positions, fences, members."""

    @across
    async def test_everything_about_a_group_is_there_after_reopening(
        self, place: Place, old: Store, store: Store
    ) -> None:
        info = await look(store)
        assert info.positions == {0: Position(old.epoch, 3)}
        assert info.members == (
            Member("a", (0, 1), place.time_ms + SESSION_MS),
            Member("b", (2, 3), place.time_ms + 3_000),
        )
        assert await store.declared_streams() == {SOURCE: StreamOptions(partitions=4)}

    @across
    async def test_a_fence_outlives_the_process(self, place: Place, old: Store, store: Store) -> None:
        mine = await held(store)
        assert mine.fence.startswith(f"{old.epoch}:")
        assert await commit(store, mine, Position(old.epoch, 4)) == ()
        assert await stands(store) == Position(old.epoch, 4)

    @across
    async def test_sessions_go_on_by_the_time_of_the_store(
        self, place: Place, old: Store, store: Store
    ) -> None:
        theirs = await held(store, "b", 2)
        place.time_ms += SESSION_MS
        assert (await look(store)).members == ()
        assert await commit(store, theirs, Position(old.epoch, 1), "b") is LeaseLost

    @across
    async def test_fences_of_another_generation_are_others_and_rise(
        self, place: Place, old: Store, store: Store
    ) -> None:
        kept = (await beat(store)).held
        fences = {one.fence for one in kept}
        number = max(one.fence_number for one in kept)
        await store.leave(SOURCE, GROUP, "b")
        given = (await beat(store)).held[2:]
        assert all(one.fence.startswith(f"{store.epoch}:") for one in given)
        assert all(one.fence_number > number for one in given)
        assert not fences & {one.fence for one in given}

    @across
    async def test_a_position_of_an_older_generation_is_committed_if_it_holds(
        self, place: Place, old: Store, store: Store
    ) -> None:
        mine = await held(store)
        await append(store, LANES[0])
        assert await commit(store, mine, Position(old.epoch, 6)) is PositionConflict
        assert await commit(store, mine, Position(old.epoch, 5)) == ()
        assert await commit(store, mine, Position(store.epoch, 6)) == ()

    @across
    async def test_the_place_where_a_group_stands_is_the_same_in_any_generation_that_has_it(
        self, place: Place, old: Store, store: Store
    ) -> None:
        mine = await held(store)
        assert await commit(store, mine, Position(store.epoch, 3), emit=[entry("out")]) == ()
        assert await stands(store) == Position(old.epoch, 3)
        assert (await store.heads(["out"])).heads["out"].last == 0

    @across
    async def test_a_group_that_stands_on_what_is_cut_off_moves_to_the_same_offset_of_another_timeline(
        self, place: Place, old: Store, store: Store
    ) -> None:
        await store.seek(SOURCE, GROUP, {0: Position(old.epoch, 7)})
        await fill(store, LANES[0], 4)
        mine = await held(store)
        assert mine.position == Position(old.epoch, 7)
        assert await commit(store, mine, Position(store.epoch, 6)) is PositionConflict
        assert await commit(store, mine, Position(store.epoch, 7)) == ()
        assert await stands(store) == Position(store.epoch, 7)

    @across
    async def test_a_seek_and_a_drop_outlive_the_process(
        self, place: Place, old: Store, store: Store
    ) -> None:
        await beat(store, "a", "other")
        await store.seek(SOURCE, GROUP, {0: None, 1: Position(old.epoch, 2)})
        fences = [one.fence for one in (await beat(store)).held]
        await store.drop_group(SOURCE, "other")
        await store.close()
        again = await place.open()
        assert [info.name for info in await again.groups()] == [GROUP]
        assert (await look(again)).positions == {1: Position(old.epoch, 2)}
        assert [one.fence for one in (await beat(again)).held] == fences
        await again.close()

    @across
    async def test_who_was_told_to_let_go_need_not_be_told_again(
        self, place: Place, old: Store, store: Store
    ) -> None:
        await beat(store, "c")
        await beat(store, "b")
        await store.close()
        again = await place.open()
        assert [one.partition for one in (await beat(again, "c")).held] == [3]
        await again.close()

    @promise
    async def test_a_closed_store_refuses_every_call(self, place: Place, store: Store) -> None:
        mine = await begun(store)
        await store.close()
        calls: list[Awaitable[object]] = [
            store.declare_stream("orders", StreamOptions()),
            store.declared_streams(),
            store.drop_stream("orders"),
            beat(store),
            store.leave(SOURCE, GROUP, "a"),
            store.commit(SOURCE, GROUP, "a", [Commit(0, mine.fence, Position("", 0))], streams=LANES),
            store.seek(SOURCE, GROUP, {0: None}),
            store.groups(),
            store.drop_group(SOURCE, GROUP),
        ]
        for call in calls:
            with pytest.raises(StoreFailed):
                await call
