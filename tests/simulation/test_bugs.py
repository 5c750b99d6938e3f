"""Every known bug, planted, is seen by some checker: one that sees nothing proves nothing."""

import pytest

from tests.simulation.bugs import BUGS, Bug, catch

SEEDS_MAX = 2_000


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_planted_bug_is_caught(bug: Bug) -> None:
    assert catch(bug, SEEDS_MAX) is not None
