import pytest

from gapless.core.errors import PositionLost
from gapless.core.lineage import Fate, Generation, Link, holds, lost, reason, why_lost
from gapless.core.stream import Head, Position

CLEAN = [Generation("g1", 0), Generation("g2", 10), Generation("g3", 20)]
# g1 wrote 1-5, a rewind cut the stream to 3, g2 wrote 4-8, g3 wrote 9-10; 1 and 2 are trimmed.
LINKS = [Link("g1", 1), Link("g2", 4), Link("g3", 9)]
HEAD = Head(floor=2, last=10)


@pytest.mark.parametrize(
    ("position", "expected"),
    [
        (Position("g3", 10), True),  # level
        (Position("g3", 2), True),  # just above the floor
        (Position("g3", 1), False),  # trimmed
        (Position("g3", 11), False),  # beyond the end
        (Position("g2", 8), True),  # all that g2 wrote
        (Position("g2", 9), False),  # g3 wrote another 9
        (Position("g1", 3), True),  # before the cut
        (Position("g1", 4), False),  # g2 wrote another 4
        (Position("g0", 3), False),  # never ours
        (Position("", 3), False),  # an offset alone tells nothing
    ],
)
def test_a_position_holds_until_a_later_generation_wrote_past_it(position: Position, expected: bool) -> None:
    assert holds(position, HEAD, CLEAN, LINKS) is expected


def test_after_a_loss_no_older_position_holds() -> None:
    generations = [Generation("g1", 0), Generation("g2", 10, Fate.LOSSY), Generation("g3", 20)]
    assert not holds(Position("g1", 3), HEAD, generations, LINKS)
    assert holds(Position("g2", 8), HEAD, generations, LINKS), "the loss came before g2"


def test_a_quiet_stream_keeps_old_positions_through_restarts() -> None:
    assert holds(Position("g1", 5), Head(0, 5), CLEAN, [Link("g1", 1)])


def test_a_generation_that_was_forgotten_cuts_nothing() -> None:
    assert holds(Position("g2", 8), Head(0, 8), CLEAN[1:], [Link("g1", 1), Link("g2", 4)])


@pytest.mark.parametrize(
    ("position", "why"),
    [
        (Position("g3", 1), "it is older than what is kept, which follows offset 2"),
        (Position("g2", 1), "it is older than what is kept, which follows offset 2"),
        (Position("g3", 11), "it is ahead of the end, offset 10"),
        (Position("g2", 9), "a later generation wrote other messages there"),
        (Position("g0", 3), "it is of a generation that the store does not know"),
        (Position("", 3), "it names no generation"),
        (Position("g2", 8), ""),
    ],
)
def test_why_a_position_is_lost_is_told_in_words(position: Position, why: str) -> None:
    assert why_lost(position, HEAD, CLEAN, LINKS) == why


def test_a_loss_is_told_before_what_else_is_wrong() -> None:
    generations = [Generation("g1", 0), Generation("g2", 10, Fate.LOSSY)]
    assert why_lost(Position("g1", 99), HEAD, generations, LINKS) == (
        "what the store had acknowledged was lost after it"
    )


def test_the_reason_is_read_from_what_a_store_says() -> None:
    error = lost(Position("g1", 4), "it is ahead of the end, offset 3")
    assert str(error) == "position g1:4 does not hold: it is ahead of the end, offset 3"
    assert reason(error) == "it is ahead of the end, offset 3"
    assert reason(PositionLost("gone")) == "gone"
