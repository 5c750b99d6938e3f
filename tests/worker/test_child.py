"""A process of handlers by itself: what it tells its worker, and what it is to the kernel."""

import select
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from gapless.worker.frames import UP, Beat, Begin, Finish, Ready, Up
from tests.faults.worker_program import until

ADJUSTMENT_MAX = 1_000
PATIENCE_SECONDS = 30
PROGRAM = """
import asyncio, os
from gapless import Gapless

gl = Gapless("http://127.0.0.1:1", api_key="key")

@gl.lifespan
async def life():
    yield
    open("ending", "w").close()
    while not os.path.exists("go"):
        await asyncio.sleep(0.01)

@gl.queue("mail")
async def send(n: int) -> None: ...
"""


class Alone:
    """A process of handlers, whose worker is a test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "program.py").write_text(PROGRAM)
        self._pipe, theirs = socket.socketpair()
        command = [sys.executable, "-m", "gapless.worker.child", str(theirs.fileno())]
        self.process = subprocess.Popen(command, pass_fds=[theirs.fileno()], cwd=folder)
        theirs.close()
        self._pipe.settimeout(PATIENCE_SECONDS)

    def say(self, frame: Begin | Finish) -> None:
        """Tell it something."""
        frames = msgspec.json.encode([frame])
        self._pipe.sendall(len(frames).to_bytes(4, "big") + frames)

    def hear(self) -> list[Up]:
        """Return what it says next; nothing if it has ended."""
        length = self._pipe.recv(4, socket.MSG_WAITALL)
        return UP.decode(self._pipe.recv(int.from_bytes(length, "big"), socket.MSG_WAITALL)) if length else []

    def has_spoken(self) -> bool:
        """Tell whether there is something to hear."""
        return bool(select.select([self._pipe], [], [], 0)[0])

    def close(self) -> None:
        """End it."""
        self._pipe.close()
        self.process.kill()
        self.process.wait()


@pytest.fixture
def child(tmp_path: Path) -> Iterator[Alone]:
    alone = Alone(tmp_path)
    alone.say(Begin("program:gl", 1, piped=False, name="w"))
    until(lambda: Ready() in alone.hear())
    yield alone
    alone.close()


def test_when_memory_runs_out_the_kernel_takes_it_before_its_worker(child: Alone) -> None:
    def adjustment(process: str) -> int:
        return int(Path(f"/proc/{process}/oom_score_adj").read_text())

    assert adjustment(str(child.process.pid)) == min(ADJUSTMENT_MAX, adjustment("self") + 500)


def test_it_tells_that_its_loop_turns_until_it_ends(child: Alone) -> None:
    child.say(Finish())
    until((child.folder / "ending").exists)
    while child.has_spoken():
        child.hear()
    assert child.hear() == [Beat()]
    (child.folder / "go").touch()
    assert child.process.wait(PATIENCE_SECONDS) == 0
