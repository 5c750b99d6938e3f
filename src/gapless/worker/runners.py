"""Where deliveries are handled: what is running there, for how long it may, and how each ends."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from enum import Enum
from typing import Any, Final, NamedTuple

from gapless.library.outcomes import Outcome
from gapless.ports import Clock, Timer
from gapless.protocol.queues import Emit
from gapless.worker.frames import (
    Answered,
    Ask,
    Cancel,
    Ended,
    Extend,
    HandleJob,
    HandlePage,
    Moved,
    Settle,
    Up,
)

__all__ = ["CANCEL_MS", "Asked", "End", "How", "Runner", "Runners", "Task", "timed_out", "told_ms"]

CANCEL_MS: Final = 1_000  # what was cancelled may take so long to let go
log: Final = logging.getLogger("gapless.worker")


class How(Enum):
    """How handling ended."""

    DONE = "done"  # its outcome says the rest; None: nothing is to be done
    TIMED_OUT = "timed out"
    STUCK = "stuck"  # as that, and it did not let go: its process was ended
    CRASHED = "crashed"  # its process ended, and nothing else ran there
    LAPSED = "lapsed"  # its process ended with others in it: nobody knows whose doing it was
    GIVEN_UP = "given up"  # on account of somebody else: it was cancelled, or had to leave with another


class End(NamedTuple):
    """The end of a task; `why` is for people."""

    how: How
    outcome: Outcome | None = None
    why: str = ""


class Task:
    """Something to be handled. `solo`: with nothing beside it. `timeout_ms` 0: for ever.

    `ended` is called once, `moved` as often as messages of a page were handled.
    """

    __slots__ = ("ended", "frame", "late", "moved", "name", "solo", "timeout_ms", "timer")

    def __init__(
        self,
        frame: HandleJob | HandlePage,
        name: str,
        ended: Callable[[End], object],
        *,
        timeout_ms: int = 0,
        solo: bool = False,
        moved: Callable[[int, list[Emit]], object] | None = None,
    ) -> None:
        self.frame = frame
        self.name = name
        self.ended = ended
        self.timeout_ms = timeout_ms
        self.solo = solo
        self.moved = moved
        self.late = False
        self.timer: Timer | None = None

    def stop_timer(self) -> None:
        """Let it take as long as it does."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None


Asked = Callable[[Extend | Settle | Ask, Callable[[Answered], object]], object]
"""Has what a handler asks answered, by a call of the second argument."""


class Runner(ABC):
    """One place where up to `capacity` tasks run at once."""

    def __init__(self, clock: Clock, capacity: int, freed: Callable[[], object]) -> None:
        self.capacity = capacity
        self.tasks: dict[int, Task] = {}
        self._clock = clock
        self._freed = freed

    def start(self, task: Task) -> None:
        """Handle a task."""
        self.tasks[task.frame.number] = task
        if task.timeout_ms:
            task.timer = self._clock.after(task.timeout_ms, lambda: self._overdue(task))
        self.send(task.frame)

    def cancel(self, number: int, *, soft: bool = False) -> None:
        """Give a task up, if it runs here; it ends when its handler lets go, or is stopped."""
        task = self.tasks.get(number)
        if task is not None and soft:
            self.send(Cancel(number, soft=True))
        elif task is not None:
            task.late = False
            self._cancel(task)

    def heard(self, frame: Up) -> None:
        """Hear what becomes of tasks."""
        match frame:
            case Ended():
                task = self.tasks.pop(frame.number, None)
                if task is not None:
                    self.end(task, self._how(task, frame))
                    self._freed()
            case Moved():
                page = self.tasks.get(frame.number)
                if page is not None and page.moved is not None:
                    self._restart_timer(page)
                    page.moved(frame.offset, frame.emit)

    def end(self, task: Task, end: End) -> None:
        """Let a task, which does not run here any more, have ended."""
        task.stop_timer()
        task.ended(end)

    def _how(self, task: Task, frame: Ended) -> End:
        if frame.given_up:
            return timed_out(task) if task.late else End(How.GIVEN_UP, why="it was cancelled")
        return End(How.DONE, frame.outcome)

    def _restart_timer(self, task: Task) -> None:
        if task.timer is not None and not task.late:
            task.timer.cancel()
            task.timer = self._clock.after(task.timeout_ms, lambda: self._overdue(task))

    def _overdue(self, task: Task) -> None:
        task.late = True
        self._cancel(task)

    def _cancel(self, task: Task) -> None:
        task.stop_timer()
        task.timer = self._clock.after(CANCEL_MS, lambda: self.stuck(task))
        self.send(Cancel(task.frame.number))

    @abstractmethod
    def send(self, frame: HandleJob | HandlePage | Cancel) -> None:
        """Have something started or cancelled."""

    @abstractmethod
    def stuck(self, task: Task) -> None:
        """Hear that a task which was cancelled does not let go."""


class Runners(ABC):
    """All the places of a worker. `freed` are told when there may be room again."""

    def __init__(self) -> None:
        self.freed: set[Callable[[], object]] = set()

    def tell_freed(self) -> None:
        """Tell that there may be room."""
        for freed in self.freed:
            freed()

    @abstractmethod
    async def open(self) -> None:
        """Begin. Raises ConfigError: what the handlers need cannot be had."""

    @abstractmethod
    def room(self, *, solo: bool) -> int:
        """Return how many tasks could start now."""

    @abstractmethod
    def start(self, task: Task) -> None:
        """Handle a task; one for which there is no room waits."""

    @abstractmethod
    def cancel(self, number: int, *, soft: bool = False) -> None:
        """Give a task up; `soft`: of a page, what follows the message at hand."""

    @abstractmethod
    def waiting(self) -> list[Task]:
        """Take away the tasks that have not started."""

    @abstractmethod
    def health(self) -> list[dict[str, Any]]:
        """Tell how each place is: whether it is `well`, and what runs there."""

    @abstractmethod
    async def close(self) -> None:
        """End; what still runs is given up."""


def timed_out(task: Task) -> End:
    """Return the end of a task that took too long."""
    return End(How.TIMED_OUT, why=f"timeout after {told_ms(task.timeout_ms)}")


def told_ms(duration_ms: int) -> str:
    """Return a duration as people write it: `5m`, `1.5s`, `250ms`."""
    for unit, unit_ms in (("h", 3_600_000), ("m", 60_000), ("s", 1_000)):
        if duration_ms >= unit_ms and duration_ms % (unit_ms // 10 or 1) == 0:
            return f"{duration_ms / unit_ms:g}{unit}"
    return f"{duration_ms}ms"
