"""Streams inside Redis: what is rung, what is refused, what is given back, and what is missed."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from gapless import backends
from gapless.backends import Options
from gapless.backends.redis import pace
from gapless.backends.redis.backend import Backend
from gapless.backends.redis.encoding import encode, entry_of
from gapless.core.errors import GaplessError, OutcomeUnknown, PositionConflict, StoreDamaged, Unavailable
from gapless.core.stream import Entry, Head, Message, Outcome, Position, Retention
from gapless.testing.conformance.places import append, entry, fill, head, offsets, put, read
from tests.backends.redis.opening import serving, until
from tests.redis_server import RedisServer

START_MS = 1_800_000_000_000


class Scene:
    """A server, a store on it with a clock of its own, and what another process hears on the bus."""

    def __init__(self, server: RedisServer) -> None:
        self.server = server
        self.time_ms = START_MS
        self.rung: list[tuple[str, Message | None]] = []

    async def open(self, **options: Any) -> Backend:
        store = await backends.open(self.server.url, Options(**{"now_ms": lambda: self.time_ms} | options))
        assert isinstance(store, Backend)
        return store

    def keys(self) -> set[str]:
        """The kinds of keys that there are of the stream "s"."""
        return {kind for kind in "si" if self.server.command("EXISTS", f"{{gapless}}:{kind}:s") == "1"}

    def kept(self) -> int:
        """How many messages of the stream "s" are in memory."""
        return int(self.server.command("HLEN", "{gapless}:s:s")) - 2  # its head


Test = Callable[[Scene, Backend], Awaitable[None]]


def scene(test: Test) -> Callable[[], None]:
    """Turn a coroutine that tests a store on a server into a test."""

    def run() -> None:
        async def scenario() -> None:
            with serving() as server:
                one = Scene(server)
                store = await one.open()
                try:
                    await test(one, store)
                finally:
                    await store.close()

        asyncio.run(scenario())

    run.__name__ = test.__name__
    return run


async def heard(one: Scene, other: Backend, *streams: str) -> None:
    """Let another process hear of streams."""
    confirmed: set[str] = set()

    def hear(stream: str, last: Position, message: Message | None) -> None:
        if message is None:
            confirmed.add(stream)
        else:
            one.rung.append((stream, message))

    other.bus.listen(hear)
    for stream in streams:
        other.bus.follow(stream)
    await until(lambda: confirmed == set(streams))


@scene
async def test_every_stored_message_is_rung_once_and_nothing_else(one: Scene, store: Backend) -> None:
    other = await one.open()
    await heard(one, other, "s", "t")
    await put(
        store,
        entry(data=b"1", meta=b"{}", also=entry("t", b"2")),
        entry(data=b"3", expected=Position(store.epoch, 9)),
        entry(data=b"4", transient=True),
        entry(data=b"5", key="k", keyed="a"),
        entry(data=b"5", key="k"),
    )
    await append(store, "t", b"end")
    await until(lambda: any(message.data == b"end" for _, message in one.rung if message))
    assert sorted(one.rung, key=repr) == sorted(
        [
            ("s", Message(1, START_MS, b"1", b"{}")),
            ("t", Message(1, START_MS, b"2")),
            ("s", Message(2, START_MS, b"5")),
            ("t", Message(2, START_MS, b"end")),
        ],
        key=repr,
    )
    await other.close()


@scene
async def test_what_is_large_is_rung_in_pieces(one: Scene, store: Backend) -> None:
    other = await one.open()
    await heard(one, other, "s")
    await put(store, *(entry(data=b"%d" % number + bytes(30_000)) for number in range(8)))
    await until(lambda: len(one.rung) == 8)
    assert [message.offset for _, message in one.rung if message] == list(range(1, 9))
    await other.close()


@scene
async def test_an_append_that_comes_too_late_is_refused(one: Scene, store: Backend) -> None:
    told = encode([entry_of(entry(), Options())])
    with pytest.raises(Unavailable, match="too late"):
        await store._calls.call("append", START_MS - 1, " " * 16, told, b"")
    assert await head(store) == Head(0, 0)
    await store._calls.call("append", START_MS, " " * 16, told, b"")
    assert await head(store) == Head(0, 1)


@scene
async def test_a_clock_that_is_set_forth_keeps_nobody_from_appending(one: Scene, store: Backend) -> None:
    await append(store)
    one.time_ms += 24 * 3_600_000
    assert (await append(store)).offset == 2


@scene
async def test_the_bytes_of_what_is_erased_are_gone(one: Scene, store: Backend) -> None:
    await put(store, entry(), entry(data=bytes(1_000), meta=bytes(100), keyed="a"), entry())
    assert int(one.server.command("HSTRLEN", "{gapless}:s:s", 2)) > 1_100
    assert await store.erase("s", 2)
    assert int(one.server.command("HSTRLEN", "{gapless}:s:s", 2)) < 50


@scene
async def test_a_message_that_was_lost_is_missed(one: Scene, store: Backend) -> None:
    await fill(store, "s", 5)
    one.server.command("HDEL", "{gapless}:s:s", 3)
    with pytest.raises(StoreDamaged, match="message 3"):
        await read(store)
    with pytest.raises(StoreDamaged, match="message 3"):
        await store.erase("s", 3)
    assert offsets(await read(store, after=Position(store.epoch, 3))) == [4, 5]


@scene
async def test_a_damaged_stream_holds_up_no_other(one: Scene, store: Backend) -> None:
    await append(store, retention=Retention(age_ms=10))
    await append(store, "t", retention=Retention(meta_ttl_ms=10))
    one.server.command("HDEL", "{gapless}:s:s", 1)
    one.time_ms += 10
    assert await head(store, "t") == Head(1, 1)
    assert (await append(store, "u")).offset == 2
    with pytest.raises(StoreDamaged):
        await head(store, "s")


async def together(store: Backend, *entries: Entry) -> list[Outcome]:
    """Append entries by one call, and return what became of each."""
    told: asyncio.Future[list[Outcome]] = asyncio.get_running_loop().create_future()
    store.append(entries, lambda _, outcomes: told.set_result(list(outcomes)))
    return await told


@scene
async def test_thousands_of_messages_are_appended_by_one_call(one: Scene, store: Backend) -> None:
    outcomes = await together(store, entry("s"), *(entry("t", keyed="a") for _ in range(5_000)))
    assert not [outcome for outcome in outcomes if isinstance(outcome, GaplessError)]
    assert await head(store, "t") == Head(0, 5_000)
    assert await store.last_keyed("t", "a") == 5_000


@scene
async def test_what_fails_because_another_stream_is_damaged_was_not_stored(
    one: Scene, store: Backend
) -> None:
    keep = Retention(bytes=3)
    for _ in range(3):
        await append(store, "t", b"xx", retention=keep)
    one.server.command("HDEL", "{gapless}:s:t", 3)
    outcomes = await together(store, entry("s"), entry("t", b"xx", keep))
    assert all(isinstance(outcome, StoreDamaged) for outcome in outcomes)
    assert await head(store, "s") == Head(0, 0)


@scene
async def test_a_key_that_holds_something_else_is_damage(one: Scene, store: Backend) -> None:
    one.server.command("SET", "{gapless}:s:s", "what")
    with pytest.raises(StoreDamaged, match="another program"):
        await append(store)


@scene
async def test_what_is_stored_when_a_call_fails_in_its_midst_is_not_told_as_refused(
    one: Scene, store: Backend
) -> None:
    one.server.command("SET", "{gapless}:i:t", "what")
    outcomes = await together(store, entry("s"), entry("t", keyed="k"))
    assert all(isinstance(outcome, OutcomeUnknown) for outcome in outcomes)
    assert await head(store, "s") == Head(0, 1)


@scene
async def test_what_is_dropped_is_given_back_a_piece_at_a_time(one: Scene, store: Backend) -> None:
    for _ in range(25):
        await fill(store, "s", 100, keyed="a")
    assert one.keys() == {"s", "i"}
    await store.trim("s", 2_400)
    assert one.kept() == 1_500
    for _ in range(2):
        one.time_ms += 100
        await append(store, "t")
    assert one.kept() == 100
    assert one.server.command("ZCARD", "{gapless}:i:s") == "100"
    await append(store, retention=Retention(count=1))
    assert await store.last_keyed("s", "a") == 0


@scene
async def test_what_was_dropped_whole_is_given_back_at_once(one: Scene, store: Backend) -> None:
    for keep in (Retention(ttl_ms=10), Retention(age_ms=10)):
        await fill(store, "s", 10, keyed="a", retention=keep)
        one.time_ms += 10
        await append(store, "t")  # whoever comes looks after what is due
        assert (one.keys(), one.kept()) == ({"s"}, 0)
        assert one.server.command("ZCARD", "{gapless}:due") == "0"
    await fill(store, "s", 10, keyed="a")
    await store.trim("s", 99)
    assert (one.keys(), one.kept()) == ({"s"}, 0)


@scene
async def test_nothing_is_left_of_a_stream_that_was_forgotten(one: Scene, store: Backend) -> None:
    await fill(store, "s", 10, keyed="a", retention=Retention(meta_ttl_ms=10, group="g", group_bytes=99))
    one.time_ms += 10
    assert await head(store, "other") == Head(10, 10)
    assert one.keys() == set()
    assert one.server.command("HGET", "{gapless}:g", "g") == "0"


@scene
async def test_many_streams_are_forgotten_a_piece_at_a_time(one: Scene, store: Backend) -> None:
    await put(store, *(entry(f"s{number}", retention=Retention(meta_ttl_ms=10)) for number in range(300)))
    one.time_ms += 10
    await head(store)
    assert one.server.command("ZCARD", "{gapless}:due") == "200"
    for _ in range(2):
        one.time_ms += 100
        await head(store)
    assert one.server.command("ZCARD", "{gapless}:due") == "0"


@scene
async def test_positions_of_before_are_not_decided_while_a_generation_is_suspect(
    one: Scene, store: Backend
) -> None:
    other = await one.open()
    await append(store)
    old = store.epoch
    one.server.incarnate()
    await head(store)  # of the new generation, of which the other has not said what it saw
    with pytest.raises(Unavailable, match="new generation"):
        await read(store, after=Position(old, 1))
    with pytest.raises(Unavailable, match="new generation"):
        await append(store, expected=Position(old, 1))
    one.time_ms += 2_000
    with pytest.raises(PositionConflict):
        await append(store, expected=Position(old, 7))
    await other.close()


def test_what_grows_old_waits_for_a_store_clock_that_jumps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "AHEAD_MS", 0)
    brief = {"a": Retention(age_ms=1), "b": Retention(ttl_ms=1), "c": Retention(meta_ttl_ms=1)}

    async def scenario() -> None:
        with serving() as server:
            # For this process no time goes by at all: it takes what the server's clock does for a jump.
            store = await backends.open(server.url, Options(elapsed_ns=lambda: 1))
            stored = [await append(store, name, retention=keep) for name, keep in brief.items()]
            while (await append(store)).time_ms < stored[-1].time_ms + 5:
                pass
            assert [await head(store, name) for name in brief] == [Head(0, 1)] * 3
            await store.close()
            store = await backends.open(server.url)
            assert [await head(store, name) for name in brief] == [Head(1, 1)] * 3
            await store.close()

    asyncio.run(scenario())
