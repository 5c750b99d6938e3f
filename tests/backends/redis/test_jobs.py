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
from gapless.backends.redis.jobs import CHANCES
from gapless.core.errors import BadRequest, GaplessError, LimitExceeded, StoreFull
from gapless.core.job_rules import EXPIRED, LAPSED
from gapless.core.jobs import Claimed, Deed, Job, OnDead, Settled, Settlement, State
from gapless.core.limits import PRIORITY_MAX, SETTLED_MS
from gapless.core.retry import Retry
from gapless.ports import Store
from gapless.testing.conformance.places import entry
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

# More than what happens by itself in one function (jobs.PART in lua/jobs/queues.lua), more than once.
MANY = 1_201
PREFIXES = count()


def with_store(scenario: Callable[[RedisPlace, Store], Awaitable[None]]) -> Callable[[], None]:
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

PROBE = """
define('delays', function(keys, args)
  local told = {}
  for i, one in ipairs(cjson.decode(args[1])) do told[i] = jobs.delay_ms(unpack(one)) end
  return cjson.encode(told)
end)
"""


def delays_inside(asked: list[tuple[Retry, int, float]]) -> list[int]:
    """Return what the functions inside Redis make of policies, attempts and chances."""
    server = shared_redis()
    text = f"#!lua name=probe\nlocal NAME = 'probe'\n{library.source()}{PROBE}"
    server.command("FUNCTION", "LOAD", "REPLACE", text)
    told = server.command("FCALL", "probe_delays", 0, msgspec.json.encode(asked).decode())
    server.command("FUNCTION", "DELETE", "probe")
    return msgspec.json.decode(told, type=list[int])


def test_the_policy_of_retries_is_the_same_inside_redis() -> None:
    chance = random.Random(7).random
    factors = (1.0, 1.1, 1.5, 2.0, 3.7, 100.0)
    policies = [
        Retry(base_ms=base_ms, factor=factor, cap_ms=cap_ms, jitter=jitter)
        for base_ms, factor, cap_ms, jitter in product(
            (0, 1, 7, 1_000), factors, (0, 3_000, 10**9), (True, False)
        )
    ]
    policies += [Retry(delays_ms=(5, 0, 77)), Retry(delays_ms=(9,), jitter=False)]
    attempts = (1, 2, 3, 5, 11, 64, 400, 1_000)
    asked = [
        (policy, attempt, draw) for policy in policies for attempt in attempts for draw in (0.0, chance())
    ]
    expected = [policy.delay_ms(attempt, draw) for policy, attempt, draw in asked]
    assert delays_inside(asked) == expected


def test_what_python_and_the_functions_inside_redis_both_know_is_the_same() -> None:
    text = library.source()
    assert f"jobs.SETTLED_MS = {SETTLED_MS}\n" in text
    assert f"local LAPSED, EXPIRED = '{LAPSED}', '{EXPIRED}'\n" in text
    assert f"jobs.PART = {CHANCES}\n" in text
    assert f"({PRIORITY_MAX} - job.priority) * jobs.RANK" in text


# Bit by bit ------------------------------------------------------------------------------------


@with_store
async def test_however_many_leases_run_out_all_of_them_have_when_somebody_looks(
    place: RedisPlace, store: Store
) -> None:
    await declare(store, retry=Retry(base_ms=1_000, jitter=True), lease_ms=1_000)
    await enqueue_many(store, [Job(QUEUE, b"x")] * MANY)
    claimed = await claim_all(store)
    place.time_ms += 1_000
    told = await counted(store)
    assert (told.leased, told.delayed, told.failed) == (0, MANY, MANY)
    dues = {(await store.look(job.id)).due_ms - place.time_ms for job in claimed[::50]}
    assert len(dues) > 10, "what failed together comes back together"
    assert min(dues) >= 500
    assert max(dues) <= 1_000


@with_store
async def test_however_many_jobs_expire_or_are_kept_too_long_all_of_them_are_gone(
    place: RedisPlace, store: Store
) -> None:
    await declare(store, dead_ms=1_000)
    await enqueue_many(store, [Job(QUEUE, b"x", expires_ms=100)] * MANY)
    place.time_ms += 100
    assert (await counted(store)).dead == MANY
    place.time_ms += 1_000
    assert (await counted(store)).dead == 0
    assert length(place, "HLEN", ":j") == length(place, "HLEN", ":jb") == length(place, "HLEN", ":jn") == 0


