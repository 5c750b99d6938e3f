"""The history of jobs tells of bugs that are planted in a server."""

from pathlib import Path

import pytest

from tests.faults.queue_bugs import BUGS, catch


@pytest.mark.parametrize("name", BUGS)
def test_a_planted_bug_is_found(name: str, tmp_path: Path) -> None:
    assert catch(name, tmp_path)
