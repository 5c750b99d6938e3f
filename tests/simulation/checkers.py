"""What must never be seen, and what must be seen in the end (semantics 9), held against the truth.

The truth is what each generation of the store holds: `timelines`, copied at every restart from what that
restart began with, and written by the store's commits. Clients and publishers report what they live through.
"""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from gapless.backends.memory import Kept
from gapless.core.errors import GaplessError, OutcomeUnknown
from gapless.core.lineage import Fate
from gapless.core.stream import Entry, Stored
from gapless.protocol.messages import Publication, Push, SubscribeRequest, SubscribeResult
from gapless.testing.link import Link
from gapless.testing.simulated_client import Followed, SimulatedClient
from tests.simulation.plan import Kind, kind_of

if TYPE_CHECKING:
    from tests.simulation.world import World

SLOW_CODES = {3008, 3009, 3012}
WAKING_MS = 550  # a session is woken at the second turn of the wheel after its time, at the latest
DROPPED_TAG = "gapless-dropped"


@dataclass
class Violation(Exception):
    """A promise that was not kept: which checker saw it, when, and what it saw."""

    checker: str
    at_ms: int
    what: str

    def __str__(self) -> str:
        return f"{self.checker} at {self.at_ms} ms: {self.what}"


@dataclass
class Sent:
    """One message that somebody published, and what they were told of it."""

    id: str
    channel: str
    keyed: bool = False
    origin: object = None
    number: int = 0  # its place in what the origin sent
    refused: bool = False
    acked_in: str = ""  # the generation that stored it, once it was acknowledged
    life: object = None  # the node that acknowledged it, while it lived


@dataclass
class Generation:
    """One incarnation as it truly was."""

    id: str
    timeline: dict[str, dict[int, str]]
    parent: str | None  # the generation that it began from
    before: str | None  # the one that was there until it began, which may be another
    older: bool = False  # it began with less than there had been
    lossy: bool = False  # and some living node had acknowledged what was lost
    refusable: bool = False  # the store said that older positions do not hold
    witnessed: bool = True  # a node that lived through it reported


@dataclass
class Track:
    """What one client has read of one channel since it last was told that it lost something."""

    epoch: str = ""
    last: int = 0
    items: list[tuple[int, str]] = field(default_factory=list)
    passed: dict[int, int] = field(default_factory=dict)  # without history: the newest of each node
    told: bool = True  # nothing was promised yet
    present: set[str] = field(default_factory=set)


