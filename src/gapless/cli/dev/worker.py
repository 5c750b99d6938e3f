"""The worker of the failure lab: a process of its own, which is asked to stop, or killed amid its jobs."""

import asyncio
import os
import signal
import sys
from contextlib import suppress
from typing import Final

from gapless.cli.dev import jobs
from gapless.core.errors import Unavailable
from gapless.server.node import Node

__all__ = ["LabWorker"]

COMMAND: Final = "from gapless.cli import main; main()"
CONCURRENCY: Final = 10
DRAIN: Final = "10s"


class LabWorker:
    """At most one process at a time, which calls the node over HTTP as any worker does."""

    def __init__(self, url: str, node: Node) -> None:
        self._environment = {jobs.URL: url, jobs.API_KEY: node.config.http_api.key}
        self._process: asyncio.subprocess.Process | None = None
        self._starting = False
        self._is_stopping = False

    @property
    def pid(self) -> int:
        """The number of the process; 0: none runs."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else 0

    async def start(self) -> None:
        """Start one. Raises Unavailable: the last one still finishes what it has begun."""
        if self.pid and self._is_stopping:
            raise Unavailable("the last worker still finishes its jobs; try again")
        if self.pid or self._starting:
            return
        self._starting, self._is_stopping = True, False
        options = (f"--concurrency={CONCURRENCY}", f"--drain-timeout={DRAIN}")
        try:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", COMMAND, "worker", jobs.TARGET, *options),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
                env={**os.environ, **self._environment},
                start_new_session=True,  # Ctrl-C is for the server; and so all of it can be killed at once
            )
        finally:
            self._starting = False

    def stop(self, *, kill: bool) -> None:
        """Ask it to stop once it has finished what it has begun; or kill it, with all its processes."""
        if not self.pid:
            return
        self._is_stopping = True
        with suppress(ProcessLookupError):
            if kill:
                os.killpg(self.pid, signal.SIGKILL)
            else:
                os.kill(self.pid, signal.SIGTERM)

    async def close(self) -> None:
        """Leave none behind: what it had begun is another's, once its leases are over."""
        self.stop(kill=True)
        if self._process is not None:
            await self._process.wait()
