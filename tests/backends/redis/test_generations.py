"""Each incarnation of a Redis is a generation: what it lost is told, and nothing is that it did not lose."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gapless import backends
from gapless.backends import Options
from gapless.backends.redis.backend import Backend
from gapless.core.errors import PositionLost, Unavailable
from gapless.core.limits import REDIS_PULSE_MS
from gapless.core.lineage import Fate
from gapless.core.stream import Position
from gapless.testing.conformance.places import append, fill, head, offsets, read
from tests.backends.redis.fake import bulk, faking
from tests.backends.redis.opening import Hand, serving, until
from tests.redis_server import RedisServer

ALWAYS: dict[str, str] = {}
SOMETIMES = {"appendfsync": "everysec"}
# More than a generation may be suspect for.
SETTLED_MS = 2_000


class Machine:
    """A server, and the clock by which processes have it open."""

    def __init__(self, server: RedisServer) -> None:
        self.server = server
        self.time_ms = 1_800_000_000_000

    @asynccontextmanager
    async def opened(self, url: str = "", **options: Any) -> AsyncIterator[Backend]:
        """Be a process that has the store open."""
        store = await backends.open(url or self.server.url, Options(now_ms=lambda: self.time_ms, **options))
        assert isinstance(store, Backend)
        try:
            yield store
        finally:
            await store.close()

    def keep(self) -> None:
        """Copy what the server has on its disk."""
        shutil.copytree(self.server.folder / "appendonlydir", self.server.folder / "kept")

    def put_back(self) -> None:
        """Put the copy in place of what a server that was ended has on its disk."""
        shutil.rmtree(self.server.folder / "appendonlydir")
        (self.server.folder / "kept").rename(self.server.folder / "appendonlydir")

    def restart(self, between: Callable[[], object] = list) -> None:
        """Pull the plug, and start it again."""
        self.server.kill()
        between()
        self.server.start()


def on_a(**settings: str) -> Callable[[Callable[[Machine], Awaitable[None]]], Callable[[], None]]:
    """Turn a coroutine that tests a server with such settings into a test."""

    def made(test: Callable[[Machine], Awaitable[None]]) -> Callable[[], None]:
        def run() -> None:
            async def scenario() -> None:
                with serving(**settings) as server:
                    await test(Machine(server))

            asyncio.run(scenario())

        run.__name__ = test.__name__
        return run

    return made


async def fate(store: Backend) -> Fate:
    return (await store.generations())[-1].fate


async def heard(*stores: Backend, before: str) -> None:
    """Wait until live processes have heard of another generation, though nobody called anything."""
    await until(lambda: all(store.epoch != before for store in stores))


def killed(store: Backend) -> None:
    """Let a process die: it says no goodbye."""
    calls = store._calls
    calls.attachment.is_closed = True
    assert calls.attachment.connection is not None
    calls.attachment.connection.cut()
    assert calls._timer is not None
    calls._timer.cancel()


# Nothing is lost ----------------------------------------------------------------------------


@on_a(**ALWAYS)
async def test_a_restart_that_loses_nothing_is_clean_though_nobody_saw_it(machine: Machine) -> None:
    async with machine.opened() as store:
        await fill(store, "s", 5)
        before = store.epoch
    for end in (machine.server.kill, machine.server.stop):
        end()
        machine.server.start()
        async with machine.opened() as store:
            assert await fate(store) is Fate.CLEAN
            assert offsets(await read(store, after=Position(before, 3))) == [4, 5]


@on_a(**ALWAYS)
async def test_a_restart_that_loses_nothing_is_clean_though_a_process_died_with_it(machine: Machine) -> None:
    async with machine.opened() as store:
        await fill(store, "s", 5)
        before = store.epoch
        killed(store)
        machine.restart()
        async with machine.opened() as other:
            with pytest.raises(Unavailable):
                await read(other, after=Position(before, 3))
            machine.time_ms += SETTLED_MS
            assert offsets(await read(other, after=Position(before, 3))) == [4, 5]
            assert await fate(other) is Fate.CLEAN


@pytest.mark.parametrize("settings", [ALWAYS, SOMETIMES])
@pytest.mark.parametrize("count", [1, 2])
def test_a_restart_that_loses_nothing_is_clean_when_all_who_saw_it_say_so(
    settings: dict[str, str], count: int
) -> None:
    @on_a(**settings)
    async def run(machine: Machine) -> None:
        async with machine.opened() as one, machine.opened() as two:
            await fill(one, "s", 5)
            stores = [one, two][:count]
            if count == 1:
                await two.close()
            before = one.epoch
            machine.server.stop()
            machine.server.start()
            await heard(*stores, before=before)
            assert await fate(one) is Fate.CLEAN
            for store in stores:
                assert offsets(await read(store, after=Position(before, 3))) == [4, 5]

    run()


@on_a(**SOMETIMES)
async def test_a_process_that_was_closed_is_not_waited_for(machine: Machine) -> None:
    async with machine.opened() as closed:
        await append(closed)
    async with machine.opened() as store:
        await append(store)
        before = store.epoch
        machine.server.incarnate()
        await heard(store, before=before)
        assert await fate(store) is Fate.CLEAN


@on_a(**ALWAYS)
async def test_positions_of_many_incarnations_hold(machine: Machine) -> None:
    async with machine.opened() as store:
        epochs = []
        for number in range(5):
            await append(store)
            epochs.append(store.epoch)
            machine.server.incarnate()
            if number % 2:
                await heard(store, before=epochs[-1])
        for number, epoch in enumerate(epochs):
            assert len(offsets(await read(store, after=Position(epoch, number + 1)))) == 4 - number
            if number < 4:
                with pytest.raises(PositionLost):
                    await read(store, after=Position(epoch, number + 2))


# Something is lost --------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2])
def test_a_server_that_comes_back_older_is_told_by_who_saw_more(count: int) -> None:
    @on_a(**ALWAYS)
    async def run(machine: Machine) -> None:
        async with machine.opened() as one, machine.opened() as two:
            await fill(one, "s", 3)
            machine.keep()
            await fill(one, "s", 2)
            if count == 2:
                assert (await head(two)).last == 5
            before = one.epoch
            machine.restart(machine.put_back)
            await heard(one, two, before=before)
            await until_settled(one)
            assert await fate(one) is Fate.LOSSY
            assert (await head(one)).last == 3
            for offset in range(6):
                with pytest.raises(PositionLost):
                    await read(two, after=Position(before, offset))
            # The timeline goes on, and who reads from its new epoch on reads all.
            assert (await append(two)).offset == 4
            assert offsets(await read(one, after=Position(one.epoch, 3))) == [4]

    run()


async def until_settled(store: Backend) -> None:
    while await fate(store) is Fate.SUSPECT:
        await store.heads(["s"])


@on_a(**ALWAYS)
async def test_who_saw_more_is_heard_though_it_had_seen_it_only_by_reading(machine: Machine) -> None:
    async with machine.opened() as writer, machine.opened() as reader:
        await fill(writer, "s", 3)
        machine.keep()
        await fill(writer, "s", 2)
        assert (await head(reader)).last == 5
        before = reader.epoch
        killed(writer)
        machine.restart(machine.put_back)
        await heard(reader, before=before)
        machine.time_ms += SETTLED_MS
        with pytest.raises(PositionLost):
            await read(reader, after=Position(before, 3))


@on_a(**ALWAYS)
async def test_a_generation_that_the_server_has_forgotten_was_lost_as_a_whole(machine: Machine) -> None:
    async with machine.opened() as store:
        first = store.epoch
        await fill(store, "s", 3)
        machine.keep()
        machine.restart()
        await heard(store, before=first)
        await until_settled(store)
        assert await fate(store) is Fate.CLEAN
        second = store.epoch
        await fill(store, "s", 2)
        machine.restart(machine.put_back)
        await heard(store, before=second)
        await until_settled(store)
        assert await fate(store) is Fate.LOSSY
        with pytest.raises(PositionLost):
            await read(store, after=Position(first, 3))


@pytest.mark.parametrize("dies", [False, True])
def test_what_nobody_vouches_for_is_lost_when_nobody_saw_it(dies: bool) -> None:
    @on_a(**SOMETIMES)
    async def run(machine: Machine) -> None:
        async with machine.opened() as store:
            await fill(store, "s", 3)
            before = store.epoch
            if dies:
                killed(store)
        machine.server.stop()
        machine.server.start()
        async with machine.opened() as store:
            if dies:
                assert await fate(store) is Fate.SUSPECT
                machine.time_ms += SETTLED_MS
            with pytest.raises(PositionLost):
                await read(store, after=Position(before, 3))
            assert await fate(store) is Fate.LOSSY

    run()


@on_a(**SOMETIMES)
async def test_one_who_saw_it_does_not_speak_for_one_who_died(machine: Machine) -> None:
    async with machine.opened() as alive, machine.opened() as dead:
        await append(alive)
        before = alive.epoch
        killed(dead)
        machine.server.incarnate()
        await heard(alive, before=before)
        assert await fate(alive) is Fate.SUSPECT
        with pytest.raises(Unavailable):
            await read(alive, after=Position(before, 1))
        machine.time_ms += SETTLED_MS
        with pytest.raises(PositionLost):
            await read(alive, after=Position(before, 1))


@on_a(**ALWAYS)
async def test_who_is_heard_after_all_was_taken_for_clean_begins_another_generation(machine: Machine) -> None:
    async with machine.opened() as store:
        await fill(store, "s", 5)
        first = store.epoch
        machine.server.incarnate()
        await heard(store, before=first)
        assert await fate(store) is Fate.CLEAN
        second, seen_seq = store.epoch, 6
        await store._calls.read("pulse", "late", first, seen_seq, 1, 1_000)
        assert store.epoch not in (first, second), "live readers are told, and ask again"
        machine.time_ms += SETTLED_MS
        with pytest.raises(PositionLost):
            await read(store, after=Position(first, 3))
        assert offsets(await read(store, after=Position(second, 3))) == [4, 5]


@on_a(**ALWAYS)
async def test_settings_that_were_mended_after_the_loss_do_not_hide_it(machine: Machine) -> None:
    machine.server.command("CONFIG", "SET", "appendfsync", "everysec")
    async with machine.opened() as store:
        await append(store)
        before = store.epoch
    machine.restart()
    async with machine.opened() as store:
        assert await fate(store) is Fate.LOSSY
        with pytest.raises(PositionLost):
            await read(store, after=Position(before, 1))


@on_a(**ALWAYS)
async def test_a_flush_is_another_generation_without_the_positions_of_the_old(machine: Machine) -> None:
    async with machine.opened() as store:
        await fill(store, "s", 3)
        before = store.epoch
        machine.server.command("FLUSHALL")
        await heard(store, before=before)
        for offset in range(4):
            with pytest.raises(PositionLost):
                await read(store, after=Position(before, offset))
        assert (await append(store)).epoch == store.epoch


@pytest.mark.parametrize("sees", [True, False])
def test_a_replica_that_lacks_something_and_is_promoted_is_told(sees: bool) -> None:
    @on_a(**{"repl-diskless-sync-delay": "0"})
    async def run(machine: Machine) -> None:
        with serving(replicaof=f"127.0.0.1 {machine.server.port}") as replica:
            master = machine.server

            def answer(command: list[bytes]) -> bytes:
                found = b"*2\r\n" + bulk("127.0.0.1") + bulk(str(master.port))
                return found if command[0] == b"SENTINEL" else b"+OK\r\n"

            async with faking(answer) as sentinel:
                url = f"redis+sentinel://127.0.0.1:{sentinel.port}/main"
                async with machine.opened(url) as store:
                    await fill(store, "s", 3)
                    seq = machine.server.command("HGET", "{gapless}:meta", "seq")
                    await until(lambda: replica.command("HGET", "{gapless}:meta", "seq") == seq)
                    replica.command("REPLICAOF", "NO", "ONE")
                    await fill(store, "s", 2)
                    before = store.epoch
                    master = replica
                    if not sees:
                        killed(store)
                    machine.server.kill()
                    async with machine.opened(url) as other:
                        if sees:
                            await heard(store, before=before)
                        machine.time_ms += SETTLED_MS
                        with pytest.raises(PositionLost):
                            await read(other, after=Position(before, 3))
                        assert await fate(other) is Fate.LOSSY

    run()


# Being heard --------------------------------------------------------------------------------


@on_a(**ALWAYS)
async def test_a_process_that_calls_nothing_hears_of_a_generation_by_its_next_pulse(machine: Machine) -> None:
    assert REDIS_PULSE_MS <= 1_200
    hand = Hand()
    async with machine.opened(after=hand.after) as store:
        before = store.epoch
        machine.server.incarnate()
        hand.pulse()
        await heard(store, before=before)
        assert (await store.generations())[-1].id == store.epoch


@on_a(**ALWAYS)
async def test_what_was_seen_is_told_until_it_was_heard(machine: Machine) -> None:
    """A witness whose word got lost with the connection says it again."""
    hand = Hand()
    async with machine.opened(after=hand.after) as store:
        await fill(store, "s", 3)
        before = store.epoch
        machine.keep()
        await fill(store, "s", 2)
        machine.restart(machine.put_back)
        calls = store._calls
        await until(lambda: calls.attachment.connection is not None and calls.epoch != before)
        assert before not in calls._owed or calls._owed[before] > 0
        await until(lambda: not calls._owed)
        machine.time_ms += SETTLED_MS
        with pytest.raises(PositionLost):
            await read(store, after=Position(before, 3))


@on_a(**ALWAYS)
async def test_a_live_process_tells_the_class_that_its_server_is_of_now(machine: Machine) -> None:
    async with machine.opened() as store:
        assert store.durability.value == "disk"
        machine.server.command("CONFIG", "SET", "appendfsync", "everysec")
        machine.server.command("CLIENT", "KILL", "TYPE", "normal")
        await until(lambda: store.durability.value == "memory")
