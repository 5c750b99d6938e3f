"""A shared store on another machine: slow, sometimes silent, and now and then an older copy of itself.

It keeps its promises by the model (`backends.memory`). What it adds is the network between it
and its nodes, outcomes that nobody hears of, restarts, and the rule of semantics 1 by which
a restart is found to have lost something: each node remembers the newest thing it acknowledged or read.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from itertools import islice
from random import Random
from typing import Any, Final, TypeVar

from msgspec import Struct

from gapless.backends import Options
from gapless.backends.memory import Backend, Kept
from gapless.core.errors import GaplessError, OutcomeUnknown, StoreError, Unavailable
from gapless.core.lineage import Fate, Generation
from gapless.core.stream import Done, Entry, Heads, Page, Position, Stored
from gapless.ports import Durability, Presence, Present, Statistics, Streams
from gapless.testing.clock import SimulatedClock
from gapless.testing.loop import VirtualLoop

__all__ = ["SimulatedStore", "StoreConditions", "StoreConnection"]

APPEND_DEADLINE_MS: Final = 10_000
PATIENCE_MS: Final = 700  # how long a node waits for an answer that does not come
SUSPECT_MS_MAX: Final = 2_000

Result = TypeVar("Result")
Outcome = Stored | GaplessError


class StoreConditions(Struct, frozen=True):
    """How good the store and the way to it are.

    `unavailable` is the chance that a call is refused, `unknown` that nobody hears what became of an append.
    """

    latency_ms_max: int = 5
    page_messages_max: int = 1000
    unavailable: float = 0.0
    unknown: float = 0.0


class SimulatedStore:
    """One store, whatever its incarnation. `committed` hears of each message as it is stored.

    `began` hears of each generation: its id, and the `Kept` it began with; `settled` of its id, its fate,
    and how many nodes reported.
    """

    def __init__(
        self,
        loop: VirtualLoop,
        random: Random,
        conditions: StoreConditions,
        *,
        committed: Callable[[Entry, Stored], object],
        began: Callable[[str, Kept], object],
        settled: Callable[[str, Fate, int], object],
        async_failover: bool = False,
    ) -> None:
        self.loop = loop
        self.random = random
        self.conditions = conditions
        self.kept = Kept()
        self.up = True
        self.connections: list[StoreConnection] = []
        self.generations: list[str] = []  # every one there ever was, in true order
        self._clock = SimulatedClock(loop)
        self._committed = committed
        self._began = began
        self._settled = settled
        self._async_failover = async_failover
        self.backend = self._open(Fate.CLEAN)

    def connect(self) -> "StoreConnection":
        """Return a new node's way to the store."""
        connection = StoreConnection(self)
        self.connections.append(connection)
        return connection

    # Incarnations -------------------------------------------------------------------------

    def copy(self) -> Kept:
        """Return what a backup taken now holds."""
        kept = self.kept
        streams = {
            name: replace(
                log,
                messages=list(log.messages),
                erased=dict(log.erased),
                lineage=list(log.lineage),
                keys=dict(log.keys),
                keyed={key: list(offsets) for key, offsets in log.keyed.items()},
            )
            for name, log in kept.streams.items()
        }
        return replace(
            kept,
            generations=list(kept.generations),
            streams=streams,
            due=list(kept.due),
            keys=dict(kept.keys),
            groups=dict(kept.groups),
        )

    def stop(self) -> None:
        """Die. What has not reached the store is not stored; some that has been stored is never answered."""
        self.up = False

    def start(self, kept: Kept | None = None) -> None:
        """Come back with what was stored, or with the older copy `kept`, as a new generation."""
        self.kept = kept if kept is not None else self.copy()
        self.up = True
        self.backend = self._open(Fate.SUSPECT)
        self.loop.after_ms(self.random.randint(0, SUSPECT_MS_MAX), self._settle, self.backend.epoch)

    def _open(self, fate: Fate) -> Backend:
        options = Options(now_ms=self._clock.now_ms, token=self._new_id)
        backend = Backend(options, self.kept, fate)
        self.generations.append(backend.epoch)
        self._began(backend.epoch, self.kept)
        return backend

    def _new_id(self) -> str:
        return f"{self.random.getrandbits(32):08x}"

    def _settle(self, epoch: str) -> None:
        """Decide what was lost since the last time, from what the living nodes remember.

        A generation that ended before it was settled is settled with its successor: it may be the one that
        lost something.
        """
        if self.backend.epoch != epoch:
            return
        generations = self.kept.generations
        reports = [report for connection in self.connections for report in connection.report(epoch)]
        lossy = {self._cut_by(*report) for report in reports}
        for index, each in enumerate(generations):
            if each.fate is Fate.SUSPECT:
                lost = each.id in lossy if reports else self._async_failover
                fate = Fate.LOSSY if lost else Fate.CLEAN
                generations[index] = Generation(each.id, each.cut_seq, fate)
                self._settled(each.id, fate, len(reports))

    def _cut_by(self, epoch: str, seq: int) -> str | None:
        """Return the generation that began without what a node had seen of `epoch`, if any."""
        generations = self.kept.generations
        order = [each.id for each in generations]
        if epoch not in order:
            later = self.generations[self.generations.index(epoch) :]
            return next(each for each in later if each in order)
        after = order.index(epoch) + 1
        return order[after] if after < len(order) and seq > generations[after].cut_seq else None

    def suspect(self) -> bool:
        """Tell whether it is not known yet what the newest generation lost."""
        return self.kept.generations[-1].fate is Fate.SUSPECT

    def commit(self, entries: list[Entry], answered: Callable[[list[tuple[Entry, Outcome]]], object]) -> None:
        """Append as one transaction; `answered` is told once it is done, if the store lives so long."""
        outcomes: list[tuple[Entry, Outcome]] = []
        epoch = self.backend.epoch

        def landed(entry: Entry, outcome: Outcome) -> None:
            if self.backend.epoch != epoch:
                return
            outcomes.append((entry, outcome))
            if type(outcome) is Stored and outcome.fresh and not entry.transient:
                self._committed(entry, outcome)
            if len(outcomes) == len(entries):
                answered(outcomes)

        for entry in entries:
            self.backend.append((entry,), lambda one, outcome: landed(one[0], outcome[0]))


