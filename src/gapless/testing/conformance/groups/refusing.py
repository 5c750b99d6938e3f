"""What is outside its limits is refused, and nothing changes."""

from collections.abc import Awaitable, Callable

import pytest

from gapless.core.errors import BadRequest
from gapless.core.groups import Commit, StreamOptions
from gapless.core.limits import (
    CHANNEL_NAME_BYTES_MAX,
    JOB_EMITS_MAX,
    PARTITIONS_MAX,
    QUEUE_NAME_BYTES_MAX,
    SESSION_MAX_MS,
    SESSION_MIN_MS,
)
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
)
from gapless.testing.conformance.places import Place, entry, head, promise

__all__ = ["Refusing"]

NO_NAMES = ["", "\ud800", "x" * (CHANNEL_NAME_BYTES_MAX + 1), "ä" * (CHANNEL_NAME_BYTES_MAX // 2 + 1)]
SEEN = "ü" * (CHANNEL_NAME_BYTES_MAX // 2)


class Refusing:
    """What is outside its limits is refused, and nothing changes."""

    @promise
    async def test_names_have_their_limits_in_every_call(self, place: Place, store: Store) -> None:
        async def heartbeat(source: str, group: str, member: str) -> object:
            return await store.heartbeat(source, group, member, partitions=4, session_ms=1_000)

        async def commit(source: str, group: str, member: str) -> object:
            return await store.commit(source, group, member, [], streams=LANES)

        async def seek(source: str, group: str, member: str) -> None:
            await store.seek(source, group, {})

        async def drop(source: str, group: str, member: str) -> object:
            return await store.drop_group(source, group)

        calls: list[Callable[[str, str, str], Awaitable[object]]] = [
            heartbeat,
            store.leave,
            commit,
            seek,
            drop,
        ]
        before = await beat(store)
        for call in calls:
            for wrong in NO_NAMES:
                for names in ((wrong, GROUP, "a"), (SOURCE, wrong, "a"), (SOURCE, GROUP, wrong)):
                    if names[2] == "a" or call not in (seek, drop):
                        with pytest.raises(BadRequest):
                            await call(*names)
        for wrong in NO_NAMES[1:]:
            with pytest.raises(BadRequest):
                await store.groups(wrong)
        assert (await beat(store)).held == before.held
        assert len(await store.groups()) == 1

    @promise
    async def test_any_text_is_a_name(self, place: Place, store: Store) -> None:
        for name in (SEEN, "a\x00b", "\n", "'; drop table holds; --"):
            await store.heartbeat(name, name, name, partitions=1, session_ms=1_000)
        names = [(info.source, info.name, info.members[0].name) for info in await store.groups()]
        assert names == [(name, name, name) for name in ("\n", "'; drop table holds; --", "a\x00b", SEEN)]

    @promise
    async def test_a_declared_stream_has_a_name_and_partitions(self, place: Place, store: Store) -> None:
        for wrong in ("", "\ud800", "x" * (QUEUE_NAME_BYTES_MAX + 1)):
            with pytest.raises(BadRequest):
                await store.declare_stream(wrong, StreamOptions())
            with pytest.raises(BadRequest):
                await store.drop_stream(wrong)
        for partitions in (-1, 0, PARTITIONS_MAX + 1):
            with pytest.raises(BadRequest):
                await store.declare_stream("s", StreamOptions(partitions=partitions))
        assert await store.declared_streams() == {}
        assert await store.declare_stream("s", StreamOptions(partitions=PARTITIONS_MAX))

    @promise
    async def test_a_group_has_partitions(self, place: Place, store: Store) -> None:
        for partitions in (-1, 0, PARTITIONS_MAX + 1):
            with pytest.raises(BadRequest):
                await beat(store, partitions=partitions)
        assert await store.groups() == []
        assert len((await beat(store, partitions=PARTITIONS_MAX)).held) == PARTITIONS_MAX

    @promise
    async def test_a_session_has_its_limits(self, place: Place, store: Store) -> None:
        for session_ms in (-1, 0, SESSION_MIN_MS - 1, SESSION_MAX_MS + 1):
            with pytest.raises(BadRequest):
                await beat(store, session_ms=session_ms)
        assert await store.groups() == []
        for session_ms in (SESSION_MIN_MS, SESSION_MAX_MS):
            assert (await beat(store, session_ms=session_ms)).session_until_ms == place.time_ms + session_ms

    @promise
    async def test_a_commit_emits_only_so_much(self, place: Place, store: Store) -> None:
        mine = await begun(store)
        there = Position(store.epoch, 1)
        assert await commit(store, mine, there, emit=[entry("out")] * (JOB_EMITS_MAX + 1)) is BadRequest
        assert (await head(store, "out")).last == 0
        assert await stands(store) is None
        answer = await commit(store, mine, there, emit=[entry("out")] * JOB_EMITS_MAX)
        assert len(answer if isinstance(answer, tuple) else ()) == JOB_EMITS_MAX

    @promise
    async def test_only_what_can_be_stored_is_sought(self, place: Place, store: Store) -> None:
        mine = await begun(store)
        for wrong in (Position("e", -1), Position("e", 2**63), Position("\ud800", 1), Position("e" * 65, 1)):
            with pytest.raises(BadRequest):
                await store.seek(SOURCE, GROUP, {1: None, 0: wrong})
        assert await held(store) == mine
        await store.seek(SOURCE, GROUP, {0: Position("e" * 64, 2**63 - 1)})
        assert (await look(store)).positions == {0: Position("e" * 64, 2**63 - 1)}

    @promise
    async def test_a_position_that_cannot_be_stored_is_not_committed(
        self, place: Place, store: Store
    ) -> None:
        mine = await begun(store)
        for wrong in (Position("\ud800", 1), Position(store.epoch, 2**63), Position(store.epoch, -(2**70))):
            answers = await store.commit(SOURCE, GROUP, "a", [Commit(0, mine.fence, wrong)], streams=LANES)
            assert [type(answer).__name__ for answer in answers] == ["PositionConflict"]
        assert await commit(store, mine, Position(store.epoch, 1)) == ()
