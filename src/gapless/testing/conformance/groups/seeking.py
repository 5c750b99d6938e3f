"""Seeking: a group goes on elsewhere, and what is on its way is refused."""

import pytest

from gapless.core.errors import BadRequest, LeaseLost, PositionConflict, UnknownStream
from gapless.core.stream import Position
from gapless.ports import Store
from gapless.testing.conformance.groups.verbs import (
    GROUP,
    SOURCE,
    beat,
    begun,
    commit,
    held,
    look,
    lost,
    numbers,
    stands,
)
from gapless.testing.conformance.places import Place, entry, head, promise

__all__ = ["Seeking"]


class Seeking:
    """Seeking: a group goes on elsewhere, and what is on its way is refused."""

    @promise
    async def test_a_group_goes_on_elsewhere(self, place: Place, store: Store) -> None:
        mine = await begun(store)
        await commit(store, mine, Position(store.epoch, 5))
        await store.seek(SOURCE, GROUP, {0: Position(store.epoch, 2), 3: Position(store.epoch, 4)})
        assert (await look(store)).positions == {0: Position(store.epoch, 2), 3: Position(store.epoch, 4)}
        assert (await held(store)).position == Position(store.epoch, 2)
        assert await commit(store, await held(store), Position(store.epoch, 3)) == ()

    @promise
    async def test_a_group_goes_on_as_if_it_had_never_begun(self, place: Place, store: Store) -> None:
        mine = await begun(store)
        await commit(store, mine, Position(store.epoch, 5))
        await store.seek(SOURCE, GROUP, {0: None})
        assert (await look(store)).positions == {}
        again = await held(store)
        assert again.position is None
        assert await commit(store, again, Position(store.epoch, 1)) == ()

    @promise
    async def test_a_partition_that_was_sought_has_a_new_fence(self, place: Place, store: Store) -> None:
        before = await beat(store)
        await store.seek(SOURCE, GROUP, {1: None, 2: None})
        after = await beat(store)
        assert numbers(after) == [0, 1, 2, 3]
        assert lost(before, after) == {1, 2}
        highest = max(one.fence_number for one in before.held)
        assert all(one.fence_number > highest for one in after.held[1:3])

    @promise
    async def test_a_commit_on_its_way_is_refused(self, place: Place, store: Store) -> None:
        mine = await begun(store)
        await commit(store, mine, Position(store.epoch, 3))
        await store.seek(SOURCE, GROUP, {0: Position(store.epoch, 1)})
        assert await commit(store, mine, Position(store.epoch, 4)) is LeaseLost
        assert await stands(store) == Position(store.epoch, 1)

    @promise
    async def test_the_last_commit_of_who_was_told_to_let_go_is_refused_too(
        self, place: Place, store: Store
    ) -> None:
        await begun(store)
        leaving = await held(store, "a", 3)
        await beat(store, "b")
        await beat(store, "a")
        await store.seek(SOURCE, GROUP, {3: None})
        assert await commit(store, leaving, Position(store.epoch, 1)) is LeaseLost

    @promise
    async def test_a_group_without_members_can_be_sought(self, place: Place, store: Store) -> None:
        await begun(store)
        await store.leave(SOURCE, GROUP, "a")
        await store.seek(SOURCE, GROUP, {0: Position(store.epoch, 3)})
        mine = await held(store, "b")
        assert mine.position == Position(store.epoch, 3)
        assert await commit(store, mine, Position(store.epoch, 2), "b") is PositionConflict

    @promise
    async def test_only_a_group_that_is_there_can_be_sought(self, place: Place, store: Store) -> None:
        await beat(store)
        for source, group in ((SOURCE, "other"), ("events", GROUP)):
            with pytest.raises(UnknownStream):
                await store.seek(source, group, {0: None}, audit=entry("audit"))
        assert (await head(store, "audit")).last == 0

    @promise
    async def test_only_partitions_that_are_there_can_be_sought(self, place: Place, store: Store) -> None:
        before = await beat(store)
        for wrong in (-1, 4):
            with pytest.raises(BadRequest):
                await store.seek(
                    SOURCE, GROUP, {0: Position(store.epoch, 0), wrong: None}, audit=entry("audit")
                )
        assert (await beat(store)).held == before.held
        assert (await head(store, "audit")).last == 0

    @promise
    async def test_a_seek_is_recorded_with_it(self, place: Place, store: Store) -> None:
        before = await beat(store)
        await store.seek(SOURCE, GROUP, {0: None}, audit=entry("audit", b"sought"))
        assert (await head(store, "audit")).last == 1
        with pytest.raises(BadRequest):
            await store.seek(SOURCE, GROUP, {1: None}, audit=entry("audit", bytes(10**6)))
        assert lost(before, await beat(store)) == {0}
