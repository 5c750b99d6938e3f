"""The parent of several processes that serve one port: who is started, and when again."""

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

from msgspec.structs import replace

from gapless.cli.several.frames import (
    Begin,
    Down,
    Failed,
    Gather,
    Gathered,
    Ready,
    Reload,
    Reloaded,
    Stop,
    Tell,
    Told,
    Up,
)
from gapless.cli.several.gathering import Gathering
from gapless.core.errors import GaplessError, Unavailable
from gapless.core.limits import (
    SERVER_WORKER_CUT_MS,
    SERVER_WORKER_LASTS_MS,
    SERVER_WORKER_PAUSE_MS,
    SERVER_WORKER_PAUSE_MS_MAX,
    SERVER_WORKER_STARTS_MAX,
)
from gapless.ports import Clock, Timer
from gapless.server.config import Config, Effective
from gapless.server.reloading import check_feeds, origins_now, reloaded
from gapless.worker.pipe import ended_by

__all__ = ["Overseer", "Running", "Spawn"]

log: Final = logging.getLogger("gapless.cli")


class Running(Protocol):
    """A process that was started."""

    def send(self, frame: Down) -> None:
        """Tell it something."""

    def kill(self) -> None:
        """End it at once."""


Spawn = Callable[[Callable[[Up], object], Callable[[int], object]], Running]
"""Starts a process. It calls back with what the process says; and once, with its exit code, at its end."""


class _Worker:
    def __init__(self, number: int) -> None:
        self.number = number
        self.running: Running | None = None
        self.failure: GaplessError | None = None
        self.is_ready = False
        self.ready_ms = 0
        self.short_lives = 0
        self.again: Timer | None = None


