"""The use cases of queues over a store in memory, with the clock in the test's hand."""

import asyncio
import json
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, cast

from gapless.broker.emitting import Emitting
from gapless.broker.queues import Queueing
from gapless.broker.rights import Access
from gapless.broker.rules import QueueRule
from gapless.broker.streams import Streaming
from gapless.broker.verbs import Verbs
from gapless.core.errors import GaplessError
from gapless.core.jobs import Deed
from gapless.core.limits import PAGE_BYTES_MAX
from gapless.ports import Store
from gapless.protocol.messages import payload
from gapless.protocol.queues import (
    ClaimedJob,
    ClaimRequest,
    EnqueueRequest,
    NewJob,
    NewSettlement,
    SettleRequest,
)
from tests.conversation import Stage, play, rest

MAIL = QueueRule(name="mail")
KEPT = QueueRule(name="mail", result_ms=60_000)


def new(queue: str = "mail", data: object = 1, **fields: Any) -> NewJob:
    return NewJob(queue=queue, data=payload(json.dumps(data).encode()), **fields)


class Queues:
    """A stage with queues."""

    def __init__(self, stage: Stage, rules: Sequence[QueueRule]) -> None:
        self.stage = stage
        self.clock = stage.clock
        self.store = cast("Store", stage.broker.store)
        emitting = Emitting(stage.broker)
        self.queueing = Queueing(self.store, stage.clock, emitting, rules)
        streaming = Streaming(self.store, stage.clock, stage.broker, emitting)
        self.verbs = Verbs(self.queueing, streaming, Access(rules))
        stage.sessions.verbs = self.verbs

    async def enqueue(self, *data: object, queue: str = "mail", **fields: Any) -> list[str]:
        answer = await self.queueing.enqueue(
            EnqueueRequest(jobs=[new(queue, each, **fields) for each in data])
        )
        return [item.result.id for item in answer.jobs if item.result is not None]

    async def claim(self, queue: str = "mail", worker: str = "w", **fields: Any) -> list[ClaimedJob]:
        answer = await self.queueing.claim(ClaimRequest(queue=queue, worker=worker, **fields))
        return answer.jobs

    def claiming(self, **fields: Any) -> "asyncio.Task[list[ClaimedJob]]":
        return asyncio.ensure_future(self.claim(wait_ms=60_000, **fields))

    async def pass_ms(self, ms: int, step_ms: int = 250) -> None:
        """Let time pass in steps, and what falls due be done."""
        while ms > 0:
            self.clock.pass_ms(min(ms, step_ms))
            await rest()
            ms -= step_ms

    async def audited(self) -> list[dict[str, Any]]:
        page = await self.store.read("gapless.audit", limit_messages=100, limit_bytes=PAGE_BYTES_MAX)
        return [json.loads(message.data) for message in page.messages]


async def settle(queues: Queues, job: ClaimedJob, deed: Deed = Deed.ACK, **fields: str) -> None:
    settlement = NewSettlement(id=job.id, fence=job.fence, deed=deed, **fields)  # type: ignore[arg-type]
    await queues.queueing.settle(SettleRequest(settlements=[settlement]))


async def refused(work: Coroutine[Any, Any, Any]) -> GaplessError:
    try:
        await work
    except GaplessError as error:
        return error
    raise AssertionError("it was not refused")


def with_queues(
    scene: Callable[[Queues], Coroutine[Any, Any, None]], *rules: QueueRule, **options: Any
) -> None:
    """Run `scene` with queues that follow `rules`: of one queue, mail, unless any are given."""

    async def run(stage: Stage) -> None:
        queues = Queues(stage, rules or (MAIL,))
        await queues.queueing.start()
        try:
            await scene(queues)
        finally:
            await queues.queueing.stop()

    play(run, **options)
