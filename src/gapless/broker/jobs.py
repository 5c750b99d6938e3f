"""Jobs between the wire and a store."""

from typing import Any

from gapless.core.errors import GaplessError
from gapless.core.jobs import Claimed, Enqueued, Job, View
from gapless.core.limits import JOB_DETAILS_BYTES_MAX, JOB_REASON_BYTES_MAX
from gapless.protocol import queues as wire
from gapless.protocol.messages import NO_PAYLOAD, Payload, payload
from gapless.protocol.meta import is_json
from gapless.protocol.payloads import failure_of

__all__ = [
    "claimed_job",
    "cut",
    "cut_details",
    "cut_reason",
    "enqueued_item",
    "job_of",
    "job_view",
    "result_of",
]


def job_of(new: wire.NewJob) -> Job:
    """Return a job as a store takes it.

    Raises:
        BadRequest: its payload or its headers are not what they have to be.
    """
    data, beside, _ = new.stored()
    return Job(
        new.queue,
        data,
        headers=beside,
        key=new.key,
        priority=new.priority,
        delay_ms=new.delay_ms,
        at_ms=new.at_ms,
        expires_ms=new.expires_ms,
        message_id=new.message_id,
        unique=new.unique,
        unique_ms=new.unique_ms,
    )


def enqueued_item(outcome: Enqueued | GaplessError) -> wire.EnqueuedItem:
    """Return what became of a job as callers are told it."""
    if isinstance(outcome, GaplessError):
        return wire.EnqueuedItem(error=failure_of(outcome))
    return wire.EnqueuedItem(result=wire.EnqueuedJob(id=outcome.id, fresh=outcome.fresh))


def claimed_job(job: Claimed) -> wire.ClaimedJob:
    """Return a claimed job as its worker is told it."""
    told = wire.ClaimedJob(
        id=job.id,
        queue=job.queue,
        fence=job.fence,
        fence_number=job.fence_number,
        attempt=job.attempt,
        enqueued_ms=job.enqueued_ms,
        lease_until_ms=job.lease_until_ms,
        key=job.key,
        priority=job.priority,
        alone=job.alone,
    )
    told.carry(job.data, job.headers)
    return told


def job_view(view: View) -> wire.JobView:
    """Return a job as one looks at it."""
    told = wire.JobView(
        id=view.id,
        queue=view.queue,
        state=view.state,
        attempt=view.attempt,
        enqueued_ms=view.enqueued_ms,
        due_ms=view.due_ms,
        key=view.key,
        priority=view.priority,
        message_id=view.message_id,
        worker=view.worker,
        reason=view.reason,
        details=view.details,
        ended_ms=view.ended_ms,
        **result_of(view),
    )
    told.carry(view.data, view.headers)
    return told


def result_of(view: View) -> dict[str, Any]:
    """Return the fields of a job's result."""
    if view.result is None:
        return {}
    if is_json(view.result):
        told: Payload = payload(view.result)
        return {"result": told}
    return {"result": NO_PAYLOAD, "b64result": view.result}


def cut_reason(text: str) -> str:
    """Return as much of a reason as is kept."""
    return cut(text, JOB_REASON_BYTES_MAX)


def cut_details(text: str) -> str:
    """Return as much of details as is kept: their end, where a traceback says what happened."""
    size_bytes = len(text.encode())
    return text if size_bytes <= JOB_DETAILS_BYTES_MAX else cut(text[::-1], JOB_DETAILS_BYTES_MAX)[::-1]


def cut(text: str, bytes_max: int) -> str:
    """Return the beginning of a text, of whole characters."""
    encoded = text.encode()
    return text if len(encoded) <= bytes_max else encoded[:bytes_max].decode(errors="ignore")
