"""The shim moves the wall clock of a program, and nothing else."""

import subprocess
import sys
from pathlib import Path

from tests.faults.cluster.clock import Shim

DAY_MS = 24 * 3_600_000
PROGRAM = """
import sys, time
for line in sys.stdin:
    print(time.time_ns() // 1_000_000, time.monotonic_ns() // 1_000_000, flush=True)
"""


def test_a_wall_clock_jumps_while_its_program_runs_and_the_steady_clock_does_not(tmp_path: Path) -> None:
    folder = tmp_path / "n1"
    folder.mkdir()
    shim = Shim(folder)
    command = [*shim.before, sys.executable, "-c", PROGRAM]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdin is not None
        assert program.stdout is not None
        times = []
        for by_ms in (0, DAY_MS, -DAY_MS - 1):
            shim.jump(by_ms)
            program.stdin.write("\n")
            program.stdin.flush()
            times.append(tuple(map(int, program.stdout.readline().split())))
        program.stdin.close()
    (wall, steady), (ahead, later), (behind, last) = times
    assert 0 <= ahead - wall - DAY_MS < 60_000
    assert 0 <= behind + 2 * DAY_MS + 1 - ahead < 60_000
    assert steady <= later <= last < steady + 60_000
