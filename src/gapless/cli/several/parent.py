"""The parent of several processes that serve one port: its signals, the port, and what it starts."""

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable
from functools import partial
from random import SystemRandom
from typing import Final

import uvloop
from msgspec.structs import replace

from gapless.cli.logs import set_level
from gapless.cli.machine import raise_open_files_limit
from gapless.cli.several.frames import UP, Down, Up
from gapless.cli.several.overseer import Overseer
from gapless.cli.supervision import tell_ready, tell_reloading, tell_stopping
from gapless.core.errors import GaplessError
from gapless.core.limits import CLOSE_MS
from gapless.ports import Clock
from gapless.server.clock import LoopClock
from gapless.server.config import Effective
from gapless.server.front import cannot_listen, reserve
from gapless.worker.pipe import Pipe

__all__ = ["run_several"]

CUT_SHORT: Final = 1
CANNOT_START: Final = 126  # as a shell says of a command

log: Final = logging.getLogger("gapless.cli")


def run_several(effective: Effective, target: str, reread: Callable[[], Effective]) -> None:
    """Run a server of several processes until it is asked to stop; asked again, all end at once.

    `reread` reads the configuration anew when the process gets a SIGHUP. Each runs the Gapless at `target`,
    if there is one.

    Raises:
        GaplessError: it could not start; or one did not end in good order.
    """
    raise_open_files_limit()
    uvloop.run(_run(effective, target, reread))


async def _run(effective: Effective, target: str, reread: Callable[[], Effective]) -> None:
    loop, clock = asyncio.get_running_loop(), LoopClock()
    server = effective.config.http_server
    try:
        kept = reserve(server.address, server.port)
    except OSError as error:
        raise cannot_listen(server.address, server.port, error) from error
    at_port = partial(_at_port, server.port, kept[0].getsockname()[1])
    secret = SystemRandom().randbytes(32).hex()
    overseer = Overseer(at_port(effective), target, clock, partial(_Child, clock), secret)
    asked: asyncio.Future[None] = loop.create_future()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, _ask, asked, overseer)
    loop.add_signal_handler(signal.SIGHUP, _reload, overseer, lambda: at_port(reread()))
    overseer.start()
    await overseer.up
    if not (asked.done() or overseer.over.done()):
        tell_ready()
    failure = await overseer.over
    for one in kept:
        one.close()
    if failure is not None:
        raise failure


def _at_port(asked: int, port: int, effective: Effective) -> Effective:
    """Return a configuration with the port that was found where any was asked for, and a name."""
    config, origins = effective
    server, node = config.http_server, config.node
    if server.port == asked:
        server = replace(server, port=port)
    name = node.name or f"{socket.gethostname()}_{port}"
    return Effective(replace(config, http_server=server, node=replace(node, name=name)), origins)


def _ask(asked: "asyncio.Future[None]", overseer: Overseer) -> None:
    if asked.done():
        log.warning("asked to stop a second time: ending at once")
        logging.shutdown()
        os._exit(CUT_SHORT)  # which ends all that it started
    asked.set_result(None)
    tell_stopping()
    overseer.stop()


def _reload(overseer: Overseer, reread: Callable[[], Effective]) -> None:
    """Read the configuration again; one that cannot be read changes nothing."""
    if overseer.up.done():
        tell_reloading()
    over = tell_ready if overseer.up.done() else _nothing
    try:
        read = reread()
        overseer.reload(read, over)
        set_level(read.config.log.level)
    except GaplessError as error:
        log.error("the configuration stays as it was: %s", error)
        over()


class _Child:
    """A process of its own session, so that a terminal's signals reach the parent alone."""

    def __init__(self, clock: Clock, heard: Callable[[Up], object], ended: Callable[[int], object]) -> None:
        loop = asyncio.get_running_loop()
        self._clock = clock
        self._lost: asyncio.Future[None] = loop.create_future()
        self._pipe = Pipe(UP, heard, partial(_resolve, self._lost))
        self._process: asyncio.subprocess.Process | None = None
        self._is_killed = False
        self._ended = ended
        self._running = loop.create_task(self._started())

    def send(self, frame: Down) -> None:
        """See `Running.send`."""
        self._pipe.send(frame)

    def kill(self) -> None:
        """See `Running.kill`."""
        self._is_killed = True
        if self._process is not None and self._process.returncode is None:
            self._process.kill()

    async def _started(self) -> None:
        try:
            code = await self._run()
        except OSError as error:
            log.error("a process cannot be started: %s", error.strerror)
            code = CANNOT_START
        self._ended(code)

    async def _run(self) -> int:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        command = [sys.executable, "-m", "gapless.cli.several.process", str(theirs.fileno())]
        self._process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.DEVNULL, pass_fds=[theirs.fileno()], start_new_session=True
        )
        theirs.close()
        if self._is_killed:
            self._process.kill()
        await asyncio.get_running_loop().create_connection(lambda: self._pipe, sock=ours)
        code = await self._process.wait()
        timer = self._clock.after(CLOSE_MS, partial(_resolve, self._lost))
        await self._lost  # what it said last
        timer.cancel()
        self._pipe.close()
        return code


def _nothing() -> None:
    """Tell nobody: it has not been told yet that it serves."""


def _resolve(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)