class Truth:
    """What the store held, generation by generation."""

    def __init__(self, fail: Callable[[str, str], None], sent: dict[str, Sent]) -> None:
        self.generations: dict[str, Generation] = {}
        self.order: list[str] = []
        self.stored: dict[str, set[str]] = defaultdict(set)
        self.stored_in: dict[str, str] = {}  # by message: the generation that stored it last
        self.committed_ms: dict[tuple[str, str, int], int] = {}
        self.floors: dict[str, int] = defaultdict(int)  # the highest there ever was
        self._updated_ms: dict[str, int] = {}
        self._seq: dict[tuple[str, int, str], int] = {}  # where the store stood when a message was stored
        self._values: dict[tuple[str, str, int], str] = {}
        self._fail = fail
        self._sent = sent

    @property
    def current(self) -> Generation:
        return self.generations[self.order[-1]]

    def began(self, epoch: str, kept: Kept) -> None:
        parent = kept.generations[-2].id if len(kept.generations) > 1 else None
        was = self.generations.get(epoch)
        if was is not None:  # only a planted bug gives an id twice: the same generation goes on, cut short
            parent = epoch
        timeline: dict[str, dict[int, str]] = defaultdict(dict)
        if parent is not None:
            for channel, held in self.generations[parent].timeline.items():
                timeline[channel] = {
                    offset: id for offset, id in held.items() if self._seq[channel, offset, id] <= kept.seq
                }
        older = bool(self.order) and (parent != self.order[-1] or not same(timeline, self.current.timeline))
        if was is not None:
            was.timeline = timeline
            return
        before = self.order[-1] if self.order else None
        self.generations[epoch] = Generation(epoch, timeline, parent, before, older)
        self.order.append(epoch)

    def committed(self, entry: Entry, stored: Stored, now_ms: int, ttl_ms: int, seq: int) -> None:
        id = id_of(entry.data)
        held = self.generations[stored.epoch].timeline[entry.stream]
        before = self._values.setdefault((stored.epoch, entry.stream, stored.offset), id)
        if before != id or stored.offset in held:
            where = f"{entry.stream} {stored.epoch}:{stored.offset}"
            self._fail("two values at one position", f"{where} was {before}, is {id}")
        self.expire(entry.stream, now_ms, ttl_ms)
        self._updated_ms[entry.stream] = now_ms
        held[stored.offset] = id
        self._seq[entry.stream, stored.offset, id] = seq
        self.stored[entry.stream].add(id)
        self.stored_in[id] = stored.epoch
        self.committed_ms[stored.epoch, entry.stream, stored.offset] = now_ms
        sent = self._sent.get(id)
        if sent is not None and sent.refused:
            self._fail("refused seen later", f"{id} was refused, and stands at {stored.offset}")

    def expire(self, channel: str, now_ms: int, ttl_ms: int) -> None:
        """Let a stream go whose time to live has passed."""
        updated_ms = self._updated_ms.get(channel)
        if ttl_ms and updated_ms is not None and now_ms - updated_ms >= ttl_ms:
            self.trimmed(channel, max(self.current.timeline[channel], default=0))

    def trimmed(self, channel: str, through: int) -> None:
        self.floors[channel] = max(self.floors[channel], through)

    def after(self, epoch: str, through: str) -> list[Generation]:
        """The generations that began after `epoch`, up to and with `through`."""
        start = self.order.index(epoch) + 1
        return [self.generations[id] for id in self.order[start : self.order.index(through) + 1]]

    def descent(self, epoch: str, through: str) -> list[Generation | None]:
        """The generations through which `through` comes from `epoch`; None among them if it does not."""
        descent: list[Generation | None] = []
        while through != epoch:
            descent.append(self.generations[through])
            parent = self.generations[through].parent
            if parent is None:
                return [*descent, None]
            through = parent
        return descent


