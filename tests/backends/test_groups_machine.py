"""Hypothesis drives groups on each backend beside the model, and holds both against what groups promise."""

from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from gapless.core.errors import GaplessError, PositionConflict
from gapless.core.groups import Assigned, Commit, Held
from gapless.core.stream import Position
from gapless.ports import Store
from gapless.testing.conformance.places import entry, put
from tests.backends.rewinding import REWINDING, Rewinding
from tests.backends.test_machine import Side

SOURCE, GROUP = "s", "g"
LANES = ["s/0", "s/1", "s/2"]
MEMBERS = "abc"
FOREVER_MS = 1 << 62

LANE = st.sampled_from(LANES)
MEMBER = st.sampled_from(MEMBERS)
PARTITION = st.integers(0, 2)
# Which opening of the store, counted back from the last, and the offset.
POSITION = st.tuples(st.integers(-2, 0), st.integers(0, 6))


class Reading(Side):
    """One store, what its members were told, and what has to be true of it."""

    store: Store
    place: Rewinding

    def __init__(self, place: Rewinding) -> None:
        super().__init__(place)
        self.told_of: deque[tuple[str, Held]] = deque(maxlen=20)
        self.owners: dict[str, tuple[str, int]] = {}
        self.believed: dict[str, Assigned] = {}
        self.void: set[str] = set()  # fences from before a seek
        self.until_ms: dict[str, int] = {}  # of sessions
        self.out = 0
        self.out_kept: int | None = None

    def call(self, awaitable: Awaitable[Any]) -> Any:
        """What is answered, as both sides can say it."""
        try:
            return self.told(self.run(awaitable))
        except GaplessError as error:
            return type(error)

    def heartbeat(self, member: str, session_ms: int) -> Any:
        assigned = self.run(self.store.heartbeat(SOURCE, GROUP, member, partitions=3, session_ms=session_ms))
        self.believed[member] = assigned
        self.until_ms[member] = assigned.session_until_ms
        for held in assigned.held:
            owner = self.owners.setdefault(held.fence, (member, held.partition))
            assert owner == (member, held.partition), "one fence for two holds"
            if (member, held) not in self.told_of:
                self.told_of.append((member, held))
        return self.told(assigned)

    def check_beliefs(self) -> None:
        """Members whose sessions last never believe that they hold the same."""
        now_ms = self.place.time_ms
        lasting = [one for one in self.believed.values() if one.session_until_ms > now_ms]
        believed = [held.partition for assigned in lasting for held in assigned.held]
        assert len(believed) == len(set(believed)), "two members at one partition"

    def positions(self) -> dict[int, Position]:
        infos = self.run(self.store.groups(SOURCE))
        return infos[0].positions if infos else {}

    def stands(self, partition: int) -> int:
        at = self.positions().get(partition)
        return at.offset if at else 0

    def send(self, member: str, commits: list[Commit]) -> list[Any]:
        return self.run(self.store.commit(SOURCE, GROUP, member, commits, streams=LANES))

    def commit(self, member: str, held: Held, position: Position, *, emits: bool) -> Any:
        before = self.positions().get(held.partition)
        emit = [entry("out")] if emits else []
        commit = Commit(held.partition, held.fence, position, emit)
        [answer] = self.send(member, [commit])
        after = self.positions().get(held.partition)
        if isinstance(answer, tuple):
            self.out += len(answer)
            self.check_may(member, held.fence)
        if after != before:
            assert answer == () or emits, "moved by a commit that was refused"
            self.check_moved(LANES[held.partition], before, after)
        return self.told(answer)

    def check_moved(self, lane: str, before: Position | None, after: Position | None) -> None:
        head = self.run(self.store.heads([lane])).heads[lane]
        assert after is not None
        assert 0 <= after.offset <= head.last, "a commit above the head"
        assert before is None or after.offset >= before.offset, "a commit backwards"

    def check_may(self, member: str, fence: str) -> None:
        """What makes a commit acceptable, whatever it commits."""
        assert self.owners[fence][0] == member, "a commit by the fence of another"
        assert self.until_ms.get(member, FOREVER_MS) > self.place.time_ms, "a commit after the session"
        assert fence not in self.void, "a commit that was on its way when a seek came"

    def check_holders(self) -> None:
        """Whoever may commit may also repeat the last commit; at most one member at each partition may."""
        positions = self.positions()
        told = [held for _, held in self.told_of if held.partition in positions]
        commits = [Commit(held.partition, held.fence, positions[held.partition]) for held in told]
        accepted: dict[int, set[str]] = {}
        for member in MEMBERS:
            for held, answer in zip(told, self.send(member, commits), strict=True):
                if answer == ():
                    self.check_may(member, held.fence)
                    self.check_bounds(member, held, positions[held.partition])
                    accepted.setdefault(held.partition, set()).add(held.fence)
        assert all(len(fences) == 1 for fences in accepted.values()), "two may commit in one partition"

    def check_bounds(self, member: str, held: Held, stands: Position) -> None:
        """Not even the holder commits backwards, or above the head."""
        lane = LANES[held.partition]
        # A seek may have led beyond the end.
        above = max(self.run(self.store.heads([lane])).heads[lane].last, stands.offset) + 1
        for wrong in (Position(stands.epoch, stands.offset - 1), Position(self.store.epoch, above)):
            [answer] = self.send(member, [Commit(held.partition, held.fence, wrong)])
            assert isinstance(answer, PositionConflict), "a commit backwards, or above the head"

    def check_emitted(self) -> None:
        assert self.run(self.store.heads(["out"])).heads["out"].last == self.out

    def restart(self, between: Callable[[], None] = lambda: None) -> None:
        self.close()
        between()
        self.open()


