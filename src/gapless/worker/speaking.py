"""What handlers say while they run, said to the store for them: they extend, settle, and ask."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final

import msgspec

from gapless.core.errors import BadRequest, GaplessError
from gapless.library.gapless import Gapless
from gapless.library.outcomes import Outcome
from gapless.protocol import queues, streams
from gapless.protocol.messages import Payload, payload
from gapless.protocol.payloads import failure_of
from gapless.protocol.queues import ClaimedJob, ExtendAnswer, ExtendRequest, HeldLease
from gapless.worker.frames import NULL, Answered, Ask, Extend, Settle
from gapless.worker.settling import Settling, settlement

__all__ = ["Speaking"]

_REQUESTS: Final = {
    verb: msgspec.json.Decoder(request).decode
    for verb, (request, _) in {**queues.VERBS, **streams.VERBS}.items()
}


class Speaking:
    """Speaks to the store for handlers: a `Desk` for those in this process, answers for those in others.

    `settled` hears of the fences of jobs that were settled by hand.
    """

    def __init__(self, gl: Gapless, settling: Settling, settled: Callable[[str], object]) -> None:
        self._gl = gl
        self._settling = settling
        self._settled = settled
        self._answering: set[asyncio.Task[None]] = set()

    async def extend(self, job: ClaimedJob, lease_ms: int) -> int:
        """See `Desk.extend`."""
        return await self._extend(job.id, job.fence, lease_ms)

    async def settle(self, job: ClaimedJob, outcome: Outcome) -> None:
        """See `Desk.settle`."""
        await self._settle(job.id, job.fence, outcome)

    def answer(self, frame: Extend | Settle | Ask, tell: Callable[[Answered], object]) -> None:
        """Have something answered for another process."""
        answering = asyncio.get_running_loop().create_task(
            self._answer(frame.number, self._work(frame), tell)
        )
        self._answering.add(answering)
        answering.add_done_callback(self._answering.discard)

    async def _answer(
        self, number: int, work: Coroutine[Any, Any, Payload], tell: Callable[[Answered], object]
    ) -> None:
        try:
            tell(Answered(number, await work))
        except GaplessError as error:
            tell(Answered(number, error=failure_of(error)))

    def _work(self, frame: Extend | Settle | Ask) -> Coroutine[Any, Any, Payload]:
        match frame:
            case Extend():
                return self._extended(frame)
            case Settle():
                return self._settled_by_hand(frame)
            case Ask():
                return self._asked(frame)

    async def _extended(self, frame: Extend) -> Payload:
        return payload(b"%d" % await self._extend(frame.id, frame.fence, frame.lease_ms))

    async def _settled_by_hand(self, frame: Settle) -> Payload:
        await self._settle(frame.id, frame.fence, frame.outcome)
        return NULL

    async def _asked(self, frame: Ask) -> Payload:
        request = bytes(frame.request)
        match frame.verb:
            case "publish":
                return payload(
                    await self._gl.carry(lambda t: t.publish(request, repeatable=frame.repeatable))
                )
            case "page":
                channel, query = msgspec.json.decode(request, type=tuple[str, str])
                return payload(await self._gl.carry(lambda t: t.page(channel, query.encode())))
        answer = await self._gl.ask(frame.verb, _REQUESTS[frame.verb](request))
        return payload(msgspec.json.encode(answer))

    async def _extend(self, id: str, fence: str, lease_ms: int) -> int:
        request = ExtendRequest(leases=[HeldLease(id=id, fence=fence)], lease_ms=lease_ms)
        answer: ExtendAnswer = await self._gl.ask("queue/extend", request)
        [item] = answer.leases
        if item.result is None:
            raise item.error.error() if item.error is not None else BadRequest("an answer without a result")
        return item.result.lease_until_ms

    async def _settle(self, id: str, fence: str, outcome: Outcome) -> None:
        item = await self._settling.one(settlement(id, fence, outcome))
        if item.error is not None:
            raise item.error.error()
        self._settled(fence)
