"""Handling on a loop, in a process of its own or the host's: deliveries go in, their outcomes come out."""

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

from msgspec.structs import replace

from gapless.core.errors import GaplessError, LeaseLost
from gapless.core.jobs import Deed
from gapless.library.delivery import Desk, Job, Message
from gapless.library.handlers import JobHandler, StreamHandler
from gapless.library.outcomes import failure
from gapless.library.router import Router
from gapless.library.running import Context, run_handler
from gapless.worker.frames import Cancel, Ended, HandleJob, HandlePage, Moved, Up

__all__ = ["Handling"]


class Handling:
    """Runs the handlers of a router; `tell` hears of every end, and how far pages are."""

    def __init__(
        self, router: Router, context: Context, desk: Desk, tell: Callable[[Up], object], *, threads: int
    ) -> None:
        self._jobs = {each.name: each for each in router.handlers() if isinstance(each, JobHandler)}
        self._streams = {
            (each.name, each.terms.group): each
            for each in router.handlers()
            if isinstance(each, StreamHandler)
        }
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="handler")
        self._context = replace(context, in_thread=self._in_thread, in_process=self._in_thread)
        self._desk = desk
        self._tell = tell
        self._running: dict[int, asyncio.Task[None]] = {}
        self._softly: set[int] = set()  # what stops at its next message
        self._loop = asyncio.get_running_loop()

    def start(self, frame: HandleJob | HandlePage) -> None:
        """Handle a job or a page."""
        work = self._job(frame) if isinstance(frame, HandleJob) else self._page(frame)
        self._running[frame.number] = self._loop.create_task(self._run(frame.number, work))

    def cancel(self, frame: Cancel) -> None:
        """Give something up; it ends when its handler has let go."""
        task = self._running.get(frame.number)
        if task is None:
            return
        if frame.soft:
            self._softly.add(frame.number)
        else:
            task.cancel()

    async def finish(self) -> None:
        """Give up what is still running."""
        running = list(self._running.values())
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running)
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _run(self, number: int, work: Coroutine[Any, Any, Ended]) -> None:
        try:
            self._tell(await work)
        except asyncio.CancelledError:
            self._tell(Ended(number, given_up=True))
        finally:
            work.close()  # one that was cancelled before its first step
            del self._running[number]
            self._softly.discard(number)

    async def _job(self, frame: HandleJob) -> Ended:
        handler = self._jobs[frame.job.queue]
        job = Job(frame.job, self._desk, manual=handler.terms.manual, keeps_result=frame.keeps_result)
        try:
            outcome = await run_handler(handler, job, frame.job.body(), self._context)
        except LeaseLost:
            return Ended(frame.number)  # it was to be acknowledged first, and is another's
        except GaplessError as error:
            return Ended(frame.number, failure(error))
        return Ended(frame.number, outcome)

    async def _page(self, frame: HandlePage) -> Ended:
        handler = self._streams[frame.stream, frame.group]
        for delivered in frame.messages:
            message = Message(
                frame.stream, frame.epoch, delivered, fence=frame.fence, fence_number=frame.fence_number
            )
            outcome = await run_handler(handler, message, delivered.body(), self._context)
            assert outcome is not None
            if outcome.deed is not Deed.ACK:
                return Ended(frame.number, outcome)
            self._tell(Moved(frame.number, delivered.offset, outcome.emit))
            if frame.number in self._softly:
                break
        return Ended(frame.number)

    async def _in_thread(self, call: Callable[[], Any]) -> Any:
        """Call in a thread. Giving up does not end a thread: then this lasts for as long as that does."""
        doing = self._loop.run_in_executor(self._threads, copy_context().run, call)
        try:
            return await asyncio.shield(doing)
        except asyncio.CancelledError:
            if not doing.done():
                await asyncio.wait([doing])
            raise