@with_store
async def test_a_queue_that_is_declared_otherwise_gives_all_its_jobs_their_places_anew(
    place: RedisPlace, store: Store
) -> None:
    options: list[dict[str, Any]] = [
        {"ordered": True},
        {"ordered": False},
        {"ordered": True, "fair": True},
        {"ordered": False, "fair": True},
        {"ordered": True, "on_dead": OnDead.STOP},
    ]
    await declare(store)
    jobs = [Job(QUEUE, b"%d" % number, key=f"k{number % 3}") for number in range(MANY)]
    await enqueue_many(store, jobs)
    for changed in options:
        await declare(store, **changed)
        claimed = await claim(store)
        assert len(claimed) == (3 if changed["ordered"] else 100)
        for job in reversed(claimed):
            await settle(store, job, Deed.RELEASE)
    await declare(store)
    seen = await acked(store)
    assert sorted(seen, key=int) == [job.data for job in jobs]
    for key in range(3):
        assert [one for one in seen if int(one) % 3 == key] == [b"%d" % one for one in range(key, MANY, 3)]


@with_store
async def test_what_a_dropped_queue_held_is_removed_bit_by_bit(place: RedisPlace, store: Store) -> None:
    await declare(store)
    await declare(store, "other")
    ids = await enqueue_many(store, [Job(QUEUE, b"x", key="k", unique=f"{number}") for number in range(MANY)])
    await settle(store, await claim_one(store), Deed.BURY, reason="bad")
    assert await store.drop(QUEUE) == MANY
    assert set(await store.states(ids[:1_000])) == {State.GONE}
    assert length(place, "HLEN", ":j") > 0
    for _ in range(10):
        await enqueue(store, b"y", queue="other")
    assert length(place, "HLEN", ":j") == length(place, "HLEN", ":jb") == 10
    assert length(place, "HLEN", ":jn") == length(place, "EXISTS", ":gone") == 0


@with_store
async def test_a_call_of_any_size_is_answered_item_by_item(place: RedisPlace, store: Store) -> None:
    await declare(store)
    batches = [[Job(QUEUE, b"%d" % number)] * 700 for number in range(4)] + [[Job("none", b"x")]]
    told = await store.enqueue(batches, request="r")
    assert [len(one) if isinstance(one, list) else type(one).__name__ for one in told] == [
        *[700] * 4,
        "UnknownQueue",
    ]
    again = await store.enqueue(batches, request="r")
    assert again[:4] == told[:4]
    with pytest.raises(BadRequest):
        await store.enqueue(batches[:4], request="r")
    claimed = await claim_all(store)
    assert len(claimed) == 2_800
    settlements = [Settlement(job.id, job.fence, Deed.ACK) for job in claimed]
    answers = await store.settle(settlements)
    assert answers == [Settled(State.GONE)] * 2_800
    assert await store.settle(settlements[::-1]) == [Settled(State.GONE, again=True)] * 2_800


# What is left ----------------------------------------------------------------------------------


@with_store
async def test_nothing_is_left_of_jobs_that_are_gone_but_what_they_were_answered(
    place: RedisPlace, store: Store
) -> None:
    chance = random.Random(11)
    for turn in range(6):
        await declare(store, fair=turn % 2 == 1, ordered=turn % 3 != 1, lease_ms=500, result_ms=turn * 10)
        for number in range(30):
            key = chance.choice([None, "a", "b"])
            delay_ms, expires_ms = chance.choice([0, 0, 40]), chance.choice([0, 0, 90])
            unique = chance.choice([None, f"u{number}"])
            job = Job(QUEUE, b"x", key=key, delay_ms=delay_ms, expires_ms=expires_ms, unique=unique)
            await try_enqueue(store, job, Job(QUEUE, b"y", unique=unique))
        for deed in (Deed.RETRY, Deed.RELEASE, Deed.BURY, Deed.ACK):
            place.time_ms += 30
            for claimed in (await claim(store, 12))[::2]:
                await settle(store, claimed, deed, reason="why", details="how", result=b"r")
        await store.redrive(QUEUE, None, limit=3)
    place.time_ms += 3_600_000
    await declare(store, result_ms=1)
    for _ in range(5):
        for claimed in await claim_all(store):
            await settle(store, claimed)
        place.time_ms += 3_600_000
    for state in (State.WAITING, State.DEAD):
        await store.purge(QUEUE, state, None, limit=1_000)
    assert (await counted(store)).done == 0
    left = {name for name in keys(place) if not name.startswith((":js:", ":meta", ":openers"))}
    [counts] = [name for name in left if name.endswith(":counts")]
    assert left == {":queues", counts}


