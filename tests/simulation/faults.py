"""What goes wrong."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from gapless.backends.memory import Kept
from gapless.core.errors import GaplessError
from gapless.server.api.requests import DisconnectRequest, Going
from gapless.testing.simulated_bus import BusConditions
from tests.simulation.plan import Kind, kind_of

if TYPE_CHECKING:
    from gapless.testing.simulated_client import SimulatedClient
    from gapless.testing.simulator import SimulatedNode
    from tests.simulation.world import World

PARTED_CODE = 4_001  # one after which clients come back
STALL_MS_HARMLESS = 2_500  # what the server's patience with a full socket outlasts


def strike(world: "World", fault: str) -> None:
    """Let `fault` happen, and its end be planned, unless all is healed already."""
    if not world.healed:
        globals()[f"_{fault}"](world)


def _client(world: "World") -> "SimulatedClient":
    return world.random.choice(world.clients)


def _node(world: "World") -> "SimulatedNode | None":
    """One that may die: another stays."""
    nodes = [node for node in world.nodes if node.open]
    alone = len(nodes) == 1 and world.random.random() < 0.7
    return world.random.choice(nodes) if nodes and not alone else None


def _cut(world: "World") -> None:
    link = _client(world).link
    if link is not None:
        link.cut()


def _storm(world: "World") -> None:
    for client in world.clients:
        if client.link is not None:
            client.link.cut()


def _stall(world: "World") -> None:
    link = _client(world).link
    if link is not None:
        link.slow = True
        stall_ms = world.random.choice((200, 1_000, STALL_MS_HARMLESS, 6_000))
        if stall_ms > STALL_MS_HARMLESS:
            world.checker.stall_excuses.add(link)
        link.stall()
        world.loop.after_ms(stall_ms, link.flow)


def _half_open(world: "World") -> None:
    link = _client(world).link
    if link is not None:
        world.checker.stall_excuses.add(link)
        link.half_open()


def _crash_node(world: "World") -> None:
    node = _node(world)
    if node is not None:
        node.crash()
        world.loop.after_ms(world.random.randint(10, 1_500), node.restart)


def _stop_node(world: "World") -> None:
    node = _node(world)
    if node is not None:
        stopping = world.loop.create_task(node.stop())
        stopping.add_done_callback(
            lambda _: world.loop.after_ms(world.random.randint(10, 1_500), node.restart)
        )


def _restart_store(world: "World") -> None:
    store = world.store
    if store.up:
        store.stop()
        world.loop.after_ms(world.random.randint(1, 800), store.start)


def _rewind_store(world: "World") -> None:
    """Let the store come back as it is now, a while later."""
    world.loop.after_ms(world.random.randint(50, 1_500), _come_back_older, world, world.store.copy())


def _come_back_older(world: "World", kept: object) -> None:
    store = world.store
    if store.up and not world.healed:
        store.stop()
        world.loop.after_ms(world.random.randint(1, 800), store.start, kept)


def _blackout(world: "World") -> None:
    """Let all nodes die, and then the store come back older: nobody remembers."""
    store, kept = world.store, world.store.copy()
    if not store.up:
        return
    world.loop.after_ms(world.random.randint(50, 800), _black_out, world, kept)


def _black_out(world: "World", kept: object) -> None:
    if world.store.up and not world.healed:
        for node in world.nodes:
            if node.open:
                node.crash()
                world.loop.after_ms(world.random.randint(300, 1_500), node.restart)
        _come_back_older(world, kept)


def _empty_store(world: "World") -> None:
    if world.random.random() < 0.3:
        _come_back_older(world, Kept())


def _silence_store(world: "World") -> None:
    for node in world.nodes:
        _cut_off(world, node)


def _cut_off_node(world: "World") -> None:
    _cut_off(world, world.random.choice(world.nodes))


def _cut_off(world: "World", node: "SimulatedNode") -> None:
    connection = node.store
    connection.cut_off = True
    world.loop.after_ms(world.random.randint(100, 1_500), setattr, connection, "cut_off", False)


def _trim(world: "World") -> None:
    channel = world.random.choice(world.plan.channels)
    log = world.store.kept.streams.get(channel)
    if log is not None and world.store.up:
        through = world.random.randint(log.floor, log.last)
        world.checker.truth.trimmed(channel, through)
        world.trimming = world.loop.create_task(world.store.backend.trim(channel, through))


def _erase(world: "World") -> None:
    """Let an author remove messages: a hole that is none of the reader's business."""
    for channel in world.plan.channels:
        log = world.store.kept.streams.get(channel)
        if log is not None and kind_of(channel) in {Kind.LOG, Kind.SHORT} and log.last > log.floor:
            newest = world.random.choice((log.last, world.random.randint(log.floor + 1, log.last)))
            first = max(log.floor + 1, newest - world.random.randint(0, 3))
            offsets = range(first, newest + 1)
            world.checker.erased.update((channel, offset) for offset in offsets)
            erasing = world.loop.create_task(_erase_each(_eraser(world), channel, offsets))
            world.erasing.add(erasing)
            erasing.add_done_callback(world.erasing.discard)


def _eraser(world: "World") -> Callable[[str, int], Awaitable[bool]]:
    """Where an author asks: at a node, or at the store itself."""
    nodes = [node for node in world.nodes if node.open]
    if nodes and world.random.random() < 0.7:
        return world.random.choice(nodes).broker.removing.erase
    return world.store.backend.erase


def _disconnect(world: "World") -> None:
    """Have some node part with a client, wherever that is."""
    nodes = [node for node in world.nodes if node.open]
    if nodes:
        task = world.loop.create_task(_part(world, world.random.choice(nodes), _client(world)))
        world.acting.add(task)
        task.add_done_callback(world.acting.discard)


async def _part(world: "World", node: "SimulatedNode", client: "SimulatedClient") -> None:
    lives = [(each, each.broker) for each in world.nodes if each.open and world.is_within_reach(each)]
    sessions = [(*life, session) for life in lives for session in life[0].sessions.of(client.name)]
    begun_ms = world.loop.now_ms
    going = Going(code=PARTED_CODE, reason="parted")
    answer = node.connections.disconnect(DisconnectRequest(user=client.name, disconnect=going))
    try:
        if not isinstance(answer, bytes):
            await answer
    except GaplessError:
        return
    for each, life, session in sessions:
        lives_on = each.broker is life and each.open and world.is_within_reach(each, begun_ms)
        if session.open and lives_on:
            world.checker.fail("answered, not done", f"{client.name} is still connected")


async def _erase_each(erase: Callable[[str, int], Awaitable[bool]], channel: str, offsets: range) -> None:
    for offset in offsets:
        try:
            await erase(channel, offset)
        except GaplessError:
            return


def _silence_bus(world: "World") -> None:
    world.bus.conditions = BusConditions(loss=1)
    world.loop.after_ms(world.random.randint(500, 3_000), setattr, world.bus, "conditions", world.plan.bus)


def _leave(world: "World") -> None:
    client = _client(world)
    if client.followed:
        channel = world.random.choice(sorted(client.followed))
        client.leave(channel)
        if world.random.random() < 0.5:
            client.follow(channel)
        else:
            world.loop.after_ms(world.random.randint(1, 500), _follow_again, client, channel)


def _follow_again(client: "SimulatedClient", channel: str) -> None:
    if channel not in client.followed:
        client.follow(channel)


def _absence(world: "World") -> None:
    client = _client(world)
    client.stop()
    world.loop.after_ms(world.random.choice((500, 2_000, 6_000)), client.start)
