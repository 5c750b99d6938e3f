"""What befalls nodes, their store and their clients. Each fault is healed in the end."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from random import Random

from gapless.server.clock import LoopClock
from gapless.server.parting import pause
from tests.faults.cluster.events import Recorder
from tests.faults.cluster.nodes import Node, Nodes
from tests.faults.cluster.stores import Redis, Shared

__all__ = ["BESIDE", "CARELESS", "FILE_FAULTS", "REDIS_FAULTS", "REWINDING", "WORKERS_FAULTS", "Nemesis"]

DAY_MS = 24 * 3_600_000
SHORT_MS, LONG_MS, FLICKER_MS = (20, 400), (300, 2_500), (0, 8)
FLICKERS = 100


@dataclass
class Nemesis:
    """One fault at a time; what it needs of chance comes from its seed."""

    nodes: Nodes
    store: Shared
    record: Recorder
    dice: Random
    progress: Callable[[], Awaitable[None]]  # returns once more was acknowledged than before

    @property
    def redis(self) -> Redis:
        """Return the store, which is one."""
        assert isinstance(self.store, Redis)
        return self.store

    def any_node(self) -> Node:
        """Choose one."""
        return self.dice.choice(self.nodes.all)

    async def wait(self, between_ms: tuple[int, int]) -> None:
        """Let some time pass."""
        await pause(LoopClock(), self.dice.randint(*between_ms))

    async def strike(self, name: str) -> None:
        """Let a fault happen, and heal it."""
        self.record("nemesis", "fault", name)
        await FAULTS[name](self)
        self.record("nemesis", "healed", name)


Fault = Callable[[Nemesis], Awaitable[None]]


# Nodes ----------------------------------------------------------------------------------------


async def kill_node(nemesis: Nemesis) -> None:
    """A node ends with -9, and is started again."""
    node = nemesis.any_node()
    nemesis.nodes.kill(node)
    await nemesis.wait(SHORT_MS)
    node.launch()


async def kill_all_nodes(nemesis: Nemesis) -> None:
    """All nodes end with -9 at once."""
    for node in nemesis.nodes.all:
        nemesis.nodes.kill(node)
    await nemesis.wait(SHORT_MS)
    for node in nemesis.nodes.all:
        node.launch()


async def restart_node(nemesis: Nemesis) -> None:
    """A node ends as it should, and is started again."""
    await nemesis.nodes.restart(nemesis.any_node())


async def stop_node(nemesis: Nemesis) -> None:
    """A node stands still."""
    node = nemesis.any_node()
    node.pause()
    await nemesis.wait(LONG_MS)
    node.resume()


async def jump_clock(nemesis: Nemesis) -> None:
    """The wall clock of a node is a day off, forwards or back, and then right again."""
    node = nemesis.any_node()
    node.shim.jump(nemesis.dice.choice((-DAY_MS, DAY_MS)))
    await nemesis.wait(LONG_MS)
    if nemesis.dice.random() < 0.3:  # its process starts with the wrong clock, too
        nemesis.nodes.kill(node)
        node.launch()
        await nemesis.wait(LONG_MS)
    node.shim.jump(0)


async def kill_process(nemesis: Nemesis) -> None:
    """One of several processes that share a port ends with -9; its parent starts it again."""
    node = nemesis.any_node()
    if processes := node.processes():
        nemesis.record("", "killed", node=node.name)
        nemesis.dice.choice(processes).kill()
    await nemesis.wait(SHORT_MS)


async def stop_process(nemesis: Nemesis) -> None:
    """One of several processes that share a port stands still."""
    if processes := nemesis.any_node().processes():
        process = nemesis.dice.choice(processes)
        process.suspend()
        await nemesis.wait(LONG_MS)
        process.resume()


# Ways -----------------------------------------------------------------------------------------


async def cut_clients(nemesis: Nemesis) -> None:
    """The clients of a node lose it, and do not reach it for a while."""
    door = nemesis.any_node().door
    door.block()
    await nemesis.wait(SHORT_MS)
    door.unblock()


async def drop_packets(nemesis: Nemesis) -> None:
    """What clients and a node send each other vanishes, and neither is told."""
    network = nemesis.nodes.network
    number = nemesis.dice.randrange(len(nemesis.nodes.all)) + 1
    if not network.links:
        await cut_clients(nemesis)
        return
    network.put(number, up=False)
    await nemesis.wait(LONG_MS)
    network.put(number, up=True)


async def delay_clients(nemesis: Nemesis) -> None:
    """What clients and a node say to each other comes late."""
    door = nemesis.any_node().door
    for _ in range(3):
        door.stall(nemesis.dice.randint(*SHORT_MS))
        await nemesis.wait(SHORT_MS)


async def cut_store(nemesis: Nemesis) -> None:
    """A node does not reach the store."""
    way = nemesis.any_node().way
    assert way is not None
    way.block()
    await nemesis.wait(LONG_MS)
    way.unblock()


async def delay_store(nemesis: Nemesis) -> None:
    """What a node and the store say to each other comes late."""
    way = nemesis.any_node().way
    assert way is not None
    for _ in range(4):
        way.stall(nemesis.dice.randint(*SHORT_MS))
        await nemesis.wait(SHORT_MS)


# A Redis that loses nothing by it -------------------------------------------------------------


async def kill_redis(nemesis: Nemesis) -> None:
    """Redis ends with -9, and is started again."""
    nemesis.redis.kill()
    await nemesis.wait(SHORT_MS)
    nemesis.redis.main.start()


async def stop_redis(nemesis: Nemesis) -> None:
    """Redis stands still."""
    nemesis.redis.pause()
    await nemesis.wait(LONG_MS)
    nemesis.redis.resume()


async def fill_disk(nemesis: Nemesis) -> None:
    """The disk of Redis is full, so that it ends; there is room again, and it is started."""
    if nemesis.redis.mounted:
        nemesis.redis.fill_disk()
        await nemesis.wait(LONG_MS)
        nemesis.redis.empty_disk()
        nemesis.redis.kill()
        nemesis.redis.main.start()


async def run_out_of_memory(nemesis: Nemesis) -> None:
    """Redis may take no more memory (OOM)."""
    nemesis.redis.limit_memory(limited=True)
    await nemesis.wait(LONG_MS)
    nemesis.redis.limit_memory(limited=False)


async def flicker_memory(nemesis: Nemesis) -> None:
    """Redis may take more memory, and may not, and so on."""
    for _ in range(FLICKERS):
        nemesis.redis.limit_memory(limited=True)
        await nemesis.wait(FLICKER_MS)
        nemesis.redis.limit_memory(limited=False)
        await nemesis.wait(FLICKER_MS)


# A Redis that comes back older ----------------------------------------------------------------


async def restore_copy(nemesis: Nemesis) -> None:
    """Redis is started with an older copy of its data."""
    nemesis.redis.copy()
    await nemesis.progress()
    nemesis.redis.kill()
    nemesis.record("", "rewound")
    nemesis.redis.restore()
    nemesis.redis.main.start()


async def restore_older(nemesis: Nemesis) -> None:
    """Redis is started with a copy of its data from before it was last started."""
    nemesis.redis.copy()
    await nemesis.progress()
    nemesis.redis.kill()
    nemesis.redis.main.start()
    await nemesis.progress()
    nemesis.redis.kill()
    nemesis.record("", "rewound")
    nemesis.redis.restore()
    nemesis.redis.main.start()


async def flush_all(nemesis: Nemesis) -> None:
    """Somebody empties Redis."""
    nemesis.record("", "rewound")
    nemesis.redis.empty()


async def promote_replica(nemesis: Nemesis) -> None:
    """Redis ends, and a replica that was left behind is promoted."""
    nemesis.redis.leave_replica_behind()
    await nemesis.progress()
    promote(nemesis)
    await nemesis.redis.follow()


async def promote_fresh(nemesis: Nemesis) -> None:
    """A replica is promoted that has just been filled, and killed as soon as it has acknowledged something.

    Until its first AOF rewrite is done, all of it would be lost.
    """
    await nemesis.redis.follow(rewriting_slowly=True)
    promote(nemesis)
    await nemesis.progress()
    nemesis.redis.kill()
    nemesis.redis.main.start()
    await nemesis.redis.follow()


def promote(nemesis: Nemesis) -> None:
    """Let the replica be the main server, and lead all nodes there."""
    for node in nemesis.nodes.all:
        assert node.way is not None
        node.way.block()
    nemesis.record("", "rewound")
    nemesis.redis.promote()
    for node in nemesis.nodes.all:
        assert node.way is not None
        node.way.target = nemesis.redis.server
        node.way.unblock()


async def restart_redis(nemesis: Nemesis) -> None:
    """Redis, which does not write to the disk before it answers, ends with -9, and is started again."""
    nemesis.redis.kill()
    nemesis.record("", "rewound")
    nemesis.redis.main.start()


FAULTS: Mapping[str, Fault] = {
    fault.__name__: fault
    for fault in (
        kill_process, stop_process, kill_node, kill_all_nodes, restart_node, stop_node, jump_clock,
        cut_clients, drop_packets, delay_clients, cut_store, delay_store, kill_redis, stop_redis, fill_disk,
        run_out_of_memory, flicker_memory, restore_copy, restore_older, promote_replica, promote_fresh,
        flush_all, restart_redis,
    )
}  # fmt: skip

# By the scene, with their weights.
FILE_FAULTS = {
    "kill_node": 30, "kill_all_nodes": 8, "restart_node": 15, "stop_node": 15, "jump_clock": 10,
    "cut_clients": 8, "delay_clients": 8, "drop_packets": 10,
}  # fmt: skip
WORKERS_FAULTS = {
    "kill_process": 40, "stop_process": 20, "kill_node": 10, "restart_node": 10, "cut_clients": 10,
    "drop_packets": 10,
}  # fmt: skip
REDIS_FAULTS = {
    "kill_node": 12, "kill_all_nodes": 4, "restart_node": 8, "stop_node": 10, "jump_clock": 8,
    "cut_clients": 6, "delay_clients": 5, "drop_packets": 7, "cut_store": 14, "delay_store": 8,
    "kill_redis": 12, "stop_redis": 8, "fill_disk": 5, "run_out_of_memory": 4, "flicker_memory": 4,
}  # fmt: skip
REWINDING = {
    "restore_copy": 20, "restore_older": 15, "flush_all": 20, "promote_replica": 20, "promote_fresh": 10,
    "cut_clients": 15,
}  # fmt: skip
CARELESS = {
    "restart_redis": 50, "flush_all": 10, "restore_copy": 10, "restore_older": 10, "cut_clients": 10,
    "restart_node": 10,
}  # fmt: skip

# What may happen while something else does: it changes neither the store nor who lives.
BESIDE = ("cut_clients", "delay_clients", "drop_packets")
