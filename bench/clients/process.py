"""What a process has used, told from outside of it."""

import os
import time
from pathlib import Path

__all__ = ["cpu_seconds", "resident_mib"]


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that all threads of a process have used (clock_getcpuclockid(3))."""
    return time.clock_gettime(~pid << 3 | 2)


def resident_mib(pid: int) -> float:
    """Return the resident set of a process in MiB (proc_pid_statm(5))."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
