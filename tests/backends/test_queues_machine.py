"""Hypothesis drives the queues of each backend beside the model's: both answer alike whatever is done."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from gapless.core.errors import GaplessError
from gapless.core.jobs import (
    Claimed,
    Deed,
    Emit,
    Job,
    Lease,
    OnDead,
    QueueOptions,
    Schedule,
    Settlement,
    State,
)
from gapless.core.retry import Retry
from gapless.core.stream import Position
from gapless.testing.conformance import Place
from gapless.testing.conformance.places import entry
from tests.backends.conftest import PLACES, MemoryPlace

Answer = TypeVar("Answer")

EPOCH = "[0-9a-f]{16}"
QUEUES = st.sampled_from(["q", "q", "q", "p"])
WORKERS = st.sampled_from(["v", "w"])
STATES = st.sampled_from([State.WAITING, State.LEASED, State.DEAD, State.DONE])
WAITS_MS = st.sampled_from([1, 9, 10, 40, 60, 99, 100, 150, 1_000, 1_000, 3_600_000, 25 * 3_600_000])
NUMBERS = st.integers(0, 15)
SELECTIONS = st.one_of(st.none(), st.lists(NUMBERS, max_size=3))
OPTIONS = st.builds(
    QueueOptions,
    retry=st.sampled_from(
        [
            Retry(attempts_max=2, base_ms=20, cap_ms=60),
            Retry(attempts_max=1),
            Retry(attempts_max=4, delays_ms=(0, 40)),
        ]
    ),
    lease_ms=st.sampled_from([100, 1_000]),
    in_flight_max=st.sampled_from([0, 0, 2]),
    in_flight_per_worker_max=st.sampled_from([0, 0, 1]),
    ordered=st.sampled_from([True, True, False]),
    fair=st.sampled_from([False, False, True]),
    on_dead=st.sampled_from(OnDead),
    result_ms=st.sampled_from([0, 0, 50]),
    dead_ms=st.sampled_from([0, 0, 60]),
    waiting_max=st.sampled_from([0, 0, 4]),
)


@st.composite
def jobs(draw: st.DrawFn) -> Job:
    unique = draw(st.sampled_from([None, None, None, "u"]))
    return Job(
        draw(st.sampled_from([*"qqqqqqqqqpp", "none"])),
        draw(st.sampled_from([b"x", b"x", b"yy"])),
        headers=draw(st.sampled_from([b"", b"{}"])),
        key=draw(st.sampled_from([None, "a", "a", "b"])),
        priority=draw(st.sampled_from([*[0] * 9, 5, 5, 9, 10])),
        delay_ms=draw(st.sampled_from([0, 0, 0, 10, 150])),
        expires_ms=draw(st.sampled_from([0, 0, 0, 10, 120])),
        message_id=draw(st.sampled_from([None, None, None, "m", "n"])),
        unique=unique,
        unique_ms=draw(st.sampled_from([0, 40])) if unique else 0,
    )


BATCHES = st.lists(st.lists(jobs(), max_size=4), min_size=1, max_size=4)
EMITS = st.lists(
    st.one_of(
        jobs(),
        st.tuples(
            st.sampled_from(["s", "t"]),
            st.sampled_from([b"x", b"y"]),
            st.sampled_from([None, None, "k"]),
            st.sampled_from([None, None, 0, 1, 2]),
        ),
    ),
    max_size=3,
)
# Which claim, how it ends, and what is emitted.
SETTLEMENTS = st.tuples(
    NUMBERS,
    st.sampled_from([Deed.ACK, Deed.ACK, Deed.RETRY, Deed.RETRY, Deed.RELEASE, Deed.BURY]),
    st.sampled_from([None, None, 0, 30]),
    st.one_of(st.just([]), st.just([]), EMITS),
)


class Side:
    """One store with a loop of its own; jobs and leases go by the order of first sight."""

    def __init__(self, place: Place, *, restarts: bool) -> None:
        self.place = place
        self.restarts = restarts
        place.options["chance"] = lambda: 0.5
        self.loop = asyncio.new_event_loop()
        self.ids: list[str] = []
        self.fences: list[str] = []
        self.claims: list[Claimed] = []
        self.open()

    def open(self) -> None:
        self.store: Any = self.run(self.place.open())

    def run(self, awaitable: Awaitable[Answer]) -> Answer:
        return self.loop.run_until_complete(awaitable)

    def close(self) -> None:
        self.run(self.store.close())

    def answer(self, call: Callable[["Side"], Awaitable[Any]]) -> Any:
        if self.restarts:
            self.close()
            self.open()
        try:
            answer = self.run(call(self))
        except GaplessError as error:
            return type(error)
        if isinstance(answer, list):
            self.claims += [one for one in answer if isinstance(one, Claimed)]
        return self.told(answer)

    def told(self, answer: Any) -> Any:
        """What an answer says, with ids and fences by their number, and one epoch as good as another."""
        if isinstance(answer, GaplessError):
            return type(answer)
        if isinstance(answer, list | tuple) and type(answer) in (list, tuple):
            return [self.told(one) for one in answer]
        text = re.sub(r"fence_number=\d+", "", repr(answer))
        text = re.sub(rf"\d+-{EPOCH}", lambda found: f"job {_number(self.ids, found[0])}", text)
        text = re.sub(rf"{EPOCH}:\d+", lambda found: f"fence {_number(self.fences, found[0])}", text)
        return re.sub(EPOCH, "epoch", text)

    def id(self, number: int) -> str:
        """A job by its number, the youngest first; one of them never was."""
        return [*self.ids, "none"][-1 - number % (len(self.ids) + 1)]

    def selected(self, numbers: list[int] | None) -> list[str] | None:
        return None if numbers is None else [self.id(number) for number in numbers]

    def claim(self, number: int) -> Lease:
        """One of the last leases."""
        if not self.claims:
            return Lease(self.id(number), "none")
        claimed = self.claims[-1 - number % min(len(self.claims), 6)]
        return Lease(claimed.id, claimed.fence)

    def settlement(self, number: int, deed: Deed, delay_ms: int | None, emits: list[Any]) -> Settlement:
        lease = self.claim(number)
        emit = [self.emit(one, deed) for one in emits]
        return Settlement(
            lease.id, lease.fence, deed, delay_ms, result=b"r", reason="why", details="how", emit=emit
        )

    def emit(self, one: Any, deed: Deed) -> Emit:
        if isinstance(one, Job):
            # Whether a retry that is the last frees the name before is left open.
            unique = one.unique if deed in (Deed.ACK, Deed.BURY) else None
            return Job(one.queue, one.data, key=one.key, message_id=one.message_id, unique=unique)
        stream, data, key, expected = one
        position = None if expected is None else Position(self.store.epoch, expected)
        return entry(stream, data, key=key, expected=position)


def _number(seen: list[str], name: str) -> int:
    if name not in seen:
        seen.append(name)
    return seen.index(name)


class Machine(RuleBasedStateMachine):
    """The same calls to the model and to a backend; memory is restarted before each."""

    name = ""

    @initialize(options=OPTIONS, batches=BATCHES)
    def begin(self, options: QueueOptions, batches: list[list[Job]]) -> None:
        self.folder = TemporaryDirectory()
        place = PLACES[self.name](Path(self.folder.name))
        self.sides = [
            Side(MemoryPlace(), restarts=False),
            Side(place, restarts=self.name == "memory"),
        ]
        self.both(lambda side: side.store.declare("q", options))
        self.both(lambda side: side.store.declare("p", QueueOptions()))
        self.enqueue(batches)

    def both(self, call: Callable[[Side], Awaitable[Any]]) -> Any:
        model, backend = (side.answer(call) for side in self.sides)
        assert backend == model, (model, backend)
        return model

    @rule(queue=QUEUES, options=OPTIONS)
    def declare(self, queue: str, options: QueueOptions) -> None:
        self.both(lambda side: side.store.declare(queue, options))

    @rule(batches=BATCHES)
    def enqueue(self, batches: list[list[Job]]) -> None:
        self.both(lambda side: side.store.enqueue(batches))

    @rule(
        queue=QUEUES,
        worker=WORKERS,
        limit=st.integers(1, 5),
        lease_ms=st.sampled_from([0, 0, 150]),
        request=st.sampled_from(["", "", "r"]),
    )
    def claim(self, queue: str, worker: str, limit: int, lease_ms: int, request: str) -> None:
        self.both(
            lambda side: side.store.claim(
                queue, worker=worker, limit=limit, lease_ms=lease_ms, request=request
            )
        )

    @rule(
        queue=QUEUES,
        worker=WORKERS,
        settlements=st.lists(SETTLEMENTS, min_size=1, max_size=4),
        ms=st.sampled_from([0, 0, 0, 30, 99, 100]),
        turns=st.integers(1, 3),
    )
    def work(self, queue: str, worker: str, settlements: list[Any], ms: int, turns: int) -> None:
        """Claim, and settle what was claimed before its lease ends, or just then."""
        for _ in range(turns):
            self.both(lambda side: side.store.claim(queue, worker=worker, limit=len(settlements)))
            self.wait(ms)
            asked = [(number, *rest) for number, (_, *rest) in enumerate(settlements)]
            self.settle_once(asked)

    @rule(settlements=st.lists(SETTLEMENTS, min_size=1, max_size=4), times=st.sampled_from([1, 1, 2]))
    def settle(self, settlements: list[Any], times: int) -> None:
        for _ in range(times):
            self.settle_once(settlements)

    def settle_once(self, settlements: list[Any]) -> None:
        self.both(lambda side: side.store.settle([side.settlement(*one) for one in settlements]))

    @rule(numbers=st.lists(NUMBERS, min_size=1, max_size=3), lease_ms=st.sampled_from([100, 400]))
    def extend(self, numbers: list[int], lease_ms: int) -> None:
        self.both(lambda side: side.store.extend([side.claim(number) for number in numbers], lease_ms))

    @rule(number=NUMBERS, remove=st.booleans())
    def look_or_cancel(self, number: int, remove: bool) -> None:
        self.both(
            lambda side: (side.store.cancel if remove else side.store.look)(side.id(number)),
        )

    @rule(queue=QUEUES, state=STATES, after=st.one_of(st.none(), NUMBERS), limit=st.integers(1, 4))
    def browse(self, queue: str, state: State, after: int | None, limit: int) -> None:
        self.both(
            lambda side: side.store.browse(
                queue, state, after="" if after is None else side.id(after), limit=limit
            )
        )

    @rule(
        queue=QUEUES, numbers=SELECTIONS, limit=st.integers(1, 3), data=st.sampled_from([None, None, b"new"])
    )
    def redrive(self, queue: str, numbers: list[int] | None, limit: int, data: bytes | None) -> None:
        self.both(
            lambda side: side.store.redrive(
                queue, side.selected(numbers), limit=limit, data=data, audit=entry("audit")
            )
        )

    @rule(queue=QUEUES, state=STATES, numbers=SELECTIONS, limit=st.integers(1, 3))
    def purge(self, queue: str, state: State, numbers: list[int] | None, limit: int) -> None:
        self.both(
            lambda side: side.store.purge(
                queue, state, side.selected(numbers), limit=limit, audit=entry("audit")
            )
        )

    @rule(queue=QUEUES, which=st.integers(0, 7), spec=st.sampled_from([b"1", b"2"]))
    def administer(self, queue: str, which: int, spec: bytes) -> None:
        deeds: list[Callable[[Any], Awaitable[Any]]] = [
            lambda store: store.pause(queue, paused=True),
            lambda store: store.pause(queue, paused=False),
            lambda store: store.pause(queue, paused=False),
            lambda store: store.drop("p"),
            lambda store: store.unschedule("s"),
        ]
        if which < len(deeds):
            self.both(lambda side: deeds[which](side.store))
        else:
            self.both(lambda side: side.store.schedule(Schedule("s", queue, spec, 0)))

    @rule(spec=st.sampled_from([b"1", b"2"]), ahead_ms=st.integers(-2, 1), batch=st.lists(jobs(), max_size=2))
    def fire(self, spec: bytes, ahead_ms: int, batch: list[Job]) -> None:
        self.both(lambda side: side.store.fire("s", spec, side.place.time_ms + ahead_ms, batch))

    @rule(ms=WAITS_MS)
    def wait(self, ms: int) -> None:
        for side in self.sides:
            side.place.time_ms += ms

    @rule(queue=QUEUES)
    def sleep_as_long_as_nothing_is_due(self, queue: str) -> None:
        """What is left after a claim of everything cannot be claimed before either says that it may be."""
        while self.claims_all(queue):
            pass
        now_ms = self.sides[0].place.time_ms
        due_ms = [side.run(self.next_due(side, queue)) for side in self.sides]
        assert all(one is None or one > now_ms for one in due_ms)
        latest_ms = max(now_ms + 50_000 if one is None else one for one in due_ms)
        for side in self.sides:
            side.place.time_ms = latest_ms - 1
        assert not self.claims_all(queue)

    def claims_all(self, queue: str) -> bool:
        claimed = self.both(lambda side: side.store.claim(queue, worker="w", limit=9))
        return isinstance(claimed, list) and bool(claimed)

    async def next_due(self, side: Side, queue: str) -> int | None:
        try:
            due_ms: int | None = await side.store.next_due_ms(queue)
        except GaplessError:
            return None
        return due_ms

    @rule()
    def reopen(self) -> None:
        for side in self.sides:
            side.close()
            side.open()

    @invariant()
    def both_stand_alike(self) -> None:
        for queue in ("q", "p"):
            for state in (State.WAITING, State.LEASED, State.DEAD, State.DONE):
                self.both(partial(self.all_of, queue, state))
        self.both(lambda side: side.store.heads(["s", "t", "audit"]))
        self.both(lambda side: side.store.schedules())
        self.both(self.counted)

    async def all_of(self, queue: str, state: State, side: Side) -> Any:
        return await side.store.browse(queue, state, limit=1_000)

    async def counted(self, side: Side) -> list[str]:
        """What is counted since the store was opened begins anew where it restarts."""
        told = repr(await side.store.queues())
        restarts = any(side.restarts for side in self.sides)
        return [re.sub(r", enqueued=.*?died=\d+", "", told) if restarts else told]

    def teardown(self) -> None:
        for side in getattr(self, "sides", ()):
            side.close()
            side.loop.close()
        if hasattr(self, "folder"):
            self.folder.cleanup()


@pytest.mark.parametrize("name", PLACES)
def test_queues_answer_as_the_models_do(name: str) -> None:
    machine = type(f"Machine_{name}", (Machine,), {"name": name})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=60,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
