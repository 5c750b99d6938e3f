"""Care of the store of a running node: one job at a time, begun by one call and watched by others."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from enum import StrEnum
from io import BufferedWriter
from pathlib import Path
from random import Random
from typing import Any, Final

from msgspec import UNSET, Struct, UnsetType

from gapless.backends import FILE_MODE
from gapless.core.errors import BadRequest, GaplessError, NotAvailable, StateError, StoreFull
from gapless.core.limits import BACKUP_KEPT_MS, CHECK_INTERVAL_MS
from gapless.ports import Care, Clock, Streams, Told

__all__ = ["Job", "Kind", "State", "StoreCare"]

log: Final = logging.getLogger("gapless.care")

Parts = Callable[[], Awaitable[bytes]]
"""Returns the next part of an upload, and nothing at its end."""


class Kind(StrEnum):
    """What can be done with a store."""

    BACKUP = "backup"
    CHECK = "check"
    COMPACT = "compact"
    RESTORE = "restore"


class State(StrEnum):
    """How far a job is."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class Job(Struct, gc=False):
    """One piece of work: `done` of `total`, in a unit of its own; a `result` or an `error` at the end."""

    id: str
    kind: Kind
    state: State = State.RUNNING
    done: int = 0
    total: int = 0
    result: dict[str, Any] | UnsetType = UNSET
    error: str | UnsetType = UNSET


