"""Handling in the host's own process: nothing there can be stopped by force, so a timeout is advice."""

import logging
from contextlib import AsyncExitStack
from typing import Any, Final

from gapless.library.gapless import Gapless
from gapless.ports import Clock
from gapless.worker.frames import Cancel, HandleJob, HandlePage
from gapless.worker.handling import Handling
from gapless.worker.hooks import serving_hooks
from gapless.worker.runners import End, How, Runner, Runners, Task
from gapless.worker.speaking import Speaking

__all__ = ["Inline"]

log: Final = logging.getLogger("gapless.worker")


class Inline(Runners):
    """Runs everything on this loop, and plain functions in threads. With a `hooks_name`, hooks too."""

    def __init__(
        self, gl: Gapless, clock: Clock, speaking: Speaking, *, concurrency: int, hooks_name: str = ""
    ) -> None:
        super().__init__()
        self._gl = gl
        self._clock = clock
        self._speaking = speaking
        self._concurrency = concurrency
        self._hooks_name = hooks_name
        self._stack = AsyncExitStack()
        self._here: _Here | None = None

    async def open(self) -> None:
        """See `Runners.open`."""
        context = await self._stack.enter_async_context(self._gl.running())
        here = _Here(self._clock, self._concurrency, self.tell_freed)
        here.handling = Handling(self._gl, context, self._speaking, here.heard, threads=self._concurrency)
        self._here = here
        if self._hooks_name:
            serving = serving_hooks(self._gl, context, self._clock, self._hooks_name)
            await self._stack.enter_async_context(serving)

    def room(self, *, solo: bool) -> int:
        """See `Runners.room`."""
        return self._concurrency - len(self._here.tasks) if self._here is not None else 0

    def start(self, task: Task) -> None:
        """See `Runners.start`."""
        assert self._here is not None
        self._here.start(task)

    def cancel(self, number: int, *, soft: bool = False) -> None:
        """See `Runners.cancel`."""
        if self._here is not None:
            self._here.cancel(number, soft=soft)

    def waiting(self) -> list[Task]:
        """See `Runners.waiting`."""
        return []

    def health(self) -> list[dict[str, Any]]:
        """See `Runners.health`."""
        return [{"well": self._here is not None, "running": len(self._here.tasks) if self._here else 0}]

    async def close(self) -> None:
        """See `Runners.close`."""
        if self._here is not None:
            await self._here.handling.finish()
            self._here = None
        await self._stack.aclose()


class _Here(Runner):
    handling: Handling

    def send(self, frame: HandleJob | HandlePage | Cancel) -> None:
        if isinstance(frame, Cancel):
            self.handling.cancel(frame)
        else:
            self.handling.start(frame)

    def stuck(self, task: Task) -> None:
        if task.frame.number not in self.tasks:
            return
        log.warning("%s was cancelled and goes on: in the host's process nothing can stop it", task.name)
        if not task.late:
            del self.tasks[task.frame.number]
            self.end(task, End(How.GIVEN_UP, why="it was cancelled, and does not stop"))
