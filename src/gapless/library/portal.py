"""One loop in a thread of its own, for programs that have none: made when first needed, anew after a fork."""

import asyncio
import atexit
import os
import threading
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, TypeVar

import uvloop

from gapless.core.errors import BadRequest

__all__ = ["Portal", "portal", "portal_of", "wait_on"]

Result = TypeVar("Result")

_LOCK: Final = threading.Lock()
_FOUND: Final[list["Portal"]] = []


class Portal:
    """A loop and its thread. `closing` is done before the process ends."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.loop = uvloop.new_event_loop()
        self.closing: set[Callable[[], Awaitable[object]]] = set()
        self._thread = threading.Thread(target=self.loop.run_forever, name="gapless-portal", daemon=True)
        self._thread.start()
        atexit.register(self._end)

    def _end(self) -> None:
        if self.pid != os.getpid():
            return
        asyncio.run_coroutine_threadsafe(self._close(), self.loop).result()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()

    async def _close(self) -> None:
        await asyncio.gather(*(close() for close in list(self.closing)), return_exceptions=True)


def portal() -> Portal:
    """Return the portal of this process."""
    with _LOCK:
        if not _FOUND or _FOUND[0].pid != os.getpid():
            _FOUND[:] = [Portal()]  # of a parent's threads none is here after a fork
        return _FOUND[0]


def portal_of(loop: asyncio.AbstractEventLoop) -> Portal | None:
    """Return the portal whose loop this is, if it is one's."""
    return next((found for found in _FOUND if found.loop is loop and found.pid == os.getpid()), None)


def wait_on(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Result]) -> Result:
    """Have `loop` do work, and wait for it in this thread.

    Raises:
        BadRequest: a loop runs in this thread, which waiting would hold up.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        pass
    else:
        work.close()
        raise BadRequest("an event loop runs in this thread, and would stand still: await instead")
    doing = asyncio.run_coroutine_threadsafe(work, loop)
    try:
        return doing.result()
    except BaseException:
        doing.cancel()
        raise
