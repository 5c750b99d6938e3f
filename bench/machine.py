"""The machine that is measured on: its description, its cores and its disk."""

import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

__all__ = [
    "GENERATOR_CORE",
    "SERVER_CORE",
    "STORE_CORE",
    "describe",
    "fdatasync_ms",
    "on_both_cores",
    "use_core",
]

SERVER_CORE = 0
GENERATOR_CORE = 1
STORE_CORE = 1
"""Of the Redis that nodes share: another machine's, in earnest."""


def use_core(core: int) -> None:
    """Keep this process, and what it starts from now on, on one core."""
    if not {SERVER_CORE, GENERATOR_CORE} <= os.sched_getaffinity(0):
        raise SystemExit("bench needs two cores: one for the server, one for the load")
    os.sched_setaffinity(0, {core})


@contextmanager
def on_both_cores() -> Iterator[None]:
    """Let what is started in the block have all cores: a browser is several processes."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {SERVER_CORE, GENERATOR_CORE})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def describe() -> list[str]:
    """Lines that name the processor, the memory and the systems."""
    model = _first("/proc/cpuinfo", "model name")
    memory_gib = int(_first("/proc/meminfo", "MemTotal").split()[0]) / 2**20
    return [
        f"{os.cpu_count()} × {model}, {memory_gib:.0f} GiB",
        f"{_first('/etc/os-release', 'PRETTY_NAME', '=').strip(chr(34))}, Linux {platform.release()}, "
        f"Python {platform.python_version()}",
    ]


def _first(path: str, key: str, separator: str = ":") -> str:
    for line in Path(path).read_text().splitlines():
        name, _, value = line.partition(separator)
        if name.strip() == key:
            return value.strip()
    return "unknown"


def fdatasync_ms(folder: Path, rounds: int = 500) -> float:
    """The median time that appending 4 KiB to a file in `folder` and fdatasync take."""
    page = os.urandom(4096)
    taken = []
    path = folder / "fdatasync"
    with path.open("wb", buffering=0) as file:
        for _ in range(rounds):
            began = time.perf_counter()
            file.write(page)
            os.fdatasync(file)
            taken.append((time.perf_counter() - began) * 1e3)
    path.unlink()
    return median(taken)
