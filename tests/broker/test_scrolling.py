"""Pages to and fro: whatever happens meanwhile, each kept message is seen once and in its place."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from gapless.backends import Options
from gapless.backends.memory import Backend, Kept
from gapless.broker.broker import Broker
from gapless.broker.namespaces import Namespace, Namespaces
from gapless.broker.newest import Scroll
from gapless.broker.scrolling import Scrolling
from gapless.core.errors import (
    NotAvailable,
    PositionTrimmed,
    TimelineGone,
    TooManyRequests,
    Unavailable,
    UnknownChannel,
)
from gapless.core.limits import NEWEST_MESSAGES_MAX, SCROLL_READS_MAX
from gapless.core.lineage import Fate
from gapless.core.stream import Page, Position
from tests.conversation import HandClock, Stage, play

KEPT = Namespace(history_size=10_000, history_ttl_ms=10_000_000)
BARE = Namespace(name="bare")
ROOM = "room"


class World:
    """A channel over a store that restarts, what it must hold, and everything that readers were given."""

    def __init__(self) -> None:
        self.kept = Kept()
        self.clock = HandClock()
        self.messages: dict[int, int] = {}  # those that may be seen: their times by offset
        self.times: dict[int, int] = {}  # of all, also what was erased
        self.floor = self.last = 0
        self.marks: list[Position] = []  # of items, and where pages ended

    async def open(self, fate: Fate = Fate.CLEAN) -> None:
        self.store = Backend(Options(now_ms=self.clock.now_ms), self.kept, fate)
        spaces = Namespaces(without=KEPT, named=(BARE,))
        self.broker = Broker(self.store, self.clock, spaces, soon=asyncio.get_running_loop().call_soon)
        await self.broker.open()
        self.scrolling = Scrolling(self.broker, _offsets)

    async def close(self) -> None:
        await self.broker.close()
        await self.store.close()

    async def restart(self, fate: Fate = Fate.CLEAN) -> None:
        await self.close()
        await self.open(fate)

    async def append(self, count: int) -> None:
        told = asyncio.get_running_loop().create_future()
        for _ in range(count):
            self.last += 1
            self.messages[self.last] = self.times[self.last] = self.clock.now_ms()
            self.broker.publish(ROOM, b"1", lambda _: None)
        self.broker.publish(ROOM, b"1", told.set_result, skip_history=True)
        await told

    async def erase(self, offset: int) -> None:
        assert await self.broker.removing.erase(ROOM, offset) is (self.messages.pop(offset, None) is not None)

    async def trim(self, through: int) -> None:
        self.floor = max(self.floor, min(through, self.last))
        await self.store.trim(ROOM, through)
        for gone in [offset for offset in self.messages if offset <= self.floor]:
            del self.messages[gone]

    def between(self, after: int, through: int) -> list[int]:
        return [offset for offset in sorted(self.messages) if after < offset <= through]

    def see(self, scroll: Scroll) -> list[int]:
        """Hold a page against what must be in it, and keep its cursors."""
        offsets = [int(item) for item in scroll.items]
        assert offsets == self.between(scroll.after, scroll.through)
        assert (scroll.floor, scroll.head) == (self.floor, self.last)
        assert scroll.has_before or not self.between(0, scroll.after)
        assert scroll.has_after or not self.between(scroll.through, self.last)
        self.marks += [Position(scroll.epoch, offset) for offset in (*offsets, scroll.through)]
        return offsets

    def at(self, time_ms: int) -> int:
        """The position at a time."""
        later = (o for o in range(self.floor + 1, self.last + 1) if self.times[o] >= time_ms)
        return next(later, self.last + 1) - 1


def _offsets(channel: str, page: Page) -> list[bytes]:
    return [b"%d" % message.offset for message in page.messages]


async def newest(world: World, size: int) -> None:
    assert world.see(await world.scrolling.newest(ROOM, size)) == world.between(0, world.last)[-size:]


async def before(world: World, point: Position | int, size: int) -> None:
    end = world.at(point) if isinstance(point, int) else point.offset - 1
    assert world.see(await world.scrolling.before(ROOM, point, size)) == world.between(0, end)[-size:]


async def after(world: World, point: Position | int, size: int) -> None:
    start = world.at(point) if isinstance(point, int) else point.offset
    if start < world.floor:
        with pytest.raises(PositionTrimmed) as raised:
            await world.scrolling.after(ROOM, point, size)
        assert (raised.value.epoch, raised.value.offset) == (world.store.epoch, world.floor)
    else:
        expected = world.between(start, world.last)[:size]
        assert world.see(await world.scrolling.after(ROOM, point, size)) == expected


async def around(world: World, point: Position | int, size: int) -> None:
    middle = world.at(point) if isinstance(point, int) else point.offset
    if middle < world.floor:
        with pytest.raises(PositionTrimmed):
            await world.scrolling.around(ROOM, point, size)
        return
    newer = world.between(middle, world.last)[: size // 2]
    older = world.between(0, middle)[-(size - len(newer)) :]
    assert world.see(await world.scrolling.around(ROOM, point, size)) == older + newer


SIZES = st.sampled_from([1, 2, 3, 5, 50])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(1, 8)),
        st.tuples(st.just("append"), st.integers(1, 8)),
        st.tuples(st.just("wait"), st.integers(1, 5)),
        st.tuples(st.just("erase"), st.integers(0, 30)),
        st.tuples(st.just("trim"), st.integers(0, 30)),
        st.tuples(st.just("restart"), st.just(0)),
        st.tuples(st.just("newest"), SIZES),
        st.tuples(st.sampled_from([before, after, around]), st.integers(0, 200), SIZES),
        st.tuples(st.sampled_from([before, after, around]), st.integers(-20, -1), SIZES),
    ),
    max_size=40,
)


async def take(world: World, step: Any) -> None:
    match step:
        case ("wait", ms):
            world.clock.pass_ms(ms)
        case ("restart", _):
            await world.restart()
        case ("newest", size):
            await newest(world, size)
        case (str(verb), number):
            await getattr(world, verb)(number)
        case (ask, index, size) if index >= 0:
            if world.marks:
                await ask(world, world.marks[index % len(world.marks)], size)
        case (ask, ago, size):
            await ask(world, world.clock.now_ms() + ago + 10, size)


@settings(max_examples=300)
@given(steps=STEPS)
def test_every_page_holds_what_is_kept_there_and_nothing_else(steps: list[Any]) -> None:
    @on_a_world
    async def test(world: World) -> None:
        for step in steps:
            await take(world, step)

    test()


@settings(max_examples=100)
@given(
    sizes=st.lists(st.integers(1, 7), min_size=1, max_size=5),
    meanwhile=st.lists(st.tuples(st.sampled_from(["append", "restart"]), st.integers(1, 4)), max_size=12),
    erased=st.sets(st.integers(1, 30)),
)
def test_a_walk_to_and_fro_sees_each_message_once_while_appends_go_on(
    sizes: list[int], meanwhile: list[Any], erased: set[int]
) -> None:
    @on_a_world
    async def test(world: World) -> None:
        await world.append(30)
        for offset in erased:
            await world.erase(offset)
        steps = iter(meanwhile)

        async def next_size(pages: int) -> int:
            for step in steps:
                await take(world, step)
                break
            return sizes[pages % len(sizes)]

        size = await next_size(0)
        scroll = await world.scrolling.newest(ROOM, size)
        edge, seen, pages = scroll, world.see(scroll), 1
        while scroll.has_before:
            at = Position(scroll.epoch, scroll.after + 1)
            size = await next_size(pages)
            scroll = await world.scrolling.before(ROOM, at, size)
            seen, pages = world.see(scroll) + seen, pages + 1
        while edge.has_after or edge.through < world.last:
            size = await next_size(pages)
            edge = await world.scrolling.after(ROOM, Position(edge.epoch, edge.through), size)
            seen, pages = seen + world.see(edge), pages + 1
        assert seen == sorted(world.messages)

    test()


def on_a_world(test: Callable[[World], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    async def run() -> None:
        world = World()
        await world.open()
        try:
            await test(world)
        finally:
            await world.close()

    return lambda: asyncio.run(run())


def test_the_cursor_of_a_timeline_that_is_gone_is_refused_with_the_head() -> None:
    @on_a_world
    async def test(world: World) -> None:
        await world.append(3)
        mine = Position(world.store.epoch, 2)
        await world.restart(Fate.LOSSY)
        for lost in (mine, Position("never", 2), Position(world.store.epoch, 9)):
            for ask in (world.scrolling.after, world.scrolling.around):
                with pytest.raises(TimelineGone) as raised:
                    await ask(ROOM, lost, 5)
                assert (raised.value.epoch, raised.value.offset) == (world.store.epoch, 3)
        for lost in (mine, Position("never", 2)):
            with pytest.raises(TimelineGone):
                await world.scrolling.before(ROOM, lost, 5)

    test()


def test_before_what_is_kept_there_is_nothing_however_old_the_cursor() -> None:
    @on_a_world
    async def test(world: World) -> None:
        await world.append(3)
        old = Position(world.store.epoch, 2)
        await world.restart()
        await world.append(5)
        await world.trim(6)
        scroll = await world.scrolling.before(ROOM, old, 5)
        assert (list(scroll.items), scroll.has_before, scroll.has_after) == ([], False, True)

    test()


def test_a_time_older_than_all_that_is_kept_means_the_oldest() -> None:
    @on_a_world
    async def test(world: World) -> None:
        await world.append(5)
        await world.trim(2)
        assert world.see(await world.scrolling.after(ROOM, 0, 2)) == [3, 4]
        assert world.see(await world.scrolling.before(ROOM, 0, 2)) == []

    test()


def test_a_channel_without_messages_has_neither_side() -> None:
    @on_a_world
    async def test(world: World) -> None:
        for scroll in (await world.scrolling.newest(ROOM, 5), await world.scrolling.around(ROOM, 0, 5)):
            assert (list(scroll.items), scroll.has_before, scroll.has_after) == ([], False, False)

    test()


def test_only_channels_with_history_can_be_scrolled() -> None:
    @on_a_world
    async def test(world: World) -> None:
        for ask in (world.scrolling.before, world.scrolling.after, world.scrolling.around):
            with pytest.raises(NotAvailable):
                await ask("bare:1", 0, 5)
        with pytest.raises(NotAvailable):
            await world.scrolling.newest("bare:1", 5)
        with pytest.raises(UnknownChannel):
            await world.scrolling.newest("none:1", 5)

    test()


# What is kept encoded -------------------------------------------------------------------------


class CountingStore(Backend):
    """Counts pages, and how many messages they held."""

    pages = messages = 0

    async def read(self, *args: Any, **options: Any) -> Page:
        page = await super().read(*args, **options)
        self.pages += 1
        self.messages += len(page.messages)
        return page


def test_the_newest_are_read_once_and_followed_by_one_read_for_all() -> None:
    @on_a_world
    async def test(world: World) -> None:
        counting = CountingStore(Options(now_ms=world.clock.now_ms), world.kept)
        world.store = world.scrolling._store = world.broker.store = counting
        await world.append(80)
        await newest(world, 50)
        assert (counting.pages, counting.messages) == (1, 50)
        await asyncio.gather(*(newest(world, size) for size in (1, 20, 50, 50)))
        assert (counting.pages, counting.messages) == (2, 50)
        await world.append(2)
        await newest(world, 50)
        assert (counting.pages, counting.messages) == (3, 52)

    test()


def test_an_erased_message_is_not_told_from_memory() -> None:
    @on_a_world
    async def test(world: World) -> None:
        await world.append(5)
        await newest(world, 5)
        reading = asyncio.ensure_future(world.scrolling.newest(ROOM, 9))
        await world.erase(4)
        await reading
        await newest(world, 5)

    test()


def test_a_page_that_was_read_before_an_erase_is_not_kept_after_it() -> None:
    @on_a_world
    async def test(world: World) -> None:
        await world.append(5)
        read = world.store.read

        async def slow(*args: Any, **options: Any) -> Page:
            page = await read(*args, **options)
            world.store.read = read  # type: ignore[method-assign]
            await world.erase(4)
            return page

        world.store.read = slow  # type: ignore[method-assign]
        await world.scrolling.newest(ROOM, 5)
        await newest(world, 5)

    test()


def test_a_long_lived_channel_keeps_so_many_items_and_no_more() -> None:
    @on_a_world
    async def test(world: World) -> None:
        for _ in range(4):
            await world.append(NEWEST_MESSAGES_MAX - 1)
            await newest(world, NEWEST_MESSAGES_MAX)
            [held] = world.scrolling._held.values()
            assert len(held.last(10_000).items) <= NEWEST_MESSAGES_MAX
        await world.append(5_000)
        await newest(world, NEWEST_MESSAGES_MAX)

    test()


def test_what_time_drops_is_dropped_from_memory_too() -> None:
    @on_a_world
    async def test(world: World) -> None:
        world.broker.namespaces = Namespaces(without=replace(KEPT, history_ttl_ms=1_000))
        await world.append(5)
        await newest(world, 5)
        world.clock.pass_ms(1_000)
        world.messages.clear()
        world.floor = 5
        await newest(world, 5)

    test()


def test_channels_used_long_ago_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    @on_a_world
    async def test(world: World) -> None:
        monkeypatch.setattr("gapless.broker.scrolling.NEWEST_BYTES_MAX", 10_000)
        for number in range(20):
            await world.scrolling.newest(f"room-{number}", 5)
        await world.scrolling.newest("room-11", 5)
        await world.scrolling.newest("room-20", 5)
        assert "room-11" in world.scrolling._held
        assert "room-0" not in world.scrolling._held
        assert world.scrolling._held_bytes <= 10_000

    test()


def test_not_everybody_may_wait_for_the_store_at_once() -> None:
    @on_a_world
    async def test(world: World) -> None:
        world.scrolling._reading = SCROLL_READS_MAX
        with pytest.raises(TooManyRequests):
            await world.scrolling.newest(ROOM, 5)

    test()


def test_a_floor_that_rises_while_a_time_is_looked_up_gives_the_oldest_that_is_kept() -> None:
    @on_a_world
    async def test(world: World) -> None:
        await world.append(5)
        scrolling, find = world.scrolling, world.store.find

        async def trimmed(stream: str, at_ms: int) -> Position:
            found = await find(stream, at_ms)
            await world.append(1)
            await world.trim(found.offset + 1)
            return found

        world.store.find = trimmed  # type: ignore[method-assign]
        after = await scrolling.after(ROOM, 0, 3)
        assert (after.items, after.after, after.floor, after.head) == ([b"2", b"3", b"4"], 1, 1, 6)
        around = await scrolling.around(ROOM, 0, 4)
        assert (around.items, around.after) == ([b"3", b"4"], 2)
        assert (await scrolling.before(ROOM, 0, 4)).items == []


def test_a_generation_that_begins_while_a_time_is_looked_up_is_asked_anew() -> None:
    @on_a_world
    async def test(world: World) -> None:
        await world.append(5)
        find, asked = world.store.find, 0

        async def foreign(stream: str, at_ms: int) -> Position:
            nonlocal asked
            asked += 1
            return Position("gone", 3) if asked < 3 else await find(stream, at_ms)

        world.store.find = foreign  # type: ignore[method-assign]
        assert (await world.scrolling.after(ROOM, 0, 1)).items == [b"1"]
        asked = -10
        with pytest.raises(Unavailable):
            await world.scrolling.after(ROOM, 0, 1)

    test()


def test_readers_who_come_back_are_not_told_what_was_erased() -> None:
    async def scene(stage: Stage) -> None:
        reader = await stage.reader("a")
        await stage.publish("a", 1, 2, 3)
        assert reader.offsets() == [1, 2, 3]
        assert await stage.broker.removing.erase("a", 2)
        other = stage.peer()
        await other.connect()
        reply = await other.follow("a", recover=True, epoch=stage.broker.placing.epoch, offset=0)
        assert [publication["offset"] for publication in reply["publications"]] == [1, 3]

    play(scene, without=replace(KEPT, allow_subscribe_for_client=True, force_recovery=True), insecure=True)
