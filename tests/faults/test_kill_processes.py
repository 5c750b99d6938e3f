"""Of several processes at one port any may be killed: nothing is lost, the clients of the others stay."""

from pathlib import Path

from tests.faults import kill_processes

ROUNDS = 6


def test_processes_of_one_port_that_are_killed_lose_nothing(tmp_path: Path) -> None:
    ordeal = kill_processes.run(tmp_path, ROUNDS)
    result, ledger = ordeal.result, ordeal.ledger
    assert not ledger.findings, (result, ledger.findings)
    assert ordeal.killed == {"owner": ROUNDS // 2, "joined": ROUNDS // 2}
    assert ordeal.stayed > 0, "somebody was connected to another process than the one that was killed"
    assert ledger.recoveries > 0
    assert ledger.acknowledged > ROUNDS * 20
