"""Entries that have another with them (`Entry.also`): both or only the one."""

import asyncio
from typing import Any

import pytest

from gapless.core.errors import BadRequest, LimitExceeded, PositionConflict, Unavailable
from gapless.core.stream import Entry, Head, Position, Retention, Stored
from gapless.ports import Streams
from gapless.testing.conformance.places import (
    FOREVER,
    Place,
    append,
    entry,
    head,
    offsets,
    promise,
    put,
    read,
)

__all__ = ["Also"]


def beside(data: bytes = b"also", retention: Retention = FOREVER, **rest: Any) -> Entry:
    """Return what is to be stored in the stream "t" with an entry of "s"."""
    return entry("t", data, retention, **rest)


class Also:
    """Entries that have another with them (`Entry.also`): both or only the one."""

    @promise
    async def test_both_are_stored_and_told(self, place: Place, store: Streams) -> None:
        await append(store, "t")
        stored = await append(store, also=beside(meta=b'{"a":1}'))
        assert stored == Stored(store.epoch, 1, place.time_ms, also=Stored(store.epoch, 2, place.time_ms))
        assert offsets(await read(store)) == [1]
        [_, message] = (await read(store, "t")).messages
        assert (message.data, message.meta) == (b"also", b'{"a":1}')
        assert (await append(store)).also is None

    @promise
    async def test_both_streams_may_be_new_at_once(self, place: Place, store: Streams) -> None:
        outcomes = await put(store, entry(also=beside()), entry(also=entry("u")), entry("u", also=beside()))
        assert [
            (one.offset, one.also.offset) for one in outcomes if isinstance(one, Stored) and one.also
        ] == [
            (1, 1),
            (2, 1),
            (2, 2),
        ]
        heads = await store.heads(["s", "t", "u"])
        assert heads.heads == {name: Head(0, 2) for name in "stu"}

    @promise
    async def test_a_repeated_key_stores_neither(self, place: Place, store: Streams) -> None:
        await append(store, key="k", also=beside())
        again = await append(store, key="k", also=beside())
        assert (again.fresh, again.also) == (False, None)
        assert await head(store, "t") == Head(0, 1)

    @promise
    async def test_a_stale_version_stores_neither(self, place: Place, store: Streams) -> None:
        await append(store, version=2, also=beside())
        stale = await append(store, version=1, also=beside())
        assert (stale.fresh, stale.also) == (False, None)
        assert await head(store, "t") == Head(0, 1)

    @promise
    async def test_nothing_is_stored_with_a_transient_entry(self, place: Place, store: Streams) -> None:
        assert (await append(store, transient=True, also=beside())).also is None
        assert await head(store, "t") == Head(0, 0)

    @promise
    async def test_a_refused_entry_stores_neither(self, place: Place, store: Streams) -> None:
        with pytest.raises(PositionConflict):
            await append(store, expected=Position(store.epoch, 7), also=beside())
        assert await head(store, "t") == Head(0, 0)

    @promise
    async def test_what_the_other_expects_and_its_key_count_for_nothing(
        self, place: Place, store: Streams
    ) -> None:
        nowhere = Position("never", 9)
        for offset in (1, 2):
            stored = await append(store, also=beside(key="k", expected=nowhere, expected_keyed=5, keyed="a"))
            assert stored.also == Stored(store.epoch, offset, place.time_ms)
        assert (await append(store, "t", b"another", key="k")).fresh

    @promise
    async def test_the_other_has_its_own_retention(self, place: Place, store: Streams) -> None:
        for _ in range(3):
            await append(store, also=beside(retention=Retention(count=1)))
        assert (await head(store), await head(store, "t")) == (Head(0, 3), Head(2, 3))

    @promise
    async def test_a_limit_of_the_other_refuses_both(self, place: Place, store: Streams) -> None:
        large = bytes(64 * 1024 + 1)
        full = Retention(group="g", group_bytes=10)
        outcomes = await put(
            store,
            entry(also=beside(large), origin="o"),
            entry(origin="o"),
            entry(also=beside(bytes(11), full)),
            entry(key="k", also=beside(b"", meta=large)),
        )
        assert [type(one) for one in outcomes] == [BadRequest, Unavailable, LimitExceeded, BadRequest]
        assert (await append(store, data=b"the key is free", key="k")).offset == 1
        assert await head(store, "t") == Head(0, 0)

    @promise
    async def test_both_count_against_a_group_that_they_share(self, place: Place, store: Streams) -> None:
        keep = Retention(group="g", group_bytes=100)
        with pytest.raises(LimitExceeded):
            await append(store, data=bytes(60), retention=keep, also=beside(bytes(41), keep))
        assert await head(store) == Head(0, 0)
        await append(store, data=bytes(60), retention=keep, also=beside(bytes(40), keep))
        with pytest.raises(LimitExceeded):
            await append(store, "u", b"x", keep)

    @promise
    async def test_a_stream_that_joins_a_group_counts_for_both(self, place: Place, store: Streams) -> None:
        await append(store, data=bytes(50))
        keep = Retention(group="g", group_bytes=100)
        with pytest.raises(LimitExceeded):
            await append(store, data=bytes(10), retention=keep, also=beside(bytes(41), keep))
        await append(store, data=bytes(10), retention=keep, also=beside(bytes(40), keep))

    @promise
    async def test_the_other_goes_to_another_stream(self, place: Place, store: Streams) -> None:
        with pytest.raises(BadRequest):
            await append(store, also=entry())
        assert await head(store) == Head(0, 0)

    def test_both_are_there_after_reopening(self, place: Place) -> None:
        async def scenario() -> None:
            store = await place.open()
            await append(store, key="k", also=beside(keyed="a"))
            await store.close()
            store = await place.open()
            assert not (await append(store, key="k", also=beside())).fresh
            assert offsets(await read(store, "t")) == [1]
            assert await store.last_keyed("t", "a") == 1
            await store.close()

        asyncio.run(scenario())
