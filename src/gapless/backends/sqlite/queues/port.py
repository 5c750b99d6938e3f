"""The queues' port on a file: each call is carried out in the writer's transaction."""

import asyncio
from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from gapless.backends import each
from gapless.backends.sqlite.log import Log
from gapless.backends.sqlite.queues.writing import Queueing
from gapless.backends.sqlite.work import Work, split
from gapless.core.errors import GaplessError
from gapless.core.job_rules import check_ids, check_lease, check_request
from gapless.core.jobs import (
    Claimed,
    Emit,
    Enqueued,
    Job,
    JobPage,
    Lease,
    QueueInfo,
    QueueOptions,
    Schedule,
    Settled,
    Settlement,
    State,
    View,
)
from gapless.core.limits import CLAIM_JOBS_MAX, JOB_EMITS_MAX
from gapless.core.stream import Entry
from gapless.ports import Queues

__all__ = ["Settle", "SqliteQueues"]


class _Call(Work):
    def __init__(self, call: Callable[[Queueing], Any], weight: int = 1, size: int = 0) -> None:
        self.weight, self.size = weight, size
        self._call = call

    def carry_out(self, log: Log) -> Any:
        return self._call(log.queues)


class Settle(Work):
    """Settlements, each of which is carried out or refused by itself."""

    def __init__(self, settlements: Sequence[Settlement]) -> None:
        # More than that is refused anyway, whatever it is.
        lists = [settlement.emit for settlement in settlements if len(settlement.emit) <= JOB_EMITS_MAX]
        emits = [emit for emits in lists for emit in emits]
        self.weight = len(settlements) + len(emits)
        self.size = sum(map(_weight, emits)) + sum(
            [len(one.result or b"") + len(one.details) for one in settlements]
        )
        self._settlements = settlements
        self.items = len(settlements)

    def halves(self) -> "tuple[Settle, Settle]":
        at = len(self._settlements) // 2
        before, after = Settle(self._settlements[:at]), Settle(self._settlements[at:])
        before.refused, after.refused = split(self.refused, at)
        return before, after

    def carry_out(self, log: Log) -> list[Settled | GaplessError]:
        return log.queues.settle(self._settlements, self.refused)


class SqliteQueues(Queues):
    """Queues in a file."""

    def __init__(self) -> None:
        super().__init__()
        self._heard: list[Callable[[str], object]] = []

    @abstractmethod
    async def work(self, work: Work) -> Any:
        """Have a call carried out, in the order of all calls."""

    def hear_ready(self, heard: Callable[[str], object]) -> None:
        self._heard.append(heard)

    def wake(self, woken: Iterable[str]) -> None:
        """Tell of queues whose jobs may have become claimable."""
        loop = asyncio.get_running_loop()
        for queue in woken:
            for heard in self._heard:
                loop.call_soon(heard, queue)

    async def _call_queues(self, call: Callable[[Queueing], Any], weight: int = 1, size: int = 0) -> Any:
        return await self.work(_Call(call, weight, size))

    async def declare(self, queue: str, options: QueueOptions) -> bool:
        return bool(await self._call_queues(lambda queues: queues.declare(queue, options)))

    async def drop(self, queue: str) -> int:
        return int(await self._call_queues(lambda queues: queues.drop(queue)))

    async def queues(self) -> dict[str, QueueInfo]:
        told: dict[str, QueueInfo] = await self._call_queues(lambda queues: queues.queues())
        return told

    async def enqueue(
        self, batches: Sequence[Sequence[Job]], *, request: str = ""
    ) -> list[list[Enqueued] | GaplessError]:
        check_request(request)
        jobs = [job for batch in batches for job in batch]
        told: list[list[Enqueued] | GaplessError] = await self._call_queues(
            lambda queues: queues.enqueue(batches, request), len(jobs), sum(map(_weight, jobs))
        )
        return told

    async def claim(
        self, queue: str, *, worker: str, limit: int, lease_ms: int = 0, request: str = ""
    ) -> list[Claimed]:
        claimed: list[Claimed] = await self._call_queues(
            lambda queues: queues.claim(queue, worker, limit, lease_ms, request),
            max(1, min(limit, CLAIM_JOBS_MAX)),
        )
        return claimed

    async def extend(self, leases: Sequence[Lease], lease_ms: int) -> list[int | GaplessError]:
        check_lease(lease_ms)
        told: list[int | GaplessError] = await self._call_queues(
            lambda queues: each(leases, lambda lease: queues.extend(lease, lease_ms)), len(leases)
        )
        return told

    async def settle(self, settlements: Sequence[Settlement]) -> list[Settled | GaplessError]:
        told: list[Settled | GaplessError] = await self.work(Settle(settlements))
        return told

    async def cancel(self, id: str) -> View:
        view: View = await self._call_queues(lambda queues: queues.cancel(id))
        return view

    async def look(self, id: str) -> View:
        view: View = await self._call_queues(lambda queues: queues.look(id))
        return view

    async def states(self, ids: Sequence[str]) -> list[State]:
        check_ids(ids)
        told: list[State] = await self._call_queues(lambda queues: queues.states(ids), max(1, len(ids)))
        return told

    async def browse(self, queue: str, state: State, *, after: str = "", limit: int) -> JobPage:
        page: JobPage = await self._call_queues(lambda queues: queues.browse(queue, state, after, limit))
        return page

    async def redrive(
        self,
        queue: str,
        ids: Sequence[str] | None,
        *,
        limit: int,
        data: bytes | None = None,
        audit: Entry | None = None,
    ) -> int:
        return int(await self._call_queues(lambda queues: queues.redrive(queue, ids, limit, data, audit)))

    async def purge(
        self, queue: str, state: State, ids: Sequence[str] | None, *, limit: int, audit: Entry | None = None
    ) -> int:
        return int(await self._call_queues(lambda queues: queues.purge(queue, state, ids, limit, audit)))

    async def pause(self, queue: str, *, paused: bool, audit: Entry | None = None) -> None:
        await self._call_queues(lambda queues: queues.pause(queue, audit, paused=paused))

    async def next_due_ms(self, queue: str) -> int | None:
        due_ms: int | None = await self._call_queues(lambda queues: queues.next_due_ms(queue))
        return due_ms

    async def schedule(self, schedule: Schedule) -> None:
        await self._call_queues(lambda queues: queues.schedule(schedule))

    async def unschedule(self, name: str) -> bool:
        return bool(await self._call_queues(lambda queues: queues.unschedule(name)))

    async def schedules(self) -> tuple[int, list[Schedule]]:
        told: tuple[int, list[Schedule]] = await self._call_queues(lambda queues: queues.schedules())
        return told

    async def fire(self, name: str, spec: bytes, tick_ms: int, jobs: Sequence[Job]) -> bool:
        fired = self._call_queues(
            lambda queues: queues.fire(name, spec, tick_ms, jobs), 1 + len(jobs), sum(map(_weight, jobs))
        )
        return bool(await fired)


def _weight(emit: Emit) -> int:
    return len(emit.data) + len(emit.headers if isinstance(emit, Job) else emit.meta)
