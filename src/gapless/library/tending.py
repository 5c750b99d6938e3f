"""Looking at queues and jobs, and tending them."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from gapless.core.jobs import State
from gapless.library.payloads import encode
from gapless.library.payloads import wire as wire_body
from gapless.library.times import Duration, duration_ms
from gapless.protocol import queues as wire
from gapless.protocol import schedules
from gapless.protocol.settings import QueueSettings

__all__ = ["Jobs", "Queues", "Result", "Schedules"]

Call = Callable[[str, Any], Awaitable[Any]]


class Result(Struct, frozen=True, kw_only=True):
    """What became of a job: the `value` it returned when it is done, why it died when it is dead."""

    state: State
    value: Any = None
    reason: str = ""
    details: str = ""


class Jobs:
    """Jobs, looked at and tended."""

    def __init__(self, call: Call) -> None:
        self._call = call

    async def look(self, id: str) -> wire.JobView:
        """Return a job as it stands. Raises UnknownJob."""
        view: wire.JobView = await self._call("queue/job", wire.JobRequest(id=id))
        return view

    async def result(self, id: str, *, wait: Duration = 0) -> Result:
        """Return what became of a job, waiting for up to `wait` until it is done or dead.

        Raises:
            UnknownJob: it is gone; results are kept where the queue says so (`result_ttl`).
        """
        request = wire.ResultRequest(id=id, wait_ms=duration_ms(wait))
        answer: wire.ResultAnswer = await self._call("queue/result", request)
        value = answer.b64result if answer.b64result is not None else _read(bytes(answer.result))
        return Result(state=answer.state, value=value, reason=answer.reason, details=answer.details)

    async def browse(
        self, queue: str, state: State | str = State.DEAD, *, after: str = "", limit: int = 100
    ) -> wire.BrowseAnswer:
        """Return jobs of a state without touching them; `after` is `next` of the page before."""
        request = wire.BrowseRequest(queue=queue, state=State(state), after=after, limit=limit)
        answer: wire.BrowseAnswer = await self._call("queue/browse", request)
        return answer

    async def redrive(
        self,
        queue: str,
        ids: Sequence[str] | None = None,
        *,
        limit: int = 1_000,
        payload: object = None,
        per_second: int = 0,
    ) -> wire.RedriveAnswer:
        """Let dead jobs wait again: these, or up to `limit` of all; `payload` is for a single one."""
        body = wire_body(encode(payload)) if payload is not None else {}
        request = wire.RedriveRequest(
            queue=queue, ids=_listed(ids), limit=limit, per_second=per_second, **body
        )
        answer: wire.RedriveAnswer = await self._call("queue/redrive", request)
        return answer

    async def purge(
        self,
        queue: str,
        state: State | str = State.DEAD,
        ids: Sequence[str] | None = None,
        *,
        limit: int = 1_000,
    ) -> wire.PurgeAnswer:
        """Remove jobs that wait, are dead or done: these, or up to `limit` of all."""
        request = wire.PurgeRequest(queue=queue, state=State(state), ids=_listed(ids), limit=limit)
        answer: wire.PurgeAnswer = await self._call("queue/purge", request)
        return answer

    async def cancel(self, id: str) -> wire.JobView:
        """Remove a job that was not started, and return what it was. Raises UnknownJob, JobStarted."""
        view: wire.JobView = await self._call("queue/cancel", wire.CancelRequest(id=id))
        return view


class Queues:
    """Queues, declared by hand and looked at."""

    def __init__(self, call: Call) -> None:
        self._call = call

    async def declare(self, queue: str, settings: QueueSettings | None = None) -> bool:
        """Make a queue, or let one that is there behave otherwise; tell whether it is new.

        What the settings leave out stays as it is. A rule of the configuration holds, whatever they say.
        """
        request = wire.DeclareQueueRequest(queue=queue, options=settings or QueueSettings())
        answer: wire.DeclareQueueAnswer = await self._call("queue/declare", request)
        return answer.fresh

    async def drop(self, queue: str) -> int:
        """Remove a queue with all its jobs, and tell how many those were. Raises UnknownQueue."""
        answer: wire.DropQueueAnswer = await self._call("queue/drop", wire.DropQueueRequest(queue=queue))
        return answer.jobs

    async def list(self, *, after: str = "", limit: int = 1_000) -> wire.ListQueuesAnswer:
        """Return the queues in the order of their names; `after` is `next` of the page before."""
        request = wire.ListQueuesRequest(after=after, limit=limit)
        answer: wire.ListQueuesAnswer = await self._call("queue/list", request)
        return answer

    async def stats(self, queue: str = "") -> wire.StatsAnswer:
        """Tell how a queue is doing, or all of them. Raises UnknownQueue."""
        answer: wire.StatsAnswer = await self._call("queue/stats", wire.StatsRequest(queue=queue))
        return answer

    async def pause(self, queue: str) -> None:
        """Let a queue give no jobs until it is resumed. Raises UnknownQueue."""
        await self._call("queue/pause", wire.PauseRequest(queue=queue))

    async def resume(self, queue: str) -> None:
        """Let a queue give jobs again. Raises UnknownQueue."""
        await self._call("queue/resume", wire.ResumeRequest(queue=queue))


class Schedules:
    """Recurring jobs."""

    def __init__(self, call: Call) -> None:
        self._call = call

    async def add(self, request: schedules.ScheduleRequest) -> int:
        """Keep a recurring job, or change the one of that name; return when it fires next (ms).

        Raises:
            BadRequest: the expression is malformed, or never fires. UnknownQueue: there is no such queue.
        """
        answer: schedules.ScheduleAnswer = await self._call("queue/schedule", request)
        return answer.next_ms

    async def remove(self, name: str) -> bool:
        """Forget a recurring job; tell whether there was one."""
        request = schedules.UnscheduleRequest(name=name)
        answer: schedules.UnscheduleAnswer = await self._call("queue/unschedule", request)
        return answer.found

    async def list(self) -> schedules.SchedulesAnswer:
        """Return all recurring jobs, in the order of their names."""
        answer: schedules.SchedulesAnswer = await self._call("queue/schedules", schedules.SchedulesRequest())
        return answer


def _read(data: bytes) -> Any:
    return msgspec.json.decode(data) if data else None


def _listed(ids: Sequence[str] | None) -> "list[str] | None":
    return None if ids is None else [*ids]
