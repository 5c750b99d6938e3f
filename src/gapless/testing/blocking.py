"""The harness for tests without a loop: it has one in a thread, and each call waits for it."""

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from gapless.core.jobs import State
from gapless.library.handlers import Handler
from gapless.library.times import Duration
from gapless.testing.looking import JobSeen
from gapless.testing.recording import Delivered

if TYPE_CHECKING:
    from gapless.testing.running import TestGapless

__all__ = ["Blocking", "looping"]

Answer = TypeVar("Answer")


@contextmanager
def looping(loop: asyncio.AbstractEventLoop) -> Iterator[asyncio.AbstractEventLoop]:
    """Run a loop in a thread meanwhile."""
    thread = threading.Thread(target=loop.run_forever, name="gapless-testing", daemon=True)
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


class Blocking:
    """`TestGapless` for plain tests: what it has, without `await`. Send with `…_sync`, or `gl.sync`."""

    def __init__(self, harness: "TestGapless") -> None:
        self._harness = harness
        self._running = looping(asyncio.new_event_loop())
        self._loop = self._running.__enter__()
        try:
            self._wait(harness.__aenter__())
        except BaseException:
            self._running.__exit__(None, None, None)
            raise
        self.crash_before_ack = harness.crash_before_ack
        self.crash_after_ack = harness.crash_after_ack
        self.crash_before_commit = harness.crash_before_commit
        self.crash_after_commit = harness.crash_after_commit

    def close(self) -> None:
        """End it."""
        try:
            self._wait(self._harness.__aexit__(None, None, None))
        finally:
            self._running.__exit__(None, None, None)

    def _wait(self, work: Coroutine[Any, Any, Answer]) -> Answer:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    @property
    def now(self) -> datetime:
        """See `TestGapless.now`."""
        return self._harness.now

    def run_until_idle(self) -> None:
        """See `TestGapless.run_until_idle`."""
        self._wait(self._harness.run_until_idle())

    def advance(self, by: Duration) -> None:
        """See `TestGapless.advance`."""
        self._wait(self._harness.advance(by))

    def deliveries(self, handler: Handler[Any] | str) -> list[Delivered]:
        """See `TestGapless.deliveries`."""
        return self._harness.deliveries(handler)

    def calls(self, handler: Handler[Any] | str) -> list[Any]:
        """See `TestGapless.calls`."""
        return self._harness.calls(handler)

    def published(self, channel: str) -> list[Any]:
        """See `TestGapless.published`."""
        return self._harness.published(channel)

    def jobs(self, queue: str, *states: State | str) -> list[JobSeen]:
        """See `TestGapless.jobs`."""
        return self._wait(self._harness.jobs(queue, *states))

    def dead(self, queue: str) -> list[JobSeen]:
        """See `TestGapless.dead`."""
        return self._wait(self._harness.dead(queue))
