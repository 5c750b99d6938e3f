"""Several nodes over one memory store, in one process, with a bus in the test's hand."""

import asyncio
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any, cast

from gapless import backends
from gapless.backends import Options
from gapless.broker.broker import Broker
from gapless.broker.namespaces import Namespace, Namespaces
from gapless.core.errors import StoreError
from gapless.core.stream import Message, Position
from gapless.ports import Bus, Presence, Store
from gapless.server.api.connections import Connections
from gapless.server.api.info import Node, StoreInfo
from gapless.server.api.looking import Looking
from gapless.server.nodes.cluster import Cluster
from gapless.server.sessions import SessionOptions, Sessions
from tests.conversation import OPEN, HandClock, PlainTokens, Stage, rest

Rung = Callable[[str, Position, Message | None], None]


class Line:
    """What the ends are connected by. What is `lost` reaches nobody; all else arrives so many `times`."""

    def __init__(self) -> None:
        self.ends: list[End] = []
        self.lost: Callable[[str], bool] = lambda what: False  # told "ring" or "tell"
        self.times = 1
        self.kept: list[Callable[[], object]] | None = None  # held back, for the test to let go

    def end(self) -> "End":
        end = End(self)
        self.ends.append(end)
        return end

    def carry(self, sender: "End", what: str, arrive: "Callable[[End], object]") -> None:
        for end in self.ends:
            if end is sender or sender not in self.ends or self.lost(what):
                continue
            for _ in range(self.times):
                self._send(lambda end=end: arrive(end))  # type: ignore[misc]

    def _send(self, arrive: Callable[[], object]) -> None:
        if self.kept is None:
            asyncio.get_running_loop().call_soon(arrive)
        else:
            self.kept.append(arrive)


class End(Bus):
    """One node's end. `rings` and `tells` count what it said, `followed` what it wants to hear of."""

    def __init__(self, line: Line) -> None:
        self.rings = self.tells = 0
        self.followed: list[str] = []
        self._line = line
        self._heard: list[Rung] = []
        self._told: list[Callable[[bytes], None]] = []

    @property
    def alone(self) -> bool:  # type: ignore[override]
        return len(self._line.ends) == 1

    def ring(self, stream: str, last: Position, message: Message | None) -> None:
        self.rings += 1
        self._line.carry(self, "ring", lambda end: [heard(stream, last, message) for heard in end._heard])

    def listen(self, heard: Rung) -> None:
        self._heard.append(heard)

    def tell(self, told: bytes) -> None:
        self.tells += 1
        self._line.carry(self, "tell", lambda end: [heard(told) for heard in end._told])

    def hear(self, heard: Callable[[bytes], None]) -> None:
        self._told.append(heard)

    def follow(self, stream: str) -> None:
        self.followed.append(stream)

    def unfollow(self, stream: str) -> None:
        self.followed.remove(stream)


class Way:
    """A node's way to the store, which may be cut: every call fails then. `calls` counts them by name."""

    def __init__(self, store: Store) -> None:
        self.is_cut = False
        self.calls: dict[str, int] = {}
        self._store = store

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._store, name)
        if not callable(value) or name in ("statistics", "hear_ready"):
            return value
        self.calls[name] = self.calls.get(name, 0) + 1
        if not self.is_cut:
            return value
        if name == "append":
            return self._refuse
        return self._fail

    def _refuse(self, entries: Any, done: Any) -> None:
        raise StoreError("the store does not answer")

    async def _fail(self, *args: Any, **kwargs: Any) -> None:
        raise StoreError("the store does not answer")


Presence.register(Way)


class Member(Stage):
    """One of the nodes."""

    def __init__(self, hall: "Hall", name: str, named: tuple[Namespace, ...], given: dict[str, Any]) -> None:
        clock, line, store = hall.clock, hall.line, hall.store
        self.is_dead = False
        self.way = Way(store)
        self.bus = line.end()
        without = given.pop("without", OPEN)
        broker = Broker(
            cast("Store", self.way),
            clock,
            Namespaces(without=without, named=named),
            soon=asyncio.get_running_loop().call_soon,
            node=name,
            bus=self.bus,
        )
        self.fingerprint = {"channel": "same"}
        self.cluster = Cluster(
            broker,
            clock,
            Random(name),
            interval_ms=1_000,
            info=self.info,
            fingerprint=lambda: self.fingerprint,
        )
        tokens = PlainTokens()
        options = SessionOptions(**{"allow_anonymous_connect_without_token": True, **given})
        sessions = Sessions(broker, clock, options, tokens=tokens, random=Random(name))
        sessions.reach(self.cluster.asking)
        self.cluster.share_hooks(sessions.workers)
        self._line = line
        super().__init__(clock, broker, sessions, tokens)
        self.connections = Connections(sessions)
        self.looking = Looking(broker, self.cluster.registry.nodes, self.cluster.asking)

    def info(self) -> Node:
        hub, store = self.broker.hub, self.broker.store
        return Node(
            uid=self.broker.node,
            name=f"called {self.broker.node}",
            version="1",
            num_clients=len(self.sessions.all),
            num_users=self.sessions.num_users,
            num_channels=hub.followed,
            num_subs=hub.subscriptions,
            uptime=1,
            store=StoreInfo("memory", store.durability, store.epoch, {}),
        )

    async def start(self) -> None:
        await self.broker.open()
        await self.cluster.start()

    def die(self) -> None:
        """Say nothing any more, and hear nothing."""
        self._line.ends.remove(self.bus)
        self.way.is_cut = True
        self.is_dead = True

    async def end(self) -> None:
        if not self.is_dead:
            await self.cluster.stop()
        await self.broker.close()


class Hall:
    """The nodes, what connects them, and the clock of all."""

    def __init__(self, store: Store, clock: HandClock) -> None:
        self.clock = clock
        self.store = store
        self.line = Line()
        self.members: list[Member] = []

    async def pass_ms(self, ms: int, step_ms: int = 50) -> None:
        """Let time pass in steps, and everybody do what falls due."""
        for _ in range(0, ms, step_ms):
            self.clock.pass_ms(step_ms)
            await rest()


def play_several(
    scene: Callable[[Hall], Coroutine[Any, Any, None]], *named: Namespace, nodes: int = 2, **given: Any
) -> None:
    """Run `scene` with some nodes that know of each other."""

    async def run() -> None:
        clock = HandClock()
        store = await backends.open("memory:", Options(now_ms=clock.now_ms))
        store.shared = True
        hall = Hall(store, clock)
        members = hall.members
        members += [Member(hall, name, named, dict(given)) for name in "abcdef"[:nodes]]
        for member in members:
            await member.start()
        await hall.pass_ms(100)
        try:
            await scene(hall)
        finally:
            for member in members:
                await member.end()
            await store.close()

    asyncio.run(run())
