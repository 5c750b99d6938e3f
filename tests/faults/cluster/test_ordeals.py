"""Nothing that several nodes acknowledge is lost, and nothing that a store lost goes untold."""

from pathlib import Path

import pytest

from tests.faults.cluster.page import page
from tests.faults.cluster.scenes import SCENES, run

SECONDS = 9
ACKNOWLEDGED_MIN = 100


@pytest.mark.parametrize(("seed", "name"), list(enumerate(SCENES, start=1)))
def test_an_ordeal_ends_without_a_loss_or_a_silent_gap(seed: int, name: str, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    result = run(folder, SCENES[name], seed, SECONDS, kept=tmp_path / "kept")
    assert not result.findings, page([result])
    assert result.events["ok"] > ACKNOWLEDGED_MIN
    assert result.events["delivered"] > result.events["ok"]
    assert result.rounds > 1
