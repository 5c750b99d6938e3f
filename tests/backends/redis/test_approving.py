"""What is looked at before a store is opened."""

import asyncio

import pytest

from gapless import backends
from gapless.backends import Options, store_clock
from gapless.backends.redis.approving import APART_MS_MAX, approve
from gapless.backends.redis.connection import Connection
from gapless.core.errors import StoreRefused
from tests.backends.redis.opening import calling, serving


def test_keys_of_another_program_keep_a_store_from_being_opened() -> None:
    async def scenario() -> None:
        with serving() as server:
            server.command("SET", "{other}:x", "1")
            server.command("SET", "{gap[less]x", "1")
            async with calling(server.url):
                pass
            async with calling(f"{server.url}?prefix=gap%5Bless%5D"):
                pass
            with pytest.raises(StoreRefused, match="another program"):
                await backends.open(f"{server.url}?prefix=other")
            assert server.command("EXISTS", "{other}:meta") == "0"
            async with calling(server.url):
                pass

    asyncio.run(scenario())


def test_a_clock_that_is_far_off_is_refused_and_told_by_how_much() -> None:
    async def scenario() -> None:
        with serving() as server:
            loop = asyncio.get_running_loop()
            _, connection = await loop.create_connection(
                lambda: Connection(lambda lost: None), "127.0.0.1", server.port
            )
            now_ms = store_clock()()
            await approve(connection, "{a}", now_ms - APART_MS_MAX + 10_000)
            with pytest.raises(StoreRefused, match=r"360\d? s apart|\(Redis is behind\)"):
                await approve(connection, "{a}", now_ms + 3_600_000)
            with pytest.raises(StoreRefused, match="ahead"):
                await approve(connection, "{a}", now_ms - 3_600_000)
            connection.cut()

    asyncio.run(scenario())


def test_a_clock_of_the_callers_own_is_held_against_none() -> None:
    async def scenario() -> None:
        with serving() as server:
            store = await backends.open(server.url, Options(now_ms=lambda: 5))
            await store.close()

    asyncio.run(scenario())
