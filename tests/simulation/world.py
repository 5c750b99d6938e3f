"""One run of the simulation: a world made from a seed, ill-treated, healed, and judged."""

import asyncio
import logging
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from functools import partial
from random import Random
from typing import Any
from unittest.mock import patch

from gapless.broker import catch_up, hub, placing, recovery
from gapless.broker.channel import Subscription
from gapless.broker.tokens import Claims, Grant, SubscriptionClaims
from gapless.core.errors import GaplessError, TokenExpired
from gapless.core.stream import Head, Heads
from gapless.protocol import websocket
from gapless.server.session import Session
from gapless.testing.clock import SimulatedClock
from gapless.testing.link import Link
from gapless.testing.loop import Deadlock, VirtualLoop
from gapless.testing.simulated_bus import BusConditions, SimulatedBus
from gapless.testing.simulated_client import ClientOptions, SimulatedClient
from gapless.testing.simulated_store import PATIENCE_MS, SimulatedStore, StoreConditions
from gapless.testing.simulator import SimulatedNode
from tests.simulation.checkers import Checker
from tests.simulation.faults import strike
from tests.simulation.plan import ACTS_EVERY_MS, WIDTHS, Kind, Plan, connection, draw, kind_of
from tests.simulation.publishers import ApiPublisher, ClientPublisher, Ledger

SETTLING_MS = 30_000  # a dead connection is noticed after up to 14 s, then there may be several tries
POLL_MS = 250
FORGOTTEN_MS = 6_000  # a node of which nothing is heard for so long is gone
SUBSCRIBED_BYTES = 2_000
FRAME_BYTES = 4_000
PUSH_BYTES_MAX = 100  # what goes around a payload on its way to a client
ANSWER_BYTES_MAX = 400  # what may still be said to a socket that is full: the answers to what was asked


