"""Whole nodes in one process, on virtual time: what a scenario is made of.

Everything outside of gapless is simulated (store, bus, connections, clients), everything of gapless is
real: broker, hub, sessions, codecs. What happens follows from the seed alone.
"""

import asyncio
from random import Random

from gapless.broker.broker import Broker
from gapless.broker.namespaces import Namespaces
from gapless.broker.rounds import spread
from gapless.core.errors import GaplessError
from gapless.core.limits import BEAT_MS, CHECK_INTERVAL_MS
from gapless.protocol.codes import Disconnect
from gapless.server.api.connections import Connections
from gapless.server.api.info import Node, StoreInfo
from gapless.server.nodes.cluster import Cluster
from gapless.server.session import Session
from gapless.server.sessions import SessionOptions, Sessions, Tokens
from gapless.server.socket import Handshake
from gapless.testing.clock import SimulatedClock
from gapless.testing.link import Link
from gapless.testing.loop import VirtualLoop
from gapless.testing.simulated_bus import SimulatedBus
from gapless.testing.simulated_store import SimulatedStore

__all__ = ["SimulatedNode"]

RETRY_MS = 300


class SimulatedNode:
    """One node: it can be started, stopped in good order, and crashed, and then started again."""

    def __init__(
        self,
        loop: VirtualLoop,
        random: Random,
        store: SimulatedStore,
        bus: SimulatedBus,
        *,
        namespaces: Namespaces,
        options: SessionOptions,
        tokens: Tokens,
        skew_ms: int = 0,
    ) -> None:
        self.open = False
        self.links: list[Link] = []
        self._loop = loop
        self._random = random
        self._store = store
        self._bus = bus
        self._namespaces = namespaces
        self._options = options
        self._tokens = tokens
        self._skew_ms = skew_ms
        self.is_clustered = False  # it knows of the others, enters who is there, and acts for them
        self._graves: list[
            object
        ] = []  # of earlier lives: their tasks wait for ever, and must not be collected
        self._opening: asyncio.Task[None] | None = None
        self._begin()

    def _begin(self) -> None:
        self.clock = SimulatedClock(self._loop, skew_ms=self._skew_ms)
        self.store = self._store.connect()
        self.bus = self._bus.connect()
        self.broker = Broker(
            self.store,
            self.clock,
            self._namespaces,
            soon=self._loop.call_soon,
            node=f"{self._random.getrandbits(64):016x}",
            bus=self.bus,
            check_ms=spread(CHECK_INTERVAL_MS, self._random.random),
        )
        self.sessions = Sessions(
            self.broker, self.clock, self._options, tokens=self._tokens, random=self._random
        )
        self.cluster = Cluster(
            self.broker,
            self.clock,
            self._random,
            interval_ms=BEAT_MS,
            info=self._info,
            fingerprint=dict,
        )
        self.sessions.reach(self.cluster.asking)
        self.connections = Connections(self.sessions)

    def _info(self) -> Node:
        numbers = dict.fromkeys(("num_clients", "num_users", "num_channels", "num_subs", "uptime"), 0)
        store = StoreInfo("simulated", self.store.durability, self.store.epoch, {})
        return Node(uid=self.broker.node, name="", version="", store=store, **numbers)

    def start(self) -> None:
        """Open the node; it accepts connections once the store has told its generation."""
        self._opening = self._loop.create_task(self._open(self.broker))

    async def _open(self, broker: Broker) -> None:
        while broker is self.broker:
            try:
                await broker.open()
                if self.is_clustered:
                    await self.cluster.start()
            except GaplessError:
                await self._loop.pass_ms(RETRY_MS)
            else:
                self.open = broker is self.broker
                return

    def accept(self, link: Link, *, binary: bool) -> Session | None:
        """Make the session of a connection that reached this node; None when the node is not there."""
        if not self.open:
            return None
        self.links = [link, *(other for other in self.links if not other.ended)]
        handshake = Handshake("", "", binary)
        return self.sessions.accept(handshake, link)

    async def stop(self) -> None:
        """Part with all clients, in good order."""
        self.open = False
        # A set has no order of its own, and whoever has not introduced itself has no id yet.
        came: dict[object, int] = {link: place for place, link in enumerate(self.links)}
        for session in sorted(self.sessions.all, key=lambda each: (each.info.client, came[each.socket])):
            session.disconnected(Disconnect.SHUTDOWN)
        if self.is_clustered:
            await self.cluster.stop()
        await self.broker.close()
        self._end()

    def crash(self) -> None:
        """Die at once: nothing that was under way is heard of again."""
        self.open = False
        for link in self.links:
            link.lose_server()
        self._end()

    def _end(self) -> None:
        self.clock.stop()
        self.store.sever()
        self._bus.disconnect(self.bus)
        self._graves += [self.broker, self.sessions, self.store, self._opening]
        self.links = []

    def restart(self) -> None:
        """Begin a new life."""
        self._begin()
        self.start()
