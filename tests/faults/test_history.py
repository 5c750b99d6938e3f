"""Each checker of the history of jobs finds what it is for, and nothing in a history that is sound."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.faults.handlers import ATTEMPTS
from tests.faults.history import (
    CHECKERS,
    Ended,
    History,
    Sent,
    disorder,
    doubled,
    emitted_apart,
    findings,
    lost,
    overlap,
    ran_again,
    stale_accepted,
    unearned,
    unfenced,
)
from tests.faults.records import Line

SENT = [
    Sent("a1", "a", "good", {"1"}),
    Sent("a2", "a", "shaky", {"2"}),
    Sent("d", None, "doomed", {"3"}),
    Sent("r", None, "rejected", {"4"}),
]
LINES = [
    Line("start", "1", 10, "a1", 1),
    Line("start", "1", 11, "a1", 2),  # its first lease ran out
    Line("end", "1", 11, "a1"),
    Line("accepted", "1", 11, deed="ack"),
    Line("end", "1", 10, "a1"),
    Line("refused", "1", 10, deed="ack"),
    Line("start", "2", 12, "a2", 1),
    Line("failed", "2", 12, "a2"),
    Line("accepted", "2", 12, deed="retry"),
    Line("start", "2", 13, "a2", 2),
    Line("end", "2", 13, "a2"),  # whoever was told of its ack was killed
    *(Line("start", "3", 20 + n, "d", n) for n in range(1, ATTEMPTS + 1)),
    Line("start", "4", 30, "r", 1),
    Line("failed", "4", 30, "r"),
    Line("accepted", "4", 30, deed="bury"),
]
ENDED = [
    Ended("1", "a1", "done", 2, 11),
    Ended("2", "a2", "done", 2, 13),
    Ended("3", "d", "dead", ATTEMPTS),
    Ended("4", "r", "dead", 1),
]
EMITTED = ["a1", "a2"]


def history(
    *,
    sent: list[Sent] = SENT,
    lines: list[Line] = LINES,
    ended: list[Ended] = ENDED,
    emitted: list[str] = EMITTED,
) -> History:
    return History(sent, lines, ended, emitted)


def test_a_sound_history_is_found_sound() -> None:
    assert findings(history()) == []


PLANTED: list[tuple[Any, dict[str, Any]]] = [
    (lost, {"ended": ENDED[1:]}),
    (lost, {"lines": [line for line in LINES if line != Line("end", "2", 13, "a2")]}),
    (lost, {"ended": [Ended("1", "a1", "dead", ATTEMPTS), *ENDED[1:]]}),
    (ran_again, {"lines": [*LINES, Line("start", "1", 40, "a1", 3)]}),
    (ran_again, {"lines": [*LINES, Line("start", "2", 40, "a2", 3)]}),
    (stale_accepted, {"lines": [*LINES, Line("accepted", "1", 10, deed="ack")]}),
    (stale_accepted, {"ended": [Ended("1", "a1", "done", 2, 10), *ENDED[1:]]}),
    (disorder, {"sent": [SENT[1], SENT[0], *SENT[2:]]}),
    (overlap, {"lines": [LINES[0], LINES[6], *LINES[1:6], *LINES[7:]]}),
    (unearned, {"ended": [*ENDED[:2], Ended("3", "d", "dead", ATTEMPTS - 1), ENDED[3]]}),
    (unearned, {"ended": [ENDED[0], Ended("2", "a2", "dead", 2), *ENDED[2:]]}),
    (unearned, {"ended": [*ENDED[:2], Ended("3", "d", "done", 2, 21), ENDED[3]]}),
    (unearned, {"lines": LINES[:-2]}),
    (doubled, {"sent": [Sent("a1", "a", "good", {"1", "2"}), *SENT[1:]]}),
    (doubled, {"ended": [*ENDED, Ended("5", "a1", "done", 1, 50)]}),
    (emitted_apart, {"emitted": ["a1"]}),
    (emitted_apart, {"emitted": ["a1", "a2", "a1"]}),
    (emitted_apart, {"emitted": ["a1", "a2", "r"]}),
    (unfenced, {"lines": [*LINES[:1], *LINES]}),
    (unfenced, {"lines": [Line("start", "1", 12, "a1", 1), *LINES[1:]]}),
]


@pytest.mark.parametrize(("checker", "planted"), PLANTED)
def test_a_planted_history_is_found(checker: Callable[[History], object], planted: dict[str, Any]) -> None:
    found = findings(history(**planted))
    assert [each for each in found if each.startswith(checker.__name__)], found


def test_every_checker_is_shown_to_find_something() -> None:
    assert {checker for checker, _ in PLANTED} == set(CHECKERS)
