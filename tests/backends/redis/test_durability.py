"""A Redis is of the class that its settings give it, and no better (semantics 8)."""

import asyncio

import pytest

from gapless.backends.redis.calls import PULSES_PER_JUDGEMENT
from gapless.backends.redis.durability import judge
from gapless.core.errors import StoreRefused
from gapless.ports import Durability
from tests.backends.redis.opening import Hand, answered, calling, refusal, serving, until

DURABLE = {
    "appendonly": "yes",
    "appendfsync": "always",
    "no-appendfsync-on-rewrite": "no",
    "maxmemory": "0",
    "maxmemory-policy": "noeviction",
}
MASTER = {
    "redis_version": "7.0.15",
    "redis_mode": "standalone",
    "role": "master",
    "connected_slaves": "0",
    "aof_rewrite_in_progress": "0",
    "aof_rewrite_scheduled": "0",
    "aof_last_bgrewrite_status": "ok",
    "aof_last_write_status": "ok",
}


def test_what_is_synced_at_each_write_outlives_a_power_failure() -> None:
    standing = judge(DURABLE, MASTER)
    assert (standing.durability, standing.why, standing.may_fail_over) == (Durability.DISK, "", False)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("appendonly", "no"),
        ("appendfsync", "everysec"),
        ("appendfsync", "no"),
        ("no-appendfsync-on-rewrite", "yes"),
        ("maxmemory-policy", "allkeys-lru"),
    ],
)
def test_each_setting_that_lets_something_be_lost_takes_the_class_away(name: str, value: str) -> None:
    standing = judge(DURABLE | {name: value}, MASTER)
    assert standing.durability is Durability.MEMORY
    assert standing.why == f"{name} is {value}, not {DURABLE[name]}"


@pytest.mark.parametrize("settings", [DURABLE, {}])
def test_a_redis_that_evicts_is_refused_also_where_its_settings_cannot_be_read(
    settings: dict[str, str],
) -> None:
    evicting = MASTER | {"maxmemory": "1048576", "maxmemory_policy": "allkeys-lru"}
    with pytest.raises(StoreRefused, match="maxmemory-policy is allkeys-lru"):
        judge(settings, evicting)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("aof_rewrite_in_progress", "1"),
        ("aof_rewrite_scheduled", "1"),
        ("aof_last_bgrewrite_status", "err"),
        ("aof_last_write_status", "err"),
    ],
)
def test_a_file_that_may_not_be_complete_is_not_the_disk(field: str, value: str) -> None:
    standing = judge(DURABLE, MASTER | {field: value})
    assert standing.durability is Durability.MEMORY
    assert standing.is_rewriting == field.startswith("aof_rewrite")


def test_a_file_that_was_complete_stays_so_while_it_is_rewritten() -> None:
    standing = judge(DURABLE, MASTER | {"aof_rewrite_in_progress": "1"}, is_complete=True)
    assert (standing.durability, standing.is_rewriting) == (Durability.DISK, False)


def test_what_cannot_be_asked_is_not_believed() -> None:
    assert judge({}, MASTER).durability is Durability.MEMORY


def test_a_replica_may_take_over_and_lack_something() -> None:
    assert judge(DURABLE, MASTER | {"connected_slaves": "1"}).may_fail_over
    assert judge(DURABLE, MASTER, may_fail_over=True).may_fail_over


@pytest.mark.parametrize(
    ("settings", "fields", "word"),
    [
        ({}, {"redis_version": "6.2.14"}, "too old"),
        ({}, {"redis_version": "?"}, "too old"),
        ({}, {"role": "slave"}, "read-only replica"),
        ({}, {"redis_mode": "cluster"}, "a Cluster"),
        ({"maxmemory": "100", "maxmemory-policy": "allkeys-lru"}, {}, "noeviction"),
    ],
)
def test_what_may_not_be_used_is_refused(settings: dict[str, str], fields: dict[str, str], word: str) -> None:
    with pytest.raises(StoreRefused, match=word):
        judge(DURABLE | settings, MASTER | fields)


@pytest.mark.parametrize("settings", [{"appendonly": "no"}, {"appendfsync": "everysec"}])
def test_a_store_below_the_class_that_is_asked_for_is_not_opened(settings: dict[str, str]) -> None:
    async def scenario() -> None:
        with serving(**settings) as server:
            async with calling(server.url) as calls:
                assert calls.attachment.standing.durability is Durability.MEMORY
            with pytest.raises(StoreRefused, match=r"store\.durability"):
                async with calling(server.url, durability_min=Durability.DISK):
                    pass

    asyncio.run(scenario())


def test_an_append_only_file_is_no_disk_before_its_first_rewrite_has_finished() -> None:
    async def scenario() -> None:
        with serving(appendonly="no") as server:
            # Of which the first rewrite takes a while: 10 ms for each key.
            server.command("CONFIG", "SET", "rdb-key-save-delay", 10_000)
            for number in range(40):
                server.command("SET", f"k{number}", "x")
            server.command("CONFIG", "SET", "appendonly", "yes")
            while "aof_rewrite_in_progress:1" not in server.command("INFO", "persistence"):
                pass
            async with calling(server.url, durability_min=Durability.DISK) as calls:
                assert calls.attachment.standing.durability is Durability.DISK
                assert "aof_rewrite_in_progress:0" in server.command("INFO", "persistence")

    asyncio.run(scenario())


def test_a_server_that_is_weaker_after_a_reconnect_is_not_used_until_it_is_right_again() -> None:
    async def scenario() -> None:
        with serving() as server:
            async with calling(server.url, durability_min=Durability.DISK) as calls:
                server.command("CONFIG", "SET", "appendfsync", "everysec")
                server.command("CLIENT", "KILL", "TYPE", "normal")
                await until(lambda: "appendfsync" in refusal(calls))
                server.command("CONFIG", "SET", "appendfsync", "always")
                await until(lambda: not refusal(calls))
                await calls.call("generations")

    asyncio.run(scenario())


def test_a_server_that_becomes_weaker_meanwhile_is_found_out() -> None:
    async def scenario() -> None:
        hand = Hand()
        with serving() as server:
            async with calling(server.url, durability_min=Durability.DISK, after=hand.after) as calls:
                server.command("CONFIG", "SET", "appendfsync", "everysec")
                for _ in range(PULSES_PER_JUDGEMENT):
                    await answered(calls)
                    hand.pulse()
                await until(lambda: "appendfsync" in refusal(calls))

    asyncio.run(scenario())


def test_a_replica_that_joins_later_is_found_out() -> None:
    async def scenario() -> None:
        hand = Hand()
        with serving() as server, serving() as replica:
            async with calling(server.url, after=hand.after) as calls:
                assert not calls.attachment.standing.may_fail_over
                replica.command("REPLICAOF", "127.0.0.1", server.port)
                await until(lambda: "connected_slaves:1" in server.command("INFO", "replication"))
                for _ in range(PULSES_PER_JUDGEMENT):
                    await answered(calls)
                    hand.pulse()
                await until(lambda: calls.attachment.standing.may_fail_over)

    asyncio.run(scenario())
