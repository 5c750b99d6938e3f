"""Calls of functions inside Redis: answered, refused or unknown, over a connection that comes back."""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any
from unittest.mock import patch

import hiredis
import pytest

from gapless.backends.redis import library
from gapless.backends.redis.calls import Calls
from gapless.backends.redis.connection import Connection
from gapless.core.errors import (
    GaplessError,
    OutcomeUnknown,
    StoreDamaged,
    StoreFailed,
    StoreFull,
    StoreRefused,
    Unavailable,
)
from gapless.core.limits import REDIS_CALL_MS
from tests.backends.redis.opening import Hand, answered, calling, refusal, serving, until
from tests.redis_server import RedisServer


def with_server(test: Callable[[RedisServer, Calls], Awaitable[None]]) -> Callable[[], None]:
    """Turn a coroutine that tests calls of a server into a test."""

    def run() -> None:
        async def scenario() -> None:
            with serving() as server:
                async with calling(server.url) as calls:
                    await test(server, calls)

        asyncio.run(scenario())

    run.__name__ = test.__name__
    return run


def declare(calls: Calls, name: str) -> Awaitable[list[Any]]:
    return calls.call("declare_stream", name, 1, '{"partitions":1}', 100)


async def declared(calls: Calls) -> list[str]:
    [told] = await calls.read("declared_streams")
    return sorted(name.decode() for name in told[::2])


@with_server
async def test_calls_are_pipelined_and_answered_in_their_order(server: RedisServer, calls: Calls) -> None:
    told: list[Any] = []
    server.command("CONFIG", "RESETSTAT")
    for number in range(100):
        calls.send(partial(_note, told, number), "generations")
    await until(lambda: len(told) == 100)
    assert [number for number, _ in told] == list(range(100))
    assert not any(isinstance(answer, Exception) for _, answer in told)
    assert "calls=100" in server.command("INFO", "commandstats").split("cmdstat_fcall:")[1].split(",")[0]


def _note(told: list[tuple[int, Any]], number: int, answer: Any) -> None:
    told.append((number, answer))


@with_server
async def test_what_redis_refuses_was_not_done(server: RedisServer, calls: Calls) -> None:
    await declare(calls, "a")
    with pytest.raises(GaplessError, match="partitions"):
        await calls.call("declare_stream", "a", 2, '{"partitions":2}', 100)
    assert await declared(calls) == ["a"]