@with_store
async def test_what_was_answered_ends_by_itself_after_it_means_nothing(
    place: RedisPlace, store: Store
) -> None:
    await declare(store)
    assert isinstance((await store.enqueue([[Job(QUEUE, b"x")]], request="r"))[0], list)
    await settle(store, (await claim(store, request="r"))[0])
    held = [name for name in keys(place) if name[:4] in (":jr:", ":jc:", ":js:")]
    assert len(held) == 3
    for name in held:
        assert SETTLED_MS < length(place, "PTTL", name) <= 2 * SETTLED_MS


@with_store
async def test_a_batch_that_is_refused_leaves_nothing_behind(place: RedisPlace, store: Store) -> None:
    await declare(store, waiting_max=3, fair=True)
    await enqueue(store, b"1", key="a", unique="u", expires_ms=50)
    before = keys(place)
    wrong = [Job(QUEUE, b"2", key=key, unique=f"v{key}", expires_ms=9) for key in ("a", "b", "c")]
    assert isinstance(await try_enqueue(store, *wrong), LimitExceeded)
    assert keys(place) == before
    assert await found(store, State.WAITING) == [b"1"]
    assert (await enqueue_one(store, b"3", unique="va")).fresh
    assert await acked(store) == [b"1", b"3"]


# Who hears of it, and what Redis may be in the way of -------------------------------------------


@with_store
async def test_whoever_else_uses_the_store_hears_of_jobs_that_are_ready(
    place: RedisPlace, store: Store
) -> None:
    other = await backends.open(place.url, Options(**place.options))
    try:
        heard: list[str] = []
        other.hear_ready(heard.append)
        await declare(store)
        await until(lambda: heard)
        heard.clear()
        await store.enqueue([[Job(QUEUE, b"1"), Job(QUEUE, b"2")], [Job(QUEUE, b"3")]])
        await until(lambda: heard)
        await store.settle([Settlement(job.id, job.fence, Deed.ACK) for job in await claim(other)])
        await until(lambda: len(heard) > 1)
        assert heard == [QUEUE, QUEUE], "it rings more than once a call"
    finally:
        await other.close()


@with_store
async def test_two_who_claim_at_once_are_given_different_jobs(place: RedisPlace, store: Store) -> None:
    other = await backends.open(place.url, Options(**place.options))
    try:
        await declare(store)
        await enqueue_many(store, [Job(QUEUE, b"%d" % number) for number in range(60)])
        calls = [claim(one, 3, worker=f"w{at}") for at in range(10) for one in (store, other)]
        claimed = [job for jobs in await asyncio.gather(*calls) for job in jobs]
        assert sorted(payloads(claimed), key=int) == [b"%d" % number for number in range(60)]
        assert len({job.fence for job in claimed}) == 60
    finally:
        await other.close()


def test_a_redis_without_memory_takes_no_jobs_but_lets_those_end_that_it_has() -> None:
    async def scenario() -> None:
        with serving() as server:
            store = await backends.open(server.url)
            try:
                await declare(store)
                await enqueue(store, b"1", b"2")
                server.command("CONFIG", "SET", "maxmemory", 1)
                assert isinstance(await refusal_of(enqueue_one(store, b"3")), StoreFull)
                one, two = await claim(store)
                emitting = settle(store, one, emit=[entry("s")])
                assert isinstance(await refusal_of(emitting), StoreFull)
                assert (await settle(store, one)).state is State.GONE
                assert (await settle(store, two, Deed.RETRY, delay_ms=0)).state is State.WAITING
                assert await found(store, State.WAITING) == [b"2"]
                server.command("CONFIG", "SET", "maxmemory", 0)
                await enqueue(store, b"3")
            finally:
                await store.close()

    asyncio.run(scenario())


async def refusal_of(call: Awaitable[Any]) -> GaplessError | None:
    try:
        await call
    except GaplessError as error:
        return error
    return None


def test_jobs_and_leases_outlive_the_end_of_redis() -> None:
    async def scenario() -> None:
        with serving() as server:
            store = await backends.open(server.url)
            await declare(store, lease_ms=3_600_000)
            await enqueue(store, b"1", b"2", key="k")
            claimed = await claim_one(store, request="r")
            await store.close()
            server.kill()
            server.start()
            store = await backends.open(server.url)
            try:
                assert await claim(store) == []
                [again] = await claim(store, request="r")
                assert (again.fence, again.again) == (claimed.fence, True)
                assert await settle(store, claimed) == Settled(State.GONE)
                assert payloads(await claim(store)) == [b"2"]
            finally:
                await store.close()

    asyncio.run(scenario())
