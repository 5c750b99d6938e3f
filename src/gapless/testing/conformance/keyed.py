"""Messages with a key (`Entry.keyed`): pages of one key, and the offset of its last message."""

import asyncio

import pytest

from gapless.core.errors import LimitExceeded, PositionConflict, PositionLost
from gapless.core.limits import PAGE_MESSAGES_MAX
from gapless.core.stream import Head, Position, Retention, Stored
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
    put,
    read,
)

__all__ = ["Keyed", "spell"]


async def spell(store: Streams, keys: str, stream: str = "s", retention: Retention = FOREVER) -> None:
    """Append a message for each letter, which is its key; a dot has none."""
    for number, key in enumerate(keys, 1):
        keyed = None if key == "." else key
        await append(store, stream, b"%d" % number, retention, keyed=keyed)


class Keyed:
    """Messages with a key (`Entry.keyed`): pages of one key, and the offset of its last message."""

    @promise
    async def test_a_page_by_key_is_as_if_all_others_were_erased(self, place: Place, store: Streams) -> None:
        await spell(store, "ab.a.b")
        page = await read(store, keyed="a")
        assert (page.after, page.through, page.floor, page.head) == (0, 6, 0, 6)
        assert [(message.offset, message.data) for message in page.messages] == [(1, b"1"), (4, b"4")]
        assert offsets(await read(store, keyed="b")) == [2, 6]
        assert offsets(await read(store)) == [1, 2, 3, 4, 5, 6]
        page = await read(store, keyed="none")
        assert (page.after, page.through, page.messages) == (0, 6, [])
        assert await read(store, "none", keyed="a") == await read(store, "none")

    @promise
    async def test_keys_are_compared_whole_and_within_their_stream(
        self, place: Place, store: Streams
    ) -> None:
        for key in ("a", "A", "a ", "", "á", "a\0", "a" * 200, "a" * 201):
            await append(store, keyed=key)
        await append(store, "t", keyed="a")
        for offset, key in enumerate(("a", "A", "a ", "", "á", "a\0", "a" * 200, "a" * 201), 1):
            assert offsets(await read(store, keyed=key)) == [offset]
        assert offsets(await read(store, "t", keyed="a")) == [1]

    @promise
    async def test_a_page_by_key_follows_any_position(self, place: Place, store: Streams) -> None:
        await spell(store, "ab.ab")
        for offset, after in ((0, [1, 4]), (1, [4]), (3, [4]), (4, []), (5, [])):
            page = await read(store, keyed="a", after=Position(store.epoch, offset))
            assert (page.after, page.through, offsets(page)) == (offset, 5, after)
        for wrong in (Position(store.epoch, 6), Position("never", 1)):
            with pytest.raises(PositionLost):
                await read(store, keyed="a", after=wrong)

    @promise
    async def test_a_page_by_key_ends_just_below_a_position(self, place: Place, store: Streams) -> None:
        await spell(store, "ab.ab")
        for offset, before in ((99, [1, 4]), (5, [1, 4]), (4, [1]), (2, [1]), (1, []), (0, [])):
            page = await read(store, keyed="a", before=Position(store.epoch, offset))
            assert (page.after, page.through) == (0, max(0, min(offset - 1, 5)))
            assert offsets(page) == before

    @promise
    async def test_a_page_by_key_reaches_to_the_next_that_it_has_no_room_for(
        self, place: Place, store: Streams
    ) -> None:
        await spell(store, "a..a.b.a")
        page = await read(store, keyed="a", limit_messages=1)
        assert (page.after, page.through, offsets(page)) == (0, 3, [1])
        page = await read(store, keyed="a", after=Position(store.epoch, 3), limit_bytes=1)
        assert (page.after, page.through, offsets(page)) == (3, 7, [4])
        page = await read(store, keyed="a", after=Position(store.epoch, 7), limit_messages=1)
        assert (page.after, page.through, offsets(page)) == (7, 8, [8])
        end = Position(store.epoch, 9)
        page = await read(store, keyed="a", before=end, limit_messages=1)
        assert (page.after, page.through, offsets(page)) == (4, 8, [8])
        page = await read(store, keyed="a", before=Position(store.epoch, 5), limit_bytes=1)
        assert (page.after, page.through, offsets(page)) == (1, 4, [4])
        page = await read(store, keyed="a", before=Position(store.epoch, 2), limit_messages=1)
        assert (page.after, page.through, offsets(page)) == (0, 1, [1])

    @promise
    async def test_erased_messages_are_left_out_of_a_page_by_key(self, place: Place, store: Streams) -> None:
        await spell(store, "aabaa")
        for offset in (2, 3, 5):
            await store.erase("s", offset)
        page = await read(store, keyed="a", limit_messages=2)
        assert (page.through, offsets(page)) == (4, [1, 4])
        page = await read(store, keyed="b")
        assert (page.through, page.messages) == (5, [])

    @promise
    async def test_a_page_by_key_looks_at_so_many_messages_only(self, place: Place, store: Streams) -> None:
        await fill(store, "s", 3)
        await fill(store, "s", PAGE_MESSAGES_MAX + 1, keyed="a")
        for offset in range(4, PAGE_MESSAGES_MAX + 4):
            await store.erase("s", offset)
        last = PAGE_MESSAGES_MAX + 4
        page = await read(store, keyed="a", limit_messages=1)
        assert (page.through, page.messages) == (last - 1, [])
        page = await read(store, keyed="a", after=Position(store.epoch, page.through))
        assert (page.through, offsets(page)) == (last, [last])
        page = await read(store, keyed="a", before=Position(store.epoch, last), limit_messages=1)
        assert (page.after, page.messages) == (0, [])

    @promise
    async def test_what_is_dropped_is_in_no_page_by_key(self, place: Place, store: Streams) -> None:
        await spell(store, "abab")
        await store.trim("s", 2)
        page = await read(store, keyed="a")
        assert (page.after, page.through, page.floor, offsets(page)) == (2, 4, 2, [3])
        await spell(store, "aaaa", "t", Retention(count=2))
        assert offsets(await read(store, "t", keyed="a")) == [3, 4]
        await spell(store, "ab", "u", Retention(age_ms=100))
        place.time_ms += 100
        assert offsets(await read(store, "u", keyed="a")) == []

    @promise
    async def test_the_last_message_of_a_key_is_told(self, place: Place, store: Streams) -> None:
        await spell(store, "aba.")
        assert [await store.last_keyed("s", key) for key in ("a", "b", "c")] == [3, 2, 0]
        assert await store.last_keyed("none", "a") == 0
        await store.erase("s", 3)
        assert await store.last_keyed("s", "a") == 3
        await store.trim("s", 2)
        assert [await store.last_keyed("s", key) for key in ("a", "b")] == [3, 0]
        await store.trim("s", 3)
        assert await store.last_keyed("s", "a") == 0
        await append(store, keyed="a")
        assert await store.last_keyed("s", "a") == 5

    @promise
    async def test_the_last_message_of_a_key_is_expected_where_it_is(
        self, place: Place, store: Streams
    ) -> None:
        await append(store, keyed="a", expected_keyed=0)
        await append(store, keyed="b", expected_keyed=0)
        await append(store, keyed="a", expected_keyed=1)
        for wrong in (0, 1, 2, 4):
            with pytest.raises(PositionConflict, match="'a' is at 3"):
                await append(store, keyed="a", expected_keyed=wrong)
        assert await head(store) == Head(0, 3)
        await store.erase("s", 3)
        assert (await append(store, keyed="a", expected_keyed=3)).offset == 4

    @promise
    async def test_a_key_is_expected_within_one_commit_too(self, place: Place, store: Streams) -> None:
        outcomes = await put(
            store,
            entry(keyed="a", expected_keyed=0),
            entry(keyed="a", expected_keyed=0),
            entry(keyed="b"),
            entry(keyed="a", expected_keyed=1),
            entry("few", keyed="a", retention=Retention(count=1)),
            entry("few", keyed="b", retention=Retention(count=1)),
            entry("few", keyed="a", retention=Retention(count=1), expected_keyed=0),
        )
        assert [one.offset if isinstance(one, Stored) else type(one) for one in outcomes] == [
            1,
            PositionConflict,
            2,
            3,
            1,
            2,
            3,
        ]

    @promise
    async def test_a_key_is_expected_after_the_position_and_before_the_limits(
        self, place: Place, store: Streams
    ) -> None:
        await append(store, keyed="a")
        with pytest.raises(PositionConflict, match="the stream ends at 1"):
            await append(store, keyed="a", expected=Position(store.epoch, 7), expected_keyed=7)
        full = Retention(group="g", group_bytes=0)
        with pytest.raises(PositionConflict):
            await append(store, retention=full, keyed="a", expected_keyed=7)
        with pytest.raises(LimitExceeded):
            await append(store, retention=full, keyed="a", expected_keyed=1)
        again = entry(key="k", keyed="a", expected_keyed=1)
        assert [one.offset for one in await put(store, again, again) if isinstance(one, Stored)] == [2, 2]

    @promise
    async def test_a_transient_entry_leaves_its_key_alone(self, place: Place, store: Streams) -> None:
        await append(store, keyed="a", transient=True)
        assert await store.last_keyed("s", "a") == 0

    def test_keys_are_there_after_reopening(self, place: Place) -> None:
        async def scenario() -> None:
            store = await place.open()
            await spell(store, "aba")
            old = store.epoch
            await store.close()
            store = await place.open()
            assert offsets(await read(store, keyed="a", after=Position(old, 1))) == [3]
            assert (await append(store, keyed="b", expected_keyed=2)).offset == 4
            await store.close()

        asyncio.run(scenario())