class Machine(RuleBasedStateMachine):
    """The same calls to the model and to a backend."""

    name = ""

    @initialize()
    def begin(self) -> None:
        self.folder = TemporaryDirectory()
        self.sides = [Reading(REWINDING[name](Path(self.folder.name))) for name in ("memory", self.name)]
        for lane in LANES:
            self.append(lane, 3)

    def both(self, call: Callable[[Reading], Any]) -> None:
        model, backend = map(call, self.sides)
        assert backend == model

    @rule(lane=LANE, count=st.integers(1, 4))
    def append(self, lane: str, count: int) -> None:
        self.both(lambda side: side.call(put(side.store, *[entry(lane)] * count)))

    @rule(lane=LANE, through=st.integers(0, 6))
    def trim(self, lane: str, through: int) -> None:
        self.both(lambda side: side.call(side.store.trim(lane, through)))

    @rule(members=st.lists(MEMBER, min_size=1, max_size=4), session_ms=st.sampled_from([1_000, 5_000]))
    def heartbeat(self, members: list[str], session_ms: int) -> None:
        for member in members:
            self.both(partial(Reading.heartbeat, member=member, session_ms=session_ms))

    @rule(member=MEMBER)
    def leave(self, member: str) -> None:
        self.both(lambda side: side.call(side.store.leave(SOURCE, GROUP, member)))
        for side in self.sides:
            side.believed.pop(member, None)

    @rule(back=st.integers(0, 5), opening=st.integers(-2, 0), step=st.integers(-2, 3), emits=st.booleans())
    def commit(self, back: int, opening: int, step: int, emits: bool) -> None:
        """By what somebody was told, lately or long ago."""

        def call(side: Reading) -> Any:
            if back >= len(side.told_of):
                return None
            member, held = side.told_of[-1 - back]
            at = side.position((opening, side.stands(held.partition) + step))
            assert at is not None
            return side.commit(member, held, at, emits=emits)

        self.both(call)

    @rule(member=MEMBER, step=st.integers(0, 2), emits=st.booleans(), hears=st.booleans())
    def handle(self, member: str, step: int, emits: bool, hears: bool) -> None:
        """As a member does that has handled a message or two of all that it believes to hold."""
        if hears:
            self.heartbeat([member], 5_000)

        def call(side: Reading) -> Any:
            answers = []
            for held in side.believed[member].held if member in side.believed else ():
                at = Position(side.store.epoch, side.stands(held.partition) + step)
                answers.append(side.commit(member, held, at, emits=emits))
            return answers

        self.both(call)

    @rule(sought=st.dictionaries(PARTITION, st.one_of(st.none(), POSITION), min_size=1))
    def seek(self, sought: dict[int, tuple[int, int] | None]) -> None:
        def call(side: Reading) -> Any:
            positions = {partition: side.position(at) for partition, at in sought.items()}
            answer = side.call(side.store.seek(SOURCE, GROUP, positions))
            if answer == "None":
                side.void |= {held.fence for _, held in side.told_of if held.partition in sought}
            return answer

        self.both(call)

    @rule(ms=st.sampled_from([1, 400, 999, 1_000, 5_000]))
    def wait(self, ms: int) -> None:
        for side in self.sides:
            side.place.time_ms += ms

    @rule(what=st.sampled_from(["drop", "restart", "keep", "keep", "rewind", "rewind"]))
    def upset(self, what: str) -> None:
        """A group that is dropped; a store that is restarted, copied, put back to the copy."""
        if what == "drop":
            self.both(lambda side: side.call(side.store.drop_group(SOURCE, GROUP)))
        for side in self.sides:
            if what == "rewind" and side.out_kept is not None:
                side.restart(side.place.rewind)
                side.out = side.out_kept
            elif what == "keep":
                side.restart(side.place.keep)
                side.out_kept = side.out
            elif what == "restart":
                side.restart()
            if what in ("drop", "rewind"):
                side.believed.clear()
            if what == "rewind":
                side.void.clear()
                side.until_ms.clear()

    @invariant()
    def both_stand_alike(self) -> None:
        if hasattr(self, "sides"):
            self.both(lambda side: side.call(side.store.groups()))
            self.both(lambda side: side.call(side.store.heads(LANES)))

    @invariant()
    def promises_hold(self) -> None:
        for side in getattr(self, "sides", ()):
            side.check_beliefs()
            side.check_holders()
            side.check_emitted()

    def teardown(self) -> None:
        for side in getattr(self, "sides", ()):
            side.close()
            side.loop.close()
        if hasattr(self, "folder"):
            self.folder.cleanup()


@pytest.mark.parametrize("name", [name for name in REWINDING if name != "memory"])
def test_groups_of_a_backend_answer_as_the_model_does(name: str) -> None:
    machine = type(f"Machine_{name}", (Machine,), {"name": name})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=50,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
