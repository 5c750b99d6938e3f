"""Jobs in Redis: what is done bit by bit, what is left behind, and who hears of it."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from itertools import count, product
from typing import Any

import msgspec
import pytest

from gapless import backends
from gapless.backends import Options
from gapless.backends.redis import library
from gapless.core.errors import BadRequest, GaplessError, LimitExceeded, StoreFull
from gapless.core.jobs import Claimed, Deed, Enqueued, Job, OnDead, QueueOptions, Settled, Settlement, State
from gapless.core.limits import CLAIM_JOBS_MAX, SETTLED_MS
from gapless.core.retry import Retry
from gapless.ports import Store
from gapless.testing.conformance import Place
from gapless.testing.conformance.places import START_MS, entry
from gapless.testing.conformance.queues.verbs import (
    QUEUE,
    acked,
    claim,
    claim_one,
    counted,
    declare,
    enqueue,
    enqueue_one,
    found,
    payloads,
    settle,
    try_enqueue,
)
from tests.backends.conftest import RedisPlace, shared_redis
from tests.backends.redis.opening import serving, until
from tests.redis_server import RedisServer

# More than what happens by itself in one function (jobs.PART in lua/jobs/queues.lua), more than once.
MANY = 1_201
PREFIXES = count()


def test(scenario: Callable[[RedisPlace, Store], Awaitable[None]]) -> Callable[[], None]:
    """Turn a coroutine that tests an opened store into a test."""

    def run() -> None:
        async def opened() -> None:
            place = RedisPlace(shared_redis(), f"jobs-{next(PREFIXES)}")
            store = await place.open()
            try:
                await scenario(place, store)
            finally:
                await store.close()

        asyncio.run(opened())

    run.__name__ = scenario.__name__
    return run


def keys(place: RedisPlace) -> set[str]:
    """Return the names of all keys of a store, without its prefix."""
    script = "return cjson.encode(redis.call('KEYS', ARGV[1] .. '*'))"
    told = place.server.command("EVAL", script, 0, tag(place))
    return {name.removeprefix(tag(place)) for name in msgspec.json.decode(told, type=list[str])}


def tag(place: RedisPlace) -> str:
    return "{" + place.url.partition("prefix=")[2] + "}"


def length(place: RedisPlace, command: str, key: str) -> int:
    return int(place.server.command(command, tag(place) + key))


async def enqueue_many(store: Store, jobs: list[Job]) -> list[str]:
    """Enqueue jobs that must be taken, some hundreds at a time."""
    ids: list[str] = []
    for at in range(0, len(jobs), 500):
        told = await try_enqueue(store, *jobs[at : at + 500])
        assert isinstance(told, list)
        ids += [one.id for one in told]
    return ids


async def claim_all(store: Store, **rest: Any) -> list[Claimed]:
    """Claim until nothing is left."""
    claimed: list[Claimed] = []
    while some := await claim(store, 1_000, **rest):
        claimed += some
    return claimed


# The policy ------------------------------------------------------------------------------------


def delays_inside(server: RedisServer, asked: list[tuple[Retry, int, float]]) -> list[int]:
    """Return what the functions inside Redis make of a policy."""
    probe = (
        "define('delays', function(keys, args) local told = {} for i, one in ipairs(cmsgpack.unpack(args[1])) do"
        " told[i] = jobs.delay_ms(unpack(one)) end return cjson.encode(told) end)"
    )
    text = f"#!lua name=probe\nlocal NAME = 'probe'\n{library.source().replace('define(', 'local _ = (', 0)}"
    text += f"\n{probe}"
    server.command("FUNCTION", "LOAD", "REPLACE", text)
    packed = msgspec.msgpack.encode(asked)
    script = (
        "local bytes = {} for byte in string.gmatch(ARGV[1], '%x%x') do"
        " bytes[#bytes + 1] = string.char(tonumber(byte, 16)) end"
        " return table.concat(bytes)"
    )
    del script
    told = server.raw("FCALL", "probe_delays", 0, packed)
    return msgspec.json.decode(told, type=list[int])
