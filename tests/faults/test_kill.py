"""A server that is killed under load loses nothing, and the count can fail."""

from pathlib import Path

from tests.faults import kill

ROUNDS = 50


def test_fifty_rounds_of_kill_lose_nothing(tmp_path: Path) -> None:
    result = kill.run(tmp_path, ROUNDS)
    ledger = result.ledger
    assert not ledger.findings, result
    assert result.rounds == ROUNDS
    assert ledger.acknowledged >= ROUNDS * kill.ACKNOWLEDGED_PER_ROUND[0]
    assert ledger.recoveries >= ROUNDS * kill.SUBSCRIBERS
    assert ledger.retries > 0, "a publish was under way when the server was killed"


def test_the_loss_of_a_store_in_memory_is_counted(tmp_path: Path) -> None:
    ledger = kill.run(tmp_path, 1, store="memory:").ledger
    assert ledger.lost > 0  # the run ends with the first finding: whether a subscriber was told yet is chance
