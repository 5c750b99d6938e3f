"""Declared streams."""

import asyncio

import pytest

from gapless.core.errors import BadRequest, LimitExceeded, UnknownStream
from gapless.core.groups import StreamOptions
from gapless.core.limits import DECLARED_STREAMS_MAX
from gapless.core.stream import Retention
from gapless.ports import Store
from gapless.testing.conformance.groups.verbs import GROUP, LANES, SOURCE, begun, look
from gapless.testing.conformance.places import Place, head, promise

__all__ = ["Declaring"]

KEPT = StreamOptions(partitions=4, retention=Retention(count=7, age_ms=1_000), keyed=True, compact=True)


class Declaring:
    """Declared streams."""

    @promise
    async def test_a_stream_is_declared_as_new_once(self, place: Place, store: Store) -> None:
        assert await store.declared_streams() == {}
        assert await store.declare_stream("orders", KEPT)
        assert not await store.declare_stream("orders", KEPT)
        assert await store.declare_stream("events", StreamOptions())
        assert await store.declared_streams() == {"events": StreamOptions(), "orders": KEPT}

    @promise
    async def test_a_declaration_can_be_changed(self, place: Place, store: Store) -> None:
        await store.declare_stream("orders", KEPT)
        changed = StreamOptions(partitions=4, retention=Retention(bytes=9))
        assert not await store.declare_stream("orders", changed)
        assert await store.declared_streams() == {"orders": changed}

    @promise
    async def test_the_number_of_partitions_never_changes(self, place: Place, store: Store) -> None:
        await store.declare_stream("orders", KEPT)
        for partitions in (1, 3, 5):
            with pytest.raises(BadRequest):
                await store.declare_stream("orders", StreamOptions(partitions=partitions))
        assert await store.declared_streams() == {"orders": KEPT}

    @promise
    async def test_only_so_many_streams_are_declared(self, place: Place, store: Store) -> None:
        declare = store.declare_stream
        await asyncio.gather(*(declare(f"s{n}", StreamOptions()) for n in range(DECLARED_STREAMS_MAX)))
        with pytest.raises(LimitExceeded):
            await declare("one more", StreamOptions())
        assert not await declare("s0", StreamOptions(retention=Retention(count=1)))
        await store.drop_stream("s1")
        assert await declare("one more", StreamOptions())

    @promise
    async def test_dropping_a_stream_forgets_its_groups_and_leaves_what_was_appended(
        self, place: Place, store: Store
    ) -> None:
        await store.declare_stream(SOURCE, KEPT)
        await begun(store, 3)
        await store.heartbeat(SOURCE, "other", "a", partitions=4, session_ms=1_000)
        await store.heartbeat("events", GROUP, "a", partitions=1, session_ms=1_000)
        await store.drop_stream(SOURCE)
        assert await store.declared_streams() == {}
        assert [group.source for group in await store.groups()] == ["events"]
        assert (await head(store, LANES[0])).last == 3

    @promise
    async def test_a_dropped_stream_is_begun_anew(self, place: Place, store: Store) -> None:
        await store.declare_stream(SOURCE, KEPT)
        await begun(store)
        await store.drop_stream(SOURCE)
        assert await store.declare_stream(SOURCE, StreamOptions(partitions=2))
        await store.heartbeat(SOURCE, GROUP, "b", partitions=2, session_ms=1_000)
        assert [member.name for member in (await look(store)).members] == ["b"]

    @promise
    async def test_what_was_not_declared_cannot_be_dropped(self, place: Place, store: Store) -> None:
        await begun(store)
        with pytest.raises(UnknownStream):
            await store.drop_stream(SOURCE)
        assert (await look(store)).members