class Checker:
    """Takes in all that happens, and keeps the first thing that must not."""

    def __init__(self, world: "World") -> None:
        self.plan = world.plan
        self.violation: Violation | None = None
        self.sent: dict[str, Sent] = {}
        self.tracks: dict[tuple[str, str], Track] = defaultdict(Track)
        self.truth = Truth(self.fail, self.sent)
        self.resumes = self.recovered = self.deliveries = self.told_lost = self.told_dropped = 0
        self.expires_ms: dict[str, int | None] = {}  # when a client's latest token does
        self.stall_excuses: set[object] = set()
        self.erased: set[tuple[str, int]] = set()  # what an author may have removed: such a hole is no skip
        self._world = world

    def _now_ms(self) -> int:
        return self._world.loop.now_ms

    def fail(self, checker: str, what: str) -> None:
        if self.violation is None:
            self.violation = Violation(checker, self._now_ms(), what)

    # The store ----------------------------------------------------------------------------

    def committed(self, entry: Entry, stored: Stored) -> None:
        kind = kind_of(entry.stream)
        seq = self._world.store.kept.seq
        self.truth.committed(entry, stored, self._now_ms(), self.plan.ttl_ms(kind), seq)
        self.truth.trimmed(entry.stream, stored.offset - self.plan.history_size(kind))

    def settled(self, epoch: str, fate: Fate, reports: int) -> None:
        """A generation's fate is known: it must be lossy if a living node acknowledged what is gone."""
        generation = self.truth.generations[epoch]
        generation.refusable = fate is Fate.LOSSY
        generation.witnessed = reports > 0
        alive = {id(life) for life in self._world.lives()}
        generation.lossy = any(
            sent.life is not None and id(sent.life) in alive and self._lost_by(generation, sent)
            for sent in self.sent.values()
        )

    def _lost_by(self, generation: Generation, sent: Sent) -> bool:
        if not sent.acked_in or sent.acked_in == generation.id:
            return False
        if sent.id in generation.timeline[sent.channel].values():
            return False
        earlier = [self.truth.generations[id] for id in (generation.parent, generation.before) if id]
        return any(sent.id in each.timeline[sent.channel].values() for each in earlier)

    # Publishers ---------------------------------------------------------------------------

    def answered(self, sent: Sent, outcome: Stored | GaplessError, life: object) -> None:
        """A publisher at a node's own interface was told what became of a message."""
        if isinstance(outcome, GaplessError):
            if not isinstance(outcome, OutcomeUnknown) and not sent.keyed:
                sent.refused = True
                if sent.id in self.truth.stored[sent.channel]:
                    self.fail("refused seen later", f"{sent.id} was refused, and is stored")
            return
        if kind_of(sent.channel) is Kind.LIVE:
            return
        held = self.truth.generations[outcome.epoch].timeline[sent.channel].get(outcome.offset)
        if held != sent.id:
            self.fail("acknowledged, not stored", f"{sent.id} at {outcome.offset} is {held}")
        self.acked(sent, life)

    def acked(self, sent: Sent, life: object) -> None:
        if kind_of(sent.channel) is not Kind.LIVE:
            if sent.id not in self.truth.stored[sent.channel]:
                self.fail("acknowledged, not stored", f"{sent.id} was acknowledged")
            sent.acked_in = self.truth.stored_in.get(sent.id, "")
            sent.life = life

    # Subscribers (testing.simulated_client.Observer) ------------------------------------------

    def subscribed(self, followed: Followed, request: SubscribeRequest, result: SubscribeResult) -> None:
        track = self.tracks[followed.client.name, followed.channel]
        track.present.clear()
        track.passed.clear()
        if not kind_of(followed.channel).stored:
            return
        if result.recoverable and result.epoch not in self.truth.generations:
            self.fail("epoch of no generation", f"{followed.channel} {result.epoch!r}")
            return
        cache = kind_of(followed.channel) is Kind.CACHE
        if request.recover and not request.epoch and request.offset and not cache:
            if result.recovered:
                self.fail("empty epoch accepted", f"{followed.client.name} in {followed.channel}")
            self.tracks[followed.client.name, followed.channel] = Track(result.epoch, result.offset)
        elif not request.recover:
            if result.publications:
                self.fail("unasked publications", f"{followed.channel} without a position")
            self.tracks[followed.client.name, followed.channel] = Track(result.epoch, result.offset)
        elif result.recovered:
            self._recovered(followed, track, request, result)
        else:
            self._refused(followed, track, request, result)

    def _recovered(
        self, followed: Followed, track: Track, request: SubscribeRequest, result: SubscribeResult
    ) -> None:
        self.recovered += 1
        where = f"{followed.client.name} in {followed.channel} from {request.epoch}:{request.offset}"
        if kind_of(followed.channel) is Kind.CACHE:
            track.epoch, track.last = result.epoch, result.offset
            return
        if result.offset != request.offset:
            self.fail("reply is not where the client stands", f"{where}, reply {result.offset}")
        for generation in self.truth.descent(request.epoch or result.epoch, result.epoch):
            if generation is None:
                self.fail("position of another timeline accepted", f"{where} in {result.epoch}")
            elif generation.lossy:
                self.fail("lost, unread and untold", f"{where}, though {generation.id} lost something")
        timeline = self.truth.generations[result.epoch].timeline[followed.channel]
        for offset, id in track.items:
            if offset <= request.offset and timeline.get(offset) != id:
                self.fail("wrong prefix accepted", f"{where}: {offset} was {id}, is {timeline.get(offset)}")
        track.epoch = result.epoch

    def _refused(
        self, followed: Followed, track: Track, request: SubscribeRequest, result: SubscribeResult
    ) -> None:
        self.told_lost += 1
        channel = followed.channel
        where = f"{followed.client.name} in {channel} from {request.epoch}:{request.offset}"
        if result.publications:
            self.fail("publications without recovery", where)
        self.truth.expire(channel, self._now_ms(), self.plan.ttl_ms(kind_of(channel)))
        later = self.truth.after(request.epoch, self.truth.order[-1]) if request.epoch else []
        grounded = {link.gen for link in self._world.store.kept.ground}  # where streams were forgotten last
        cut = any(each.older or each.refusable or each.id in grounded for each in later)
        if (
            request.epoch
            and not cut
            and request.offset >= self._floor(channel)
            and kind_of(channel) is not Kind.CACHE
        ):
            self.fail("false alarm", f"{where} was refused")
        if any(each.refusable and each.witnessed and not each.older for each in later):
            self.fail("false alarm", f"a clean restart was found lossy, {where}")
        self.tracks[followed.client.name, channel] = Track(result.epoch, result.offset)

    def _floor(self, channel: str) -> int:
        """Below it nothing can be told. Streams that are gone raise it for all that do not exist yet."""
        return max(self.truth.floors[channel], self._world.store.kept.floor)

    def published(self, followed: Followed, publication: Publication, written_ms: int | None) -> None:
        self.deliveries += 1
        kind = kind_of(followed.channel)
        track = self.tracks[followed.client.name, followed.channel]
        self._check_allowed(followed, written_ms)
        if kind is Kind.LIVE:
            self._passed_on(followed, track, publication)
            return
        where = f"{followed.client.name} in {followed.channel}, {track.epoch}:{publication.offset}"
        id = id_of(bytes(publication.data))
        if publication.offset <= track.last and followed.position is not None:
            self.fail("duplicate or disorder", f"{where} after {track.last}")
        dropped = int(publication.tags.get(DROPPED_TAG, 0))
        self.told_dropped += dropped
        skipped = range(track.last + 1, publication.offset)
        missed = sum((followed.channel, offset) not in self.erased for offset in skipped)
        if kind is not Kind.CACHE and missed != dropped:
            told = f", told of {dropped}" if dropped else ""
            self.fail("unannounced skip", f"{where} after {track.last}{told}")
        truth = self.truth.generations[track.epoch].timeline[followed.channel].get(publication.offset)
        if truth != id:
            self.fail("delivered what is not stored", f"{where} is {truth}, delivered {id}")
        committed_ms = self.truth.committed_ms.get((track.epoch, followed.channel, publication.offset))
        if written_ms is not None and committed_ms is not None and written_ms < committed_ms:
            self.fail("delivered before commit", where)
        track.last = publication.offset
        track.items.append((publication.offset, id))

    def _passed_on(self, followed: Followed, track: Track, publication: Publication) -> None:
        """Without history: in order per publishing node, once; on a single node what was dropped adds up."""
        body = msgspec.json.decode(bytes(publication.data))
        life, number = body["life"], body["n"]
        dropped = int(publication.tags.get(DROPPED_TAG, 0))
        self.told_dropped += dropped
        last = track.passed.get(life)
        where = f"{followed.client.name} in {followed.channel}"
        if last is not None and number <= last:
            self.fail("passed on twice, or out of order", f"{where}: {number} after {last} of {life}")
        if last is not None and self.plan.nodes == 1 and number != last + 1 + dropped:
            self.fail(
                "dropped does not add up",
                f"{where}: {number} after {last}, told of {dropped}",
            )
        track.passed[life] = number

    def _check_allowed(self, followed: Followed, written_ms: int | None) -> None:
        expires_ms = self.expires_ms.get(followed.client.name)
        if expires_ms is not None and written_ms is not None:
            late_ms = written_ms - expires_ms - self.plan.expired_close_delay_ms
            if late_ms > WAKING_MS:
                self.fail("unauthorised page", f"{followed.client.name}, {late_ms} ms after its time")

    def joined_or_left(self, followed: Followed, push: Push) -> None:
        track = self.tracks[followed.client.name, followed.channel]
        info = (push.join or push.leave).info if (push.join or push.leave) else None  # type: ignore[union-attr]
        if info is None:
            return
        if push.join is not None:
            heard_all = followed.client.link and not followed.client.link.slow and self.plan.nodes == 1
            if info.client in track.present and heard_all:
                self.fail("joined twice", f"{info.client} in {followed.channel}")
            track.present.add(info.client)
        else:
            track.present.discard(info.client)

    def refused(self, followed: Followed, code: int, temporary: bool) -> None:
        if not temporary:
            self.fail("refused for good", f"{followed.client.name} in {followed.channel}: error {code}")

    def unanswered(self, followed: Followed, link: Link) -> None:
        """A subscribe command had no answer in time: only a bad connection or a dead node may do that."""
        alive = self._world.accepted.get(link) in self._world.lives()
        if alive and link not in self.stall_excuses and not link.slow and not link.conditions.bytes_per_ms:
            self.fail("unanswered", f"{followed.client.name} in {followed.channel}")

    def unsubscribed(self, followed: Followed, code: int) -> None:
        if code != 2500:
            self.fail("refused for good", f"{followed.client.name} in {followed.channel}: {code}")
        self._world.jolt(followed.client)

    def closed(self, client: SimulatedClient, code: int) -> None:
        if code == 3004 or 3500 <= code < 4000:
            self.fail("closed for no reason", f"{client.name}: {code}")
        if code in SLOW_CODES and client.link not in self.stall_excuses:
            self.fail("slow reader cut off", f"{client.name}: {code}")

    # The end ------------------------------------------------------------------------------

    def check_end(self) -> None:
        """Everything was healed and is quiet: nothing may be missing."""
        for id, sent in self.sent.items():
            if sent.acked_in and kind_of(sent.channel).stored:
                self._check_kept(id, sent)
        self._check_keys()
        self._check_order()

    def _check_kept(self, id: str, sent: Sent) -> None:
        if id in self.truth.current.timeline[sent.channel].values():
            return
        later = self.truth.after(sent.acked_in, self.truth.order[-1])
        if not any(generation.older for generation in later):
            self.fail("lost", f"{id} of {sent.channel} was acknowledged in {sent.acked_in}")

    def _check_keys(self) -> None:
        for channel, timeline in self.truth.current.timeline.items():
            ids = list(timeline.values())
            doubles = {id for id in ids if ids.count(id) > 1} if len(set(ids)) < len(ids) else set()
            if doubles:
                self.fail("one key, two messages", f"{sorted(doubles)} in {channel}")

    def _check_order(self) -> None:
        last: dict[tuple[int, str], tuple[int, str]] = {}
        for channel, timeline in self.truth.current.timeline.items():
            for offset in sorted(timeline):
                sent = self.sent.get(timeline[offset])
                if sent is None or sent.keyed or not sent.acked_in or sent.origin is None:
                    continue
                place = (id(sent.origin), channel)
                if place in last and last[place][0] > sent.number:
                    self.fail("publisher's order", f"{last[place][1]} before {sent.id} in {channel}")
                last[place] = (sent.number, sent.id)


def same(one: dict[str, dict[int, str]], other: dict[str, dict[int, str]]) -> bool:
    """Whether two timelines hold the same; a channel without messages is no channel."""
    return {c: held for c, held in one.items() if held} == {c: held for c, held in other.items() if held}


def id_of(data: bytes) -> str:
    """A message's name, from its payload."""
    body: dict[str, Any] = msgspec.json.decode(data)
    return str(body["m"])
