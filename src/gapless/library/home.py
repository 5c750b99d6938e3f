"""The loop that a connection lives on: whose `async with` opened it, or else the portal's.

A loop that just uses it may end with the next request, and knows nothing of it. So what is not opened by name
lives on the portal's loop, which lasts as long as the process. Other loops and threads reach it there.
"""

import asyncio
import logging
import os
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any, Final, TypeVar

from gapless.core.errors import StoreRefused
from gapless.library.portal import portal, portal_of, wait_on
from gapless.library.transport import Transport

__all__ = ["Home"]

log: Final = logging.getLogger("gapless.library")

Result = TypeVar("Result")
_END: Final = object()
Work = Callable[[Transport], Coroutine[Any, Any, Result]]


class _Opened:
    """A transport on a loop of a process."""

    def __init__(self, loop: asyncio.AbstractEventLoop, transport: Transport) -> None:
        self.pid = os.getpid()
        self.loop = loop
        self.transport = transport
        self.opening: asyncio.Task[None] | None = None
        self.is_open = False


class Home:
    """Opens a transport when it is first used, and again after it was closed, or the process was forked."""

    def __init__(self, make: Callable[[], Transport]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._opened: _Opened | None = None

    @property
    def is_open(self) -> bool:
        """Tell whether something was opened here that was not closed."""
        return self._opened is not None and self._opened.pid == os.getpid()

    async def open(self) -> None:
        """Open the transport on this loop, where it is not open: until it is closed it lives here."""
        await self._there(self._found(asyncio.get_running_loop()), _nothing)

    async def run(self, work: Work[Result]) -> Result:
        """Have work done with the transport, wherever that is.

        Raises:
            StoreRefused: it lives on a loop that stands still.
        """
        loop, opened = asyncio.get_running_loop(), self._opened
        if opened is not None and opened.is_open and opened.loop is loop and opened.pid == os.getpid():
            return await work(opened.transport)
        return await self._there(self._found(None), work)

    async def _there(self, opened: _Opened, work: Work[Result]) -> Result:
        """Have work done on the loop of a transport."""
        if opened.loop is asyncio.get_running_loop():
            return await self._do(opened, work)
        _check_moves(opened.loop)
        return await asyncio.wrap_future(
            asyncio.run_coroutine_threadsafe(self._do(opened, work), opened.loop)
        )

    def wait_for(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Wait in this thread for work that uses `run`, on the transport's loop or the portal's."""
        with self._lock:
            opened = self._opened
        usable = opened is not None and opened.pid == os.getpid() and opened.loop.is_running()
        return wait_on(opened.loop if usable and opened is not None else portal().loop, work)

    async def iterate(
        self, begin: Callable[[Transport], AsyncGenerator[Result, None]]
    ) -> AsyncGenerator[Result, None]:
        """Go through what the transport gives, wherever that is."""

        async def first(transport: Transport) -> AsyncGenerator[Result, None]:
            return begin(transport)

        items = await self.run(first)
        opened = self._opened
        try:
            while True:
                item = await self.run(lambda transport: _next(items))
                if item is _END:
                    return
                yield item
        finally:
            if self._opened is opened:  # with what was closed meanwhile it has ended
                await self.run(lambda transport: _close(items))

    async def close(self) -> None:
        """Close the transport, if it is open.

        Raises:
            StoreRefused: it lives on a loop that stands still.
        """
        with self._lock:
            opened = self._opened
            if opened is not None and (opened.pid != os.getpid() or opened.loop.is_closed()):
                opened = None
            if opened is not None:
                _check_moves(opened.loop)
            self._opened = None
        if opened is None:
            return
        if opened.loop is asyncio.get_running_loop():
            await self._end(opened)
        else:
            ending = asyncio.run_coroutine_threadsafe(self._end(opened), opened.loop)
            await asyncio.wrap_future(ending)

    def _found(self, loop: asyncio.AbstractEventLoop | None) -> _Opened:
        """Return what is open, or what will be: on this loop, or on the portal's."""
        with self._lock:
            opened = self._opened
            if opened is not None and opened.pid == os.getpid():
                if not opened.loop.is_closed():
                    return opened
                log.warning("the loop ended that it was opened on, and nobody has closed it: opened anew")
            self._opened = _Opened(loop or portal().loop, self._make())
            return self._opened

    async def _do(self, opened: _Opened, work: Work[Result]) -> Result:
        if opened.opening is None:
            opened.opening = opened.loop.create_task(opened.transport.open())
            host = portal_of(opened.loop)
            if host is not None:
                host.closing.add(self.close)
        try:
            await asyncio.shield(opened.opening)
        except BaseException:
            if opened.opening.done():
                self._forget(opened)
            raise
        opened.is_open = True
        return await work(opened.transport)

    def _forget(self, opened: _Opened) -> None:
        with self._lock:
            if self._opened is opened:
                self._opened = None

    async def _end(self, opened: _Opened) -> None:
        host = portal_of(opened.loop)
        if host is not None:
            host.closing.discard(self.close)
        if opened.opening is not None:
            await opened.opening
            await opened.transport.close()


def _check_moves(loop: asyncio.AbstractEventLoop) -> None:
    """Make sure that what is asked of a loop is not waited for without end."""
    if not loop.is_running():
        raise StoreRefused("it was opened on a loop that stands still: close it there")


async def _nothing(transport: Transport) -> None:
    """Open the transport, and ask nothing of it."""


async def _next(items: AsyncGenerator[Any, None]) -> Any:
    return await anext(items, _END)


async def _close(items: Any) -> None:
    await items.aclose()
