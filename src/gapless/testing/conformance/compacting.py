"""Keeping the last message of each key (`compact_keys`), and what reading makes of it."""

import asyncio

import pytest

from gapless.core.errors import PositionConflict, StoreFailed
from gapless.core.limits import OFFSET_MAX
from gapless.core.stream import Head, Position, Retention, Stored
from gapless.ports import Streams
from gapless.testing.conformance.keyed import spell
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

__all__ = ["Compacting"]


class Compacting:
    """Keeping the last message of each key (`compact_keys`), and what reading makes of it."""

    @promise
    async def test_the_last_message_of_each_key_stays(self, place: Place, store: Streams) -> None:
        await spell(store, "aba.cb.a")
        assert await store.compact_keys("s", OFFSET_MAX) == 3
        assert offsets(await read(store)) == [4, 5, 6, 7, 8]
        assert await head(store) == Head(0, 8)
        assert await store.compact_keys("s", OFFSET_MAX) == 0
        assert await store.compact_keys("none", OFFSET_MAX) == 0

    @promise
    async def test_what_is_removed_is_a_hole_and_no_gap(self, place: Place, store: Streams) -> None:
        await spell(store, "abab")
        await store.compact_keys("s", 4)
        page = await read(store, after=Position(store.epoch, 1))
        assert (page.after, page.through, page.floor, offsets(page)) == (1, 4, 0, [3, 4])
        assert (await append(store, expected=Position(store.epoch, 4))).offset == 5

    @promise
    async def test_only_what_lies_through_the_offset_is_removed(self, place: Place, store: Streams) -> None:
        await spell(store, "aaab")
        assert await store.compact_keys("s", 0) == 0
        assert await store.compact_keys("s", 1) == 1
        assert offsets(await read(store)) == [2, 3, 4]
        assert await store.compact_keys("s", 2) == 1  # a later one supersedes it, wherever that is
        assert offsets(await read(store)) == [3, 4]

    @promise
    async def test_what_was_removed_is_found_by_no_key(self, place: Place, store: Streams) -> None:
        await spell(store, "aabba")
        await store.compact_keys("s", 5)
        page = await read(store, keyed="a", limit_messages=1)
        assert (page.through, offsets(page)) == (5, [5])
        page = await read(store, keyed="a", before=Position(store.epoch, 6), limit_messages=1)
        assert (page.after, offsets(page)) == (0, [5])
        assert [await store.last_keyed("s", key) for key in "ab"] == [5, 4]
        with pytest.raises(PositionConflict):
            await append(store, keyed="a", expected_keyed=2)
        assert (await append(store, keyed="a", expected_keyed=5)).offset == 6

    @promise
    async def test_a_last_message_stays_without_a_payload(self, place: Place, store: Streams) -> None:
        await append(store, keyed="a")
        await append(store, data=b"", keyed="a")
        assert await store.compact_keys("s", 2) == 1
        [message] = (await read(store)).messages
        assert (message.offset, message.data) == (2, b"")

    @promise
    async def test_an_erased_message_supersedes_too_and_is_not_counted(
        self, place: Place, store: Streams
    ) -> None:
        await spell(store, "aaa")
        await store.erase("s", 2)
        await store.erase("s", 3)
        assert await store.compact_keys("s", 3) == 1
        assert offsets(await read(store)) == []
        assert await store.last_keyed("s", "a") == 3

    @promise
    async def test_what_was_removed_cannot_be_erased(self, place: Place, store: Streams) -> None:
        await spell(store, "aa")
        await store.compact_keys("s", 2)
        assert [await store.erase("s", offset) for offset in (1, 2)] == [False, True]

    @promise
    async def test_compaction_follows_the_appends_that_were_made_before_it(
        self, place: Place, store: Streams
    ) -> None:
        store.append([entry(keyed="a"), entry(keyed="a")], lambda *_: None)
        assert await store.compact_keys("s", 2) == 1
        assert offsets(await read(store)) == [2]

    @promise
    async def test_appends_go_on_meanwhile(self, place: Place, store: Streams) -> None:
        keys = [f"k{n % 900}" for n in range(3_000)]
        await put(store, *(entry(keyed=key) for key in keys))
        compaction = asyncio.ensure_future(store.compact_keys("s", OFFSET_MAX))
        await asyncio.sleep(0)
        stored = await append(store, keyed="k0")
        assert stored.offset == 3_001
        removed = await compaction
        assert removed in (2_100, 2_101)
        assert len((await read(store)).messages) == 0  # a page covers so many offsets
        page = await read(store, after=Position(store.epoch, 2_100))
        assert offsets(page)[-1] == 3_001
        assert len(page.messages) == 3_001 - removed

    @promise
    async def test_what_was_dropped_is_not_counted(self, place: Place, store: Streams) -> None:
        await spell(store, "aaaa")
        await store.trim("s", 2)
        assert await store.compact_keys("s", 4) == 1
        await spell(store, "aaaa", "t", Retention(count=2))
        assert await store.compact_keys("t", 4) == 1
        assert offsets(await read(store, "t")) == [4]

    @promise
    async def test_what_was_removed_counts_for_retention_until_it_is_dropped(
        self, place: Place, store: Streams
    ) -> None:
        keep = Retention(bytes=300)
        for _ in range(3):
            await append(store, data=bytes(100), retention=keep, keyed="a")
        await store.compact_keys("s", 3)
        await append(store, data=bytes(100), retention=keep, keyed="a")
        assert (await head(store), offsets(await read(store))) == (Head(1, 4), [3, 4])

    @promise
    async def test_a_retry_does_not_bring_a_superseded_message_back(
        self, place: Place, store: Streams
    ) -> None:
        first = await append(store, keyed="a", key="k")
        await append(store, keyed="a")
        await store.compact_keys("s", 2)
        again = await append(store, keyed="a", key="k")
        assert again == Stored(first.epoch, 1, first.time_ms, fresh=False)

    def test_what_was_removed_stays_so_after_reopening(self, place: Place) -> None:
        async def scenario() -> None:
            store = await place.open()
            await spell(store, "aab")
            await store.compact_keys("s", 3)
            await store.close()
            store = await place.open()
            assert offsets(await read(store)) == [2, 3]
            assert await store.compact_keys("s", 3) == 0
            await store.close()
            with pytest.raises(StoreFailed):
                await store.compact_keys("s", 3)

        asyncio.run(scenario())
