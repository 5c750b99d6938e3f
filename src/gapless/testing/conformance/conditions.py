"""Expected positions and idempotency keys: which appends are refused, or were made before."""

import asyncio

import pytest

from gapless.backends import KEY_HOUR_MS, Options
from gapless.core.errors import (
    KeyConflict,
    PositionConflict,
    TooManyRequests,
)
from gapless.core.stream import Head, Position, Retention, Stored
from gapless.ports import Streams
from gapless.testing.conformance.places import (
    Place,
    append,
    entry,
    head,
    promise,
    put,
)

__all__ = ["Conditions"]


class Conditions:
    """Expected positions and idempotency keys: which appends are refused, or were made before."""

    @promise
    async def test_an_expected_position_must_be_the_end(self, place: Place, store: Streams) -> None:
        await append(store, expected=Position(store.epoch, 0))
        await append(store, expected=Position(store.epoch, 1))
        for wrong in (Position(store.epoch, 1), Position(store.epoch, 3), Position("never", 2)):
            with pytest.raises(PositionConflict):
                await append(store, expected=wrong)
        assert await head(store) == Head(0, 2)

    @promise
    async def test_the_key_is_checked_before_the_expected_position(
        self, place: Place, store: Streams
    ) -> None:
        first = await append(store, key="k", expected=Position(store.epoch, 0))
        again = await append(store, key="k", expected=Position(store.epoch, 0))
        assert (again.offset, again.fresh) == (first.offset, False)

    @promise
    async def test_a_repeated_key_answers_the_first_position(self, place: Place, store: Streams) -> None:
        first = await append(store, key="k", meta=b'{"a":1}')
        place.time_ms += 1_000
        await append(store)
        again = await append(store, key="k", meta=b'{"b":2}')
        assert first.fresh
        assert again == Stored(first.epoch, first.offset, first.time_ms, fresh=False)
        assert await head(store) == Head(0, 2)

    @promise
    async def test_a_key_repeated_within_one_commit_is_one_message(
        self, place: Place, store: Streams
    ) -> None:
        outcomes = await put(store, entry(key="k"), entry(key="k"), entry(key="k", data=b"other"))
        assert isinstance(outcomes[0], Stored)
        assert outcomes[1] == Stored(store.epoch, 1, outcomes[0].time_ms, fresh=False)
        assert isinstance(outcomes[2], KeyConflict)

    @promise
    async def test_a_key_with_another_payload_conflicts(self, place: Place, store: Streams) -> None:
        await append(store, key="k")
        with pytest.raises(KeyConflict):
            await append(store, key="k", data=b"other")
        assert (await append(store, "t", key="k", data=b"other")).fresh
        assert await head(store) == Head(0, 1)

    @promise
    async def test_a_refused_entry_does_not_hold_its_key(self, place: Place, store: Streams) -> None:
        with pytest.raises(PositionConflict):
            await append(store, key="k", expected=Position(store.epoch, 7))
        assert (await append(store, key="k", data=b"other")).fresh

    @promise
    async def test_a_key_outlives_its_message(self, place: Place, store: Streams) -> None:
        brief = Retention(count=1, ttl_ms=10, meta_ttl_ms=20)
        first = await append(store, key="k", retention=brief)
        await store.trim("s", 1)
        place.time_ms += 1_000
        again = await append(store, key="k", retention=brief)
        assert (again.offset, again.fresh) == (first.offset, False)
        assert await head(store) == Head(1, 1)

    @promise
    async def test_a_key_of_a_transient_entry_is_held_too(self, place: Place, store: Streams) -> None:
        assert (await append(store, key="k", transient=True)).fresh
        again = await append(store, key="k", transient=True)
        assert (again.offset, again.fresh) == (0, False)

    @promise
    async def test_a_key_is_held_for_its_window_and_by_the_hour(self, place: Place, store: Streams) -> None:
        window_ms = Options().key_window_ms
        await append(store, key="k")
        place.time_ms += window_ms
        assert not (await append(store, key="k")).fresh
        place.time_ms += KEY_HOUR_MS
        assert (await append(store, key="k")).fresh

    def test_keys_beyond_the_limit_are_refused(self, place: Place) -> None:
        async def scenario() -> None:
            place.options["keys_max"] = 2
            store = await place.open()
            outcomes = await put(
                store, entry(key="a"), entry(key="b"), entry(key="c"), entry(key="a"), entry()
            )
            assert [type(one) for one in outcomes] == [Stored, Stored, TooManyRequests, Stored, Stored]
            place.time_ms += KEY_HOUR_MS + Options().key_window_ms
            assert (await append(store, key="c")).fresh
            await store.close()

        asyncio.run(scenario())
