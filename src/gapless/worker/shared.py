"""What all that a worker serves has in common."""

import asyncio
from collections.abc import Callable, Coroutine
from itertools import count
from random import Random
from typing import Any

from msgspec import Struct

from gapless.library.gapless import Gapless
from gapless.ports import Clock
from gapless.worker.runners import Runners, Task
from gapless.worker.settling import Settling
from gapless.worker.standing import Standing

__all__ = ["Counters", "Shared", "Silence"]


class Counters(Struct):
    """What a worker has done since it started: jobs and messages."""

    done: int = 0
    failed: int = 0
    running: int = 0


class Silence:
    """How long something that is asked for again and again has not been answered.

    `asked` is before each call, `answered` after it; `waits_ms` is how long an answer may take.
    """

    def __init__(self, clock: Clock, name: str, waits_ms: int) -> None:
        self.name = name
        self._clock = clock
        self._waits_ms = waits_ms
        self._since_ms = 0

    def asked(self) -> None:
        """Begin to wait, unless that is so already."""
        self._since_ms = self._since_ms or self._clock.now_ms()

    def answered(self) -> None:
        """Wait no longer."""
        self._since_ms = 0

    def overdue_ms(self) -> int:
        """Return by how much an answer is late."""
        waited_ms = self._clock.now_ms() - self._since_ms if self._since_ms else 0
        return max(0, waited_ms - self._waits_ms)


class Shared:
    """The Gapless, where handlers run, and the `name` by which a worker claims and joins groups."""

    def __init__(
        self, gl: Gapless, clock: Clock, random: Random, runners: Runners, settling: Settling, name: str
    ) -> None:
        self.gl = gl
        self.clock = clock
        self.random = random
        self.runners = runners
        self.settling = settling
        self.name = name
        self.counters = Counters()
        self.measured: Callable[[Task], Task] = _plain
        self.numbers = count(1)
        self._secret = f"{random.getrandbits(128):032x}"
        self.standing = Standing(clock)
        self.silences: list[Silence] = []
        self._spawned: set[asyncio.Task[None]] = set()

    def start(self, task: Task) -> None:
        """Have a task handled."""
        self.runners.start(self.measured(task))

    def request_id(self) -> str:
        """Return an id for a request, which nobody else has or guesses."""
        return f"{self._secret}-{next(self.numbers)}"

    def silence(self, name: str, waits_ms: int) -> Silence:
        """Return what watches over calls that may wait for so long."""
        silence = Silence(self.clock, name, waits_ms)
        self.silences.append(silence)
        return silence

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Have something done that nobody waits for, but the end."""
        task = asyncio.get_running_loop().create_task(work)
        self._spawned.add(task)
        task.add_done_callback(self._spawned.discard)

    async def finish(self) -> None:
        """Wait until all that is done, and all settled."""
        await self.settling.finish()
        await asyncio.gather(*self._spawned)


def _plain(task: Task) -> Task:
    return task
