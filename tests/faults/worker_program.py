"""Workers from outside: `gapless worker`, or a program of the tests in its place."""

import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil

from tests.program import GAPLESS

__all__ = ["ROOT", "WorkerProgram", "until"]

ROOT = Path(__file__).parents[2]
WORKER = [GAPLESS, "worker", "tests.faults.handlers:gl", "--concurrency", "8", "--queues", "tasks"]
START_SECONDS_MAX = 30
POLL_SECONDS = 0.01
PATIENCE_SECONDS = 60


def until(true: Callable[[], object]) -> None:
    """Wait for something that other processes do."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    never = threading.Event()
    while not true():
        assert time.monotonic() < deadline, "it does not come"
        never.wait(POLL_SECONDS)


class WorkerProgram:
    """A worker; what its last start has printed is in `output`."""

    def __init__(self, path: Path, environment: Mapping[str, str], command: list[str] | None = None) -> None:
        self._path = path
        self._environment = environment
        self._command = command or WORKER
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The process of the last start."""
        assert self._process is not None
        return self._process

    def launch(self) -> None:
        """Start it, and do not wait."""
        with self._path.open("wb") as output:
            self._process = subprocess.Popen(
                self._command,
                stdout=output,
                stderr=output,
                cwd=ROOT,
                env=self._environment,
                start_new_session=True,
            )

    def start(self) -> None:
        """Start it, and wait until it serves."""
        self.launch()
        deadline = time.monotonic() + START_SECONDS_MAX
        while not self.serves():
            assert time.monotonic() < deadline, f"it does not serve: {self.output()}"
            try:
                self.process.wait(POLL_SECONDS)
            except subprocess.TimeoutExpired:
                continue
            raise AssertionError(f"it ended: {self.output()}")

    def serves(self) -> bool:
        """Tell whether it said that it serves."""
        return "serving" in self.output()

    def output(self) -> str:
        """Return what it has printed since its start."""
        return self._path.read_text(errors="replace")

    def children(self) -> list[psutil.Process]:
        """Return the processes of its handlers."""
        try:
            return psutil.Process(self.process.pid).children()
        except psutil.NoSuchProcess:
            return []

    def kill(self) -> None:
        """End it with `kill -9`."""
        self.process.kill()
        self.process.wait()

    def pause(self) -> None:
        """Let it stand still."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self.process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """End it if it runs, without ceremony."""
        if self._process is not None and self._process.poll() is None:
            self.kill()
