"""One process's calls of the functions inside a Redis of the test's own."""

import asyncio
import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from gapless.backends import Options
from gapless.backends.redis.address import Address
from gapless.backends.redis.calls import Calls
from gapless.core.errors import Unavailable
from gapless.core.limits import REDIS_PULSE_MS
from gapless.ports import Timer
from tests.redis_server import RedisServer

__all__ = ["Hand", "answered", "calling", "refusal", "serving", "until"]

PATIENCE_SECONDS = 20


async def until(true: Callable[[], object]) -> None:
    """Wait for what another process does."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not true():
        assert time.monotonic() < end, "it never happens"
        os.sched_yield()
        await asyncio.sleep(0)


class Hand:
    """Timers of which pulses go off when a test says so, and no other way."""

    def __init__(self) -> None:
        self._pulses: list[Callable[[], object]] = []

    def after(self, delay_ms: int, callback: Callable[[], object]) -> Timer:
        """Call back, as `Options.after` does."""
        if delay_ms != REDIS_PULSE_MS:
            return asyncio.get_running_loop().call_later(delay_ms / 1000, callback)
        self._pulses.append(callback)
        return asyncio.get_running_loop().call_soon(list)

    def pulse(self) -> None:
        """Let every pulse that is due go off."""
        pulses, self._pulses = self._pulses, []
        for callback in pulses:
            callback()


async def answered(calls: Calls) -> None:
    """Wait until all that was called was answered."""
    await calls.call("generations")


def refusal(calls: Calls) -> str:
    """Tell why nothing can be called now."""
    try:
        calls.send(lambda told: None, "generations")
    except Unavailable as error:
        return str(error)
    return ""


@contextmanager
def serving(**settings: str) -> Iterator[RedisServer]:
    """Run a server with its data in memory: a test's fsync costs nothing."""
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="gapless-redis-", dir=memory if memory.is_dir() else None))
    server = RedisServer(folder, 0, **settings)
    try:
        yield server.start()
    finally:
        server.kill()
        shutil.rmtree(folder, ignore_errors=True)


@asynccontextmanager
async def calling(url: str, **options: Any) -> AsyncIterator[Calls]:
    """Open the store at `url`, without its ports."""
    calls = Calls(Address.read(url), Options(**options))
    try:
        await calls.open()
        yield calls
    finally:
        await calls.close()