class StoreCare:
    """The care of one store. `renewed` is awaited when the store has begun a new generation."""

    def __init__(
        self, store: Streams, clock: Clock, random: Random, renewed: Callable[[], Awaitable[None]]
    ) -> None:
        self._store = store
        self._clock = clock
        self._random = random
        self._renewed = renewed
        self._job: Job | None = None
        self._task: asyncio.Task[None] | None = None
        self._file: Path | None = None  # of the latest backup, until it is fetched
        self._changed = asyncio.Event()

    # Begin --------------------------------------------------------------------------------

    def backup(self) -> Job:
        """Begin a backup.

        Raises:
            NotAvailable: the store is no file.
            StateError: another piece of work is not done.
        """
        care = self._idle_care()
        job = self._new_job(Kind.BACKUP)

        async def work(told: Told) -> dict[str, Any]:
            file = self._file = Path(await care.aside(f"backup-{job.id}"))
            await care.backup(str(file), told)
            self._clock.after(BACKUP_KEPT_MS, lambda: self._let_go(job))
            return {"bytes": (await asyncio.to_thread(file.stat)).st_size}

        return self._begin(job, work)

    def check(self) -> Job:
        """Begin to read every message. Raises as `backup`."""
        care = self._idle_care()

        async def work(told: Told) -> dict[str, Any]:
            return (await care.check(told))._asdict()

        return self._begin(self._new_job(Kind.CHECK), work)

    def compact(self) -> Job:
        """Begin to give room back. Raises as `backup`."""
        care = self._idle_care()

        async def work(told: Told) -> dict[str, Any]:
            return (await care.compact(told))._asdict()

        return self._begin(self._new_job(Kind.COMPACT), work)

    async def check_room(self, size: int) -> int:
        """Make sure that a file of `size` bytes could be restored now; return how much room there is.

        Raises as `restore`.
        """
        free_bytes = await self._idle_care().free_bytes()
        if free_bytes < size:
            raise StoreFull(f"there is no room for {size:,} bytes beside the store: make room")
        return free_bytes

    async def restore(self, parts: Parts, size: int, *, keep: bool) -> Job:
        """Take a file of `size` bytes in (0: not known), then begin to restore it. Raises as `backup`.

        Raises:
            StoreFull: there is no room for the file.
        """
        care = self._idle_care()
        job = self._job = self._new_job(Kind.RESTORE)
        try:
            file = Path(await care.aside(f"upload-{job.id}"))
            await self._take_in(care, parts, size, file)
        except BaseException as error:
            self._end(job, error=str(error) or "the upload ended before the file was whole")
            raise

        async def work(told: Told) -> dict[str, Any]:
            try:
                await care.restore(str(file), keep=keep, told=told)
            except GaplessError as error:
                raise type(error)(str(error).replace(str(file), "the file")) from error
            await self._renewed()
            return {"epoch": self._store.epoch}

        return self._begin(job, work)

    async def _take_in(self, care: Care, parts: Parts, size: int, file: Path) -> None:
        done = 0
        try:
            with await asyncio.to_thread(_created, file) as taken:
                while part := await parts():
                    if await care.free_bytes() < max(size - done, len(part)):
                        raise StoreFull("there is no room for the file beside the store: make room")
                    await asyncio.to_thread(taken.write, part)
                    done += len(part)
                    self._told(done, max(size, done))
        except BaseException:
            await asyncio.to_thread(file.unlink, missing_ok=True)
            raise

    def _idle_care(self) -> Care:
        if not isinstance(self._store, Care):
            raise NotAvailable("the store is no file")
        if self._job is not None and self._job.state is State.RUNNING:
            raise StateError(f"{self._job.kind.value} {self._job.id} is not done yet: wait for it")
        return self._store

    def _new_job(self, kind: Kind) -> Job:
        self._let_go()  # nobody can ask for an earlier job's file any more
        return Job(f"{self._random.getrandbits(64):016x}", kind)

    def _begin(self, job: Job, work: Callable[[Told], Coroutine[Any, Any, dict[str, Any]]]) -> Job:
        self._job = job
        self._task = asyncio.get_running_loop().create_task(self._run(job, work(self._told)))
        return job

    async def _run(self, job: Job, work: Coroutine[Any, Any, dict[str, Any]]) -> None:
        log.info("%s %s begins", job.kind.value, job.id)
        try:
            self._end(job, result=await work)
        except GaplessError as error:
            self._end(job, error=str(error) or error.code)
        except asyncio.CancelledError:
            self._end(job, error="it was given up")
        except Exception as error:
            log.exception("%s %s failed", job.kind.value, job.id)
            self._end(job, error=f"it failed: {error}")

    # Watch --------------------------------------------------------------------------------

    async def watch(self, id: str) -> Job:
        """Return a job once it is further than now, or after a second.

        Raises:
            BadRequest: there is no such job.
        """
        job = self._known(id)
        if job.state is State.RUNNING:
            timer = self._clock.after(CHECK_INTERVAL_MS, self._changed.set)
            await self._changed.wait()
            timer.cancel()
            self._changed = asyncio.Event()
        return job

    def give_up(self, id: str) -> Job:
        """End a job; what it had done goes. Raises as `watch`."""
        job = self._known(id)
        if self._task is not None:
            self._task.cancel()
        self._let_go(job)
        return job

    def file(self, id: str) -> Path:
        """Return where a backup lies that is done. Raises as `watch`."""
        job = self._known(id)
        there = self._file is not None and self._file.exists()  # who takes the store over tidies up
        if job.kind is not Kind.BACKUP or job.state is not State.DONE or self._file is None or not there:
            raise BadRequest("there is no such backup, or it is gone")
        return self._file

    def fetched(self, id: str) -> None:
        """Let a backup go that was fetched."""
        self._let_go(self._known(id))

    def _known(self, id: str) -> Job:
        if self._job is None or self._job.id != id:
            raise BadRequest("there is no such job, or another one followed it")
        return self._job

    def _told(self, done: int, total: int) -> None:
        job = self._job
        assert job is not None
        if job.state is State.RUNNING:
            percent = 100 * done // max(1, total)
            moved = job.total != total or 100 * job.done // max(1, total) != percent
            job.done, job.total = done, total
            if moved:
                self._changed.set()

    def _end(self, job: Job, *, result: dict[str, Any] | UnsetType = UNSET, error: str = "") -> None:
        job.state = State.FAILED if error else State.DONE
        job.result, job.error = result, error or UNSET
        self._changed.set()
        log.log(
            logging.WARNING if error else logging.INFO,
            "%s %s %s",
            job.kind.value,
            job.id,
            f"failed: {error}" if error else "is done",
        )

    def _let_go(self, job: Job | None = None) -> None:
        """Remove the backup that waits to be fetched, if it is that of `job`."""
        if self._file is not None and (job is None or self._job is job):
            self._file.unlink(missing_ok=True)
            self._file = None

    async def close(self) -> None:
        """Give up what is going on, and leave nothing behind."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))
        self._let_go()


def _created(file: Path) -> BufferedWriter:
    file.touch(FILE_MODE)
    return file.open("wb")