class World:
    """Everything of one run."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.plan: Plan = draw(seed)
        self.random = Random(seed + 1)
        self.loop = VirtualLoop(Random(seed + 2))
        self.checker = Checker(self)
        self._clock = SimulatedClock(self.loop)
        self.nodes: list[SimulatedNode] = []
        self.clients: list[SimulatedClient] = []
        self.publishers: list[ApiPublisher | ClientPublisher | Ledger] = []
        self.healed = False
        self.trimming: asyncio.Task[Heads] | None = None  # the latest trim, held while it lasts
        self.erasing: set[asyncio.Task[None]] = set()
        self.acting: set[asyncio.Task[None]] = set()
        self._out_of_reach_ms: dict[object, int] = {}  # by the life of a node: when it was so last
        self._nudges = 0
        self._standing: dict[tuple[Subscription, int], int] = {}  # who is behind, where, since when
        self._lives_seen: dict[object, int] = {}
        self._passed: dict[tuple[int, str], int] = {}
        self.accepted: dict[Link, object] = {}  # the life of the node that a link ends at

    def lives(self) -> list[object]:
        """The nodes that live now, each by what is new in each of its lives."""
        connected = set(map(id, self.store.connections))
        return [node.broker for node in self.nodes if id(node.store) in connected]

    def count(self, life: object, channel: str) -> dict[str, int]:
        """Number what one life of a node publishes to one channel."""
        number = self._lives_seen.setdefault(life, len(self._lives_seen))
        self._passed[number, channel] = self._passed.get((number, channel), 0) + 1
        return {"life": number, "n": self._passed[number, channel]}

    def jolt(self, client: SimulatedClient) -> None:
        """Cut a connection now and then, just when its client waits for an answer."""
        if not self.healed and client.link is not None and self.random.random() < 0.15:
            delay_ms = self.random.randint(0, self.plan.store.latency_ms_max)
            self.loop.after_ms(delay_ms, client.link.cut)

    # Made ---------------------------------------------------------------------------------

    def _build(self) -> None:
        plan, checker, random = self.plan, self.checker, self.random
        self.store = SimulatedStore(
            self.loop,
            Random(random.random()),
            plan.store,
            committed=checker.committed,
            began=checker.truth.began,
            settled=checker.settled,
            async_failover=plan.async_failover,
        )
        self.bus = SimulatedBus(self.loop, Random(random.random()), plan.bus)
        for _ in range(plan.nodes):
            node = SimulatedNode(
                self.loop,
                Random(random.random()),
                self.store,
                self.bus,
                namespaces=plan.namespaces(),
                options=plan.options(),
                tokens=PlainTokens(),
                skew_ms=random.randint(-plan.skew_ms_max, plan.skew_ms_max),
            )
            node.is_clustered = plan.clustered
            self.nodes.append(node)
            node.start()
        for index in range(plan.clients):
            self._add_client(f"c{index}")
        for index in range(plan.publishers):
            if random.random() < 0.5:
                self.publishers.append(ApiPublisher(self, f"a{index}"))
            else:
                self.publishers.append(ClientPublisher(self, f"p{index}", self.new_client(f"p{index}")))

    def _add_client(self, name: str) -> None:
        client = self.new_client(name, expires=self.plan.expiring and self.random.random() < 0.5)
        self.clients.append(client)
        some = self.random.sample(self.plan.channels, self.random.randint(1, len(self.plan.channels)))
        for channel in some:
            client.follow(channel)
        self.loop.after_ms(self.random.choice((0, 0, 500, 2_000)), client.start)

    def new_client(self, name: str, *, expires: bool = False) -> SimulatedClient:
        return SimulatedClient(
            self.loop,
            Random(self.random.random()),
            name,
            ClientOptions(
                binary=self.random.random() < 0.4,
                forgetful=self.plan.forgetful,
                token=partial(self._token, name, expires),
            ),
            dial=partial(self._dial, connection(self.random, self.plan)),
            observer=self.checker,
        )

    def _token(self, name: str, expires: bool) -> str:
        """Return a token for a client, for a few seconds or for ever."""
        expires = expires and not self.healed
        after_ms = self.random.randint(500, 4_000)
        self.checker.expires_ms[name] = self.loop.now_ms + after_ms if expires else None
        return f"{name}:{self._clock.now_ms() + after_ms if expires else 0}"

    def _dial(self, conditions: Any, client: SimulatedClient) -> Link:
        node = self.random.choice(self.nodes)

        def accept(link: Link) -> Session | None:
            self.accepted[link] = node.broker
            return node.accept(link, binary=client.options.binary)

        return Link(self.loop, self.random, conditions, client, accept, self._wrote)

    def _wrote(self, link: Link, before_bytes: int, added_bytes: int) -> None:
        encoded_bytes_max = (
            self.plan.page_bytes_max * 7 // 2 + 600
        )  # a page of the smallest messages, in JSON
        follower = isinstance(link.peer, SimulatedClient) and bool(link.peer.followed)
        is_full = follower and before_bytes > link.conditions.high_bytes
        over = before_bytes + added_bytes > link.conditions.high_bytes + encoded_bytes_max
        if over or (is_full and added_bytes > ANSWER_BYTES_MAX):
            self.checker.fail("cost of a slow reader", f"{before_bytes} and {added_bytes} bytes")

    # Run ----------------------------------------------------------------------------------

    def run(self) -> Checker:
        """Live through the plan.

        Raises:
            Violation: a promise was not kept.
        """
        with narrowed(self.plan):
            try:
                self.loop.run_until_complete(self._live())
            except Deadlock as deadlock:
                self.checker.fail("livelock", str(deadlock))
            finally:
                self.loop.close()
        self._judge()
        return self.checker

    async def _live(self) -> None:
        self._build()
        if self.plan.ledger:
            self.publishers.append(Ledger(self))
        for publisher in self.publishers:
            publisher.start()
        for at_ms, fault in self.plan.faults:
            self.loop.after_ms(at_ms, strike, self, fault)
        if self.plan.erasing:
            for at_ms in range(0, self.plan.duration_ms, 150):
                self.loop.after_ms(at_ms, strike, self, "erase")
        if self.plan.clustered:
            for at_ms in range(0, self.plan.duration_ms, ACTS_EVERY_MS):
                self.loop.after_ms(at_ms, strike, self, "disconnect")
        await self._pass_ms(self.plan.duration_ms)
        await self._heal()
        if not self._failed():
            self.checker.check_end()

    async def _heal(self) -> None:
        """Mend everything, and wait until all is as it must be."""
        self.healed = True
        self.store.conditions = StoreConditions(
            self.plan.store.latency_ms_max, self.plan.store.page_messages_max
        )
        if not self.plan.bus_stays_bad:
            self.bus.conditions = BusConditions()
        for client in [*self.clients, *(p.client for p in self.publishers if isinstance(p, ClientPublisher))]:
            if client.link is not None:
                client.link.flow()
        deadline_ms = self.loop.now_ms + self._healing_ms_max()
        missing = "?"
        while missing and not self._failed():
            if self.loop.now_ms > deadline_ms:
                self.checker.fail("unseen after healing", missing)
            await self._pass_ms(POLL_MS)
            missing = await self._asked(self._missing())

    async def _asked(self, looking: Coroutine[Any, Any, str]) -> str:
        """What was found; or that a question was never answered, which would last for ever otherwise."""
        try:
            return await asyncio.wait_for(looking, SETTLING_MS / 1000)
        except TimeoutError:
            self.checker.fail("unanswered", "who looked for what is missing heard nothing")
            return ""

    def _healing_ms_max(self) -> int:
        """How long it takes to read everything, in the smallest pages, over the narrowest connection."""
        messages = [each for log in self.store.kept.streams.values() for each in log.messages]
        push_bytes = sum(len(each.data) + len(each.meta) + PUSH_BYTES_MAX for each in messages)
        read_ms_max = 2 * self.plan.store.latency_ms_max
        return SETTLING_MS + len(messages) * read_ms_max + push_bytes // min(WIDTHS)

    async def _missing(self) -> str:
        """What is not yet as it must be, or nothing."""
        for publisher in self.publishers:
            if publisher.busy():
                return f"{publisher.name} waits for an answer"
        if not self.store.up:
            return "the store is down"
        heads = await self.store.backend.heads(self.plan.channels)
        for client in self.clients:
            for followed in client.followed.values():
                head = heads.heads[followed.channel]
                epoch, offset = followed.position or ("", 0)
                newest = self._newest(followed.channel, head)
                if not followed.subscribed:
                    return f"{client.name} is not subscribed to {followed.channel}"
                level = epoch == heads.epoch and newest <= offset <= head.last
                if kind_of(followed.channel).stored and not level:
                    self._nudge(followed.channel)
                    standing = f"{followed.position} of {followed.channel}"
                    return f"{client.name} is at {standing}, not {heads.epoch} {head.last}"
        return self._ghosts() or await self._unseen()

    def _newest(self, channel: str, head: Head) -> int:
        """The newest offset that a reader can see."""
        log = self.store.kept.streams.get(channel)
        offset = head.last
        while log is not None and offset in log.erased:
            offset -= 1
        return offset

    def _nudge(self, channel: str) -> None:
        """Publish where readers may miss some: the next message tells them so."""
        nodes = [node for node in self.nodes if node.open]
        if kind_of(channel) is Kind.DROP and nodes and self.random.random() < 0.2:
            self._nudges += 1
            data = b'{"m":"nudge.%d"}' % self._nudges
            nodes[0].broker.publish(channel, data, lambda outcome: None)

    def _ghosts(self) -> str:
        for channel in self.plan.channels:
            true = sorted(client.id for client in self.clients if channel in client.followed)
            seen = sorted(id for node in self.nodes for id in node.broker.attendance.here(channel))
            if true != seen:
                return f"present in {channel}: {seen}, should be {true}"
        return ""

    async def _unseen(self) -> str:
        """Where nodes know of each other, whom one of them does not see, or sees though they are gone."""
        if not all(node.open for node in self.nodes):
            return "a node is still to come back"
        for node in self.nodes if self.plan.clustered else ():
            for channel in self.plan.channels:
                true = {client.id for client in self.clients if channel in client.followed}
                try:
                    seen = set(await node.broker.presence(channel))
                except GaplessError as error:
                    return f"presence: {error}"
                if true != seen:
                    return f"present in {channel} for a node: {seen}, should be {true}"
        return ""

    def is_within_reach(self, node: SimulatedNode, since_ms: int | None = None) -> bool:
        """Tell whether a node could hear the others, and they it, for so long that they know it lives."""
        since_ms = self.loop.now_ms if since_ms is None else since_ms
        return since_ms - self._out_of_reach_ms.get(node.broker, -FORGOTTEN_MS) >= FORGOTTEN_MS

    def _look_who_is_within_reach(self) -> None:
        for node in self.nodes:
            if node.store.cut_off or not self.store.up or self.bus.conditions.loss == 1 or not node.open:
                self._out_of_reach_ms[node.broker] = self.loop.now_ms

    async def _pass_ms(self, delay_ms: int) -> None:
        until_ms = self.loop.now_ms + delay_ms
        while self.loop.now_ms < until_ms and not self._failed():
            await self.loop.pass_ms(min(POLL_MS, until_ms - self.loop.now_ms))
            self._look_for_stranded()
            self._look_who_is_within_reach()

    def _look_for_stranded(self) -> None:
        """Fail where a reader that its node has passed, and whose socket has room, does not read on."""
        now_ms = self.loop.now_ms
        read_ms_max = 2 * self.plan.store.latency_ms_max + PATIENCE_MS
        places = [(each, each.offset) for each in self._passed_by()]
        self._standing = {place: self._standing.get(place, now_ms) for place in places}
        # Two reads, for the first may be in vain: it began before the socket was full for a while.
        for (stranded, offset), since_ms in self._standing.items():
            if now_ms - since_ms > 2 * read_ms_max:
                where = f"{stranded.reader.info.user} in {stranded.channel.name} at {offset}"
                self.checker.fail("stranded", f"{where} since {since_ms}, {stranded.channel.sent} was sent")

    def _passed_by(self) -> Iterator[Subscription]:
        for node in self.nodes:
            for channel in node.broker.hub.channels.values() if node.open else ():
                for each in channel.subscriptions:
                    waits = each.active and not each.level and not each.reader.paused
                    waits = waits and each not in node.broker.catch_up.held_up  # until the next check
                    if waits and each.offset <= channel.sent:
                        yield each

    def _failed(self) -> bool:
        for failure in self.loop.failures:
            error = failure.get("exception")
            self.checker.fail("crash", f"{failure['message']}: {error!r}")
        return self.checker.violation is not None

    def _judge(self) -> None:
        self._failed()
        if self.checker.violation is not None:
            violation = self.checker.violation
            for failure in self.loop.failures:
                violation.__cause__ = failure.get("exception")
            raise violation


class PlainTokens:
    """Stands in for tokens and their signature: `user:expiry`, of a subscription `user:expiry:channel`."""

    def ready(self, token: str, *, subscription: bool = False) -> None:
        """Nothing is fetched."""

    def connection(self, token: str, now_ms: int) -> Claims:
        user, expires_ms = token.split(":")
        if 0 < int(expires_ms) <= now_ms:
            raise TokenExpired("the token has expired")
        return Claims(user, int(expires_ms))

    def subscription(self, token: str, now_ms: int) -> SubscriptionClaims:
        user, expires_ms, channel = token.split(":", 2)
        if 0 < int(expires_ms) <= now_ms:
            raise TokenExpired("the token has expired")
        return SubscriptionClaims(user, channel, Grant(expires_ms=int(expires_ms)))


@contextmanager
def narrowed(plan: Plan) -> Iterator[None]:
    """Make the limits small, so that a few messages reach them, and gapless quiet."""
    reply_bytes_max = min(plan.page_bytes_max, SUBSCRIBED_BYTES)
    logging.disable(logging.WARNING)
    try:
        with (
            patch.object(hub, "PAGE_BYTES_MAX", plan.page_bytes_max),
            patch.object(hub, "TAIL_BYTES_MAX", plan.tail_bytes_max),
            patch.object(catch_up, "PAGE_BYTES_MAX", plan.page_bytes_max),
            patch.object(recovery, "SUBSCRIBED_BYTES_MAX", reply_bytes_max),
            patch.object(websocket, "FRAME_BYTES_MAX", FRAME_BYTES),
            patch.object(placing, "LOST_PER_TURN_MAX", 2),
        ):
            yield
    finally:
        logging.disable(logging.NOTSET)
