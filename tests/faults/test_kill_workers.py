"""Workers and a server that are killed and stopped under load lose no job, and do none that is done."""

from pathlib import Path

from tests.faults import kill_workers

ROUNDS = 50


def test_fifty_rounds_of_kill_lose_no_job(tmp_path: Path) -> None:
    result = kill_workers.run(tmp_path, ROUNDS)
    assert not result.findings, result
    assert result.rounds == ROUNDS
    assert all(result.faults.values()), "each kind of fault was there"
    assert result.accepted >= ROUNDS * kill_workers.SETTLED_PER_ROUND[0]
    assert result.enqueued == result.done + result.dead
    assert result.runs > result.enqueued, "jobs were run again"
    assert result.retries > 0, "an enqueue was under way when the server was killed"
    assert result.refused > 0, "a lease was over before its job was settled"
