"""The proxy passes everything on, and each fault does what its name says."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from random import Random

import pytest

from gapless.testing.proxy import Faults, Proxy
from tests.conversation import HandClock

PATIENCE_SECONDS = 10

CALM_MS, STALL_MS, HALF_OPEN_MS = 1_000, 200, 3_000


def only(*, cut: int = 0, stall: int = 0, half_open: int = 0) -> Faults:
    return Faults(
        calm_ms=(CALM_MS, CALM_MS),
        stall_ms=(STALL_MS, STALL_MS),
        half_open_ms=(HALF_OPEN_MS, HALF_OPEN_MS),
        cut=cut,
        stall=stall,
        half_open=half_open,
    )


class World:
    """An echo server behind a proxy whose clock stands still."""

    def __init__(self, clock: HandClock, proxy: Proxy, port: int) -> None:
        self.clock = clock
        self.proxy = proxy
        self.port = port
        self.ends: list[asyncio.StreamWriter] = []

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.ends.append(writer)
        return reader, writer

    async def echo(self, data: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await self.connect()
        writer.write(data)
        assert await reader.readexactly(len(data)) == data
        return reader, writer


@asynccontextmanager
async def world(faults: Faults | None = None, **options: int) -> AsyncIterator[World]:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(4096):
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    clock = HandClock()
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    target = server.sockets[0].getsockname()[:2]
    proxy = Proxy(target, clock, Random(1), faults, **options)
    here = World(clock, proxy, await proxy.listen("127.0.0.1", 0))
    try:
        yield here
    finally:
        await proxy.close()
        server.close()
        for writer in here.ends:
            writer.close()
        await until(lambda: not asyncio.all_tasks() - {asyncio.current_task()})


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not true():  # noqa: ASYNC110 # nothing announces it
            await asyncio.sleep(0)


async def is_lost(reader: asyncio.StreamReader) -> bool:
    try:
        return not await reader.read(1)
    except ConnectionError:
        return True


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await scenario()

    asyncio.run(bounded())


def test_everything_passes_unchanged_while_nothing_befalls_it() -> None:
    async def scenario() -> None:
        async with world() as here:
            data = Random(2).randbytes(1_000_000)
            reader, writer = await here.connect()
            writer.write(data)
            assert await reader.readexactly(len(data)) == data
            assert here.proxy.counters.connections == 1
            assert here.proxy.counters.passed_bytes == 2 * len(data)

    run(scenario)


def test_a_cut_may_tear_what_is_being_passed_on() -> None:
    async def scenario() -> None:
        async with world(only(cut=1)) as here:
            reader, writer = await here.echo(b"calm")
            here.clock.pass_ms(CALM_MS)
            writer.write(b"x" * 1_000)
            assert len(await reader.read()) < 1_000
            assert here.proxy.counters.cuts == 1
            assert not here.proxy.links

    run(scenario)


def test_a_stall_holds_everything_back_and_loses_nothing() -> None:
    async def scenario() -> None:
        async with world(only(stall=1)) as here:
            reader, writer = await here.echo(b"calm")
            passed_bytes = here.proxy.counters.passed_bytes
            here.clock.pass_ms(CALM_MS)
            writer.write(b"later")
            await writer.drain()
            assert here.proxy.counters.stalls == 1
            assert here.proxy.counters.passed_bytes == passed_bytes
            here.clock.pass_ms(STALL_MS)
            assert await reader.readexactly(5) == b"later"

    run(scenario)


def test_connections_are_stalled_when_somebody_says_so_and_as_long_as_was_said_last() -> None:
    async def scenario() -> None:
        async with world() as here:
            reader, writer = await here.echo(b"before")
            here.proxy.stall(STALL_MS)
            here.clock.pass_ms(STALL_MS - 1)
            here.proxy.stall(STALL_MS)
            writer.write(b"held")
            await writer.drain()
            here.clock.pass_ms(STALL_MS - 1)
            assert here.proxy.counters.passed_bytes == 2 * len(b"before")
            here.clock.pass_ms(1)
            assert await reader.readexactly(4) == b"held"

    run(scenario)


def test_a_half_open_connection_is_lost_at_one_end_and_later_at_the_other() -> None:
    async def scenario() -> None:
        async with world(only(half_open=1)) as here:
            clients = [await here.echo(b"calm") for _ in range(16)]
            here.clock.pass_ms(CALM_MS)
            assert here.proxy.counters.half_opens == len(clients)
            ends = [asyncio.create_task(is_lost(reader)) for reader, _ in clients]
            await until(lambda: any(end.done() for end in ends))
            for _, writer in clients:
                writer.write(b"swallowed")
            assert not all(end.done() for end in ends)
            here.clock.pass_ms(HALF_OPEN_MS)
            assert all(await asyncio.gather(*ends))

    run(scenario)


def test_no_fault_begins_after_healing() -> None:
    async def scenario() -> None:
        async with world(only(cut=1, stall=1, half_open=1)) as here:
            reader, writer = await here.echo(b"calm")
            here.proxy.heal()
            here.clock.pass_ms(60_000)
            writer.write(b"well")
            assert await reader.readexactly(4) == b"well"

    run(scenario)


def test_a_blocked_proxy_cuts_and_refuses_until_it_is_unblocked() -> None:
    async def scenario() -> None:
        async with world() as here:
            reader, _ = await here.echo(b"calm")
            here.proxy.block()
            assert await is_lost(reader)
            assert await is_lost((await here.connect())[0])
            assert here.proxy.counters.refused == 1
            here.proxy.unblock()
            await here.echo(b"again")

    run(scenario)


def test_connections_beyond_the_limit_are_refused() -> None:
    async def scenario() -> None:
        async with world(connections_max=1) as here:
            await here.echo(b"first")
            assert await is_lost((await here.connect())[0])

    run(scenario)


def test_what_the_target_sent_last_arrives_before_the_connection_ends() -> None:
    async def scenario() -> None:
        async with world() as here:
            reader, writer = await here.connect()
            writer.write(b"goodbye")
            writer.write_eof()
            assert await reader.read() in (b"goodbye", b"")
            await until(lambda: not here.proxy.links)

    run(scenario)


def test_a_target_that_is_down_looks_like_a_lost_connection() -> None:
    async def scenario() -> None:
        async with world() as here:
            here.proxy.target = ("127.0.0.1", 1)
            assert await is_lost((await here.connect())[0])

    run(scenario)


@pytest.mark.parametrize("seed", range(5))
def test_a_seed_fixes_what_befalls_each_connection(seed: int) -> None:
    def struck() -> list[tuple[int, int, int]]:
        seen = []

        async def scenario() -> None:
            async with world(Faults()) as here:
                here.proxy._random.seed(seed)
                for _ in range(3):
                    await here.echo(b"calm")
                for _ in range(20):
                    here.clock.pass_ms(500)
                    counters = here.proxy.counters
                    seen.append((counters.stalls, counters.half_opens, len(here.proxy.links)))

        run(scenario)
        return seen

    assert struck() == struck()
