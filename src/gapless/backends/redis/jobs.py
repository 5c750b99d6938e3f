"""The port Queues on Redis."""

from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Any, Final

import msgspec

from gapless.backends.redis.calls import Argument
from gapless.backends.redis.encoding import emits_of, emitted_of, encode, entry_of, raw, refusable
from gapless.backends.redis.errors import by_code
from gapless.backends.redis.part import RedisPart
from gapless.core.errors import GaplessError
from gapless.core.job_rules import (
    check_batch,
    check_claim,
    check_edit,
    check_ids,
    check_lease,
    check_limit,
    check_options,
    check_purge,
    check_queue,
    check_request,
    check_schedule,
    check_selection,
    check_settlement,
    cut_details,
    cut_reason,
    number_of,
)
from gapless.core.jobs import (
    Claimed,
    Counted,
    Deed,
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
from gapless.core.limits import (
    CLAIM_BYTES_MAX,
    CLAIM_JOBS_MAX,
    QUEUES_MAX,
    SCHEDULES_MAX,
)
from gapless.core.stream import Entry, Stored
from gapless.ports import Queues

__all__ = ["RedisQueues"]

STATES: Final = tuple(State)
EXACT_MAX: Final = 2**53 - 1
DIGEST_BYTES: Final = 16
# Chances for the lapses that one function lets happen; it has as many (jobs.PART in lua/jobs/queues.lua).
CHANCES: Final = 500
# Queues of which one function tells.
QUEUES_PER_CALL: Final = 100
# Where nothing is known to be, and no lease to be had.
NOWHERE: Final = (0, "")

_read_options: Final = msgspec.msgpack.Decoder(QueueOptions).decode


class RedisQueues(RedisPart, Queues):
    """Queues, as functions inside Redis."""

    # Calls --------------------------------------------------------------------------------

    async def _ask(self, name: str, *arguments: Argument, reads: bool = False) -> list[Any]:
        """Call a function about jobs until what was to happen by itself has happened first."""
        call = self._calls.read if reads else self._calls.call
        chances = b""
        while (told := await call(name, chances, *arguments)) == [b"MORE"]:
            chances = encode([self._options.chance() for _ in range(CHANCES)])
        return told

    # Queues -------------------------------------------------------------------------------

    async def declare(self, queue: str, options: QueueOptions) -> bool:
        check_queue(queue)
        check_options(options)
        [is_new] = await self._ask("declare", queue, encode(options), QUEUES_MAX)
        return bool(is_new)

    async def drop(self, queue: str) -> int:
        [dropped] = await self._ask("drop", _text(queue))
        return int(dropped)

    async def queues(self) -> dict[str, QueueInfo]:
        [names] = await self._calls.read("queue_names")
        names.sort()
        told: dict[str, QueueInfo] = {}
        for at in range(0, len(names), QUEUES_PER_CALL):
            [some] = await self._ask("queues", *names[at : at + QUEUES_PER_CALL], reads=True)
            for name, options, is_paused, *counts in some:
                told[name.decode()] = QueueInfo(_read_options(options), is_paused == 1, Counted(*counts))
        return told

    async def pause(self, queue: str, *, paused: bool, audit: Entry | None = None) -> None:
        await self._drain()
        await self._ask("pause", _text(queue), int(paused), self._audit(audit))

    def _audit(self, audit: Entry | None) -> bytes:
        return b"" if audit is None else encode(entry_of(audit, self._options))

    def hear_ready(self, heard: Callable[[str], object]) -> None:
        self.bus.ready.append(lambda queue: self._loop.call_soon(heard, queue))

    async def next_due_ms(self, queue: str) -> int | None:
        [due_ms] = await self._ask("next_due", _text(queue), reads=True)
        return due_ms or None

    # Enqueue and claim --------------------------------------------------------------------

    async def enqueue(
        self, batches: Sequence[Sequence[Job]], *, request: str = ""
    ) -> list[list[Enqueued] | GaplessError]:
        check_request(request)
        digest = _digest(request) if request else b""
        told = [self._batch_of(batch) for batch in batches]
        [answers] = await self._ask("enqueue", digest, encode(told))
        return [_enqueued_of(answer) for answer in answers]

    def _batch_of(self, batch: Sequence[Job]) -> list[Any]:
        try:
            check_batch(batch, self._options.message_bytes_max)
        except GaplessError as error:
            return [refusable(error)]
        return emits_of(batch, self._options)

    async def store_all(self, emits: Sequence[Emit]) -> tuple[Stored | Enqueued, ...]:
        await self._drain()
        [emitted] = await self._ask("store_all", encode(emits_of(emits, self._options)))
        return emitted_of(emitted)

    async def claim(
        self, queue: str, *, worker: str, limit: int, lease_ms: int = 0, request: str = ""
    ) -> list[Claimed]:
        check_claim(worker, limit, lease_ms, request)
        digest = _digest(queue, worker, request) if request else b""
        limit = min(limit, CLAIM_JOBS_MAX)
        again, jobs = await self._ask("claim", _text(queue), worker, limit, lease_ms, digest, CLAIM_BYTES_MAX)
        return [_claimed_of(queue, told, again == 1) for told in jobs]

    # Extend and settle --------------------------------------------------------------------

    async def extend(self, leases: Sequence[Lease], lease_ms: int) -> list[int | GaplessError]:
        check_lease(lease_ms)
        told = encode([(*_name(lease.id), _text(lease.fence)) for lease in leases])
        [answers] = await self._ask("extend", lease_ms, told)
        return [one if isinstance(one, int) else by_code(*_texts(one)) for one in answers]

    async def settle(self, settlements: Sequence[Settlement]) -> list[Settled | GaplessError]:
        answers: list[Settled | GaplessError | None] = []
        asked: list[list[Any]] = []
        for settlement in settlements:
            try:
                check_settlement(settlement, self._options.message_bytes_max)
                asked.append(self._settlement_of(settlement))
                answers.append(None)
            except GaplessError as error:
                answers.append(error)
        emits = any(one[-1] for one in asked)
        if emits:
            await self._drain()
        [told] = await self._ask("settle_emitting" if emits else "settle", encode(asked))
        settled = map(_settled_of, told)
        return [next(settled) if answer is None else answer for answer in answers]

    def _settlement_of(self, asked: Settlement) -> list[Any]:
        return [
            *_name(asked.id),
            _text(asked.fence),
            asked.deed.value,
            False if asked.delay_ms is None else asked.delay_ms,
            False if asked.result is None else raw(asked.result),
            cut_reason(asked.reason),
            cut_details(asked.details),
            self._options.chance() if asked.deed is Deed.RETRY else 0,
            emits_of(asked.emit, self._options),
        ]

    # Looking and tidying up ---------------------------------------------------------------

    async def cancel(self, id: str) -> View:
        [told] = await self._ask("cancel", *_name(id))
        return _view_of(told)

    async def look(self, id: str) -> View:
        [told] = await self._ask("look", *_name(id), reads=True)
        return _view_of(told)

    async def states(self, ids: Sequence[str]) -> list[State]:
        check_ids(ids)
        [told] = await self._ask("states", encode([_name(id) for id in ids]), reads=True)
        return [STATES[code] for code in told]

    async def browse(self, queue: str, state: State, *, after: str = "", limit: int) -> JobPage:
        check_limit(limit)
        number = min(number_of(after), EXACT_MAX)
        more, told = await self._ask(
            "browse", _text(queue), state.value, number, limit, CLAIM_BYTES_MAX, reads=True
        )
        jobs = [_view_of(one) for one in told]
        return JobPage(jobs, jobs[-1].id if more else "")

    async def redrive(
        self,
        queue: str,
        ids: Sequence[str] | None,
        *,
        limit: int,
        data: bytes | None = None,
        audit: Entry | None = None,
    ) -> int:
        check_selection(ids, limit)
        if data is not None:
            check_edit(ids, data, self._options.message_bytes_max)
        await self._drain()
        replaced = b"" if data is None else b"=" + data
        told = await self._ask("redrive", _text(queue), _named(ids), limit, replaced, self._audit(audit))
        return int(told[0])

    async def purge(
        self, queue: str, state: State, ids: Sequence[str] | None, *, limit: int, audit: Entry | None = None
    ) -> int:
        check_purge(state)
        check_selection(ids, limit)
        await self._drain()
        told = await self._ask("purge", _text(queue), _named(ids), limit, state.value, self._audit(audit))
        return int(told[0])

    # Schedules ----------------------------------------------------------------------------

    async def schedule(self, schedule: Schedule) -> None:
        check_schedule(schedule)
        last_ms = min(schedule.last_ms, EXACT_MAX)
        await self._calls.call(
            "schedule", schedule.name, _text(schedule.queue), schedule.spec, last_ms, SCHEDULES_MAX
        )

    async def unschedule(self, name: str) -> bool:
        [was_there] = await self._calls.call("unschedule", _text(name))
        return bool(was_there)

    async def schedules(self) -> tuple[int, list[Schedule]]:
        now_ms, told = await self._calls.read("schedules")
        found = [
            Schedule(name.decode(), queue.decode(), spec, last_ms) for name, queue, spec, last_ms in told
        ]
        return now_ms, sorted(found, key=lambda schedule: schedule.name)

    async def fire(self, name: str, spec: bytes, tick_ms: int, jobs: Sequence[Job]) -> bool:
        emits = encode(self._batch_of(jobs))
        [fired] = await self._ask("fire", _text(name), spec, min(tick_ms, EXACT_MAX), emits)
        return bool(fired)


def _text(text: str) -> str:
    """Return a text that can be sent; what cannot be is nowhere to be found."""
    return text.encode(errors="replace").decode()


def _name(id: str) -> tuple[int, str]:
    """Return the number of a job's id and its epoch; NOWHERE if it is no id."""
    number, _, epoch = id.partition("-")
    if not epoch.isalnum() or not epoch.isascii() or number != str(number_of(id)):
        return NOWHERE
    return min(number_of(id), EXACT_MAX), epoch


def _named(ids: Sequence[str] | None) -> bytes:
    return encode(False if ids is None else [_name(id) for id in ids])


def _digest(*names: str) -> bytes:
    """Return what stands for a request."""
    sizes = " ".join(str(len(name)) for name in names)
    return blake2b((sizes + "".join(names)).encode(errors="replace"), digest_size=DIGEST_BYTES).digest()


def _texts(told: Sequence[bytes]) -> list[str]:
    return [one.decode(errors="replace") for one in told]


def _enqueued_of(told: list[Any]) -> list[Enqueued] | GaplessError:
    holds, *rest = told
    if not holds:
        return by_code(*_texts(rest))
    return [Enqueued(id.decode(), fresh == 1) for id, fresh in zip(rest[::2], rest[1::2], strict=True)]


def _settled_of(told: list[Any]) -> Settled | GaplessError:
    holds, *rest = told
    if not holds:
        return by_code(*_texts(rest))
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


def _claimed_of(queue: str, told: list[Any], again: bool) -> Claimed:
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


def _view_of(told: list[Any]) -> View:
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
