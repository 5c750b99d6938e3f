"""Who publishes: clients that pipeline over their connection, and backends that retry with a key."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from gapless.core.errors import GaplessError, PositionConflict
from gapless.core.stream import Entry, Outcome, Position, Retention, Stored
from gapless.protocol.messages import Reply
from gapless.testing.simulated_client import Answer, SimulatedClient
from gapless.testing.simulator import SimulatedNode
from tests.simulation.checkers import Sent
from tests.simulation.plan import Kind, kind_of

if TYPE_CHECKING:
    from tests.simulation.world import World

BURST_MAX = 6
PAUSE_MS_MAX = 400
RETRY_MS_MAX = 300
TOO_MANY_REQUESTS = 111


class ClientPublisher:
    """Publishes over a connection, several messages at once, and never twice the same."""

    def __init__(self, world: "World", name: str, client: SimulatedClient) -> None:
        self.name = name
        self.client = client
        self._world = world
        self._count = 0

    def start(self) -> None:
        self.client.start()
        self._next()

    def busy(self) -> bool:
        return False

    def _next(self) -> None:
        world = self._world
        if world.healed:
            return
        channels = [channel for channel in _loud(world) if kind_of(channel) is not Kind.LIVE]
        if channels:
            self._burst(world.random.choice(channels))
        world.loop.after_ms(world.random.randint(1, PAUSE_MS_MAX), self._next)

    def _burst(self, channel: str) -> None:
        world, link = self._world, self.client.link
        many = []
        for _ in range(world.random.randint(1, BURST_MAX)):
            self._count += 1
            many.append(Sent(f"{self.name}.{self._count}", channel, origin=link, number=self._count))
        life = world.accepted.get(link) if link is not None else None
        answers: list[Answer] = [partial(self._answered, sent, life) for sent in many]
        if self.client.publish(channel, [body(world, sent.id) for sent in many], answers):
            world.checker.sent.update((sent.id, sent) for sent in many)

    def _answered(self, sent: Sent, life: object, reply: Reply | None) -> None:
        if reply is not None and reply.publish is not None:
            self._world.checker.acked(sent, life)
        elif reply is not None and reply.error is not None and reply.error.code == TOO_MANY_REQUESTS:
            sent.refused = True


class ApiPublisher:
    """A backend at some node's own interface. With a key it retries until it knows; without, it lets go."""

    def __init__(self, world: "World", name: str) -> None:
        self.name = name
        self._world = world
        self._count = 0
        self._waiting: dict[str, Sent] = {}  # keyed, and not known to be stored
        self._outstanding: dict[str, Sent] = {}  # without a key, not answered yet
        self._doomed: set[str] = set()
        self._origins: dict[object, object] = {}  # one connection to each life of a node

    def start(self) -> None:
        self._next()

    def busy(self) -> bool:
        return bool(self._waiting)

    def _next(self) -> None:
        world = self._world
        if world.healed:
            return
        channels = _loud(world)
        nodes = [node for node in world.nodes if node.open]
        if nodes and channels:
            channel = world.random.choice(channels)
            node = world.random.choice(nodes)
            keyed = world.random.random() < 0.4 and kind_of(channel) is not Kind.LIVE
            if world.random.random() < 0.2:
                self._broadcast(node, [channel for channel in channels if kind_of(channel).stored])
            for _ in range(world.random.randint(1, BURST_MAX)):
                self._publish(node, channel, keyed)
        world.loop.after_ms(world.random.randint(1, PAUSE_MS_MAX), self._next)

    def _publish(self, node: SimulatedNode, channel: str, keyed: bool) -> None:
        self._count += 1
        sent = Sent(f"{self.name}.{self._count}", channel, keyed=keyed, number=self._count)
        self._world.checker.sent[sent.id] = sent
        if keyed:
            data = body(self._world, sent.id)
            self._waiting[sent.id] = sent
            self._try(sent, data)
            return
        life = node.broker
        sent.origin = self._origins.setdefault(life, object())
        data = body(self._world, sent.id, **self._world.count(life, channel))
        self._outstanding[sent.id] = sent
        answer = partial(self._answered, sent, life)
        try:
            life.publish(channel, data, answer, origin=sent.origin)
        except GaplessError as error:
            answer(error)

    def _broadcast(self, node: SimulatedNode, channels: list[str]) -> None:
        """Publish to several channels in one call."""
        life = node.broker
        many, entries = [], []
        for channel in channels:
            self._count += 1
            sent = Sent(f"{self.name}.{self._count}", channel, number=self._count)
            self._world.checker.sent[sent.id] = sent
            many.append(sent)
            entries.append(life.entry(channel, body(self._world, sent.id)))

        def landed(entries: Sequence[Entry], outcomes: Sequence[Outcome]) -> None:
            for sent, outcome in zip(many, outcomes, strict=True):
                self._world.checker.answered(sent, outcome, life)

        if entries:
            life.append(entries, landed)

    def _answered(self, sent: Sent, life: object, outcome: Stored | GaplessError) -> None:
        self._outstanding.pop(sent.id, None)
        if isinstance(outcome, GaplessError):
            self._doomed.update(
                later.id
                for later in self._outstanding.values()
                if later.origin is sent.origin
                and later.channel == sent.channel
                and later.number > sent.number
            )
        elif sent.id in self._doomed:
            self._world.checker.fail("publisher's order", f"{sent.id} is stored, an earlier one failed")
        self._world.checker.answered(sent, outcome, life)

    def _try(self, sent: Sent, data: bytes) -> None:
        """Publish with the message's key, wherever a node is open, until it is known to be stored."""
        world = self._world
        nodes = [node for node in world.nodes if node.open]
        if not nodes:
            world.loop.after_ms(RETRY_MS_MAX, self._try, sent, data)
            return
        life = world.random.choice(nodes).broker
        attempt = partial(self._tried, sent, data, life)
        patience = world.loop.after_ms(5_000, attempt, None)

        def answer(outcome: Stored | GaplessError) -> None:
            patience.cancel()
            attempt(outcome)

        try:
            life.publish(sent.channel, data, answer, key=sent.id)
        except GaplessError as error:
            answer(error)

    def _tried(self, sent: Sent, data: bytes, life: object, outcome: Stored | GaplessError | None) -> None:
        if isinstance(outcome, Stored):
            if self._waiting.pop(sent.id, None) is not None:
                self._world.checker.answered(sent, outcome, life)
        elif sent.id in self._waiting:
            delay_ms = self._world.random.randint(1, RETRY_MS_MAX)
            self._world.loop.after_ms(delay_ms, self._try, sent, data)


