"""What every engine decides alike about jobs: what is refused, what a failure leads to, their names."""

from collections.abc import Sequence
from math import isfinite

from gapless.core.bounds import check_range, check_size, check_text, text_bytes
from gapless.core.errors import BadRequest
from gapless.core.jobs import Deed, Job, QueueOptions, Schedule, Settlement, State
from gapless.core.limits import (
    ATTEMPTS_MAX,
    BROWSE_JOBS_MAX,
    CLAIM_JOBS_MAX,
    IDEMPOTENCY_KEY_BYTES_MAX,
    JOB_DELAY_MAX_MS,
    JOB_DETAILS_BYTES_MAX,
    JOB_EMITS_MAX,
    JOB_HEADERS_BYTES_MAX,
    JOB_KEY_BYTES_MAX,
    JOB_REASON_BYTES_MAX,
    LEASE_MAX_MS,
    LEASE_MIN_MS,
    OFFSET_MAX,
    PRIORITY_MAX,
    QUEUE_NAME_BYTES_MAX,
)
from gapless.core.retry import Retry

__all__ = [
    "EXPIRED",
    "LAPSED",
    "after_failure",
    "check_batch",
    "check_claim",
    "check_edit",
    "check_ids",
    "check_job",
    "check_lease",
    "check_limit",
    "check_options",
    "check_purge",
    "check_queue",
    "check_repeat",
    "check_request",
    "check_schedule",
    "check_selection",
    "check_settlement",
    "cut_details",
    "cut_reason",
    "expires_at_ms",
    "first_due_ms",
    "id_of",
    "number_of",
]

LAPSED = "the lease ran out"
"""The reason of a failure that nobody told."""

EXPIRED = "not started in time"
"""The reason of the death of a job that was never claimed, or whose every claim was released."""

SETTLING = {Deed.ACK, Deed.RETRY, Deed.RELEASE, Deed.BURY}
PURGED = {State.WAITING, State.DEAD, State.DONE}


def after_failure(retry: Retry, attempt: int, strikes: int, chance: float) -> int | None:
    """Return after how many milliseconds a job that failed is due again; None: it is dead.

    `attempt` counts its claims, `strikes` what counts towards burial, this failure included if it does:
    failures that were told, and lapses of leases that were alone. `chance` lies in [0, 1).
    """
    return None if strikes >= retry.attempts_max else retry.delay_ms(attempt, chance)


def first_due_ms(job: Job, now_ms: int) -> int:
    """Return when a job that is enqueued now first falls due, which is never before now.

    Raises:
        BadRequest: that is more than JOB_DELAY_MAX_MS ahead.
    """
    if not job.at_ms:
        return now_ms + job.delay_ms
    check_range("how far ahead at_ms lies", job.at_ms - now_ms, -OFFSET_MAX, JOB_DELAY_MAX_MS)
    return max(now_ms + job.delay_ms, job.at_ms)


def expires_at_ms(first_ms: int, expires_ms: int, now_ms: int) -> int | None:
    """Return when a job that has not started expires, which is never before now; None: it does not.

    It first fell due, or falls due, at `first_ms`. A claim starts it; a release is as if that had not been,
    and a job that was released too late expires at once.
    """
    return max(first_ms + expires_ms, now_ms) if expires_ms else None


def id_of(number: int, epoch: str) -> str:
    """Return the id of a job: `number` only rises in a store, and with the generation it is unique."""
    return f"{number}-{epoch}"


def number_of(id: str) -> int:
    """Return the number in a job's id, by which ids are ordered; 0, which no job has, if it is no id."""
    digits = id.partition("-")[0]
    number = int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 20 else 0
    return number if number <= OFFSET_MAX else 0


def cut_reason(text: str) -> str:
    """Return as much of a reason as is kept."""
    return _cut(text, JOB_REASON_BYTES_MAX)


def cut_details(text: str) -> str:
    """Return as much of the details as is kept."""
    return _cut(text, JOB_DETAILS_BYTES_MAX)


def _cut(text: str, bytes_max: int) -> str:
    return text.encode(errors="replace")[:bytes_max].decode(errors="ignore")


# What is refused: each raises BadRequest, and says what was wrong and what would do. -------------


def check_queue(queue: str) -> None:
    """A queue's name is printable, and has 1 to QUEUE_NAME_BYTES_MAX bytes."""
    if not queue.isprintable():
        raise BadRequest(f"a queue's name is printable text; {queue!r} is not")
    check_text("a queue's name", queue, QUEUE_NAME_BYTES_MAX)


def check_options(options: QueueOptions) -> None:
    """Every number lies within its limits."""
    retry = options.retry
    check_range("retry.attempts_max", retry.attempts_max, 1, ATTEMPTS_MAX)
    check_range("retry.base_ms", retry.base_ms, 0, JOB_DELAY_MAX_MS)
    check_range("retry.cap_ms", retry.cap_ms, 0, JOB_DELAY_MAX_MS)
    check_range("the number of retry.delays_ms", len(retry.delays_ms), 0, ATTEMPTS_MAX)
    for delay_ms in retry.delays_ms:
        check_range("each of retry.delays_ms", delay_ms, 0, JOB_DELAY_MAX_MS)
    if not (isfinite(retry.factor) and retry.factor >= 1):
        raise BadRequest(f"retry.factor is {retry.factor}; use 1 or more")
    check_range("lease_ms", options.lease_ms, LEASE_MIN_MS, LEASE_MAX_MS)
    for name in ("in_flight_max", "in_flight_per_worker_max", "waiting_max"):
        check_range(name, getattr(options, name), 0, OFFSET_MAX)
    for name in ("result_ms", "dead_ms"):
        check_range(name, getattr(options, name), 0, JOB_DELAY_MAX_MS)


