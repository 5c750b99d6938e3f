"""Versions: an entry that is older than what its stream has already is taken, and not stored."""

import asyncio

import pytest

from gapless.core.errors import BadRequest, KeyConflict, PositionConflict
from gapless.core.limits import VERSION_EPOCH_BYTES_MAX, VERSION_MAX
from gapless.core.stream import Head, Position, Retention, Stored
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

__all__ = ["Versions"]


class Versions:
    """Versions: an entry that is older than what its stream has already is taken, and not stored."""

    @promise
    async def test_a_stale_version_stores_nothing_and_is_told_where_the_stream_ends(
        self, place: Place, store: Streams
    ) -> None:
        await append(store, version=5)
        await append(store)
        place.time_ms += 10
        for version in (1, 4, 5):
            stale = await append(store, version=version)
            assert stale == Stored(store.epoch, 2, place.time_ms, fresh=False)
        assert (await append(store, version=6)).fresh
        assert await head(store) == Head(0, 3)

    @promise
    async def test_a_version_is_compared_within_its_version_epoch(self, place: Place, store: Streams) -> None:
        assert (await append(store, version=5, version_epoch="a")).fresh
        assert not (await append(store, version=4, version_epoch="a")).fresh
        assert (await append(store, version=1, version_epoch="b")).fresh
        assert not (await append(store, version=1, version_epoch="b")).fresh
        assert (await append(store, version=2, version_epoch="a")).fresh
        assert offsets(await read(store)) == [1, 2, 3]

    @promise
    async def test_a_version_without_an_epoch_goes_by_the_one_that_is_held(
        self, place: Place, store: Streams
    ) -> None:
        await append(store, version=5, version_epoch="a")
        assert not (await append(store, version=5)).fresh
        assert (await append(store, version=6)).fresh
        assert (await append(store, version=1, version_epoch="a")).fresh

    @promise
    async def test_entries_without_a_version_change_nothing_about_it(
        self, place: Place, store: Streams
    ) -> None:
        await append(store, version=5, version_epoch="a")
        assert (await append(store)).fresh
        assert (await append(store, version_epoch="b")).fresh
        assert not (await append(store, version=5, version_epoch="a")).fresh

    @promise
    async def test_each_stream_holds_a_version_of_its_own(self, place: Place, store: Streams) -> None:
        await append(store, version=5)
        assert (await append(store, "t", version=1)).fresh

    @promise
    async def test_transient_entries_go_by_no_version(self, place: Place, store: Streams) -> None:
        await append(store, version=5)
        assert (await append(store, version=1, transient=True)).fresh
        assert (await append(store, version=9, transient=True)).fresh
        assert (await append(store, version=6)).fresh

    @promise
    async def test_versions_of_one_commit_are_compared_in_its_order(
        self, place: Place, store: Streams
    ) -> None:
        outcomes = await put(store, *(entry(version=version) for version in (2, 1, 3, 3)))
        assert [(one.offset, one.fresh) for one in outcomes if isinstance(one, Stored)] == [
            (1, True),
            (1, False),
            (2, True),
            (2, False),
        ]

    @promise
    async def test_a_version_outlives_its_message(self, place: Place, store: Streams) -> None:
        brief = Retention(count=1, ttl_ms=10, meta_ttl_ms=1_000)
        await append(store, version=5, retention=brief)
        await store.trim("s", 1)
        place.time_ms += 100
        assert not (await append(store, version=5, retention=brief)).fresh
        assert (await append(store, version=6, retention=brief)).fresh
        place.time_ms += 100
        assert not (await append(store, version=6, retention=brief)).fresh

    @promise
    async def test_a_version_goes_with_its_stream(self, place: Place, store: Streams) -> None:
        brief = Retention(meta_ttl_ms=1_000)
        await append(store, version=5, retention=brief)
        place.time_ms += 999
        assert not (await append(store, version=4, retention=brief)).fresh  # and renews nothing
        place.time_ms += 1
        assert (await append(store, version=1, retention=brief)).fresh

    def test_a_version_is_there_after_reopening(self, place: Place) -> None:
        async def scenario() -> None:
            store = await place.open()
            await append(store, version=5, version_epoch="a")
            await append(store, version=7, version_epoch="b")
            await append(store)
            await store.close()
            store = await place.open()
            stale = await append(store, version=7, version_epoch="b")
            assert stale == Stored(store.epoch, 3, place.time_ms, fresh=False)
            assert (await append(store, version=8, version_epoch="b")).fresh
            await store.close()

        asyncio.run(scenario())

    @promise
    async def test_the_key_is_checked_before_the_version(self, place: Place, store: Streams) -> None:
        first = await append(store, key="k", version=5)
        await append(store, version=6)
        again = await append(store, key="k", version=5)
        assert again == Stored(first.epoch, first.offset, first.time_ms, fresh=False)
        with pytest.raises(KeyConflict):
            await append(store, data=b"other", key="k", version=7)

    @promise
    async def test_a_stale_version_does_not_hold_its_key(self, place: Place, store: Streams) -> None:
        await append(store, version=5)
        assert not (await append(store, key="k", version=5)).fresh
        assert (await append(store, data=b"other", key="k", version=6)).fresh

    @promise
    async def test_the_version_is_checked_before_the_expected_position(
        self, place: Place, store: Streams
    ) -> None:
        await append(store, version=5, expected=Position(store.epoch, 0))
        assert not (await append(store, version=5, expected=Position(store.epoch, 0))).fresh
        with pytest.raises(PositionConflict):
            await append(store, version=6, expected=Position(store.epoch, 0))
        assert (await append(store, version=6, expected=Position(store.epoch, 1))).fresh

    @promise
    async def test_a_refused_entry_does_not_hold_its_version(self, place: Place, store: Streams) -> None:
        with pytest.raises(PositionConflict):
            await append(store, version=5, expected=Position(store.epoch, 7))
        with pytest.raises(BadRequest):
            await append(store, data=bytes(10**6), version=5)
        assert (await append(store, version=5)).fresh

    @promise
    async def test_a_stale_version_stops_nothing_behind_it(self, place: Place, store: Streams) -> None:
        outcomes = await put(
            store, entry(origin="a", version=2), entry(origin="a", version=1), entry(origin="a")
        )
        assert [one.offset for one in outcomes if isinstance(one, Stored)] == [1, 1, 2]

    @promise
    async def test_key_version_and_expected_position_hold_together_in_one_batch(
        self, place: Place, store: Streams
    ) -> None:
        def ends_at(offset: int) -> Position:
            return Position(store.epoch, offset)

        outcomes = await put(
            store,
            entry(data=b"1", key="a", version=1, expected=ends_at(0)),
            entry(data=b"2", key="b", version=2, expected=ends_at(1)),
            entry(data=b"1", key="a", version=1, expected=ends_at(0)),  # the retry of the first
            entry(data=b"x", key="c", version=2, expected=ends_at(0)),  # stale before it conflicts
            entry(data=b"3", key="d", version=3, expected=ends_at(1)),  # conflicts
            entry(data=b"3", key="d", version=3, expected=ends_at(2)),  # and holds nothing by that
            entry(data=b"y", key="b", version=9, expected=ends_at(3)),  # another payload
        )
        assert [(one.offset, one.fresh) if isinstance(one, Stored) else type(one) for one in outcomes] == [
            (1, True),
            (2, True),
            (1, False),
            (2, False),
            PositionConflict,
            (3, True),
            KeyConflict,
        ]
        assert [message.data for message in (await read(store)).messages] == [b"1", b"2", b"3"]

    @promise
    async def test_a_version_that_cannot_be_kept_is_refused(self, place: Place, store: Streams) -> None:
        long = "e" * (VERSION_EPOCH_BYTES_MAX + 1)
        wrong = ((-1, ""), (VERSION_MAX + 1, ""), (2**64, "a"), (1, long), (1, "ä" * VERSION_EPOCH_BYTES_MAX))
        for version, version_epoch in wrong:
            with pytest.raises(BadRequest):
                await append(store, version=version, version_epoch=version_epoch)
        assert (await append(store, version=VERSION_MAX, version_epoch=long[1:])).offset == 1
