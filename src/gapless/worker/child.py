"""A process that runs handlers: `python -m gapless.worker.child <socket>`, started by a worker."""

import asyncio
import ctypes
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, suppress
from itertools import count
from pathlib import Path
from typing import Any, Final

import msgspec
import uvloop

from gapless.client.following import Event
from gapless.core.errors import GaplessError, NotAvailable
from gapless.core.stream import Position
from gapless.library.outcomes import Outcome
from gapless.library.remote import ANSWERS
from gapless.protocol.messages import Payload, payload
from gapless.protocol.queues import ClaimedJob
from gapless.protocol.reading import ReplayedMessage, ReplayRequest
from gapless.server.clock import LoopClock
from gapless.server.parting import pause
from gapless.worker.finding import find
from gapless.worker.frames import (
    DOWN,
    Answered,
    Ask,
    Beat,
    Begin,
    Cancel,
    Down,
    Extend,
    Finish,
    HandleJob,
    HandlePage,
    Ready,
    Said,
    Settle,
)
from gapless.worker.handling import Handling
from gapless.worker.hooks import serving_hooks
from gapless.worker.pipe import Pipe

__all__ = ["BEAT_MS", "main"]

BEAT_MS: Final = 1_000
_PR_SET_PDEATHSIG: Final = 1  # prctl(2)
_ADJUSTMENT: Final = 500  # as if it had half of all memory besides
_ADJUSTMENT_MAX: Final = 1_000


class Door:
    """What goes to the worker and is answered: a `Desk` for jobs, and a `Transport` for the Gapless."""

    keeps_store = False

    def __init__(self, pipe: Pipe[Down]) -> None:
        self._pipe = pipe
        self._numbers = count(1)
        self._asked: dict[int, asyncio.Future[Payload]] = {}

    def answered(self, frame: Answered) -> None:
        """Hear an answer."""
        asked = self._asked.pop(frame.number, None)
        if asked is None or asked.done():
            return
        if frame.error is not None:
            asked.set_exception(frame.error.error())
        else:
            asked.set_result(frame.answer)

    async def extend(self, job: ClaimedJob, lease_ms: int) -> int:
        """See `Desk.extend`."""
        return int(bytes(await self._ask(Extend(next(self._numbers), job.id, job.fence, lease_ms))))

    async def settle(self, job: ClaimedJob, outcome: Outcome) -> None:
        """See `Desk.settle`."""
        await self._ask(Settle(next(self._numbers), job.id, job.fence, outcome))

    async def open(self) -> None:
        """See `Transport.open`: the worker has it open."""

    async def close(self) -> None:
        """See `Transport.close`."""

    async def call(self, verb: str, request: Any) -> Any:
        """See `Transport.call`."""
        answer = await self._ask(Ask(next(self._numbers), verb, payload(msgspec.json.encode(request))))
        return ANSWERS[verb](bytes(answer))

    async def publish(self, body: bytes, *, repeatable: bool) -> bytes:
        """See `Transport.publish`."""
        return bytes(await self._ask(Ask(next(self._numbers), "publish", payload(body), repeatable)))

    async def page(self, channel: str, query: bytes) -> bytes:
        """See `Transport.page`."""
        request = payload(msgspec.json.encode((channel, query.decode())))
        return bytes(await self._ask(Ask(next(self._numbers), "page", request)))

    def events(self, channel: str, since: Position | None) -> AsyncGenerator[Event, None]:
        """See `Transport.events`; a channel is followed where the store is.

        Raises:
            NotAvailable: always.
        """
        raise NotAvailable("handlers of a worker that has the store open follow no channels")

    def replay(self, request: ReplayRequest) -> AsyncGenerator[list[ReplayedMessage], None]:
        """See `Transport.replay`.

        Raises:
            NotAvailable: always.
        """
        raise NotAvailable("handlers of a worker that has the store open replay no streams")

    async def _ask(self, frame: Extend | Settle | Ask) -> Payload:
        answer: asyncio.Future[Payload] = asyncio.get_running_loop().create_future()
        self._asked[frame.number] = answer
        self._pipe.send(frame)
        return await answer


