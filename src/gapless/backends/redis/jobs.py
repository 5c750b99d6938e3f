"""The port Queues on Redis."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar

import msgspec

from gapless.backends.redis.encoding import EXACT_MAX, encode, entry_of, raw
from gapless.backends.redis.job_encoding import (
    STATES,
    claimed_of,
    digest_of,
    emits_of,
    emitted_of,
    enqueued_of,
    known_text,
    name_of,
    names_of,
    refusable,
    refusal_of,
    settled_of,
    view_of,
)
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

__all__ = ["CHANCES", "RedisQueues"]

Item = TypeVar("Item")
Answer = TypeVar("Answer")

# Chances for the lapses that one function lets happen; it has as many (jobs.PART in lua/jobs/queues.lua).
CHANCES: Final = 500
# Jobs, and what is emitted, that one function takes or settles.
PART_MAX: Final = CLAIM_JOBS_MAX
# Queues of which one function tells.
QUEUES_PER_CALL: Final = 100

_read_options: Final = msgspec.msgpack.Decoder(QueueOptions).decode


class RedisQueues(RedisPart, Queues):
    """Queues, as functions inside Redis."""

    # Calls --------------------------------------------------------------------------------

    async def _ask(self, name: str, *arguments: bytes | str | int, reads: bool = False) -> list[Any]:
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
        [dropped] = await self._ask("drop", known_text(queue))
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
        await self._ask("pause", known_text(queue), int(paused), self._audit(audit))

    def _audit(self, audit: Entry | None) -> bytes:
        return b"" if audit is None else encode(entry_of(audit, self._options))

    def hear_ready(self, heard: Callable[[str], object]) -> None:
        self.bus.ready.append(lambda queue: self._loop.call_soon(heard, queue))

    async def next_due_ms(self, queue: str) -> int | None:
        [due_ms] = await self._ask("next_due", known_text(queue), reads=True)
        return due_ms or None

    # Enqueue and claim --------------------------------------------------------------------

    async def enqueue(
        self, batches: Sequence[Sequence[Job]], *, request: str = ""
    ) -> list[list[Enqueued] | GaplessError]:
        check_request(request)

        async def ask(at: int, some: Sequence[Sequence[Job]]) -> list[list[Enqueued] | GaplessError]:
            digest = digest_of(str(at), request)
            told = encode([self._batch_of(batch) for batch in some])
            [answers] = await self._ask("enqueue", digest, len(batches), told)
            return [enqueued_of(answer) for answer in answers]

        return await _in_parts(batches, len, ask)

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
        digest = digest_of(queue, worker, request)
        limit = min(limit, CLAIM_JOBS_MAX)
        again, jobs = await self._ask(
            "claim", known_text(queue), worker, limit, lease_ms, digest, CLAIM_BYTES_MAX
        )
        return [claimed_of(queue, told, again=again == 1) for told in jobs]

    # Extend and settle --------------------------------------------------------------------

    async def extend(self, leases: Sequence[Lease], lease_ms: int) -> list[int | GaplessError]:
        check_lease(lease_ms)

        async def ask(_: int, some: Sequence[Lease]) -> list[int | GaplessError]:
            told = encode([(*name_of(lease.id), known_text(lease.fence)) for lease in some])
            [answers] = await self._ask("extend", lease_ms, told)
            return [one if isinstance(one, int) else refusal_of(one) for one in answers]

        return await _in_parts(leases, lambda _: 1, ask)

    async def settle(self, settlements: Sequence[Settlement]) -> list[Settled | GaplessError]:
        return await _in_parts(settlements, lambda one: 1 + len(one.emit), self._settle)

    async def _settle(self, _: int, settlements: Sequence[Settlement]) -> list[Settled | GaplessError]:
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
        settled = map(settled_of, told)
        return [next(settled) if answer is None else answer for answer in answers]

    def _settlement_of(self, asked: Settlement) -> list[Any]:
        return [
            *name_of(asked.id),
            known_text(asked.fence),
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
        [told] = await self._ask("cancel", *name_of(id))
        return view_of(told)

    async def look(self, id: str) -> View:
        [told] = await self._ask("look", *name_of(id), reads=True)
        return view_of(told)

    async def states(self, ids: Sequence[str]) -> list[State]:
        check_ids(ids)
        [told] = await self._ask("states", encode([name_of(id) for id in ids]), reads=True)
        return [STATES[code] for code in told]

    async def browse(self, queue: str, state: State, *, after: str = "", limit: int) -> JobPage:
        check_limit(limit)
        number = min(number_of(after), EXACT_MAX)
        more, told = await self._ask(
            "browse", known_text(queue), state.value, number, limit, CLAIM_BYTES_MAX, reads=True
        )
        jobs = [view_of(one) for one in told]
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
        told = await self._ask(
            "redrive", known_text(queue), names_of(ids), limit, replaced, self._audit(audit)
        )
        return int(told[0])

    async def purge(
        self, queue: str, state: State, ids: Sequence[str] | None, *, limit: int, audit: Entry | None = None
    ) -> int:
        check_purge(state)
        check_selection(ids, limit)
        await self._drain()
        told = await self._ask(
            "purge", known_text(queue), names_of(ids), limit, state.value, self._audit(audit)
        )
        return int(told[0])

    # Schedules ----------------------------------------------------------------------------

    async def schedule(self, schedule: Schedule) -> None:
        check_schedule(schedule)
        last_ms = min(schedule.last_ms, EXACT_MAX)
        await self._calls.call(
            "schedule", schedule.name, known_text(schedule.queue), schedule.spec, last_ms, SCHEDULES_MAX
        )

    async def unschedule(self, name: str) -> bool:
        [was_there] = await self._calls.call("unschedule", known_text(name))
        return bool(was_there)

    async def schedules(self) -> tuple[int, list[Schedule]]:
        now_ms, told = await self._calls.read("schedules")
        found = [
            Schedule(name.decode(), queue.decode(), spec, last_ms) for name, queue, spec, last_ms in told
        ]
        return now_ms, sorted(found, key=lambda schedule: schedule.name)

    async def fire(self, name: str, spec: bytes, tick_ms: int, jobs: Sequence[Job]) -> bool:
        emits = encode(self._batch_of(jobs))
        [fired] = await self._ask("fire", known_text(name), spec, min(tick_ms, EXACT_MAX), emits)
        return bool(fired)


async def _in_parts(
    items: Sequence[Item],
    weight: Callable[[Item], int],
    ask: Callable[[int, Sequence[Item]], Awaitable[list[Answer | GaplessError]]],
) -> list[Answer | GaplessError]:
    """Answer items by calls that each do a bounded part; of what fails after the first, errors are told."""
    answers = await ask(0, items[: (at := _part(items, 0, weight))])
    while at < len(items):
        some = items[at : (end := _part(items, at, weight))]
        try:
            answers += await ask(at, some)
        except GaplessError as error:
            answers += [error] * len(some)
        at = end
    return answers


def _part(items: Sequence[Item], at: int, weight: Callable[[Item], int]) -> int:
    """Return where the part ends that begins at an item."""
    left = PART_MAX
    for end in range(at, len(items)):
        left -= weight(items[end])
        if left < 0 and end > at:
            return end
    return len(items)
