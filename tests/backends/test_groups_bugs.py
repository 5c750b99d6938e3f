"""Bugs of groups (semantics 10), planted in what decides: the suite and the machine catch each."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from gapless.backends.memory import groups as memory_groups
from gapless.backends.memory.groups import MemoryGroups
from gapless.core.fences import Fences
from gapless.core.membership import Membership, leads_on
from gapless.core.stream import Position
from gapless.testing.conformance import GroupsConformance
from tests.backends import test_groups_rewound
from tests.backends.conftest import MemoryPlace
from tests.backends.rewinding import REWINDING
from tests.backends.test_groups_machine import Machine

Plant = Callable[[], Any]

BUGS: dict[str, Plant] = {}


def bug(plant: Plant) -> Plant:
    """Keep what plants a bug under its name."""
    BUGS[plant.__name__] = plant
    return plant


@bug
def seek_without_a_new_fence() -> Any:
    def seek(self: Membership, positions: Any, fences: Fences) -> None:
        for at, position in positions.items():
            self.holds[at].position = position

    return patch.object(Membership, "seek", seek)


@bug
def commit_by_any_fence_of_the_member() -> Any:
    return _holding(lambda commit, hold, member: hold.holder == member)


@bug
def commit_by_the_fence_of_somebody_else() -> Any:
    return _holding(lambda commit, hold, member: hold.fence == commit.fence)


def _holding(may: Callable[..., bool]) -> Any:
    honest = Membership.holding

    def holding(self: Membership, member: str, commit: Any, streams: Any, now_ms: int) -> Any:
        if 0 <= commit.partition < len(self.holds) and self.is_in(member, now_ms):
            hold = self.holds[commit.partition]
            if may(commit, hold, member):
                return hold, streams[commit.partition]
        return honest(self, member, commit, streams, now_ms)

    return patch.object(Membership, "holding", holding)


@bug
def commit_after_the_session() -> Any:
    honest = Membership.holding

    def holding(self: Membership, member: str, commit: Any, streams: Any, now_ms: int) -> Any:
        return honest(self, member, commit, streams, min(now_ms, self.sessions.get(member, now_ms) - 1))

    return patch.object(Membership, "holding", holding)


@bug
def commit_backwards() -> Any:
    return _leads_on(lambda stands, position, is_past: is_past(position))


@bug
def commit_above_the_head() -> Any:
    return _leads_on(lambda stands, position, is_past: leads_on(stands, position, lambda _: True))


@bug
def commit_to_another_timeline() -> Any:
    def lead(stands: Position | None, position: Position, is_past: Callable[[Position], bool]) -> bool:
        return leads_on(stands, position, lambda at: at.offset < 5 or is_past(at))

    return _leads_on(lead)


def _leads_on(lead: Callable[..., bool]) -> Any:
    return patch.object(memory_groups, "leads_on", lead)


@bug
def fence_reused_after_a_rewind() -> Any:
    def next_fence(self: Fences) -> str:
        self.last += 1
        return f"g:{self.last}"

    return patch.object(Fences, "next", next_fence)


@bug
def fence_not_raised_when_the_holder_changes() -> Any:
    honest = Membership.heartbeat

    def heartbeat(self: Membership, *rest: Any) -> Any:
        fences = [hold.fence for hold in self.holds]
        change = honest(self, *rest)
        for hold, fence in zip(self.holds, fences, strict=True):
            hold.fence = fence or hold.fence
        return change

    return patch.object(Membership, "heartbeat", heartbeat)


@bug
def given_on_without_being_told() -> Any:
    honest = Membership.heartbeat

    def heartbeat(self: Membership, member: str, *rest: Any) -> Any:
        if member not in self.sessions:
            for hold in self.holds[len(self.holds) // 2 :]:
                hold.is_leaving = True
        return honest(self, member, *rest)

    return patch.object(Membership, "heartbeat", heartbeat)


@bug
def emit_stored_and_commit_refused() -> Any:
    honest = MemoryGroups._move_on

    def move_on(self: Any, reader: Any, member: str, commit: Any, streams: Any) -> Any:
        emitted = self.emit(commit.emit, self._now_ms())
        commit.emit = ()
        honest(self, reader, member, commit, streams)
        return emitted

    return patch.object(MemoryGroups, "_move_on", move_on)


def sentences() -> Iterator[Callable[[Any], None]]:
    """The suite's tests, but for those that fill a store to its limits."""
    suite = GroupsConformance()
    for name in dir(suite):
        if name.startswith("test_") and "only_so_many" not in name:
            yield getattr(suite, name)


def fails(test: Callable[[Any], None], place: Any) -> bool:
    try:
        test(place)
    except (Exception, pytest.fail.Exception):
        return True
    return False


RARE = "fence_reused_after_a_rewind"


@pytest.mark.parametrize("name", [name for name in BUGS if name != RARE])
def test_the_suite_catches(name: str) -> None:
    with BUGS[name]():
        assert any(fails(sentence, MemoryPlace()) for sentence in sentences())


def test_the_rewinds_catch_a_fence_that_is_reused(tmp_path: Path) -> None:
    with BUGS[RARE]():
        assert fails(
            test_groups_rewound.test_no_fence_is_given_again_after_a_rewind, REWINDING["memory"](tmp_path)
        )


class Alone(Machine):
    """Memory beside itself: only what has to be true can fail."""

    name = "memory"


@pytest.mark.parametrize("name", [name for name in BUGS if name != RARE])
def test_the_machine_catches(name: str) -> None:
    with BUGS[name](), pytest.raises((AssertionError, ExceptionGroup)):
        run_state_machine_as_test(
            Alone,
            settings=settings(
                max_examples=400,
                stateful_step_count=40,
                deadline=None,
                database=None,
                phases=[Phase.generate],
                report_multiple_bugs=False,
                suppress_health_check=list(HealthCheck),
            ),
        )


def test_without_a_bug_nothing_fails() -> None:
    assert not [sentence.__name__ for sentence in sentences() if fails(sentence, MemoryPlace())]
