"""Who holds which partition, and under which fence."""

import asyncio

import pytest

from gapless.core.errors import BadRequest, LeaseLost, LimitExceeded
from gapless.core.limits import GROUPS_MAX, MEMBERS_MAX
from gapless.core.stream import Position
from gapless.ports import Store
from gapless.testing.conformance.groups.verbs import (
    GROUP,
    SESSION_MS,
    SOURCE,
    beat,
    begun,
    commit,
    held,
    look,
    lost,
    numbers,
    settle,
)
from gapless.testing.conformance.places import Place, promise

__all__ = ["Assigning"]


class Assigning:
    """Who holds which partition, and under which fence."""

    @promise
    async def test_the_first_member_holds_everything_and_stands_nowhere(
        self, place: Place, store: Store
    ) -> None:
        assigned = await beat(store)
        assert numbers(assigned) == [0, 1, 2, 3]
        assert [one.position for one in assigned.held] == [None] * 4
        assert assigned.session_until_ms == place.time_ms + SESSION_MS

    @promise
    async def test_each_partition_has_a_fence_of_its_own(self, place: Place, store: Store) -> None:
        here, there = await beat(store), await beat(store, group="other")
        given = [*here.held, *there.held]
        assert len({one.fence for one in given}) == len({one.fence_number for one in given}) == 8
        assert all(place.time_ms * 1_000 <= one.fence_number < 2**53 for one in given)
        assert min(one.fence_number for one in there.held) > max(one.fence_number for one in here.held)

    @promise
    async def test_a_partition_that_stays_keeps_its_fence(self, place: Place, store: Store) -> None:
        before = await beat(store)
        place.time_ms += SESSION_MS - 1
        after = await beat(store)
        assert after.held == before.held
        assert after.session_until_ms == place.time_ms + SESSION_MS

    @promise
    async def test_what_a_member_holds_is_given_on_once_it_was_told(self, place: Place, store: Store) -> None:
        before = await beat(store, "a")
        assert numbers(await beat(store, "b")) == []
        assert numbers(await beat(store, "b")) == []
        after = await beat(store, "a")
        assert numbers(after) == [0, 1]
        assert lost(before, after) == {2, 3}
        given = await beat(store, "b")
        assert numbers(given) == [2, 3]
        assert not {one.fence for one in given.held} & {one.fence for one in before.held}
        assert min(one.fence_number for one in given.held) > max(one.fence_number for one in before.held)

    @promise
    async def test_what_a_member_was_told_to_let_go_of_it_may_commit_until_another_has_it(
        self, place: Place, store: Store
    ) -> None:
        await begun(store)
        leaving = await held(store, "a", 3)
        await beat(store, "b")
        assert 3 not in numbers(await beat(store, "a"))
        assert await commit(store, leaving, Position(store.epoch, 2)) == ()
        assert (await held(store, "b", 3)).position == Position(store.epoch, 2)
        assert await commit(store, leaving, Position(store.epoch, 3)) is LeaseLost

    @promise
    async def test_what_was_let_go_of_and_comes_back_has_a_new_fence(
        self, place: Place, store: Store
    ) -> None:
        before = await beat(store, "a")
        await beat(store, "b")
        await beat(store, "a")
        await store.leave(SOURCE, GROUP, "b")
        after = await beat(store, "a")
        assert numbers(after) == [0, 1, 2, 3]
        assert lost(before, after) == {2, 3}

    @promise
    async def test_members_come_to_hold_the_same_number_of_partitions_or_one_more(
        self, place: Place, store: Store
    ) -> None:
        for members in ("a", "ab", "abc", "abcd", "abcde"):
            settled = await settle(store, members)
            assert await settle(store, members) == settled
            sizes = [len(assigned.held) for assigned in settled.values()]
            assert sum(sizes) == 4
            assert max(sizes) - min(sizes) <= 1

    @promise
    async def test_no_more_moves_than_balance_asks_for(self, place: Place, store: Store) -> None:
        two = await settle(store, "ab", partitions=6)
        three = await settle(store, "abc", partitions=6)
        assert [len(lost(two[member], three[member])) for member in "ab"] == [1, 1]
        await store.leave(SOURCE, GROUP, "c")
        again = await settle(store, "ab", partitions=6)
        assert [len(lost(three[member], again[member])) for member in "ab"] == [0, 0]

    @promise
    async def test_what_a_member_leaves_is_free_at_once(self, place: Place, store: Store) -> None:
        before = await beat(store, "a")
        await store.leave(SOURCE, GROUP, "a")
        given = await beat(store, "b")
        assert numbers(given) == [0, 1, 2, 3]
        assert not {one.fence for one in given.held} & {one.fence for one in before.held}

    @promise
    async def test_leaving_what_was_left_is_harmless(self, place: Place, store: Store) -> None:
        await store.leave(SOURCE, GROUP, "a")
        assert await store.groups() == []
        before = await beat(store, "a")
        await store.leave(SOURCE, GROUP, "b")
        await store.leave(SOURCE, "other", "a")
        await store.leave("events", GROUP, "a")
        assert (await beat(store, "a")).held == before.held
        await store.leave(SOURCE, GROUP, "a")
        await store.leave(SOURCE, GROUP, "a")
        assert (await look(store)).members == ()

    @promise
    async def test_what_a_silent_member_held_is_given_on_when_its_session_ends(
        self, place: Place, store: Store
    ) -> None:
        until_ms = (await beat(store, "a")).session_until_ms
        place.time_ms = until_ms - 1
        assert numbers(await beat(store, "b")) == []
        place.time_ms = until_ms
        assert numbers(await beat(store, "b")) == [0, 1, 2, 3]

    @promise
    async def test_a_member_that_was_silent_for_too_long_comes_back_as_a_new_one(
        self, place: Place, store: Store
    ) -> None:
        before = await beat(store, "a")
        place.time_ms = before.session_until_ms
        after = await beat(store, "a")
        assert numbers(after) == [0, 1, 2, 3]
        assert lost(before, after) == {0, 1, 2, 3}

    @promise
    async def test_each_member_has_a_session_of_its_own_length(self, place: Place, store: Store) -> None:
        await beat(store, "a", session_ms=1_000)
        await beat(store, "b", session_ms=5_000)
        place.time_ms += 1_000
        assert numbers(await beat(store, "b", session_ms=2_000)) == [0, 1, 2, 3]
        place.time_ms += 2_000
        assert (await look(store)).members == ()

    @promise
    async def test_members_beyond_the_partitions_wait(self, place: Place, store: Store) -> None:
        for _ in range(2):
            shares = [numbers(await beat(store, member, partitions=1)) for member in "abc"]
            assert shares == [[0], [], []]
        await store.leave(SOURCE, GROUP, "a")
        assert [numbers(await beat(store, member, partitions=1)) for member in "cb"] == [[], [0]]

    @promise
    async def test_groups_do_not_mind_each_other(self, place: Place, store: Store) -> None:
        await beat(store, "a")
        assert numbers(await beat(store, "b", "other")) == [0, 1, 2, 3]
        there = await store.heartbeat("events", GROUP, "c", partitions=2, session_ms=SESSION_MS)
        assert numbers(there) == [0, 1]
        assert numbers(await beat(store, "a")) == [0, 1, 2, 3]

    @promise
    async def test_a_group_has_the_partitions_it_was_begun_with(self, place: Place, store: Store) -> None:
        before = await beat(store, "a")
        for partitions in (1, 3, 5):
            for member in "ab":
                with pytest.raises(BadRequest):
                    await beat(store, member, partitions=partitions)
        assert (await beat(store, "a")).held == before.held

    @promise
    async def test_only_so_many_members_are_in_a_group(self, place: Place, store: Store) -> None:
        names = [f"m{n}" for n in range(MEMBERS_MAX)]
        await asyncio.gather(*(beat(store, name, session_ms=1_000 + n) for n, name in enumerate(names)))
        with pytest.raises(LimitExceeded):
            await beat(store, "one more")
        await beat(store, names[0], session_ms=1_000)
        place.time_ms += 1_000
        await beat(store, "one more")
        members = [member.name for member in (await look(store)).members]
        assert members == [*names[1:], "one more"]

    @promise
    async def test_only_so_many_groups_are_begun(self, place: Place, store: Store) -> None:
        await asyncio.gather(*(beat(store, group=f"g{n}", partitions=1) for n in range(GROUPS_MAX)))
        with pytest.raises(LimitExceeded):
            await beat(store, group="one more", partitions=1)
        assert numbers(await beat(store, group="g0", partitions=1)) == [0]
        await store.drop_group(SOURCE, "g1")
        assert numbers(await beat(store, group="one more", partitions=1)) == [0]
