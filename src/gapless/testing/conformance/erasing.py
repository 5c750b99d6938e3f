"""What `erase` promises, and what reading makes of the holes."""

import asyncio

import pytest

from gapless.core.errors import PositionConflict, StoreFailed
from gapless.core.limits import PAGE_MESSAGES_MAX
from gapless.core.stream import Head, Position, Retention, Stored
from gapless.ports import Streams
from gapless.testing.conformance.places import (
    Place,
    append,
    entry,
    fill,
    head,
    offsets,
    promise,
    put,
    read,
)

__all__ = ["Erasing"]


class Erasing:
    """What `erase` promises, and what reading makes of the holes."""

    @promise
    async def test_an_erased_message_is_gone_and_its_offset_stays(self, place: Place, store: Streams) -> None:
        await fill(store, "s", 5)
        assert await store.erase("s", 3) is True
        page = await read(store)
        assert (page.after, page.through, page.floor, page.head) == (0, 5, 0, 5)
        assert [(message.offset, message.data) for message in page.messages] == [
            (1, b"1"),
            (2, b"2"),
            (4, b"4"),
            (5, b"5"),
        ]
        assert await head(store) == Head(0, 5)
        assert (await append(store)).offset == 6

    @promise
    async def test_every_position_holds_across_a_hole(self, place: Place, store: Streams) -> None:
        await fill(store, "s", 5)
        await store.erase("s", 3)
        for offset, after in ((1, [2, 4, 5]), (2, [4, 5]), (3, [4, 5]), (4, [5])):
            page = await read(store, after=Position(store.epoch, offset))
            assert (page.after, page.through, offsets(page)) == (offset, 5, after)
        page = await read(store, before=Position(store.epoch, 4))
        assert (page.after, page.through, offsets(page)) == (0, 3, [1, 2])

    @promise
    async def test_what_is_not_there_cannot_be_erased(self, place: Place, store: Streams) -> None:
        await fill(store, "s", 5)
        await store.trim("s", 2)
        assert [await store.erase("s", offset) for offset in (-1, 0, 1, 2, 6, 2**62)] == [False] * 6
        assert await store.erase("s", 3)
        assert not await store.erase("s", 3)
        assert not await store.erase("none", 1)
        await fill(store, "t", 100)
        await store.trim("t", 5)
        assert not await store.erase("t", 5)  # though a store may not have deleted it yet
        assert await store.heads(["s", "none"]) == (store.epoch, {"s": Head(2, 5), "none": Head(0, 0)})
        assert offsets(await read(store)) == [4, 5]

    @promise
    async def test_erase_follows_the_appends_that_were_made_before_it(
        self, place: Place, store: Streams
    ) -> None:
        store.append([entry(), entry()], lambda *_: None)
        assert await store.erase("s", 2)
        assert offsets(await read(store)) == [1]

    @promise
    async def test_a_message_without_payload_can_be_erased_too(self, place: Place, store: Streams) -> None:
        await put(store, entry(data=b""), entry(data=b"", meta=b"{}"), entry(data=b""))
        assert await store.erase("s", 1)
        assert await store.erase("s", 2)
        assert offsets(await read(store)) == [3]

    @promise
    async def test_a_retry_does_not_bring_an_erased_message_back(self, place: Place, store: Streams) -> None:
        first = await append(store, key="k")
        await store.erase("s", 1)
        again = await append(store, key="k")
        assert again == Stored(first.epoch, 1, first.time_ms, fresh=False)
        assert offsets(await read(store)) == []

    @promise
    async def test_the_end_is_expected_where_it_was_erased(self, place: Place, store: Streams) -> None:
        await fill(store, "s", 2)
        await store.erase("s", 2)
        with pytest.raises(PositionConflict):
            await append(store, expected=Position(store.epoch, 1))
        assert (await append(store, expected=Position(store.epoch, 2))).offset == 3

    @promise
    async def test_erased_messages_count_for_no_limit_of_a_page(self, place: Place, store: Streams) -> None:
        await put(store, *(entry(data=bytes(100)) for _ in range(8)))
        for offset in (2, 3, 6):
            await store.erase("s", offset)
        page = await read(store, limit_messages=3)
        assert (page.through, offsets(page)) == (5, [1, 4, 5])
        page = await read(store, limit_bytes=200)
        assert (page.through, offsets(page)) == (4, [1, 4])
        page = await read(store, limit_bytes=300)
        assert (page.through, offsets(page)) == (6, [1, 4, 5])
        end = Position(store.epoch, 9)
        page = await read(store, before=end, limit_messages=3)
        assert (page.after, offsets(page)) == (4, [5, 7, 8])
        page = await read(store, before=end, limit_bytes=200)
        assert (page.after, offsets(page)) == (5, [7, 8])

    @promise
    async def test_at_least_one_message_is_returned_behind_a_hole(self, place: Place, store: Streams) -> None:
        await fill(store, "s", 9)
        for offset in range(3, 8):
            await store.erase("s", offset)
        page = await read(store, after=Position(store.epoch, 2), limit_messages=1, limit_bytes=1)
        assert (page.through, offsets(page)) == (8, [8])
        page = await read(store, before=Position(store.epoch, 8), limit_messages=1, limit_bytes=1)
        assert (page.after, page.through, offsets(page)) == (1, 7, [2])

    @promise
    async def test_a_page_covers_only_so_many_offsets(self, place: Place, store: Streams) -> None:
        await fill(store, "s", PAGE_MESSAGES_MAX + 2)
        for offset in range(1, PAGE_MESSAGES_MAX + 2):
            await store.erase("s", offset)
        page = await read(store, limit_messages=1)
        assert (page.after, page.through, page.messages) == (0, PAGE_MESSAGES_MAX, [])
        page = await read(store, after=Position(store.epoch, page.through), limit_messages=1)
        assert offsets(page) == [PAGE_MESSAGES_MAX + 2]
        page = await read(store, before=Position(store.epoch, PAGE_MESSAGES_MAX + 2))
        assert (page.after, page.through, page.messages) == (1, PAGE_MESSAGES_MAX + 1, [])

    @promise
    async def test_find_goes_by_the_time_of_what_was_erased(self, place: Place, store: Streams) -> None:
        start_ms = place.time_ms
        for _ in range(4):
            await append(store)
            place.time_ms += 100
        for offset in (1, 3):
            await store.erase("s", offset)
        found = [(await store.find("s", start_ms + at_ms)).offset for at_ms in (0, 1, 200, 201, 400)]
        assert found == [0, 1, 2, 3, 4]

    @promise
    async def test_what_was_erased_is_dropped_like_any_other(self, place: Place, store: Streams) -> None:
        await fill(store, "s", 5)
        await store.erase("s", 1)
        await store.erase("s", 5)
        assert await store.trim("s", 2) == (store.epoch, {"s": Head(2, 5)})
        await append(store, retention=Retention(count=2))
        assert (await head(store), offsets(await read(store))) == (Head(4, 6), [6])

    @promise
    async def test_what_was_erased_counts_for_retention_by_bytes_until_it_is_dropped(
        self, place: Place, store: Streams
    ) -> None:
        keep = Retention(bytes=300)
        for _ in range(3):
            await append(store, data=bytes(100), retention=keep)
        await store.erase("s", 3)
        await append(store, data=bytes(100), retention=keep)
        assert (await head(store), offsets(await read(store))) == (Head(1, 4), [2, 4])
        for _ in range(3):
            await append(store, data=bytes(100), retention=keep)
        assert offsets(await read(store)) == [5, 6, 7]

    def test_an_erased_message_stays_erased_after_reopening(self, place: Place) -> None:
        async def scenario() -> None:
            store = await place.open()
            await fill(store, "s", 3)
            await store.erase("s", 2)
            old = store.epoch
            await store.close()
            store = await place.open()
            assert offsets(await read(store, after=Position(old, 1))) == [3]
            assert not await store.erase("s", 2)
            await store.close()
            with pytest.raises(StoreFailed):
                await store.erase("s", 3)

        asyncio.run(scenario())