@with_server
async def test_a_call_whose_connection_is_lost_is_unknown_and_the_next_refused(
    server: RedisServer, calls: Calls
) -> None:
    assert server.process is not None
    server.process.send_signal(signal.SIGSTOP)
    called = asyncio.ensure_future(declare(calls, "a"))
    read = asyncio.ensure_future(calls.read("generations"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    server.process.kill()  # without letting it go on first
    with pytest.raises(OutcomeUnknown):
        await called
    with pytest.raises(Unavailable) as refused:
        await read
    assert not isinstance(refused.value, OutcomeUnknown)
    with pytest.raises(Unavailable, match="safe to try again") as refused:
        await declare(calls, "b")
    assert not isinstance(refused.value, OutcomeUnknown)


@with_server
async def test_what_was_refused_while_there_was_no_connection_never_happens(
    server: RedisServer, calls: Calls
) -> None:
    server.kill()
    await until(lambda: refusal(calls))
    with pytest.raises(Unavailable):
        await declare(calls, "refused")
    server.start()
    await until(lambda: not refusal(calls))
    await declare(calls, "taken")
    assert await declared(calls) == ["taken"]


@with_server
async def test_a_refusal_is_another_error_each_time(server: RedisServer, calls: Calls) -> None:
    """One that is raised again and again would grow by its traceback."""
    server.kill()
    await until(lambda: refusal(calls))
    errors = []
    for _ in range(2):
        with pytest.raises(Unavailable) as refused:
            await declare(calls, "a")
        errors.append(refused.value)
    assert errors[0] is not errors[1]


@with_server
async def test_functions_that_were_flushed_are_loaded_again_once_for_all(
    server: RedisServer, calls: Calls
) -> None:
    server.command("CONFIG", "RESETSTAT")
    server.command("FUNCTION", "FLUSH")
    await asyncio.gather(*(declare(calls, f"s{number}") for number in range(50)))
    assert len(await declared(calls)) == 50
    assert "cmdstat_function|load:calls=1," in server.command("INFO", "commandstats")


@with_server
async def test_a_read_goes_on_though_something_has_to_be_written_again_and_again(
    server: RedisServer, calls: Calls
) -> None:
    """So it is where streams grow old one after the other, faster than it is asked again."""
    send, left = Connection.send, iter(range(20))

    def too_early(self: Connection, answered: Callable[[Any], object], *command: Any) -> None:
        if "declared_streams" in str(command[1]) and next(left, None) is not None:
            asyncio.get_running_loop().call_soon(answered, hiredis.ReplyError("AGAIN something is due"))
        else:
            send(self, answered, *command)

    with patch.object(Connection, "send", too_early):
        assert await declared(calls) == []
    assert next(left, None) is None


@with_server
async def test_functions_of_two_versions_stand_side_by_side(server: RedisServer, calls: Calls) -> None:
    other = "gapless_0123456789ab"
    text = library.load_command()[-1].replace(library.name(), other)
    connection = calls.attachment.connection
    assert connection is not None
    await connection.call("FUNCTION", "LOAD", "REPLACE", text)
    await declare(calls, "a")
    answer = await connection.call("FCALL", f"{other}_declared_streams", 1, calls.address.tag, "0", "0" * 16)
    assert [name.decode() for name in answer[3][::2]] == ["a"]
    assert await declared(calls) == ["a"]


@with_server
async def test_a_closed_store_refuses_calls(server: RedisServer, calls: Calls) -> None:
    await calls.close()
    with pytest.raises(StoreFailed):
        await declare(calls, "a")
    await calls.close()


@with_server
async def test_closing_waits_for_what_was_called(server: RedisServer, calls: Calls) -> None:
    called = asyncio.ensure_future(declare(calls, "a"))
    await asyncio.sleep(0)
    await calls.close()
    assert await called == [1]


def test_closing_does_not_wait_forever_for_a_server_that_is_stuck() -> None:
    async def scenario() -> None:
        hurried = Hurried()
        with serving() as server:
            async with calling(server.url, after=hurried.after) as calls:
                assert server.process is not None
                server.process.send_signal(signal.SIGSTOP)
                called = asyncio.ensure_future(declare(calls, "a"))
                await asyncio.sleep(0)
                await calls.close()
                with pytest.raises(OutcomeUnknown):
                    await called

    asyncio.run(scenario())


class Hurried(Hand):
    """Does not wait for a server that is stuck."""

    def after(self, delay_ms: int, callback: Callable[[], object]) -> Any:
        return super().after(1 if delay_ms == REDIS_CALL_MS else delay_ms, callback)


def test_a_server_that_does_not_answer_is_given_up() -> None:
    async def scenario() -> None:
        hand = Hand()
        time_ns = 1
        with serving() as server:
            async with calling(server.url, after=hand.after, elapsed_ns=lambda: time_ns) as calls:
                await answered(calls)
                assert server.process is not None
                server.process.send_signal(signal.SIGSTOP)
                hand.pulse()
                time_ns += REDIS_CALL_MS * 1_000_000
                hand.pulse()
                assert not refusal(calls)
                time_ns += 1
                hand.pulse()
                await until(lambda: refusal(calls))
                server.process.send_signal(signal.SIGCONT)
                await until(lambda: not refusal(calls))

    asyncio.run(scenario())


def test_a_full_redis_takes_nothing_and_still_reads() -> None:
    async def scenario() -> None:
        with serving(**{"maxmemory-policy": "noeviction"}) as server:
            async with calling(server.url) as calls:
                await declare(calls, "a")
                server.command("CONFIG", "SET", "maxmemory", "1")
                with pytest.raises(StoreFull, match="maxmemory"):
                    await declare(calls, "b")
                assert await declared(calls) == ["a"]
                await calls.call("drop_stream", "a", "1:a")
                server.command("CONFIG", "SET", "maxmemory", "0")
                await declare(calls, "b")

    asyncio.run(scenario())


def test_a_redis_that_cannot_write_to_its_disk_takes_nothing() -> None:
    async def scenario() -> None:
        with serving(save="3600 1000000", dbfilename="blocked.rdb") as server:
            async with calling(server.url) as calls:
                await declare(calls, "a")
                # A folder stands where the snapshot would go.
                (server.folder / "blocked.rdb").mkdir()
                server.command("BGSAVE")
                await until(lambda: "rdb_last_bgsave_status:err" in server.command("INFO", "persistence"))
                with pytest.raises(StoreFull, match="disk"):
                    await declare(calls, "b")
                assert await declared(calls) == ["a"]
                server.command("CONFIG", "SET", "stop-writes-on-bgsave-error", "no")
                await declare(calls, "b")

    asyncio.run(scenario())


def test_a_server_that_is_busy_is_told_as_unavailable() -> None:
    async def scenario() -> None:
        with serving(**{"busy-reply-threshold": "1"}) as server:
            async with calling(server.url) as calls:
                spinning = asyncio.ensure_future(asyncio.to_thread(_spin, server))
                await until(lambda: _is_busy(server))
                with pytest.raises(Unavailable, match="BUSY"):
                    await declare(calls, "a")
                server.command("SCRIPT", "KILL")
                await spinning
                await declare(calls, "a")

    asyncio.run(scenario())


def _spin(server: RedisServer) -> None:
    with pytest.raises(OSError, match="killed"):
        server.command("EVAL", "while true do end", 0)


def _is_busy(server: RedisServer) -> bool:
    try:
        server.command("PING")
    except OSError as error:
        return str(error).startswith("BUSY")
    return False


def test_keys_of_another_program_under_the_prefix_are_refused() -> None:
    async def refused(server: RedisServer) -> None:
        async with calling(server.url):
            pass

    async def scenario() -> None:
        with serving() as server:
            server.command("SET", "{gapless}:meta", "theirs")
            with pytest.raises(StoreDamaged, match="another program"):
                await refused(server)
            server.command("DEL", "{gapless}:meta")
            server.command("HSET", "{gapless}:meta", "user", "1")
            with pytest.raises(StoreRefused, match="another program"):
                await refused(server)
            assert server.command("HLEN", "{gapless}:meta") == "1"

    asyncio.run(scenario())


def test_a_store_of_another_format_is_refused() -> None:
    async def scenario() -> None:
        with serving() as server:
            async with calling(server.url) as calls:
                server.command("HSET", "{gapless}:meta", "format", "0")
                with pytest.raises(StoreRefused, match="format 0"):
                    await declare(calls, "a")
            with pytest.raises(StoreRefused, match="format 0"):
                async with calling(server.url):
                    pass

    asyncio.run(scenario())


def test_a_full_redis_can_be_connected_to_anew() -> None:
    async def scenario() -> None:
        with serving() as server:
            async with calling(server.url) as calls:
                await declare(calls, "a")
                server.command("CONFIG", "SET", "maxmemory", "1")
                server.command("CLIENT", "KILL", "TYPE", "normal")
                await until(lambda: refusal(calls))
                await until(lambda: not refusal(calls))
                assert await declared(calls) == ["a"]

    asyncio.run(scenario())


@with_server
async def test_time_goes_on_though_the_clock_of_the_server_was_set_back(
    server: RedisServer, calls: Calls
) -> None:
    """At half the pace, until the clock has caught up: else no lease and no session would end for a day."""
    day_ms = 24 * 3_600_000

    def time_ms() -> int:
        return int(server.command("HGET", "{gapless}:meta", "time"))

    before_ms = time_ms()
    server.command("HSET", "{gapless}:meta", "time", before_ms + day_ms, "wall", before_ms + day_ms)
    for _ in range(2):
        ahead_ms = time_ms()
        while time_ms() == ahead_ms:
            await declare(calls, "a")
        assert 0 < time_ms() - (before_ms + day_ms) < 60_000