class Overseer:
    """Keeps as many processes running as the configuration says.

    `up` is done when all have served at once, or all was given up before; `over` when none runs any more:
    with None, or with the error for which all was given up. All of them are given the `secret`.
    """

    def __init__(
        self, effective: Effective, target: str, clock: Clock, spawn: Spawn, secret: str = ""
    ) -> None:
        loop, config = asyncio.get_running_loop(), effective.config
        self.up: asyncio.Future[None] = loop.create_future()
        self.over: asyncio.Future[GaplessError | None] = loop.create_future()
        self._effective = effective
        self._target = target
        self._clock = clock
        self._spawn = spawn
        self._secret = secret
        self._workers = [_Worker(number) for number in range(1, config.http_server.workers + 1)]
        self._gathering = Gathering(clock)
        self._reloading: set[int] = set()
        self._reloaded: Callable[[], object] = lambda: None
        self._is_stopping = False
        self._error: GaplessError | None = None
        self._cut: Timer | None = None

    def start(self) -> None:
        """Start all of them."""
        for worker in self._workers:
            self._begin(worker)

    def _begin(self, worker: _Worker) -> None:
        worker.again = worker.failure = None
        worker.running = self._spawn(partial(self._heard, worker), partial(self._ended, worker))
        config, origins = self._effective
        begin = Begin(worker.number, _of(worker, config), self._target, dict(origins), self._secret)
        worker.running.send(begin)

    # What is heard ------------------------------------------------------------------------

    def _heard(self, worker: _Worker, frame: Up) -> None:
        match frame:
            case Ready():
                worker.is_ready = True
                worker.ready_ms = self._clock.now_ms()
                if all(one.is_ready for one in self._workers) and not self.up.done():
                    self.up.set_result(None)
            case Failed(refusal):
                worker.failure = refusal.error()
            case Reloaded():
                self._has_reloaded(worker)
            case Gather(number):
                self._gather(worker, number)
            case Told(number, measured):
                self._gathering.told(worker.number, number, measured)

    def _gather(self, worker: _Worker, number: int) -> None:
        ready = [one for one in self._workers if one.is_ready]
        under = self._gathering.begin(
            [one.number for one in ready], lambda measured: self._say(worker, Gathered(number, measured))
        )
        for one in ready:
            self._say(one, Tell(under))

    def _say(self, worker: _Worker, frame: Down) -> None:
        if worker.running is not None:
            worker.running.send(frame)

    # The end of one -----------------------------------------------------------------------

    def _ended(self, worker: _Worker, code: int) -> None:
        was_ready, worker.is_ready, worker.running = worker.is_ready, False, None
        self._gathering.ended(worker.number)
        self._has_reloaded(worker)
        how = str(worker.failure) if worker.failure is not None else ended_by(code)
        if self._is_stopping:
            if code and self._error is None:
                self._error = Unavailable(f"worker {worker.number} did not end in good order: {how}")
            self._end_if_none_runs()
        elif worker.failure is not None and not self.up.done():
            self._give_up(worker.failure)
        else:
            lasted_ms = self._clock.now_ms() - worker.ready_ms if was_ready else 0
            worker.short_lives = 0 if lasted_ms >= SERVER_WORKER_LASTS_MS else worker.short_lives + 1
            self._start_again(worker, how)

    def _start_again(self, worker: _Worker, how: str) -> None:
        if worker.short_lives >= SERVER_WORKER_STARTS_MAX and not any(one.is_ready for one in self._workers):
            self._give_up(Unavailable(f"worker {worker.number} ends again and again: {how}"))
            return
        doubled = SERVER_WORKER_PAUSE_MS << worker.short_lives - 1 if worker.short_lives else 0
        pause_ms = min(SERVER_WORKER_PAUSE_MS_MAX, doubled)
        log.error("worker %d ended (%s); it is started again in %d ms", worker.number, how, pause_ms)
        worker.again = self._clock.after(pause_ms, partial(self._begin, worker))

    def _give_up(self, error: GaplessError) -> None:
        self._error = error
        self.stop()

    # All of them --------------------------------------------------------------------------

    def reload(self, read: Effective, done: Callable[[], object]) -> None:
        """Have all go on with what was read, as far as that needs no restart; then call `done`.

        Raises:
            ConfigError: another number of partitions of a namespace; nothing has changed then.
        """
        before = self._effective
        check_feeds(before.config.channel.compiled(), read.config.channel.compiled())
        now = reloaded(before.config, read.config)
        self._effective = Effective(now, origins_now(before, read, now))
        self._reloaded = done
        running = [one for one in self._workers if one.running is not None]
        self._reloading = {one.number for one in running}
        for one in running:
            self._say(one, Reload(_of(one, read.config), dict(read.origins)))
        if not running:
            done()

    def _has_reloaded(self, worker: _Worker) -> None:
        if worker.number in self._reloading:
            self._reloading.discard(worker.number)
            if not self._reloading:
                self._reloaded()

    def stop(self) -> None:
        """Ask all to end; who has not by the end of its time is ended. Repeated calls do nothing."""
        if self._is_stopping:
            return
        self._is_stopping = True
        for worker in self._workers:
            if worker.again is not None:
                worker.again.cancel()
            self._say(worker, Stop())
        self._cut = self._clock.after(
            self._effective.config.shutdown.timeout_ms + SERVER_WORKER_CUT_MS, self._cut_short
        )
        self._end_if_none_runs()

    def _cut_short(self) -> None:
        for worker in self._workers:
            if worker.running is not None:
                log.error("worker %d does not end: it is ended", worker.number)
                worker.running.kill()

    def _end_if_none_runs(self) -> None:
        if self.over.done() or any(worker.running is not None for worker in self._workers):
            return
        if self._cut is not None:
            self._cut.cancel()
        if not self.up.done():
            self.up.set_result(None)
        self.over.set_result(self._error)


def _of(worker: _Worker, config: Config) -> Config:
    """Return a configuration with a name of its own for one of them: each is a node."""
    return replace(config, node=replace(config.node, name=f"{config.node.name}_{worker.number}"))
