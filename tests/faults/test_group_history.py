"""Each checker of what a group did finds what it is for, and nothing in a history that is sound."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.faults.group_history import (
    CHECKERS,
    Group,
    backwards,
    disorder,
    findings,
    skipped,
    stale_accepted,
    unhandled,
)
from tests.faults.records import Line


def told(what: str, fence: int, offset: int) -> Line:
    return Line(what, "0", fence, offset=offset)


LINES = [
    told("start", 10, 1),
    told("handled", 10, 1),
    told("committed", 10, 1),
    told("start", 10, 2),
    told("start", 20, 2),  # the first member stood still
    told("handled", 20, 2),
    told("handled", 10, 2),
    told("refused", 10, 2),
    told("start", 20, 3),
    told("handled", 20, 3),
    told("committed", 20, 3),
]
ENDS = {"0": 3}


def test_a_sound_history_is_found_sound() -> None:
    assert findings(Group(ENDS, LINES)) == []


PLANTED: list[tuple[Any, dict[str, int], list[Line]]] = [
    (unhandled, {"0": 4}, LINES),
    (unhandled, {"0": 3, "1": 1}, LINES),
    (skipped, ENDS, [*LINES[:4], told("start", 20, 3), *LINES[4:]]),
    (disorder, ENDS, [*LINES, told("handled", 20, 2)]),
    (disorder, {"0": 5}, [*LINES, told("handled", 20, 5)]),
    (backwards, ENDS, [*LINES, told("committed", 20, 2)]),
    (backwards, ENDS, [*LINES, told("committed", 20, 4)]),
    (stale_accepted, ENDS, [*LINES[:7], told("committed", 10, 2), *LINES[8:]]),
]


@pytest.mark.parametrize(("checker", "ends", "lines"), PLANTED)
def test_a_planted_history_is_found(
    checker: Callable[[Group], object], ends: dict[str, int], lines: list[Line]
) -> None:
    found = findings(Group(ends, lines))
    assert [each for each in found if each.startswith(checker.__name__)], found


def test_every_checker_is_shown_to_find_something() -> None:
    assert {checker for checker, _, _ in PLANTED} == set(CHECKERS)
