"""Groups that several processes decide about at once, each by what it saw of them."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from gapless import backends
from gapless.backends import Options
from gapless.backends.redis import groups
from gapless.core.errors import LeaseLost, Unavailable
from gapless.core.groups import Assigned, Commit
from gapless.core.stream import Position
from gapless.ports import Store
from gapless.testing.conformance.groups.verbs import (
    GROUP,
    LANES,
    SOURCE,
    beat,
    begun,
    commit,
    held,
    numbers,
)
from gapless.testing.conformance.places import entry
from tests.backends.redis.opening import serving
from tests.redis_server import RedisServer

START_MS = 1_800_000_000_000
Test = Callable[[RedisServer, Store, Store], Awaitable[None]]


def two(test: Test) -> Callable[[], None]:
    """Turn a coroutine that tests two processes on a server, whose time stands still, into a test."""

    def run() -> None:
        async def scenario() -> None:
            with serving() as server:
                one, two = [
                    await backends.open(server.url, Options(now_ms=lambda: START_MS)) for _ in range(2)
                ]
                try:
                    await test(server, one, two)
                finally:
                    await one.close()
                    await two.close()

        asyncio.run(scenario())

    run.__name__ = test.__name__
    return run


def calls_made(server: RedisServer) -> int:
    """Count the calls of functions since the last time."""
    told = server.command("INFO", "commandstats")
    server.command("CONFIG", "RESETSTAT")
    return int(told.split("cmdstat_fcall:calls=")[1].split(",")[0]) if "cmdstat_fcall:" in told else 0


@two
async def test_a_heartbeat_that_changes_nothing_is_one_call(
    server: RedisServer, one: Store, two: Store
) -> None:
    for store, member in ((one, "a"), (two, "b"), (one, "a"), (two, "b"), (one, "a"), (two, "b")):
        await beat(store, member)
    calls_made(server)
    assigned = [await beat(one, "a") for _ in range(10)]
    assert calls_made(server) <= 11  # and perhaps a pulse
    assert [numbers(told) for told in assigned] == [[0, 1]] * 10


@two
async def test_a_heartbeat_that_was_cheap_hears_what_another_process_changed(
    server: RedisServer, one: Store, two: Store
) -> None:
    await begun(one)
    for _ in range(3):
        assert numbers(await beat(one, "a")) == [0, 1, 2, 3]
    await beat(two, "b")
    assert numbers(await beat(one, "a")) == [0, 1]
    mine = await held(one, "a")
    assert await commit(two, mine, Position(two.epoch, 2)) == ()
    assert (await held(one, "a")).position == Position(two.epoch, 2)
    await two.seek(SOURCE, GROUP, {0: None})
    again = await held(one, "a")
    assert (again.fence == mine.fence, again.position) == (False, None)
    await two.leave(SOURCE, GROUP, "b")
    assert numbers(await beat(one, "a")) == [0, 1, 2, 3]


@two
async def test_a_group_that_began_anew_is_not_taken_for_the_one_before(
    server: RedisServer, one: Store, two: Store
) -> None:
    await beat(one, "a")
    before = await beat(one, "a")
    await two.drop_group(SOURCE, GROUP)
    await beat(two, "b")
    assert numbers(await beat(one, "a")) == []
    await two.drop_group(SOURCE, GROUP)
    await beat(two, "a")
    after = await beat(one, "a")
    assert not {one.fence for one in after.held} & {one.fence for one in before.held}


@two
async def test_processes_that_decide_at_once_agree(server: RedisServer, one: Store, two: Store) -> None:
    members = [(store, f"m{number}") for number, store in enumerate([one, two] * 5)]
    told: dict[str, Assigned] = {}

    async def live(store: Store, member: str) -> None:
        for _ in range(6):
            told[member] = await beat(store, member, partitions=16)
            await asyncio.sleep(0)

    await asyncio.gather(*(live(*member) for member in members))
    for _ in range(2):
        for store, member in members:
            told[member] = await beat(store, member, partitions=16)
    assert sorted(one for assigned in told.values() for one in numbers(assigned)) == list(range(16))
    assert {len(assigned.held) for assigned in told.values()} == {1, 2}
    fences = [one.fence for assigned in told.values() for one in assigned.held]
    assert len(fences) == len(set(fences))


@two
async def test_a_decision_that_others_overtake_too_often_is_to_be_asked_again(
    server: RedisServer, one: Store, two: Store
) -> None:
    await beat(one, "a")
    keep = one._memberships.keep  # type: ignore[attr-defined]
    overtaken = 0

    async def overtake(*arguments: object) -> object:
        nonlocal overtaken
        overtaken += 1
        await two.seek(SOURCE, GROUP, {0: None})
        return await keep(*arguments)

    one._memberships.keep = overtake  # type: ignore[attr-defined]
    with pytest.raises(Unavailable, match="ask again"):
        await beat(one, "b")
    assert overtaken == groups.TRIES_MAX
    assert numbers(await beat(two, "a")) == [0, 1, 2, 3]


@two
async def test_the_commit_of_a_partition_is_one_process(server: RedisServer, one: Store, two: Store) -> None:
    mine = await begun(one)
    commits = [Commit(0, mine.fence, Position(one.epoch, offset), [entry("out")]) for offset in (2, 4)]
    here, there = await asyncio.gather(
        *(
            store.commit(SOURCE, GROUP, "a", [moved], streams=LANES)
            for store, moved in zip((one, two), commits, strict=True)
        )
    )
    accepted = [answer for answer in (*here, *there) if isinstance(answer, tuple) and answer]
    assert (await one.heads(["out"])).heads["out"].last == len(accepted) > 0
    await two.seek(SOURCE, GROUP, {0: None})
    assert await commit(one, mine, Position(one.epoch, 5)) is LeaseLost


@two
async def test_what_cannot_be_told_yet_is_asked_again(server: RedisServer, one: Store, two: Store) -> None:
    """While it is not settled what a generation lacks, no position of an older one is taken or refused."""
    server.command("CONFIG", "SET", "appendfsync", "everysec")
    mine = await begun(one)
    before = one.epoch
    server.incarnate()
    await one.heads(["s"])
    assert (await one.generations())[-1].fate.value == "suspect"
    [answer] = await one.commit(
        SOURCE, GROUP, "a", [Commit(0, mine.fence, Position(before, 2))], streams=LANES
    )
    assert type(answer) is Unavailable


def test_a_heartbeat_that_was_cheap_sees_that_a_session_has_ended() -> None:
    """Another's, whose partitions are taken over; or its own: then it is a new member."""

    async def scenario() -> None:
        time_ms = START_MS
        with serving() as server:
            store = await backends.open(server.url, Options(now_ms=lambda: time_ms))
            for _ in range(3):
                await beat(store, "a", session_ms=9_000)
                await beat(store, "b", session_ms=1_000)
            assert numbers(await beat(store, "b", session_ms=1_000)) == [2, 3]
            time_ms += 1_000
            assert numbers(await beat(store, "a", session_ms=9_000)) == [0, 1, 2, 3]
            await beat(store, "a", session_ms=9_000)
            alone = await beat(store, "a", session_ms=9_000)
            time_ms += 9_000
            again = await beat(store, "a", session_ms=9_000)
            assert not {one.fence for one in again.held} & {one.fence for one in alone.held}
            await store.close()

    asyncio.run(scenario())
