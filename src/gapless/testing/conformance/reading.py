"""What `read`, `heads` and `find` promise."""

import pytest

from gapless.backends import Options
from gapless.core.errors import (
    PositionLost,
)
from gapless.core.limits import PAGE_BYTES_MAX, PAGE_MESSAGES_MAX
from gapless.core.stream import Head, Position
from gapless.ports import Streams
from gapless.testing.conformance.places import (
    Place,
    append,
    entry,
    fill,
    offsets,
    promise,
    put,
    read,
)

__all__ = ["Reading"]


class Reading:
    """What `read`, `heads` and `find` promise."""

    @promise
    async def test_a_message_is_read_as_it_was_appended(self, place: Place, store: Streams) -> None:
        stored = await append(store, data=b"\0\xff data", meta=b'{"tags":{}}')
        [message] = (await read(store)).messages
        assert (message.offset, message.time_ms) == (1, stored.time_ms)
        assert (message.data, message.meta) == (b"\0\xff data", b'{"tags":{}}')
        assert stored.time_ms == place.time_ms

    @promise
    async def test_a_name_is_a_name_whatever_it_holds(self, place: Place, store: Streams) -> None:
        names = [
            "'; drop table log; --",
            '"',
            "a\0b",
            "a",
            "%",
            "_",
            "\u2028\N{GRINNING FACE}",
            "A",
            " a",
            "*",
        ]
        for number, name in enumerate(names):
            await append(store, name, data=b"%d" % number)
        for number, name in enumerate(names):
            assert [message.data for message in (await read(store, name)).messages] == [b"%d" % number]
        assert {head.last for head in (await store.heads(names)).heads.values()} == {1}

    @promise
    async def test_pages_after_a_position_follow_each_other(self, place: Place, store: Streams) -> None:
        await fill(store, "s", 10)
        at, seen = Position(store.epoch, 2), []
        while at.offset < 10:
            page = await read(store, after=at, limit_messages=3)
            assert (page.epoch, page.after, page.floor, page.head) == (store.epoch, at.offset, 0, 10)
            assert page.through == page.messages[-1].offset
            seen += offsets(page)
            at = Position(page.epoch, page.through)
        assert seen == [3, 4, 5, 6, 7, 8, 9, 10]
        page = await read(store, after=at)
        assert (page.after, page.through, page.messages) == (10, 10, [])

    @promise
    async def test_pages_before_a_position_end_just_below_it(self, place: Place, store: Streams) -> None:
        await fill(store, "s", 10)
        page = await read(store, before=Position(store.epoch, 8), limit_messages=3)
        assert (page.after, page.through, offsets(page)) == (4, 7, [5, 6, 7])
        page = await read(store, before=Position(store.epoch, 3), limit_messages=3)
        assert (page.after, page.through, offsets(page)) == (0, 2, [1, 2])
        page = await read(store, before=Position(store.epoch, 1), limit_messages=3)
        assert (page.after, page.through, offsets(page)) == (0, 0, [])

    @promise
    async def test_before_beyond_the_end_is_the_end(self, place: Place, store: Streams) -> None:
        await fill(store, "s", 5)
        page = await read(store, before=Position(store.epoch, 2**53), limit_messages=2)
        assert (page.after, page.through, offsets(page)) == (3, 5, [4, 5])

    @promise
    async def test_before_at_or_below_the_floor_is_an_empty_page(self, place: Place, store: Streams) -> None:
        await fill(store, "s", 5)
        await store.trim("s", 3)
        for offset in (0, 2, 4):
            page = await read(store, before=Position(store.epoch, offset))
            assert (page.after, page.through, page.floor, offsets(page)) == (3, 3, 3, [])

    @promise
    async def test_with_neither_a_page_starts_at_the_oldest_kept_message(
        self, place: Place, store: Streams
    ) -> None:
        await fill(store, "s", 5)
        await store.trim("s", 2)
        page = await read(store, limit_messages=2)
        assert (page.after, page.through, page.floor, page.head) == (2, 4, 2, 5)
        assert offsets(page) == [3, 4]

    @promise
    async def test_a_page_keeps_to_its_limit_of_bytes(self, place: Place, store: Streams) -> None:
        await put(store, *(entry(data=bytes(60), meta=bytes(40)) for _ in range(5)))
        assert offsets(await read(store, limit_bytes=299)) == [1, 2]
        assert offsets(await read(store, limit_bytes=300)) == [1, 2, 3]
        before = Position(store.epoch, 6)
        assert offsets(await read(store, limit_bytes=299, before=before)) == [4, 5]

    @promise
    async def test_at_least_one_message_is_returned_however_large(self, place: Place, store: Streams) -> None:
        await put(store, entry(data=bytes(1_000)), entry(data=bytes(1_000)))
        assert offsets(await read(store, limit_bytes=1)) == [1]
        assert offsets(await read(store, limit_bytes=1, before=Position(store.epoch, 3))) == [2]

    @promise
    async def test_a_page_is_never_over_the_limits_of_a_page(self, place: Place, store: Streams) -> None:
        await fill(store, "s", PAGE_MESSAGES_MAX + 1)
        page = await read(store, limit_messages=10**9, limit_bytes=10**9)
        assert len(page.messages) == PAGE_MESSAGES_MAX
        size = Options().message_bytes_max
        await put(store, *(entry("t", bytes(size)) for _ in range(PAGE_BYTES_MAX // size + 1)))
        page = await read(store, "t", limit_messages=10**9, limit_bytes=10**9)
        assert len(page.messages) == PAGE_BYTES_MAX // size

    @promise
    async def test_a_position_beyond_the_end_is_lost(self, place: Place, store: Streams) -> None:
        await append(store)
        for wrong in (Position(store.epoch, 2), Position(store.epoch, 2**53), Position(store.epoch, -1)):
            with pytest.raises(PositionLost):
                await read(store, after=wrong)

    @promise
    async def test_a_position_of_an_unknown_epoch_is_lost(self, place: Place, store: Streams) -> None:
        await append(store)
        for epoch in ("", "never"):
            with pytest.raises(PositionLost):
                await read(store, after=Position(epoch, 0))
            with pytest.raises(PositionLost):
                await read(store, before=Position(epoch, 1))

    @promise
    async def test_a_position_below_the_floor_is_lost(self, place: Place, store: Streams) -> None:
        await fill(store, "s", 5)
        await store.trim("s", 3)
        with pytest.raises(PositionLost):
            await read(store, after=Position(store.epoch, 2))
        assert offsets(await read(store, after=Position(store.epoch, 3))) == [4, 5]

    @promise
    async def test_a_stream_that_does_not_exist_is_empty_at_the_floor(
        self, place: Place, store: Streams
    ) -> None:
        for position in (None, Position(store.epoch, 0)):
            page = await read(store, "none", after=position)
            assert (page.after, page.through, page.floor, page.head, page.messages) == (0, 0, 0, 0, [])
        assert await store.heads(["none"]) == (store.epoch, {"none": Head(0, 0)})
        assert await store.find("none", 0) == Position(store.epoch, 0)
        assert await store.trim("none", 5) == (store.epoch, {"none": Head(0, 0)})

    @promise
    async def test_heads_tells_where_many_streams_stand(self, place: Place, store: Streams) -> None:
        await fill(store, "a", 3)
        await fill(store, "b", 2)
        await store.trim("a", 2)
        heads = await store.heads(["a", "b", "none"])
        assert heads == (store.epoch, {"a": Head(2, 3), "b": Head(0, 2), "none": Head(0, 0)})

    @promise
    async def test_find_stands_just_before_the_first_message_at_or_after_a_time(
        self, place: Place, store: Streams
    ) -> None:
        start_ms = place.time_ms
        for number in range(6):
            place.time_ms = start_ms + number // 2 * 100
            await append(store)
        found = [await store.find("s", start_ms + after_ms) for after_ms in (-1, 0, 1, 100, 200, 201)]
        assert [position.offset for position in found] == [0, 0, 2, 2, 4, 6]
        assert {position.epoch for position in found} == {store.epoch}
        await store.trim("s", 3)
        assert (await store.find("s", 0)).offset == 3

    @promise
    async def test_the_stored_time_never_falls(self, place: Place, store: Streams) -> None:
        first = await append(store)
        place.time_ms -= 5_000
        assert (await append(store)).time_ms == first.time_ms
