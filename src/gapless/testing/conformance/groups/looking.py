"""Looking at groups, and dropping them."""

import pytest

from gapless.core.errors import BadRequest, LeaseLost
from gapless.core.groups import Member
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
)
from gapless.testing.conformance.places import Place, entry, head, promise

__all__ = ["Looking"]


class Looking:
    """Looking at groups, and dropping them."""

    @promise
    async def test_the_groups_of_a_source_or_all_are_listed(self, place: Place, store: Store) -> None:
        for source, group in (("b", "y"), ("b", "x"), ("a", "z"), ("B", "x")):
            await store.heartbeat(source, group, "m", partitions=1, session_ms=SESSION_MS)

        def names(source: str = "") -> list[tuple[str, str]]:
            return [(info.source, info.name) for info in found[source]]

        found = {source: await store.groups(source) for source in ("", "a", "b", "c")}
        assert names() == [("B", "x"), ("a", "z"), ("b", "x"), ("b", "y")]
        assert (names("a"), names("b"), names("c")) == ([("a", "z")], [("b", "x"), ("b", "y")], [])

    @promise
    async def test_members_are_listed_as_they_joined_with_what_they_hold(
        self, place: Place, store: Store
    ) -> None:
        await beat(store, "b")
        await beat(store, "a", session_ms=3_000)
        until_ms = place.time_ms + SESSION_MS
        soon_ms = place.time_ms + 3_000
        assert (await look(store)).members == (Member("b", (0, 1, 2, 3), until_ms), Member("a", (), soon_ms))
        await beat(store, "b")
        assert (await look(store)).members == (Member("b", (0, 1), until_ms), Member("a", (), soon_ms))
        await beat(store, "a", session_ms=3_000)
        assert (await look(store)).members == (Member("b", (0, 1), until_ms), Member("a", (2, 3), soon_ms))

    @promise
    async def test_a_group_tells_the_fences_that_its_members_were_given(
        self, place: Place, store: Store
    ) -> None:
        given = await beat(store, "a")
        fences = {held.partition: held.fence_number for held in given.held}
        assert (await look(store)).fences == fences
        place.time_ms += SESSION_MS
        assert (await look(store)).fences == {}

    @promise
    async def test_a_member_whose_session_has_ended_is_not_listed(self, place: Place, store: Store) -> None:
        await beat(store, "a", session_ms=1_000)
        await beat(store, "b")
        place.time_ms += 999
        assert [member.name for member in (await look(store)).members] == ["a", "b"]
        place.time_ms += 1
        assert [member.name for member in (await look(store)).members] == ["b"]

    @promise
    async def test_a_group_stays_when_its_members_are_gone(self, place: Place, store: Store) -> None:
        mine = await begun(store)
        await commit(store, mine, Position(store.epoch, 2))
        place.time_ms += 10 * SESSION_MS
        info = await look(store)
        assert (info.members, info.positions) == ((), {0: Position(store.epoch, 2)})

    @promise
    async def test_a_dropped_group_is_forgotten(self, place: Place, store: Store) -> None:
        mine = await begun(store)
        before = await beat(store)
        await beat(store, "a", "other")
        await commit(store, mine, Position(store.epoch, 2))
        assert await store.drop_group(SOURCE, GROUP)
        assert [info.name for info in await store.groups()] == ["other"]
        assert await commit(store, mine, Position(store.epoch, 3)) is LeaseLost
        after = await beat(store)
        assert [one.position for one in after.held] == [None] * 4
        assert lost(before, after) == {0, 1, 2, 3}
        assert await commit(store, mine, Position(store.epoch, 3)) is LeaseLost

    @promise
    async def test_a_dropped_group_may_begin_anew_with_other_partitions(
        self, place: Place, store: Store
    ) -> None:
        await beat(store)
        await store.drop_group(SOURCE, GROUP)
        assert len((await beat(store, partitions=7)).held) == 7

    @promise
    async def test_dropping_a_group_tells_whether_there_was_one(self, place: Place, store: Store) -> None:
        await beat(store)
        assert not await store.drop_group(SOURCE, "other", audit=entry("audit"))
        assert not await store.drop_group("events", GROUP, audit=entry("audit"))
        assert (await head(store, "audit")).last == 0
        assert await store.drop_group(SOURCE, GROUP, audit=entry("audit"))
        assert not await store.drop_group(SOURCE, GROUP, audit=entry("audit"))
        assert (await head(store, "audit")).last == 1

    @promise
    async def test_a_drop_that_cannot_be_recorded_does_not_happen(self, place: Place, store: Store) -> None:
        mine = await begun(store)
        with pytest.raises(BadRequest):
            await store.drop_group(SOURCE, GROUP, audit=entry("audit", bytes(10**6)))
        assert await held(store) == mine
