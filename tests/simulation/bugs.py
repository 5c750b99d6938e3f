"""Known bugs (semantics 10), planted in memory. A checker that catches none of them proves nothing."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any
from unittest.mock import patch

from msgspec import structs

from gapless.backends import memory
from gapless.broker import broker as broker_module
from gapless.broker.broker import Broker
from gapless.broker.catch_up import CatchUp
from gapless.broker.channel import Channel, Subscription
from gapless.broker.hub import Hub
from gapless.broker.placing import Placing
from gapless.broker.presence import Attendance
from gapless.broker.recovery import Recovery, Start
from gapless.core.errors import GaplessError, PositionConflict, PositionLost
from gapless.core.keepalive import Action, Keepalive
from gapless.core.lineage import Fate, Generation, Link
from gapless.core.stream import Entry, Head, Message, Page, Position, Stored
from gapless.server.nodes.asking import Asking
from gapless.server.session import Session
from gapless.testing.simulated_store import SimulatedStore, StoreConnection
from tests.simulation import world as world_module
from tests.simulation.checkers import Violation
from tests.simulation.world import World

Planted = Callable[[], AbstractContextManager[object]]


@dataclass(frozen=True)
class Bug:
    """One bug: its name in semantics 10, and what plants it while its context lasts."""

    name: str
    plant: Planted
    first_seed: int = 0  # where looking for it pays, if it is seen rarely


BUGS: list[Bug] = []


def bug(name: str, first_seed: int = 0) -> Callable[[Planted], Planted]:
    """Register what plants the bug called `name`."""

    def register(plant: Planted) -> Planted:
        BUGS.append(Bug(name, plant, first_seed))
        return plant

    return register


def catch(bug: Bug, seeds: int) -> tuple[int, str] | None:
    """Run so many seeds with the bug planted; return the first that shows it, and the checker that did."""
    with bug.plant():
        for seed in range(bug.first_seed, bug.first_seed + seeds):
            try:
                World(seed).run()
            except Violation as violation:
                return seed, violation.checker
    return None


# Generations ----------------------------------------------------------------------------------


@bug("fixed epoch")
def _fixed_epoch() -> AbstractContextManager[object]:
    return patch.object(SimulatedStore, "_new_id", lambda self: "fixed")


@bug("generation as a stored counter")
def _stored_counter() -> AbstractContextManager[object]:
    return patch.object(SimulatedStore, "_new_id", lambda self: f"g{len(self.kept.generations)}")


@bug("no lineage bound")
def _no_lineage() -> AbstractContextManager[object]:
    def why_lost(position: Position, head: Head, generations: list[Generation], lineage: list[Link]) -> str:
        order = [generation.id for generation in generations]
        if position.epoch not in order or not head.floor <= position.offset <= head.last:
            return "it is not here"
        later = generations[order.index(position.epoch) + 1 :]
        return "lost" if any(generation.fate is Fate.LOSSY for generation in later) else ""

    return patch("gapless.backends.memory.streams.why_lost", why_lost)


@bug("floor forgotten")
def _floor_forgotten() -> AbstractContextManager[object]:
    real = memory.Backend._drop_forgotten

    def drop(self: memory.Backend, now_ms: int) -> None:
        floor = self._kept.floor
        real(self, now_ms)
        self._kept.floor = floor

    return patch.object(memory.Backend, "_drop_forgotten", drop)


@bug("witness ignored")
def _witness_ignored() -> AbstractContextManager[object]:
    return patch.object(SimulatedStore, "_cut_by", lambda self, epoch, seq: None)


@bug("every cut lossy")
def _every_cut_lossy() -> AbstractContextManager[object]:
    return patch.object(SimulatedStore, "_cut_by", lambda self, epoch, seq: self.backend.epoch)


@bug("generation checked only at connect")
def _checked_once() -> AbstractContextManager[object]:
    real = Placing.check_generation

    async def check(self: Placing) -> None:
        if not self.epoch:
            await real(self)

    return patch.object(Placing, "check_generation", check)


@bug("cut not pushed to live readers")
def _cut_not_pushed() -> AbstractContextManager[object]:
    return patch.object(Placing, "lose", lambda self, subscriptions: None)


@bug("healing compares offset, not generation")
def _healing_by_offset() -> AbstractContextManager[object]:
    async def check(self: Placing) -> None:
        current = (await self._store.generations())[-1].id
        self._generation_due = False
        self.epoch = current
        for channel in self._hub.channels.values():
            if channel.epoch:
                channel.epoch = current

    return patch.object(Placing, "check_generation", check)


@bug("an emptied store keeps the node's cache", first_seed=700)
def _cache_kept() -> AbstractContextManager[object]:
    def stand(self: Channel, epoch: str, offset: int) -> None:
        self.epoch = epoch
        self.live = self.sent = offset
        self.known = max(self.known, offset) if epoch else 0
        self.pending = []

    return patch.object(Channel, "stand", stand)


@bug("empty epoch accepted")
def _empty_epoch() -> AbstractContextManager[object]:
    real = Recovery.start

    async def start(self: Recovery, channel: Channel, wire: Any, since: Position | None) -> Start:
        if since is not None and not since.epoch:
            await self._placing.place(channel)
            since = Position(channel.epoch, since.offset)
        return await real(self, channel, wire, since)

    return patch.object(Recovery, "start", start)


# Appending ------------------------------------------------------------------------------------


@bug("fan-out before commit")
def _fan_out_early() -> AbstractContextManager[object]:
    real = Broker.publish

    def publish(self: Broker, channel: str, data: bytes, answer: Any, **options: Any) -> None:
        followed = self.hub.channels.get(channel)
        if followed is not None and followed.epoch:
            guess = Message(followed.live + 1, 0, data, options.get("meta", b""))
            self.catch_up.heard(followed, guess)
        real(self, channel, data, answer, **options)

    return patch.object(Broker, "publish", publish)


@bug("acknowledge before the store answers")
def _acknowledge_early() -> AbstractContextManager[object]:
    def publish(self: Broker, channel: str, data: bytes, answer: Any, **options: Any) -> None:
        real_publish(self, channel, data, lambda outcome: None, **options)
        answer(Stored(self.placing.epoch, 1, 0))

    real_publish = Broker.publish
    return patch.object(Broker, "publish", publish)


@bug("key in a second transaction")
def _key_later() -> AbstractContextManager[object]:
    real = memory.Backend._hold

    def hold(self: memory.Backend, entry: Entry, stored: Stored) -> None:
        self._loop.call_later(0.3, real, self, entry, stored)

    return patch.object(memory.Backend, "_hold", hold)


@bug("expected checked before key")
def _expected_first() -> AbstractContextManager[object]:
    real = memory.Backend.admit

    def admit(self: memory.Backend, entry: Entry, now_ms: int) -> Stored:
        if entry.expected is not None and entry.expected.offset != self._log(entry.stream, now_ms).last:
            raise PositionConflict("the stream does not end there")
        return real(self, entry, now_ms)

    return patch.object(memory.Backend, "admit", admit)


@bug("two appends in flight per stream")
def _no_lanes() -> AbstractContextManager[object]:
    return patch.object(broker_module, "in_lanes", lambda store: store.append)


# Reading --------------------------------------------------------------------------------------


@bug("await between last page and join")
def _await_before_join() -> AbstractContextManager[object]:
    real = CatchUp.advance

    def advance(self: CatchUp, subscription: Subscription) -> None:
        channel, reader = subscription.channel, subscription.reader
        self._hub.flush(channel)
        level = subscription.offset == channel.sent and not subscription.skipping
        if subscription.active and not subscription.level and not reader.paused and level:
            asyncio.get_running_loop().call_later(0.002, join, subscription)
        else:
            real(self, subscription)

    def join(subscription: Subscription) -> None:
        if subscription.active and not subscription.level and not subscription.reader.paused:
            subscription.channel.cohort(subscription.reader.wire).join(subscription)

    return patch.object(CatchUp, "advance", advance)


@bug("stale ring believed")
def _stale_ring() -> AbstractContextManager[object]:
    def rung(self: Broker, name: str, last: Position, message: Message | None) -> None:
        channel = self.hub.channels.get(name)
        if channel is not None and message is not None:
            self.catch_up.heard(channel, message)

    return patch.object(Broker, "_rung", rung)


@bug("a ring believed though it does not continue")
def _hole_in_the_ring() -> AbstractContextManager[object]:
    def heard(self: CatchUp, channel: Channel, message: Message) -> None:
        if channel.epoch and message.offset > channel.live:
            self._hub.take(channel, message)

    return patch.object(CatchUp, "heard", heard)


@bug("position set to the last message, not `through`")
def _position_of_message() -> AbstractContextManager[object]:
    real = CatchUp._page

    async def page(self: CatchUp, channel: Channel, after: Position) -> Page | None:
        read = await real(self, channel, after)
        if read is not None:
            read.through = read.messages[-1].offset if read.messages else read.after
        return read

    return patch.object(CatchUp, "_page", page)


@bug("trim mid-paging skipped silently")
def _trim_skipped() -> AbstractContextManager[object]:
    async def page(self: CatchUp, channel: Channel, after: Position) -> Page | None:
        read_on = partial(self._store.read, channel.name, limit_messages=1_000, limit_bytes=100_000)
        try:
            try:
                read = await read_on(after=after)
            except PositionLost:
                read = await read_on()
        except GaplessError:
            return None
        if read.epoch != channel.epoch:
            self._foreign()
            return None
        return read if read.through > after.offset else None

    return patch.object(CatchUp, "_page", page)


@bug("expired token keeps receiving pages")
def _expiry_ignored() -> AbstractContextManager[object]:
    real = Session.identify
    return patch.object(
        Session, "identify", lambda self, claims: real(self, structs.replace(claims, expires_ms=0))
    )


@bug("reply stands at the head after a recovery")
def _reply_at_head() -> AbstractContextManager[object]:
    real = Recovery.start_now

    def start_now(self: Recovery, channel: Channel, wire: Any, since: Position | None) -> Start | None:
        start = real(self, channel, wire, since)
        return start._replace(offset=start.through) if start is not None and start.recovered else start

    return patch.object(Recovery, "start_now", start_now)


@bug("who read ahead waits until its node is level", first_seed=51_075)
def _ahead_until_level() -> AbstractContextManager[object]:
    real = CatchUp._overtake

    def overtake(self: CatchUp, channel: Channel) -> None:
        if not channel.healing:
            real(self, channel)

    return patch.object(CatchUp, "_overtake", overtake)


@bug("a lost ring on a quiet channel is never noticed")
def _never_checked() -> AbstractContextManager[object]:
    return patch.object(Broker, "_check_later", lambda self: None)


# Slow readers, and those who share a wait -------------------------------------------------------


@bug("a slow reader stays in the cohort")
def _never_leaves() -> AbstractContextManager[object]:
    return patch.object(Hub, "stall", lambda self, reader: None)


@bug("what a slow reader missed is not counted")
def _not_counted() -> AbstractContextManager[object]:
    def skip(self: Hub, subscription: Subscription) -> None:
        subscription.skipping = False
        subscription.channel.cohort(subscription.reader.wire).join(subscription)

    return patch.object(Hub, "skip", skip)


@bug("a ping behind other bytes is late")
def _impatient() -> AbstractContextManager[object]:
    return patch.object(Keepalive, "_look_for_pong", lambda self, now_ms, buffered_bytes: Action.NO_PONG)


@bug("a pong after the socket drained is unasked for")
def _pong_refused() -> AbstractContextManager[object]:
    real = Keepalive.resumed

    def resumed(self: Keepalive, now_ms: int) -> None:
        real(self, now_ms)
        self._owed = 0

    return patch.object(Keepalive, "resumed", resumed)


@bug("who leaves while waiting takes the others' answer")
def _shared_wait() -> AbstractContextManager[object]:
    return patch.object(asyncio, "shield", lambda awaited: awaited)


@bug("a first page that outlasts the client's patience")
def _long_reply() -> AbstractContextManager[object]:
    return patch.object(world_module, "SUBSCRIBED_BYTES", 262_144)


@bug("a page for each of many channels, though the socket is full")
def _pages_at_once() -> AbstractContextManager[object]:
    return patch.object(Start, "bare", lambda self: self)


@bug("settled while the store asks about it: suspect taken for clean")
def _suspect_clean() -> AbstractContextManager[object]:
    return patch.object(SimulatedStore, "suspect", lambda self: False)


@bug("a node forgets what it acknowledged")
def _forgets() -> AbstractContextManager[object]:
    return patch.object(StoreConnection, "report", lambda self, epoch: [(epoch, 0)])


# Several nodes ---------------------------------------------------------------------------------


@bug("what the bus brings twice is passed on twice")
def _passed_on_twice() -> AbstractContextManager[object]:
    return patch.object(broker_module, "is_new", lambda highest, node, number: True)


@bug("a disconnect is answered before the other nodes have done it")
def _answered_early() -> AbstractContextManager[object]:
    async def everywhere(self: Asking, method: str, body: bytes) -> list[bytes]:
        return []

    return patch.object(Asking, "everywhere", everywhere)


@bug("who goes stays in the store's list")
def _never_departs() -> AbstractContextManager[object]:
    real = Attendance._change

    def change(self: Attendance, key: tuple[str, str], entry: bytes | None) -> None:
        if entry is not None:
            real(self, key, entry)

    return patch.object(Attendance, "_change", change)
