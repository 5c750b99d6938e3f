"""A real Redis Cluster, and slots that move in it."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager, contextmanager

from tests.backends.redis.opening import serving, until
from tests.redis_server import RedisServer, free_port

__all__ = ["cluster", "formed", "move", "parts", "replica"]

SLOTS = 16_384


@contextmanager
def cluster(count: int) -> Iterator[list[RedisServer]]:
    """Run a Cluster of masters."""
    with ExitStack() as stack:
        buses = [free_port() for _ in range(count)]
        servers = [stack.enter_context(_member(bus)) for bus in buses]
        bounds = [SLOTS * number // count for number in range(count + 1)]
        for first, server in zip(bounds, servers, strict=False):
            server.command("CLUSTER", "ADDSLOTSRANGE", first, bounds[bounds.index(first) + 1] - 1)
            server.command("CLUSTER", "SET-CONFIG-EPOCH", servers.index(server) + 1)
            server.command("CLUSTER", "MEET", "127.0.0.1", servers[0].port, buses[0])
        yield servers


def _member(bus: int) -> AbstractContextManager[RedisServer]:
    quick = {"cluster-node-timeout": "500", "repl-diskless-sync-delay": "0"}
    return serving(**{"cluster-enabled": "yes", "cluster-port": str(bus), **quick})


@asynccontextmanager
async def replica(servers: list[RedisServer], master: RedisServer) -> AsyncIterator[RedisServer]:
    """Run one more server of a Cluster, which takes over when its master is gone."""
    bus = free_port()
    with _member(bus) as server:
        servers[0].command("CLUSTER", "MEET", "127.0.0.1", server.port, bus)
        await formed([*servers, server])
        server.command("CLUSTER", "REPLICATE", _node_id(master))
        await until(lambda: "master_link_status:up" in server.command("INFO", "replication"))
        known = f"{_node_id(server)} 127.0.0.1:{server.port}@{bus} slave"
        await until(lambda: all(known in one.command("CLUSTER", "NODES") for one in servers))
        yield server


def _node_id(server: RedisServer) -> str:
    return server.command("CLUSTER", "MYID")


async def formed(servers: list[RedisServer]) -> None:
    """Wait until all know each other."""

    def is_formed() -> bool:
        told = [server.command("CLUSTER", "INFO") for server in servers]
        return all("cluster_state:ok" in one and f"cluster_known_nodes:{len(servers)}" in one for one in told)

    await until(is_formed)


def parts(servers: list[RedisServer]) -> tuple[RedisServer, RedisServer, int]:
    """Return who has the slot of stores of the usual prefix, another server, and the slot."""
    slot = int(servers[0].command("CLUSTER", "KEYSLOT", "{gapless}"))
    owner = servers[slot * len(servers) // SLOTS]
    return owner, servers[servers.index(owner) - 1], slot


def move(owner: RedisServer, to: RedisServer, slot: int) -> None:
    """Give a slot to another server, as `redis-cli --cluster reshard` does."""
    to.command("CLUSTER", "SETSLOT", slot, "IMPORTING", _node_id(owner))
    owner.command("CLUSTER", "SETSLOT", slot, "MIGRATING", _node_id(to))
    for key in _keys_of(owner):
        owner.command("MIGRATE", "127.0.0.1", to.port, key, 0, 5_000)
    for server in (to, owner):
        server.command("CLUSTER", "SETSLOT", slot, "NODE", _node_id(to))


def _keys_of(server: RedisServer) -> list[str]:
    return server.command("EVAL", "return table.concat(redis.call('KEYS', '{gapless}*'), ' ')", 0).split()