def check_batch(jobs: Sequence[Job], message_bytes_max: int) -> None:
    """A batch has up to CLAIM_JOBS_MAX jobs, each of which passes `check_job`."""
    if len(jobs) > CLAIM_JOBS_MAX:
        raise BadRequest(f"a batch has up to {CLAIM_JOBS_MAX} jobs, not {len(jobs)}; send several")
    for job in jobs:
        check_job(job, message_bytes_max)


def check_job(job: Job, message_bytes_max: int) -> None:
    """All of a job lies within its limits; how far ahead it is due is `first_due_ms`'s to check."""
    check_size("the payload", len(job.data), message_bytes_max)
    check_size("headers", len(job.headers), JOB_HEADERS_BYTES_MAX)
    if job.key is not None:
        check_size("key", text_bytes("key", job.key), JOB_KEY_BYTES_MAX)
    check_range("priority", job.priority, 0, PRIORITY_MAX)
    if job.delay_ms or job.at_ms or job.expires_ms or job.unique_ms:
        _check_times(job)
    if job.message_id is not None:
        check_text("message_id", job.message_id, IDEMPOTENCY_KEY_BYTES_MAX)
    if job.unique is not None:
        check_text("unique", job.unique, IDEMPOTENCY_KEY_BYTES_MAX)
    elif job.unique_ms:
        raise BadRequest("unique_ms goes with unique, the name under which there is one job")


def _check_times(job: Job) -> None:
    check_range("delay_ms", job.delay_ms, 0, JOB_DELAY_MAX_MS)
    check_range("at_ms", job.at_ms, 0, OFFSET_MAX)
    check_range("expires_ms", job.expires_ms, 0, JOB_DELAY_MAX_MS)
    check_range("unique_ms", job.unique_ms, 0, JOB_DELAY_MAX_MS)
    if job.delay_ms and job.at_ms:
        raise BadRequest("a job has delay_ms or at_ms, not both")


def check_claim(worker: str, limit: int, lease_ms: int, request: str) -> None:
    """`limit` is 1 or more (what is beyond CLAIM_JOBS_MAX counts for nothing), `lease_ms` is 0 or a lease."""
    check_text("worker", worker, JOB_KEY_BYTES_MAX)
    check_request(request)
    check_range("limit", limit, 1, OFFSET_MAX)
    if lease_ms:
        check_lease(lease_ms)


def check_request(request: str) -> None:
    """A request's id, by which a repeat is known, has up to IDEMPOTENCY_KEY_BYTES_MAX bytes."""
    check_size("request", text_bytes("request", request), IDEMPOTENCY_KEY_BYTES_MAX)


def check_repeat(before: Sequence[object], batches: Sequence[object]) -> None:
    """A repeated request has as many batches as it had before."""
    if len(before) != len(batches):
        raise BadRequest(
            f"the request came before with {len(before)} batches: give each call an id of its own"
        )


def check_lease(lease_ms: int) -> None:
    """A lease lasts LEASE_MIN_MS to LEASE_MAX_MS."""
    check_range("lease_ms", lease_ms, LEASE_MIN_MS, LEASE_MAX_MS)


def check_settlement(settlement: Settlement, message_bytes_max: int) -> None:
    """The deed is one that settles; delay, result and the number of emits lie within their limits."""
    if settlement.deed not in SETTLING:
        raise BadRequest(f"a job is settled by ack, retry, release or bury, not by {settlement.deed.value}")
    if settlement.delay_ms is not None:
        check_range("delay_ms", settlement.delay_ms, 0, JOB_DELAY_MAX_MS)
    if settlement.result is not None:
        check_size("result", len(settlement.result), message_bytes_max)
    if len(settlement.emit) > JOB_EMITS_MAX:
        raise BadRequest(f"a settlement emits up to {JOB_EMITS_MAX}, not {len(settlement.emit)}")


def check_limit(limit: int) -> None:
    """One call looks at 1 to BROWSE_JOBS_MAX jobs."""
    check_range("limit", limit, 1, BROWSE_JOBS_MAX)


def check_selection(ids: Sequence[str] | None, limit: int) -> None:
    """Jobs are selected by up to BROWSE_JOBS_MAX ids, or by a limit."""
    if ids is None:
        check_limit(limit)
    else:
        check_ids(ids)


def check_ids(ids: Sequence[str]) -> None:
    """One call is about up to BROWSE_JOBS_MAX jobs."""
    check_range("the number of ids", len(ids), 0, BROWSE_JOBS_MAX)


def check_edit(ids: Sequence[str] | None, data: bytes, message_bytes_max: int) -> None:
    """A payload is replaced in a single job."""
    if ids is None or len(ids) != 1:
        raise BadRequest("data replaces the payload of one job; name one id")
    check_size("data", len(data), message_bytes_max)


def check_purge(state: State) -> None:
    """What is leased is not purged."""
    if state not in PURGED:
        raise BadRequest(f"waiting, dead or done jobs can be purged, not {state.value} ones")


def check_schedule(schedule: Schedule) -> None:
    """A schedule's name is as long as a key's, its spec as a header's."""
    check_text("a schedule's name", schedule.name, JOB_KEY_BYTES_MAX)
    check_size("a schedule's spec", len(schedule.spec), JOB_HEADERS_BYTES_MAX)
    check_range("last_ms", schedule.last_ms, 0, OFFSET_MAX)
