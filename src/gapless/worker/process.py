"""One process of handlers, from its start to its end."""

import asyncio
import logging
import socket
import sys
from collections.abc import Callable
from typing import Any, Final

from gapless.ports import Clock, Timer
from gapless.worker.child import BEAT_MS
from gapless.worker.frames import (
    UP,
    Answered,
    Ask,
    Begin,
    Cancel,
    Extend,
    Finish,
    HandleJob,
    HandlePage,
    Ready,
    Said,
    Settle,
    Up,
)
from gapless.worker.pipe import Pipe, ended_by
from gapless.worker.runners import CANCEL_MS, Asked, End, How, Runner, Task, timed_out

__all__ = ["Process"]

START_MS: Final = 60_000
FINISH_MS: Final = 10_000  # what the end of a lifespan may take
SILENT_MS: Final = 5 * BEAT_MS
NAMES_TOLD_MAX: Final = 5
log: Final = logging.getLogger("gapless.worker")


class Process(Runner):
    """Runs up to `capacity` tasks. `started` tells why it could not start, or ""."""

    def __init__(
        self, begin: Begin, clock: Clock, capacity: int, freed: Callable[[], object], asked: Asked
    ) -> None:
        super().__init__(clock, capacity, freed)
        self.started: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.was_ready = False
        self.killed = False
        self.begun = 0
        self._begin = begin
        self._asked = asked
        self._pipe: Pipe[Up] = Pipe(UP, self._heard, self._silent_end)
        self._process: asyncio.subprocess.Process | None = None
        self._stuck: list[Task] = []
        self._finishing = False
        self._heard_ms = 0
        self._silence: Timer | None = None

    async def run(self) -> None:
        """Start it, and wait for its end."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        command = [sys.executable, "-m", "gapless.worker.child", str(theirs.fileno())]
        self._process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.DEVNULL, pass_fds=[theirs.fileno()], start_new_session=True
        )
        theirs.close()
        if self.killed:
            self._process.kill()
        self._pipe.send(self._begin)
        await asyncio.get_running_loop().create_connection(lambda: self._pipe, sock=ours)
        overdue = self._clock.after(START_MS, self._slow_start)
        code = await self._process.wait()
        overdue.cancel()
        if self._silence is not None:
            self._silence.cancel()
        self._pipe.close()
        await asyncio.sleep(0)  # what it said last
        self._ended(code)

    def room(self) -> int:
        """Return how many tasks could start now."""
        return self.capacity - len(self.tasks) if self.is_ready() else 0

    def is_ready(self) -> bool:
        """Tell whether it takes tasks."""
        return self.was_ready and not self.killed and not self._finishing

    def alive(self) -> bool:
        """Tell whether it runs."""
        return self._process is not None and self._process.returncode is None

    def start(self, task: Task) -> None:
        """See `Runner.start`."""
        self.begun += 1
        super().start(task)

    def send(self, frame: HandleJob | HandlePage | Cancel) -> None:
        """See `Runner.send`."""
        self._pipe.send(frame)

    def stuck(self, task: Task) -> None:
        """See `Runner.stuck`: nothing but the end of the process ends it."""
        if task.frame.number not in self.tasks:
            return
        others = len(self.tasks) - 1
        beside = f"; {others} others of it are handled elsewhere" if others else ""
        log.warning("process %d is replaced: %s does not stop%s", self._pid(), task.name, beside)
        self._stuck.append(task)
        self.kill()

    def kill(self) -> None:
        """End it at once."""
        self.killed = True
        self._end_at_once()

    def ask_to_finish(self) -> None:
        """Let it end in good order."""
        self._finishing = True
        self._pipe.send(Finish())

    def finish(self) -> None:
        """Let it end in good order, and soon: what it does not do in time is not done."""
        self.ask_to_finish()
        self._clock.after(FINISH_MS if self.was_ready else CANCEL_MS, self._overstayed)

    def _overstayed(self) -> None:
        if self.alive() and self.was_ready and not self.killed:
            log.warning(
                "process %d is ended: its lifespan or a hook took longer than %d s to end",
                self._pid(),
                FINISH_MS // 1000,
            )
        self.kill()

    def health(self) -> dict[str, Any]:
        """Tell how it is: well if its loop turns."""
        silent_ms = self._clock.now_ms() - self._heard_ms
        told: dict[str, Any] = {"pid": self._pid(), "running": len(self.tasks), "well": False}
        if not self.was_ready:
            return {**told, "why": "it starts"}
        if self.killed:
            return {**told, "why": "it is being replaced"}
        if silent_ms > SILENT_MS:
            return {**told, "why": f"its loop has not turned for {silent_ms // 1000} s"}
        return {**told, "well": True}

    # What is heard ------------------------------------------------------------------------

    def _heard(self, frame: Up) -> None:
        self._heard_ms = self._clock.now_ms()
        match frame:
            case Ready():
                self._ready(frame)
            case Said():
                logging.getLogger(frame.logger).log(frame.level, "%s", frame.text)
            case Extend() | Settle() | Ask():
                self._asked(frame, self._answer)
            case _:
                self.heard(frame)

    def _answer(self, answered: Answered) -> None:
        self._pipe.send(answered)

    def _ready(self, frame: Ready) -> None:
        self.was_ready = not frame.failure
        if not self.started.done():
            self.started.set_result(frame.failure)
        if self.was_ready:
            self._silence = self._clock.after(SILENT_MS, self._watch)
            self._freed()

    def _watch(self) -> None:
        """Say once of a loop that stands still, and with what in it; and when it turns again."""
        silent_ms = self._clock.now_ms() - self._heard_ms
        if silent_ms >= SILENT_MS:
            names = _names(self.tasks.values())
            log.warning(
                "process %d: its loop has stood still for %d s: %s", self._pid(), silent_ms // 1000, names
            )
        self._silence = self._clock.after(SILENT_MS, self._watch)

    def _slow_start(self) -> None:
        if not self.started.done():
            self.started.set_result(f"process {self._pid()} was not ready within {START_MS // 1000} s")
            self.kill()

    def _silent_end(self) -> None:
        """The pipe ended: the process has, which will be told, or what runs in it has closed the pipe."""
        if self._process is not None and not self._finishing:
            self._clock.after(CANCEL_MS, self._end_at_once)

    def _end_at_once(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()

    # The end ------------------------------------------------------------------------------

    def _ended(self, code: int) -> None:
        how = ended_by(code)
        if not self.started.done():
            self.started.set_result(f"process {self._pid()} ended before it was ready ({how})")
        tasks = list(self.tasks.values())
        self.tasks.clear()
        if not (self.killed or self._finishing) or (tasks and not self.killed):
            alone = ", which are run alone next" if len(tasks) > 1 else ""
            names = f" with {_names(tasks)}{alone}" if tasks else ""
            log.error("process %d ended unexpectedly (%s)%s", self._pid(), how, names)
        for task in tasks:
            self.end(task, self._end_of(task, tasks, how))

    def _end_of(self, task: Task, tasks: list[Task], how: str) -> End:
        if self.killed:
            if task in self._stuck:
                late = timed_out(task)._replace(how=How.STUCK)
                return late if task.late else End(How.GIVEN_UP, why="it was cancelled")
            return End(How.GIVEN_UP, why="its process was replaced on account of another")
        if len(tasks) == 1:
            return End(How.CRASHED, why=f"its process ended: {how}")
        return End(How.LAPSED, why=f"its process ended with {len(tasks)} in it: {how}")

    def _pid(self) -> int:
        return self._process.pid if self._process is not None else 0


def _names(tasks: Any) -> str:
    names = [task.name for task in tasks]
    more = f" and {len(names) - NAMES_TOLD_MAX} more" if len(names) > NAMES_TOLD_MAX else ""
    return ", ".join(names[:NAMES_TOLD_MAX]) + more if names else "nothing of gapless runs there"
