"""Processes of the cluster: each is started, asked to stop, killed, and its output kept."""

import asyncio
import os
import time
from asyncio.subprocess import STDOUT, Process
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

POLL_SECONDS = 0.05
STOP_SECONDS_MAX = 40
START_SECONDS_MAX = 30


class Program:
    """One process; it keeps its command when it is started again."""

    def __init__(
        self, name: str, command: Sequence[str], logs: Path, env: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self.log = logs / f"{name}.log"
        self._command = command
        self._env = {**os.environ, **(env or {})}
        self._process: Process | None = None

    @property
    def runs(self) -> bool:
        return self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        with self.log.open("ab") as log:
            # A session of its own: Ctrl-C in the terminal is for who started it all, and stops it in order.
            self._process = await asyncio.create_subprocess_exec(
                *self._command, stdout=log, stderr=STDOUT, env=self._env, start_new_session=True
            )

    async def stop(self) -> None:
        """Ask it to end (SIGTERM), and wait for that; one that does not end is killed."""
        if self._process is None or not self.runs:
            return
        self._process.terminate()
        try:
            async with asyncio.timeout(STOP_SECONDS_MAX):
                await self._process.wait()
        except TimeoutError:
            await self.kill()

    async def kill(self) -> None:
        """End it with `kill -9`."""
        if self._process is not None and self.runs:
            self._process.kill()
            await self._process.wait()

    async def until(self, ready: Callable[[], Awaitable[bool]]) -> None:
        """Wait until it is ready; if it is not in time, or ends, show what it said."""

        async def ready_or_over() -> bool:
            return await ready() or not self.runs

        if not await until(ready_or_over, START_SECONDS_MAX) or not self.runs:
            raise SystemExit(f"{self.name} is not ready:\n{self.log.read_text()}")


async def until(true: Callable[[], Awaitable[bool]], seconds_max: float) -> bool:
    """Wait until it is so; tell whether it became so in time."""
    end = time.monotonic() + seconds_max
    while time.monotonic() < end:
        if await true():
            return True
        await asyncio.sleep(POLL_SECONDS)
    return False
