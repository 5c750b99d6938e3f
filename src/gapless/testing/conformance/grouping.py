"""Groups of streams that share a limit of bytes (`Retention.group`)."""

import asyncio

import pytest

from gapless.core.errors import KeyConflict, LimitExceeded, PositionConflict
from gapless.core.stream import Head, Outcome, Position, Retention, Stored
from gapless.ports import Streams
from gapless.testing.conformance.places import (
    Place,
    append,
    entry,
    head,
    offsets,
    promise,
    put,
    read,
)

__all__ = ["Grouping"]


def shared(size: int = 300, **rest: int) -> Retention:
    """Return the retention of a stream in the group "g"."""
    return Retention(group="g", group_bytes=size, **rest)


class Grouping:
    """Groups of streams that share a limit of bytes (`Retention.group`)."""

    @promise
    async def test_a_full_group_refuses_and_stores_nothing(self, place: Place, store: Streams) -> None:
        keep = shared()
        await append(store, "a", bytes(100), keep, meta=bytes(50))
        await append(store, "b", bytes(100), keep)
        with pytest.raises(LimitExceeded):
            await append(store, "a", bytes(51), keep)
        with pytest.raises(LimitExceeded):
            await append(store, "new", bytes(51), keep)
        assert (await append(store, "new", bytes(50), keep)).offset == 1
        with pytest.raises(LimitExceeded):
            await append(store, "b", b"x", keep)
        assert (await append(store, "b", b"", keep)).offset == 2
        assert await head(store, "a") == Head(0, 1)

    @promise
    async def test_groups_are_of_no_matter_to_each_other_and_to_other_streams(
        self, place: Place, store: Streams
    ) -> None:
        await append(store, "a", bytes(300), shared())
        await append(store, "b", bytes(300), Retention(group="h", group_bytes=300))
        await append(store, "c", bytes(300))
        for keep in (shared(), Retention(group="h", group_bytes=300)):
            with pytest.raises(LimitExceeded):
                await append(store, "d", b"x", keep)

    @promise
    async def test_entries_of_one_commit_share_the_room(self, place: Place, store: Streams) -> None:
        keep = shared()
        outcomes = await put(store, *(entry(name, bytes(100), keep) for name in "abcdab"))
        assert [type(one) for one in outcomes] == [Stored] * 3 + [LimitExceeded] * 3

    @promise
    async def test_reading_trimming_and_erasing_go_on_in_a_full_group(
        self, place: Place, store: Streams
    ) -> None:
        keep = shared()
        for _ in range(3):
            await append(store, "a", bytes(100), keep)
        assert await store.erase("a", 2)
        assert offsets(await read(store, "a")) == [1, 3]
        with pytest.raises(LimitExceeded):
            await append(store, "b", b"x", keep)  # what was erased counts until it is dropped
        await store.trim("a", 2)
        assert (await append(store, "b", bytes(200), keep)).offset == 1
        with pytest.raises(LimitExceeded):
            await append(store, "a", b"x", keep)

    @promise
    async def test_what_retention_drops_makes_room(self, place: Place, store: Streams) -> None:
        keep = shared(count=1)
        for _ in range(10):
            await append(store, "a", bytes(100), keep)
        outcomes = await put(store, *(entry("b", bytes(100), keep) for _ in range(10)))
        assert [type(one) for one in outcomes] == [Stored] * 10
        assert (await append(store, "c", bytes(100), keep)).fresh
        with pytest.raises(LimitExceeded):
            await append(store, "d", b"x", keep)

    @promise
    async def test_streams_that_expire_make_room(self, place: Place, store: Streams) -> None:
        await append(store, "a", bytes(100), shared(ttl_ms=100))
        await append(store, "b", bytes(100), shared(age_ms=100))
        await append(store, "c", bytes(100), shared(meta_ttl_ms=100))
        with pytest.raises(LimitExceeded):
            await append(store, "d", b"x", shared())
        place.time_ms += 1_000
        await store.heads(["a", "b", "c"])
        outcomes: list[Outcome] = []
        while not any(isinstance(one, Stored) for one in outcomes):  # housekeeping follows by and by
            assert len(outcomes) < 100
            outcomes += await put(store, entry("d", bytes(300), shared()))

    @promise
    async def test_the_limit_is_the_one_that_the_entry_brings(self, place: Place, store: Streams) -> None:
        await append(store, "a", bytes(300), shared())
        assert (await append(store, "a", bytes(100), shared(400))).fresh
        with pytest.raises(LimitExceeded):
            await append(store, "a", b"", shared(399))

    @promise
    async def test_a_stream_that_joins_brings_all_that_it_holds(self, place: Place, store: Streams) -> None:
        keep = shared()
        await append(store, "a", bytes(250))
        await append(store, "b", bytes(50), keep)
        with pytest.raises(LimitExceeded):
            await append(store, "a", b"x", keep)
        assert (await append(store, "b", bytes(100), keep)).fresh
        await store.trim("a", 1)
        assert (await append(store, "a", bytes(150), keep)).fresh
        with pytest.raises(LimitExceeded):
            await append(store, "b", b"x", keep)

    @promise
    async def test_a_stream_that_leaves_takes_all_that_it_holds(self, place: Place, store: Streams) -> None:
        await append(store, "a", bytes(300), shared())
        await append(store, "a", bytes(100))
        assert (await append(store, "b", bytes(300), shared())).fresh
        assert (await append(store, "a", b"x", Retention(group="h", group_bytes=401))).fresh
        with pytest.raises(LimitExceeded):
            await append(store, "c", b"x", Retention(group="h", group_bytes=401))

    @promise
    async def test_transient_entries_need_no_room(self, place: Place, store: Streams) -> None:
        await append(store, "a", bytes(300), shared())
        assert (await append(store, "a", b"x", shared(), transient=True)).fresh

    @promise
    async def test_the_group_is_checked_last(self, place: Place, store: Streams) -> None:
        keep = shared()
        first = await append(store, "a", bytes(300), keep, key="k", version=5)
        assert (await append(store, "a", bytes(300), keep, key="k")).offset == first.offset
        with pytest.raises(KeyConflict):
            await append(store, "a", b"x", keep, key="k")
        assert not (await append(store, "a", b"x", keep, version=5)).fresh
        with pytest.raises(PositionConflict):
            await append(store, "a", b"x", keep, expected=Position(store.epoch, 0))
        with pytest.raises(LimitExceeded):
            await append(store, "a", b"x", keep, key="l", version=6)
        await store.trim("a", 1)
        assert (await append(store, "a", b"y", keep, key="l", version=6)).fresh

    def test_a_group_is_as_full_after_reopening(self, place: Place) -> None:
        async def scenario() -> None:
            store = await place.open()
            for _ in range(2):
                await append(store, "a", bytes(100), shared())
            await store.close()
            store = await place.open()
            with pytest.raises(LimitExceeded):
                await append(store, "b", bytes(101), shared())
            await store.trim("a", 1)
            assert (await append(store, "b", bytes(200), shared())).fresh
            with pytest.raises(LimitExceeded):
                await append(store, "a", b"x", shared())
            await store.close()

        asyncio.run(scenario())
