"""An ordeal finds bugs that are planted in its nodes; `make bugs` shows each of them being found."""

from pathlib import Path
from unittest.mock import patch

import pytest

from tests.faults.cluster.bugs import BUGS, catch


@pytest.mark.parametrize("name", ["every cut lossy"])
def test_a_planted_bug_is_found(name: str, tmp_path: Path) -> None:
    assert catch(BUGS[name], tmp_path)


@pytest.mark.parametrize("name", BUGS)
def test_what_a_bug_changes_is_still_there(name: str) -> None:
    """One that changes nothing any more could not be found."""
    try:
        BUGS[name].plant()
    finally:
        patch.stopall()