class Saying(logging.Handler):
    """Has the worker log what is logged here."""

    def __init__(self, pipe: Pipe[Down]) -> None:
        super().__init__()
        self._loop = asyncio.get_running_loop()
        self._pipe = pipe

    def emit(self, record: logging.LogRecord) -> None:
        """Send a record; it may come from any thread."""
        said = Said(record.name, record.levelno, self.format(record))
        self._loop.call_soon_threadsafe(self._pipe.send, said)


class Child:
    """The process's one pipe, and what comes through it."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._begun: asyncio.Future[Begin] = self._loop.create_future()
        self._finish = asyncio.Event()
        self._handling: Handling | None = None
        self.pipe: Pipe[Down] = Pipe(DOWN, self._heard, self._orphaned)
        self._door = Door(self.pipe)
        logger = logging.getLogger("gapless")
        logger.addHandler(Saying(self.pipe))
        logger.setLevel(logging.INFO)
        logger.propagate = False

    def _orphaned(self) -> None:
        os._exit(1)  # nobody is there any more to whom an outcome could be told

    def _heard(self, frame: Down) -> None:
        match frame:
            case HandleJob() | HandlePage() if self._handling is not None:
                self._handling.start(frame)
            case Answered():
                self._door.answered(frame)
            case Cancel() if self._handling is not None:
                self._handling.cancel(frame)
            case Begin():
                self._begun.set_result(frame)
            case Finish():
                self._finish.set()
            case _:
                raise AssertionError(f"{frame!r} before the beginning")

    async def run(self) -> int:
        """Handle what comes until the end; return the exit code."""
        begin = await self._begun
        async with AsyncExitStack() as stack:
            stack.callback(self._loop.create_task(self._beat()).cancel)  # the last of all that ends
            try:
                await self._begin(begin, stack)
            except Exception as error:
                self.pipe.send(Ready(f"{type(error).__name__}: {error}"))
                self.pipe.flush()
                if not isinstance(error, GaplessError):
                    raise
                return 1
            self.pipe.send(Ready())
            await self._finish.wait()
            assert self._handling is not None
            await self._handling.finish()
        self.pipe.flush()
        return 0

    async def _begin(self, begin: Begin, stack: AsyncExitStack) -> None:
        gl = find(begin.target)
        if begin.piped:
            gl.through(lambda: self._door)
        await stack.enter_async_context(gl)  # on this loop, which threads of handlers reach it on
        context = await stack.enter_async_context(gl.running())
        self._handling = Handling(gl, context, self._door, self.pipe.send, threads=begin.concurrency)
        if not begin.piped:
            name = f"{begin.name}/{os.getpid()}"
            await stack.enter_async_context(serving_hooks(gl, context, LoopClock(), name))
        gc.collect()
        gc.freeze()

    async def _beat(self) -> None:
        clock = LoopClock()
        while True:
            await pause(clock, BEAT_MS)
            self.pipe.send(Beat())


async def _run(descriptor: int) -> int:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):  # which a terminal sends to all: the worker decides
        loop.add_signal_handler(number, lambda: None)
    child = Child()
    await loop.create_connection(lambda: child.pipe, sock=socket.socket(fileno=descriptor))
    return await child.run()


def _offer_itself() -> None:
    """Have Linux end this process, and what it starts, before the worker when memory runs out (proc(5))."""
    path = Path("/proc/self/oom_score_adj")
    with suppress(OSError):
        path.write_text(str(min(_ADJUSTMENT_MAX, int(path.read_text()) + _ADJUSTMENT)))


def main() -> None:
    """Run until the worker says so, or is gone."""
    _offer_itself()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    code = uvloop.run(_run(int(sys.argv[1])))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # threads that do not end hold nothing up


if __name__ == "__main__":
    main()
