"""Commits: forward only, to what is there, and under the fence that counts."""

from gapless.core.errors import BadRequest, LeaseLost, PositionConflict
from gapless.core.groups import Commit, Held
from gapless.core.stream import Position
from gapless.ports import Store
from gapless.testing.conformance.groups.verbs import (
    GROUP,
    LANES,
    SOURCE,
    beat,
    begun,
    commit,
    held,
    look,
    stands,
    try_commit,
)
from gapless.testing.conformance.places import Place, entry, fill, head, promise

__all__ = ["Committing"]


class Committing:
    """Commits: forward only, to what is there, and under the fence that counts."""

    @promise
    async def test_a_commit_moves_the_group_on(self, place: Place, store: Store) -> None:
        mine = await begun(store)
        for offset in (2, 3, 5):
            assert await commit(store, mine, Position(store.epoch, offset)) == ()
            assert await stands(store) == Position(store.epoch, offset)
        assert (await look(store)).positions == {0: Position(store.epoch, 5)}
        assert await held(store) == Held(0, mine.fence, mine.fence_number, Position(store.epoch, 5))

    @promise
    async def test_a_commit_leads_forward(self, place: Place, store: Store) -> None:
        mine = await begun(store)
        await commit(store, mine, Position(store.epoch, 3))
        for offset in (2, 1, 0):
            assert await commit(store, mine, Position(store.epoch, offset)) is PositionConflict
        assert await stands(store) == Position(store.epoch, 3)

    @promise
    async def test_a_commit_leads_to_what_is_there(self, place: Place, store: Store) -> None:
        mine = await begun(store)
        for wrong in (Position(store.epoch, 6), Position(store.epoch, -1), Position("never", 3)):
            assert await commit(store, mine, wrong) is PositionConflict
        assert await stands(store) is None
        assert await commit(store, mine, Position(store.epoch, 5)) == ()
        assert await commit(store, mine, Position(store.epoch, 6)) is PositionConflict
        assert await stands(store) == Position(store.epoch, 5)

    @promise
    async def test_a_commit_follows_the_appends_that_were_made_before_it(
        self, place: Place, store: Store
    ) -> None:
        mine = await begun(store)
        store.append([entry(LANES[0])], lambda entries, outcomes: None)
        assert await commit(store, mine, Position(store.epoch, 6)) == ()

    @promise
    async def test_a_commit_where_the_group_stands_changes_nothing(self, place: Place, store: Store) -> None:
        mine = await begun(store)
        for _ in range(3):
            assert await commit(store, mine, Position(store.epoch, 4)) == ()
            assert await stands(store) == Position(store.epoch, 4)

    @promise
    async def test_what_retention_dropped_may_be_committed(self, place: Place, store: Store) -> None:
        mine = await begun(store)
        await commit(store, mine, Position(store.epoch, 1))
        await store.trim(LANES[0], 4)
        assert await commit(store, mine, Position(store.epoch, 2)) == ()
        await store.trim(LANES[0], 5)
        assert await commit(store, mine, Position(store.epoch, 5)) == ()
        assert await commit(store, mine, Position(store.epoch, 6)) is PositionConflict

    @promise
    async def test_a_commit_names_the_fence_that_counts(self, place: Place, store: Store) -> None:
        await begun(store)
        mine, other = (await beat(store)).held[:2]
        there = Position(store.epoch, 2)
        epoch, _, number = mine.fence.partition(":")
        for fence in ("", other.fence, "never:1", f"never:{number}", f"{epoch}:{int(number) + 9}", number):
            wrong = Held(mine.partition, fence, mine.fence_number, None)
            assert await commit(store, wrong, there) is LeaseLost
        assert await stands(store) is None

    @promise
    async def test_a_commit_is_the_holders(self, place: Place, store: Store) -> None:
        mine = await begun(store)
        await beat(store, "b")
        there = Position(store.epoch, 2)
        for member in ("b", "c"):
            assert await commit(store, mine, there, member) is LeaseLost
        assert await commit(store, mine, there, "a") == ()

    @promise
    async def test_nobody_commits_in_what_is_not_there(self, place: Place, store: Store) -> None:
        mine = await begun(store)
        one = Commit(0, mine.fence, Position(store.epoch, 2))
        assert await try_commit(store, "a", [one], "other") == [LeaseLost]
        for partition in (-4, -1, 4, 2**40):
            wrong = Commit(partition, mine.fence, one.position)
            assert await try_commit(store, "a", [wrong]) == [LeaseLost]

    @promise
    async def test_a_late_commit_is_refused_though_nobody_took_the_partition(
        self, place: Place, store: Store
    ) -> None:
        mine = await begun(store)
        until_ms = (await beat(store)).session_until_ms
        place.time_ms = until_ms - 1
        assert await commit(store, mine, Position(store.epoch, 1)) == ()
        place.time_ms = until_ms
        assert await commit(store, mine, Position(store.epoch, 2)) is LeaseLost
        assert await stands(store) == Position(store.epoch, 1)

    @promise
    async def test_a_commit_does_not_lengthen_the_session(self, place: Place, store: Store) -> None:
        mine = await begun(store)
        until_ms = (await beat(store)).session_until_ms
        place.time_ms = until_ms - 1
        await commit(store, mine, Position(store.epoch, 1))
        assert [member.session_until_ms for member in (await look(store)).members] == [until_ms]

    @promise
    async def test_the_late_commit_of_a_paused_member_is_refused(self, place: Place, store: Store) -> None:
        paused = await begun(store)
        place.time_ms = (await beat(store)).session_until_ms
        mine = await held(store, "b")
        assert await commit(store, mine, Position(store.epoch, 2), "b") == ()
        assert await commit(store, paused, Position(store.epoch, 5)) is LeaseLost
        await beat(store, "a")
        assert await commit(store, paused, Position(store.epoch, 5)) is LeaseLost
        assert await commit(store, mine, Position(store.epoch, 3), "b") == ()
        assert await stands(store) == Position(store.epoch, 3)

    @promise
    async def test_who_left_commits_no_more(self, place: Place, store: Store) -> None:
        mine = await begun(store)
        await store.leave(SOURCE, GROUP, "a")
        assert await commit(store, mine, Position(store.epoch, 1)) is LeaseLost
        again = await held(store)
        assert await commit(store, mine, Position(store.epoch, 1)) is LeaseLost
        assert await commit(store, again, Position(store.epoch, 1)) == ()

    @promise
    async def test_each_commit_of_a_call_is_answered_for_itself(self, place: Place, store: Store) -> None:
        await begun(store)
        one, two, three, _ = (await beat(store)).held
        answers = await try_commit(
            store,
            "a",
            [
                Commit(0, one.fence, Position(store.epoch, 2)),
                Commit(1, three.fence, Position(store.epoch, 2)),
                Commit(2, three.fence, Position(store.epoch, 9)),
                Commit(0, one.fence, Position(store.epoch, 1)),
                Commit(0, one.fence, Position(store.epoch, 3)),
                Commit(1, two.fence, Position(store.epoch, 4)),
            ],
        )
        assert answers == [(), LeaseLost, PositionConflict, PositionConflict, (), ()]
        positions = (await look(store)).positions
        assert positions == {0: Position(store.epoch, 3), 1: Position(store.epoch, 4)}

    @promise
    async def test_each_partition_moves_by_its_own_stream(self, place: Place, store: Store) -> None:
        await begun(store)
        await fill(store, LANES[2], 3)
        _, two, three, _ = (await beat(store)).held
        assert (await head(store, LANES[2])).last == 8
        assert await commit(store, three, Position(store.epoch, 8)) == ()
        assert await commit(store, two, Position(store.epoch, 8)) is PositionConflict

    @promise
    async def test_a_source_of_another_number_of_partitions_is_refused(
        self, place: Place, store: Store
    ) -> None:
        mine = await begun(store)
        one = Commit(0, mine.fence, Position(store.epoch, 1))
        for streams in (LANES[:3], [*LANES, "one more"], []):
            assert await try_commit(store, "a", [one], streams=streams) == [BadRequest]
        assert await stands(store) is None

    @promise
    async def test_groups_stand_where_they_stand_each_for_itself(self, place: Place, store: Store) -> None:
        mine = await begun(store)
        await beat(store, "a", "other")
        await commit(store, mine, Position(store.epoch, 4))
        assert (await look(store, "other")).positions == {}
