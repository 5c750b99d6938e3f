"""How much of a stream is kept: `trim`, and retention of each kind."""

import asyncio

import pytest

from gapless.core.errors import (
    PositionLost,
)
from gapless.core.stream import Head, Position, Retention
from gapless.ports import Streams
from gapless.testing.conformance.places import (
    FOREVER,
    Place,
    append,
    entry,
    fill,
    head,
    offsets,
    promise,
    read,
)

__all__ = ["Keeping"]


class Keeping:
    """How much of a stream is kept: `trim`, and retention of each kind."""

    @promise
    async def test_trim_drops_through_an_offset_that_is_never_given_again(
        self, place: Place, store: Streams
    ) -> None:
        await fill(store, "s", 5)
        assert await store.trim("s", 3) == (store.epoch, {"s": Head(3, 5)})
        assert await store.trim("s", 2) == (store.epoch, {"s": Head(3, 5)})
        assert await store.trim("s", 99) == (store.epoch, {"s": Head(5, 5)})
        assert offsets(await read(store)) == []
        assert (await append(store)).offset == 6
        assert offsets(await read(store, after=Position(store.epoch, 5))) == [6]

    @promise
    async def test_trim_follows_the_appends_that_were_made_before_it(
        self, place: Place, store: Streams
    ) -> None:
        store.append([entry()], lambda *_: None)
        assert (await store.trim("s", 1)).heads == {"s": Head(1, 1)}

    @promise
    async def test_trimming_what_is_new_leaves_other_new_streams_alone(
        self, place: Place, store: Streams
    ) -> None:
        store.append([entry("a", b"a"), entry("b", b"b")], lambda *_: None)
        trimming = asyncio.create_task(store.trim("a", 0))
        await asyncio.sleep(0)
        store.append([entry("c", b"c"), entry("a", b"d")], lambda *_: None)
        assert (await trimming).heads["a"].floor == 0
        assert (await append(store, "c")).offset == 2
        told = [[message.data for message in (await read(store, name)).messages] for name in "abc"]
        assert told == [[b"a", b"d"], [b"b"], [b"c", b"x"]]

    @promise
    async def test_retention_by_count_keeps_the_newest(self, place: Place, store: Streams) -> None:
        for _ in range(20):
            await append(store, retention=Retention(count=3))
        assert await head(store) == Head(17, 20)
        assert offsets(await read(store)) == [18, 19, 20]
        with pytest.raises(PositionLost, match="older than what is kept, which follows offset 17"):
            await read(store, after=Position(store.epoch, 16))
        with pytest.raises(PositionLost, match="ahead of the end, offset 20"):
            await read(store, after=Position(store.epoch, 21))

    @promise
    async def test_retention_by_bytes_counts_data_and_meta(self, place: Place, store: Streams) -> None:
        for _ in range(5):
            await append(store, data=bytes(60), meta=bytes(40), retention=Retention(bytes=299))
        assert offsets(await read(store)) == [4, 5]
        await append(store, data=b"", retention=Retention(bytes=299))
        assert offsets(await read(store)) == [4, 5, 6]

    @promise
    async def test_retention_by_bytes_leaves_the_newest_message(self, place: Place, store: Streams) -> None:
        for _ in range(2):
            await append(store, data=bytes(500), retention=Retention(bytes=100))
        assert offsets(await read(store)) == [2]

    @promise
    async def test_retention_by_age_drops_each_message_in_its_time(
        self, place: Place, store: Streams
    ) -> None:
        for _ in range(5):
            await append(store, retention=Retention(age_ms=100))
            place.time_ms += 10
        place.time_ms += 50
        assert await head(store) == Head(1, 5)
        place.time_ms += 39
        assert offsets(await read(store)) == [5]
        assert await store.find("s", 0) == Position(store.epoch, 4)
        place.time_ms += 1
        assert offsets(await read(store)) == []
        assert await head(store) == Head(5, 5)
        assert (await append(store, retention=Retention(age_ms=100))).offset == 6

    @promise
    async def test_the_ttl_of_a_stream_is_renewed_by_each_message(self, place: Place, store: Streams) -> None:
        for _ in range(3):
            await append(store, retention=Retention(ttl_ms=100))
            place.time_ms += 99
        assert offsets(await read(store)) == [1, 2, 3]
        place.time_ms += 1
        assert await head(store) == Head(3, 3)
        assert offsets(await read(store)) == []
        assert (await append(store, retention=Retention(ttl_ms=100))).offset == 4
        assert offsets(await read(store)) == [4]

    @promise
    async def test_the_last_message_decides_how_much_is_kept(self, place: Place, store: Streams) -> None:
        await fill(store, "s", 5)
        await append(store, retention=Retention(count=2))
        assert offsets(await read(store)) == [5, 6]
        await append(store)
        assert offsets(await read(store)) == [5, 6, 7]

    @promise
    async def test_a_message_that_was_gone_does_not_come_back(self, place: Place, store: Streams) -> None:
        await append(store, retention=Retention(ttl_ms=100))
        place.time_ms += 100
        await append(store, retention=FOREVER)
        assert offsets(await read(store)) == [2]

    @promise
    async def test_a_forgotten_stream_raises_the_floor_of_the_store(
        self, place: Place, store: Streams
    ) -> None:
        brief = Retention(meta_ttl_ms=100)
        await fill(store, "s", 5, retention=brief)
        await fill(store, "kept", 2)
        place.time_ms += 100
        assert await store.heads(["s", "new", "kept"]) == (
            store.epoch,
            {"s": Head(5, 5), "new": Head(5, 5), "kept": Head(0, 2)},
        )
        assert (await append(store, "new")).offset == 6
        assert (await append(store, "s", retention=brief)).offset == 6
        assert (await append(store, "kept")).offset == 3
        assert offsets(await read(store, after=Position(store.epoch, 5))) == [6]
        with pytest.raises(PositionLost):
            await read(store, after=Position(store.epoch, 4))

    @promise
    async def test_a_stream_is_remembered_while_it_is_published_to(
        self, place: Place, store: Streams
    ) -> None:
        for number in range(1, 6):
            assert (await append(store, retention=Retention(ttl_ms=10, meta_ttl_ms=100))).offset == number
            place.time_ms += 99
        await append(store, retention=Retention(meta_ttl_ms=10))
        place.time_ms += 10
        assert await head(store) == Head(6, 6)
        assert await head(store, "none") == Head(6, 6)