class Ledger:
    """The one writer of a stream: it appends where the stream ends, and with a key, so that it may retry."""

    CHANNEL = "log:ledger"

    def __init__(self, world: "World") -> None:
        self.name = "ledger"
        self._world = world
        self._end: Position | None = None
        self._count = 0
        self._waiting: Entry | None = None

    def start(self) -> None:
        self._next()

    def busy(self) -> bool:
        return False

    def _next(self) -> None:
        world = self._world
        if world.healed:
            return
        nodes = [node for node in world.nodes if node.open]
        if nodes:
            if self._waiting is None:
                self._count += 1
                data = body(world, f"ledger.{self._count}")
                key = f"ledger.{self._count}"
                self._waiting = Entry(self.CHANNEL, data, Retention(), key=key, expected=self._end)
            attempt = self._waiting
            nodes[0].store.append((attempt,), lambda entries, outcomes: self._landed(attempt, outcomes[0]))
        world.loop.after_ms(world.random.randint(200, 900), self._next)

    def _landed(self, attempt: Entry, outcome: Outcome) -> None:
        if attempt is not self._waiting:
            return
        if isinstance(outcome, Stored):
            self._waiting, self._end = None, Position(outcome.epoch, outcome.offset)
        elif isinstance(outcome, PositionConflict):
            if attempt.key in self._world.checker.truth.current.timeline[self.CHANNEL].values():
                self._world.checker.fail("conflict with itself", f"{attempt.key} after {self._end}")
            self._waiting = self._end = None


def _loud(world: "World") -> list[str]:
    now_ms = world.loop.now_ms
    return [channel for channel in world.plan.channels if not world.plan.silent(channel, now_ms)]


def body(world: "World", id: str, **more: str | int) -> bytes:
    """A payload that names its message, of a random size."""
    padding = "x" * world.random.randint(0, world.plan.message_bytes_max)
    return msgspec.json.encode({"m": id, "x": padding, **more})
