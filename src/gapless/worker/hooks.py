"""Serving hooks for a server elsewhere: take calls over its HTTP API, decide, answer."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import msgspec

from gapless.core.errors import GaplessError, MethodNotFound, Unauthorized, Unavailable
from gapless.core.limits import HOOKS_TAKEN_MAX, WAIT_MAX_MS
from gapless.library.gapless import Gapless
from gapless.library.hooking import Hooking
from gapless.library.running import Context
from gapless.ports import Clock
from gapless.protocol.hooks import (
    AnsweredCall,
    AnswerRequest,
    Catalogue,
    Decision,
    TakeAnswer,
    TakenCall,
    TakeRequest,
)
from gapless.server.parting import pause

__all__ = ["serving_hooks"]

TAKE_WAIT_MS: Final = 20_000
AGAIN_MS: Final = 1_000
LEAVE_MS: Final = 2_000
log: Final = logging.getLogger("gapless.worker")


@asynccontextmanager
async def serving_hooks(gl: Gapless, context: Context, clock: Clock, name: str) -> AsyncIterator[None]:
    """Serve the hooks of `gl`, if it has any, while the body runs. `name` is this process's own."""
    if not any(gl.hooks()):
        yield
        return
    serving = _Serving(gl, Hooking(gl, context), clock, name)
    serving.start()
    try:
        yield
    finally:
        await serving.finish()


class _Serving:
    def __init__(self, gl: Gapless, hooking: Hooking, clock: Clock, name: str) -> None:
        self._gl = gl
        self._hooking = hooking
        self._clock = clock
        self._name = name
        self._running: set[asyncio.Task[None]] = set()
        self._unasked: list[str] = []
        self._reached = False
        self._leaving = False

    def start(self) -> None:
        """Begin to take calls."""
        self._taking = asyncio.get_running_loop().create_task(self._take_all())

    async def _take_all(self) -> None:
        """Take calls until it leaves, or the server turns out not to ask for any."""
        while not self._leaving:
            if len(self._running) >= HOOKS_TAKEN_MAX:
                await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)
                continue
            try:
                await self._take()
            except (MethodNotFound, Unauthorized) as error:
                log.error("hooks are not served: %s; they need a server, and its API key", error)
                return
            except GaplessError as error:
                self._reached = False
                log.warning("no hooks are taken: %s; trying again", error)
                await pause(self._clock, AGAIN_MS)

    async def finish(self) -> None:
        """Take no more, and finish what was taken."""
        self._leaving = True
        over = asyncio.get_running_loop().create_task(pause(self._clock, LEAVE_MS))
        if self._reached and not self._taking.done():
            leaving = asyncio.get_running_loop().create_task(self._leave())
            await asyncio.wait((over, leaving), return_when=asyncio.FIRST_COMPLETED)
            leaving.cancel()
            await asyncio.wait((over, self._taking), return_when=asyncio.FIRST_COMPLETED)
        over.cancel()
        self._taking.cancel()
        await asyncio.wait([self._taking])
        if self._running:
            await asyncio.wait(self._running)

    async def _leave(self) -> None:
        try:
            await self._gl.ask("hooks/take", TakeRequest(worker=self._name, hooks=Catalogue()))
        except GaplessError as error:
            log.warning("the server was not told that no hooks are served any more: %s", error)

    async def _take(self) -> None:
        request = TakeRequest(
            worker=self._name,
            hooks=self._hooking.catalogue,
            limit=HOOKS_TAKEN_MAX - len(self._running),
            wait_ms=TAKE_WAIT_MS,
        )
        answer: TakeAnswer = await self._gl.ask("hooks/take", request)
        self._reached = True
        if answer.unasked != self._unasked:
            self._unasked = answer.unasked
            if self._unasked:
                told = ", ".join(self._unasked)
                log.warning("the server asks for no such hooks: %s; its configuration names them", told)
        for call in answer.calls:
            task = asyncio.get_running_loop().create_task(self._serve(call))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def _serve(self, call: TakenCall) -> None:
        answered = AnsweredCall(id=call.id)
        try:
            answered.decision = msgspec.Raw(msgspec.json.encode(await self._decision(call)))
        except GaplessError as error:
            log.debug("a hook failed: %s", error)
        try:
            await self._gl.ask("hooks/answer", AnswerRequest(worker=self._name, answers=[answered]))
        except GaplessError as error:
            log.warning("the answer of a hook was lost: %s", error)

    async def _decision(self, call: TakenCall) -> Decision:
        """Have a hook decide in the time that the server waits.

        Raises:
            Unavailable: it did not, and was cancelled. GaplessError: as `Hooking.run`.
        """
        deciding = asyncio.get_running_loop().create_task(self._hooking.run(call.asked))
        timeout_ms = call.timeout_ms or WAIT_MAX_MS
        try:
            if not await self._ends(deciding, timeout_ms):
                deciding.cancel()
                await self._ends(deciding, LEAVE_MS)
        finally:
            deciding.cancel()  # whoever waited for it may have been cancelled
        if deciding.done() and not deciding.cancelled():
            return deciding.result()
        name = " ".join(call.asked.place()).rstrip()
        what = "is cancelled" if deciding.done() else "does not let itself be cancelled, and is left running"
        log.warning("hook %s %s: the server has given it up after %d ms", name, what, timeout_ms)
        raise Unavailable("it took too long")

    async def _ends(self, deciding: asyncio.Task[Decision], within_ms: int) -> bool:
        over = asyncio.get_running_loop().create_task(pause(self._clock, within_ms))
        try:
            await asyncio.wait((deciding, over), return_when=asyncio.FIRST_COMPLETED)
        finally:
            over.cancel()
        return deciding.done()