class StoreConnection(Streams, Presence):
    """What one node has of a simulated store."""

    durability = Durability.DISK
    shared = True

    def __init__(self, store: SimulatedStore) -> None:
        self._witness: dict[str, int] = {}  # the newest thing seen of each generation, by its seq
        self.cut_off = False  # nothing gets through
        self._store = store
        self._loop = store.loop
        self._severed = False
        self._batch: list[tuple[Sequence[Entry], Done]] = []
        self._pending: set[asyncio.Future[Any]] = set()

    @property
    def epoch(self) -> str:  # type: ignore[override]
        """The current generation."""
        return self._store.backend.epoch

    def sever(self) -> None:
        """Answer nothing any more: the node is dead, and what it remembered with it."""
        self._severed = True
        self._store.connections.remove(self)

    # Appends ------------------------------------------------------------------------------

    def append(self, entries: Sequence[Entry], done: Done) -> None:
        """Append with all else that is appended in this tick."""
        if not self._batch:
            self._loop.call_soon(self._launch)
        self._batch.append((entries, done))

    def _launch(self) -> None:
        batch, self._batch = self._batch, []
        flight = Flight(self, batch)
        self._loop.after_ms(self._latency_ms(), flight.arrive)

    # Reads --------------------------------------------------------------------------------

    async def read(
        self,
        stream: str,
        *,
        after: Position | None = None,
        before: Position | None = None,
        limit_messages: int,
        limit_bytes: int,
        keyed: str | None = None,
    ) -> Page:
        """Read, a short page at times."""

        store = self._store

        async def work() -> Page:
            position = after or before
            if position is not None and position.epoch != store.backend.epoch and store.suspect():
                raise Unavailable("the store does not know yet whether it lost something")
            short = store.random.randint(1, store.conditions.page_messages_max)
            return await store.backend.read(
                stream,
                after=after,
                before=before,
                limit_messages=min(limit_messages, short),
                limit_bytes=limit_bytes,
                keyed=keyed,
            )

        return await self._call(work)

    async def heads(self, streams: Sequence[str]) -> Heads:
        """Tell where streams stand."""
        return await self._call(lambda: self._store.backend.heads(streams))

    async def find(self, stream: str, at_ms: int) -> Position:
        """Find a position by time."""
        return await self._call(lambda: self._store.backend.find(stream, at_ms))

    async def trim(self, stream: str, through: int) -> Heads:
        """Drop the beginning of a stream."""
        return await self._call(lambda: self._store.backend.trim(stream, through))

    async def erase(self, stream: str, offset: int) -> bool:
        """Remove one message."""
        return await self._call(lambda: self._store.backend.erase(stream, offset))

    async def last_keyed(self, stream: str, keyed: str) -> int:
        """Tell where a key's last message is."""
        return await self._call(lambda: self._store.backend.last_keyed(stream, keyed))

    async def compact_keys(self, stream: str, through: int) -> int:
        """Keep the last message of each key."""
        return await self._call(lambda: self._store.backend.compact_keys(stream, through))

    async def generations(self) -> list[Generation]:
        """List the incarnations."""
        return await self._call(self._store_generations)

    # Presence -----------------------------------------------------------------------------

    async def beat(self, node: str, ttl_ms: int) -> bool:
        """Let a node live."""
        return await self._call(lambda: self._store.backend.beat(node, ttl_ms))

    async def enter(self, node: str, entered: Sequence[Present]) -> None:
        """Note who came."""
        await self._call(lambda: self._store.backend.enter(node, entered))

    async def depart(self, node: str, departed: Sequence[tuple[str, str]]) -> None:
        """Note who went."""
        await self._call(lambda: self._store.backend.depart(node, departed))

    async def present(self, channel: str) -> dict[str, bytes]:
        """Tell who is there."""
        return await self._call(lambda: self._store.backend.present(channel))

    async def bury(self, limit: int) -> list[Present]:
        """Remove those whose node is gone."""
        return await self._call(lambda: self._store.backend.bury(limit))

    async def end(self, node: str) -> None:
        """End a node."""
        await self._call(lambda: self._store.backend.end(node))

    def statistics(self) -> Statistics:
        """Tell how the writer is doing."""
        return self._store.backend.statistics()

    async def close(self) -> None:
        """Let go."""
        if not self._severed:
            self.sever()

    def _store_generations(self) -> Coroutine[Any, Any, list[Generation]]:
        return self._store.backend.generations()

    async def _call(self, work: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
        """Do `work` at the store, a network away on either side."""
        store = self._store
        await self._pass_ms(self._latency_ms())
        if not store.up or self.cut_off:
            await self._pass_ms(self._up_to_ms(PATIENCE_MS))
            raise StoreError("the store does not answer")
        if store.random.random() < store.conditions.unavailable:
            raise StoreError("the store is busy")
        try:
            result = await work()
            seen = (store.backend.epoch, store.kept.seq)
        finally:
            await self._pass_ms(self._latency_ms())
        if not self.saw(*seen):
            raise StoreError("the connection to the store was lost")
        return result

    async def _pass_ms(self, delay_ms: int) -> None:
        """Wait; for ever if the node is dead by then."""
        passed: asyncio.Future[None] = self._loop.create_future()
        self._pending.add(passed)
        self._loop.after_ms(delay_ms, self._passed, passed)
        await passed

    def _passed(self, passed: "asyncio.Future[None]") -> None:
        if not self._severed:
            self._pending.discard(passed)
            if not passed.done():
                passed.set_result(None)

    def _latency_ms(self) -> int:
        return self._up_to_ms(self._store.conditions.latency_ms_max)

    def _up_to_ms(self, most_ms: int) -> int:
        return self._store.random.randint(0, most_ms)

    # What the node remembers --------------------------------------------------------------

    def saw(self, epoch: str, seq: int) -> bool:
        """Remember the newest thing that was acknowledged to this node, or read by it.

        False if that comes too late: the node has told already what it had seen of `epoch`, and may
        acknowledge or read no more of it.
        """
        if epoch != self._store.backend.epoch and not self._store.suspect():
            return False
        self._witness[epoch] = max(seq, self._witness.get(epoch, 0))
        return True

    def report(self, epoch: str) -> list[tuple[str, int]]:
        """Tell what was seen of the generations before `epoch`: each time, for a backup may not hold it."""
        return [(seen, seq) for seen, seq in self._witness.items() if seen != epoch]

    def answer(self, batch: list[tuple[Sequence[Entry], Done]], outcomes: list[Outcome]) -> None:
        """Tell the node what became of a batch, in order."""
        if not self._severed:
            answers = iter(outcomes)
            for entries, done in batch:
                done(entries, list(islice(answers, len(entries))))


class Flight:
    """One batch on its way to the store and back."""

    def __init__(self, connection: StoreConnection, batch: list[tuple[Sequence[Entry], Done]]) -> None:
        self._connection = connection
        self._batch = batch
        self._entries = [entry for entries, _ in batch for entry in entries]
        self._store = connection._store
        self._loop = connection._loop
        self._answered = False

    def arrive(self) -> None:
        """Meet the store, in whatever state it is."""
        store, random = self._store, self._store.random
        chance = random.random()
        if not store.up or self._connection.cut_off:
            self._fail_later(random.choice((OutcomeUnknown, StoreError)))
        elif chance < store.conditions.unavailable:
            self._fail_later(StoreError)
        elif chance < store.conditions.unavailable + store.conditions.unknown:
            self._fail_later(OutcomeUnknown)
            fate = random.randrange(3)
            if fate == 0:
                store.commit(self._entries, lambda outcomes: None)
            elif fate == 1:
                store.loop.after_ms(random.randint(0, APPEND_DEADLINE_MS), self._land_late)
        else:
            epoch = store.backend.epoch
            store.commit(self._entries, lambda outcomes: self._landed(epoch, outcomes))
            self._loop.after_ms(2 * PATIENCE_MS, self._give_up)

    def _land_late(self) -> None:
        if self._store.up:
            self._store.commit(self._entries, lambda outcomes: None)

    def _landed(self, epoch: str, outcomes: list[tuple[Entry, Outcome]]) -> None:
        seq = self._store.kept.seq
        told = [outcome for _, outcome in outcomes]
        self._loop.after_ms(self._connection._latency_ms(), self._told, epoch, seq, told)

    def _told(self, epoch: str, seq: int, outcomes: list[Outcome]) -> None:
        if not self._answered:
            if not self._connection.saw(epoch, seq):
                self._fail(OutcomeUnknown)
                return
            self._answered = True
            self._connection.answer(self._batch, outcomes)

    def _fail_later(self, error: type[StoreError]) -> None:
        delay_ms = self._connection._latency_ms()
        self._loop.after_ms(delay_ms, self._fail, error)

    def _give_up(self) -> None:
        """Answer at last, when the store died between the commit and its answer."""
        self._fail(OutcomeUnknown)

    def _fail(self, error: type[StoreError]) -> None:
        if not self._answered:
            self._answered = True
            self._connection.answer(self._batch, [error("the store did not answer") for _ in self._entries])
