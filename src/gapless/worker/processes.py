"""The processes of a worker's handlers: kept at their number, replaced when they end or must be ended."""

import asyncio
import logging
from collections import deque
from functools import partial
from random import Random
from typing import Any, Final

from gapless.client.connection import backoff_ms
from gapless.core.errors import ConfigError
from gapless.ports import Clock
from gapless.worker.frames import Begin
from gapless.worker.process import Process
from gapless.worker.runners import Asked, End, How, Runners, Task

__all__ = ["Processes"]

IDLE_MS: Final = 30_000  # a process for single tasks is kept so long for the next one
EXCUSED_MS: Final = 10_000  # for so long a worker is well without a process, while one is replaced
EXCUSES_APART_MS: Final = 300_000  # unless another one ended so short a time before: then it is no accident
log: Final = logging.getLogger("gapless.worker")


class Processes(Runners):
    """Runs tasks in `processes` of `concurrency` each; solo ones in processes of their own, as many again.

    Those for solo tasks are started when they are needed, and there are at least two of them.
    """

    def __init__(self, begin: Begin, clock: Clock, random: Random, asked: Asked, *, processes: int) -> None:
        super().__init__()
        self._begin = begin
        self._clock = clock
        self._random = random
        self._asked = asked
        self._shared_max = processes
        self._solo_max = max(2, processes)
        self._shared: list[Process] = []
        self._solo: list[Process] = []
        self._waiting: deque[Task] = deque()
        self._running: set[asyncio.Task[None]] = set()
        self._failed_starts = 0
        self._lost_ms = -EXCUSES_APART_MS
        self._excused_until_ms = 0
        self._closing = False

    async def open(self) -> None:
        """See `Runners.open`."""
        first = self._launch(self._shared, self._begin.concurrency)
        failure = await first.started
        if failure:
            self._closing = True
            raise ConfigError(failure)
        for _ in range(self._shared_max - 1):
            self._launch(self._shared, self._begin.concurrency)

    def room(self, *, solo: bool) -> int:
        """See `Runners.room`."""
        if solo:
            busy = sum(bool(process.tasks) for process in self._solo)
            return max(0, self._solo_max - busy - len(self._waiting))
        return sum(process.room() for process in self._shared)

    def start(self, task: Task) -> None:
        """See `Runners.start`."""
        if not task.solo:
            freest = max(self._shared, key=Process.room, default=None)
            if freest is not None and freest.room() > 0:
                freest.start(task)
                return
        self._waiting.append(task)
        self._start_waiting()

    def cancel(self, number: int, *, soft: bool = False) -> None:
        """See `Runners.cancel`."""
        for task in self._waiting:
            if task.frame.number == number:
                self._waiting.remove(task)
                task.ended(End(How.GIVEN_UP, why="it was cancelled"))
                return
        for process in [*self._shared, *self._solo]:
            process.cancel(number, soft=soft)

    def waiting(self) -> list[Task]:
        """See `Runners.waiting`."""
        taken = list(self._waiting)
        self._waiting.clear()
        return taken

    def health(self) -> list[dict[str, Any]]:
        """See `Runners.health`. What does not take tasks yet is well while another does, or it is excused."""
        takes = any(process.is_ready() and process.health()["well"] for process in self._shared)
        excused = takes or self._clock.now_ms() < self._excused_until_ms
        told = [
            process.health() if process.is_ready() else {**process.health(), "well": excused}
            for process in [*self._shared, *self._solo]
        ]
        missing = max(0, self._shared_max - len(self._shared))
        return told + [{"well": excused, "why": "it is being replaced"}] * missing

    async def close(self) -> None:
        """See `Runners.close`."""
        self._closing = True
        for process in [*self._shared, *self._solo]:
            process.finish()
        await asyncio.gather(*self._running)

    # The processes ------------------------------------------------------------------------

    def _launch(self, among: list[Process], capacity: int) -> Process:
        process = Process(self._begin, self._clock, capacity, self._freed, self._asked)
        among.append(process)
        running = asyncio.get_running_loop().create_task(self._run(process, among))
        self._running.add(running)
        running.add_done_callback(self._running.discard)
        return process

    async def _run(self, process: Process, among: list[Process]) -> None:
        await process.run()
        among.remove(process)
        self.tell_freed()
        if process.was_ready:
            self._failed_starts = 0
            if among is self._shared:
                self._lost()
            self._relaunch(among)
        elif not self._closing:
            log.error("a process could not start: %s", process.started.result())
            delay_ms = backoff_ms(self._failed_starts, self._random)
            self._clock.after(delay_ms, partial(self._relaunch, among))
            self._failed_starts += 1

    def _lost(self) -> None:
        """Hear that a process has ended that was ready. It is excused once, and not again soon."""
        now_ms = self._clock.now_ms()
        if now_ms - self._lost_ms >= EXCUSES_APART_MS:
            self._excused_until_ms = now_ms + EXCUSED_MS
        else:
            self._excused_until_ms = 0
        self._lost_ms = now_ms

    def _relaunch(self, among: list[Process]) -> None:
        if not self._closing and among is self._shared:
            self._launch(self._shared, self._begin.concurrency)
        self._start_waiting()

    def _freed(self) -> None:
        self._start_waiting()
        self.tell_freed()

    def _start_waiting(self) -> None:
        """Give what waits to who is free; one that serves single tasks alone is ended when none come."""
        for task in list(self._waiting):
            place = self._place(task)
            if place is not None:
                self._waiting.remove(task)
                place.start(task)
        for process in self._solo:
            if process.is_ready() and not process.tasks:
                self._clock.after(IDLE_MS, partial(self._idle, process, process.begun))

    def _place(self, task: Task) -> Process | None:
        if not task.solo:
            return next((process for process in self._shared if process.room() > 0), None)
        for process in self._solo:
            if process.room() > 0:
                return process
        starting = sum(not process.is_ready() for process in self._solo)
        wanting = sum(each.solo for each in self._waiting)
        if len(self._solo) < self._solo_max and starting < wanting and not self._closing:
            self._launch(self._solo, 1)
        return None

    def _idle(self, process: Process, begun: int) -> None:
        if not process.tasks and process.begun == begun and process in self._solo:
            process.ask_to_finish()
