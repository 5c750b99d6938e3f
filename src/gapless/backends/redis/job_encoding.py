"""How jobs are handed to the functions inside Redis, and how these tell of them."""

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any, Final

from gapless.backends import Options
from gapless.backends.redis.encoding import DIGEST_BYTES, EXACT_MAX, encode, entry_of, raw, stored_of
from gapless.backends.redis.errors import by_code
from gapless.core.errors import GaplessError
from gapless.core.job_rules import check_job, number_of
from gapless.core.jobs import Claimed, Emit, Enqueued, Job, Settled, State, View
from gapless.core.limits import JOB_DELAY_MAX_MS
from gapless.core.stream import Entry, Stored

__all__ = [
    "NOWHERE",
    "STATES",
    "claimed_of",
    "digest_of",
    "emits_of",
    "emitted_of",
    "enqueued_of",
    "known_text",
    "name_of",
    "names_of",
    "refusable",
    "refusal_of",
    "settled_of",
    "view_of",
]

STATES: Final = tuple(State)
# Where nothing is known to be, and no lease to be had.
NOWHERE: Final = (0, "")

# What is handed over ------------------------------------------------------------------------


def known_text(text: str) -> str:
    """Return a text that can be sent; what cannot be is nowhere to be found."""
    return text.encode(errors="replace").decode()


def name_of(id: str) -> tuple[int, str]:
    """Return the number of a job's id and its epoch; NOWHERE if it is no id."""
    number, _, epoch = id.partition("-")
    is_name = epoch.isascii() and epoch.isalnum() and number == str(number_of(id) or "")
    if not is_name:
        return NOWHERE
    return min(number_of(id), EXACT_MAX), epoch


def names_of(ids: Sequence[str] | None) -> bytes:
    """Return what selects jobs: those with these ids, or the first ones."""
    return encode(False if ids is None else [name_of(id) for id in ids])


def digest_of(*names: str) -> str:
    """Return what stands for a request, if there is one: the last of the names."""
    if not names[-1]:
        return ""
    sizes = " ".join(str(len(name)) for name in names)
    return blake2b((sizes + "".join(names)).encode(errors="replace"), digest_size=DIGEST_BYTES).hexdigest()


def job_of(job: Job, options: Options) -> list[Any]:
    """Return a job as `jobs.admit` takes it (lua/jobs/enqueueing.lua).

    What it says is one text that nobody there reads: the sizes of headers and message id, these, the payload.
    """
    message_id = (job.message_id or "").encode()
    sizes = len(job.headers).to_bytes(4, "big") + len(message_id).to_bytes(4, "big")
    return [
        known_text(job.queue),
        False if job.key is None else job.key,
        job.priority,
        job.delay_ms,
        min(job.at_ms, EXACT_MAX),
        job.expires_ms,
        False if job.unique is None else job.unique,
        job.unique_ms,
        len(job.headers) + len(job.data),
        raw(b"".join((sizes, job.headers, message_id, job.data))),
        job.message_id is not None and _message_id(job, options),
        JOB_DELAY_MAX_MS,
    ]


def _message_id(job: Job, options: Options) -> list[Any]:
    """Return what stands for a message id, as for an idempotency key."""
    text = f"{len(job.queue)} {job.queue}{job.message_id}".encode(errors="replace")
    name = blake2b(text, digest_size=DIGEST_BYTES, person=b"job").digest()
    payload = blake2b(job.data, digest_size=DIGEST_BYTES).digest()
    return [raw(name), raw(payload), options.key_window_ms, options.keys_max]


def refusable(error: GaplessError) -> list[Any]:
    """Return what stands for something to emit that is refused when its turn comes."""
    return ["refused", [error.code, str(error)]]


def emits_of(emits: Sequence[Emit], options: Options) -> list[Any]:
    """Return what `jobs.emit` takes."""
    return [_emit_of(emit, options) for emit in emits]


def _emit_of(emit: Emit, options: Options) -> list[Any]:
    if isinstance(emit, Entry):
        return ["entry", entry_of(emit, options)]
    try:
        check_job(emit, options.message_bytes_max)
    except GaplessError as error:
        return refusable(error)
    return ["job", job_of(emit, options)]


def emitted_of(told: Sequence[list[Any]]) -> tuple[Stored | Enqueued, ...]:
    """Return what `jobs.emit` answered."""
    return tuple([Enqueued(one[0].decode(), one[1] == 1) if len(one) == 2 else _stored(one) for one in told])


def _stored(told: list[Any]) -> Stored:
    stored = stored_of(told)
    assert isinstance(stored, Stored)
    return stored


# What is told -------------------------------------------------------------------------------


def refusal_of(told: Sequence[bytes]) -> GaplessError:
    """Return the error that {code, message} is."""
    code, message = told
    return by_code(code.decode(), message.decode(errors="replace"))


def enqueued_of(told: list[Any]) -> list[Enqueued] | GaplessError:
    """Return what became of a batch (lua/jobs/enqueueing.lua)."""
    holds, *rest = told
    if not holds:
        return refusal_of(rest)
    return [Enqueued(id.decode(), fresh == 1) for id, fresh in zip(rest[::2], rest[1::2], strict=True)]


def settled_of(told: list[Any]) -> Settled | GaplessError:
    """Return what became of a settlement (lua/jobs/settling.lua)."""
    holds, *rest = told
    if not holds:
        return refusal_of(rest)
    state, due_ms, again, emitted = rest
    return Settled(STATES[state], due_ms, emitted_of(emitted), again == 1)


def _key_of(field: bytes) -> str | None:
    """Return the key that a field stands for (jobs.field in lua/jobs/lines.lua)."""
    return field[1:].decode() if field[:1] == b"=" else None


def _body_of(body: bytes) -> tuple[bytes, str | None, bytes]:
    """Take apart what a job says (encoding.job_of): headers, message id, payload."""
    headers_end = 8 + int.from_bytes(body[:4], "big")
    data_at = headers_end + int.from_bytes(body[4:8], "big")
    return body[8:headers_end], body[headers_end:data_at].decode() or None, body[data_at:]


def claimed_of(queue: str, told: list[Any], *, again: bool) -> Claimed:
    """Return a job that is leased (lua/jobs/claiming.lua)."""
    id, field, priority, attempt, fence, enqueued_ms, until_ms, alone, body = told
    headers, _, data = _body_of(body)
    return Claimed(
        id.decode(),
        queue,
        data,
        headers,
        _key_of(field),
        priority,
        attempt,
        fence.decode(),
        int(fence.rpartition(b":")[2]),
        enqueued_ms,
        until_ms,
        alone == 1,
        again,
    )


def view_of(told: list[Any]) -> View:
    """Return a job as one looks at it (lua/jobs/looking.lua)."""
    id, queue, state, field, priority, attempt, enqueued_ms, due_ms, worker, *rest = told
    reason, details, ended_ms, result, body = rest
    headers, message_id, data = _body_of(body)
    return View(
        id.decode(),
        queue.decode(),
        STATES[state],
        data,
        headers,
        _key_of(field),
        priority,
        attempt,
        enqueued_ms,
        due_ms,
        message_id,
        worker.decode(),
        reason.decode(),
        details.decode(),
        ended_ms,
        result[1:] if result else None,
    )
