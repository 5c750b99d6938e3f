"""One process of several that serve a port: `python -m gapless.cli.several.process <socket>`."""

import asyncio
import ctypes
import logging
import os
import signal
import socket
import sys
from functools import partial
from itertools import count
from random import SystemRandom
from typing import Final

import uvloop

from gapless.cli.logs import name_process, set_level, start_logging
from gapless.cli.machine import raise_open_files_limit, spare_the_collector
from gapless.cli.several.frames import (
    DOWN,
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
)
from gapless.core.errors import GaplessError, StoreFailed, Unavailable
from gapless.core.limits import SERVER_WORKERS_TELL_MS
from gapless.server.clock import LoopClock
from gapless.server.metrics import Samples, measured, owns_writer
from gapless.server.node import App, Node
from gapless.server.sums import heard, told
from gapless.sharing.frames import Refusal
from gapless.worker.pipe import Pipe

__all__ = ["app_of", "main"]

ORPHANED: Final = 1
_PR_SET_PDEATHSIG: Final = 1  # prctl(2)

log: Final = logging.getLogger("gapless.cli")


def app_of(target: str) -> App | None:
    """Return what runs the Gapless at `target` (`module:name`) beside a node; nothing for no target."""
    if not target:
        return None
    from gapless.library.application import application
    from gapless.worker.finding import find

    return partial(application, find(target), SystemRandom())


class Child:
    """A node, which does as the parent says."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.pipe = Pipe(DOWN, self._heard, self._orphaned)
        self._loop = loop
        self._clock = LoopClock()
        self._begun: asyncio.Future[Begin] = loop.create_future()
        self._asked: asyncio.Future[None] = loop.create_future()
        self._gathering: dict[int, asyncio.Future[Samples]] = {}
        self._numbers = count()
        self._node: Node | None = None
        self._read: Reload | None = None  # while it started
        self._is_over = False

    async def run(self) -> int:
        """Serve until the parent says otherwise; return the exit code."""
        begin = await self._begun
        start_logging(begin.config.log)
        name_process(begin.number)
        try:
            await self._serve(begin)
        except GaplessError as error:
            self.pipe.send(Failed(Refusal.of(error)))
            code = 1
        else:
            code = 0
        self._is_over = True
        self.pipe.close()
        return code

    async def _serve(self, begin: Begin) -> None:
        raise_open_files_limit()
        app = app_of(begin.target)
        node = Node(begin.config, self._clock, SystemRandom(), app, self._gather, origins=begin.origins)
        node.secret = begin.secret
        await node.start()
        self._node = node
        if self._read is not None:
            self._reload(self._read)
        spare_the_collector()
        self.pipe.send(Ready())
        await asyncio.wait((self._asked, node.failed), return_when=asyncio.FIRST_COMPLETED)
        await node.stop()
        if node.failed.done():
            raise StoreFailed(f"the store had to close: {node.failed.result()}")

    def _heard(self, frame: Down) -> None:
        match frame:
            case Begin():
                self._begun.set_result(frame)
            case Reload():
                self._reload(frame)
                self.pipe.send(Reloaded())
            case Stop():
                if not self._asked.done():
                    self._asked.set_result(None)
            case Tell(number):
                self._tell(number)
            case Gathered(number, numbers):
                asked = self._gathering.get(number)
                if asked is not None and not asked.done():
                    asked.set_result(heard(numbers))

    def _reload(self, read: Reload) -> None:
        if self._node is None:
            self._read = read
            return
        try:
            self._node.reload(read.config, read.origins)
            set_level(read.config.log.level)
        except GaplessError as error:
            log.error("the configuration stays as it was: %s", error)

    def _tell(self, number: int) -> None:
        if self._node is not None:
            sources = self._node.sources
            self.pipe.send(Told(number, told(measured(sources), owns_writer=owns_writer(sources))))

    async def _gather(self) -> Samples:
        number = next(self._numbers)
        asked: asyncio.Future[Samples] = self._loop.create_future()
        self._gathering[number] = asked
        self.pipe.send(Gather(number))
        timer = self._clock.after(2 * SERVER_WORKERS_TELL_MS, partial(_end, asked))
        try:
            return await asked
        finally:
            timer.cancel()
            del self._gathering[number]

    def _orphaned(self) -> None:
        """End at once, as the parent did: nothing acknowledged gets lost."""
        if not self._is_over:
            os._exit(ORPHANED)


def _end(asked: "asyncio.Future[Samples]") -> None:
    if not asked.done():
        asked.set_exception(Unavailable("the processes of this server do not tell their numbers"))


async def _run(descriptor: int) -> int:
    loop = asyncio.get_running_loop()
    for number in (
        signal.SIGINT,
        signal.SIGTERM,
        signal.SIGHUP,
    ):  # which may be sent to all: the parent decides
        loop.add_signal_handler(number, lambda: None)
    child = Child()
    await loop.create_connection(lambda: child.pipe, sock=socket.socket(fileno=descriptor))
    return await child.run()


def main() -> None:
    """Run until the parent says otherwise, or is gone."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    code = uvloop.run(_run(int(sys.argv[1])))
    logging.shutdown()
    sys.exit(code)


if __name__ == "__main__":
    main()
