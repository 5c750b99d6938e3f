"""The verbs over the network: the same requests, posted to a server."""

from collections.abc import AsyncGenerator, Callable, Sequence
from functools import partial
from itertools import count
from random import Random
from typing import Any, Final, TypeVar

import msgspec
from msgspec.structs import replace

from gapless.client.following import Event
from gapless.core.errors import MethodNotFound, OutcomeUnknown
from gapless.core.stream import Position
from gapless.library.joining import Joining
from gapless.library.polling import poll
from gapless.library.posting import Posting
from gapless.library.retrying import Retrying
from gapless.library.watching import Token, Watching, token_of
from gapless.protocol import hooks, queues, streams
from gapless.protocol.queues import (
    ClaimRequest,
    EnqueueAnswer,
    EnqueuedItem,
    EnqueueRequest,
    NewJob,
    NewSettlement,
    SettleAnswer,
    SettledItem,
    SettleRequest,
)
from gapless.server.clock import LoopClock

__all__ = ["ANSWERS", "Remote"]

Outcome = TypeVar("Outcome", EnqueuedItem, SettledItem)

ITEM_BYTES: Final = 512  # what an item weighs besides its payload
ANSWERS: Final = {
    verb: msgspec.json.Decoder(answer).decode
    for verb, (_, answer) in {**queues.VERBS, **streams.VERBS, **hooks.VERBS}.items()
}
"""Reads the answer to each verb."""
# What changes something each time it is done, unless what it is asked names it.
ONCE: Final = frozenset(
    f"queue/{verb}" for verb in ("enqueue", "cancel", "redrive", "purge", "drop")
) | frozenset(f"stream/{verb}" for verb in ("append", "seek", "drop", "drop_group"))


class Remote:
    """Implements `Transport`. `patience_ms` is for how long a call is made again."""

    keeps_store = False

    def __init__(self, posting: Posting, random: Random, *, token: Token, patience_ms: int) -> None:
        self._posting = posting
        self._random = random
        self._token = token
        self._patience_ms = patience_ms
        self._uid = f"{random.getrandbits(64):016x}"
        self._numbers = count(1)

    async def open(self) -> None:
        """See `Transport.open`. The server is reached with the first call."""
        self._clock = LoopClock()
        self._retrying = Retrying(self._clock, self._random, self._patience_ms)
        self._enqueues: Joining[NewJob, EnqueuedItem] = Joining(self._enqueue, _job_bytes)
        self._settles: Joining[NewSettlement, SettledItem] = Joining(self._settle, _settlement_bytes)
        self._posting.open()

    async def close(self) -> None:
        """See `Transport.close`."""
        await self._enqueues.close()
        await self._settles.close()
        await self._posting.close()

    async def call(self, verb: str, request: Any) -> Any:
        """See `Transport.call`. Jobs and settlements that are asked for one at a time are joined."""
        match request:
            case EnqueueRequest():
                if len(request.jobs) == 1 and not request.request:
                    return EnqueueAnswer(jobs=[await self._joined(self._enqueues, request.jobs[0])])
                request = replace(request, request=request.request or self._id())
            case SettleRequest(settlements=[settlement]):
                return SettleAnswer(settlements=[await self._joined(self._settles, settlement)])
            case ClaimRequest():
                worker, asked = request.worker or self._uid, request.request or self._id()
                request = replace(request, worker=worker, request=asked)
        return await self._call(verb, request)

    async def _joined(self, joining: Joining[Any, Any], item: Any) -> Any:
        """Have one item sent with others; if it is refused for now, or nobody knows, it is sent again."""

        async def attempt() -> Any:
            outcome = await joining.one(item)
            if outcome.error is not None:
                error = outcome.error.error()
                if error.temporary:
                    raise error
            return outcome

        return await self._retrying.call(attempt, repeatable=False)

    async def _call(self, verb: str, request: Any) -> Any:
        decode = ANSWERS.get(verb)
        if decode is None:
            raise MethodNotFound(f"there is no method {verb!r}")
        body = msgspec.json.encode(request)
        post = partial(self._posting.post, verb, body, wait_ms=getattr(request, "wait_ms", 0))
        return decode(await self._retrying.call(post, repeatable=_is_repeatable(verb, request)))

    async def _enqueue(self, jobs: Sequence[NewJob]) -> Sequence[EnqueuedItem]:
        request = EnqueueRequest(jobs=list(jobs), atomic=False, request=self._id())
        return await self._known("queue/enqueue", request, lambda answer: answer.jobs)

    async def _settle(self, settlements: Sequence[NewSettlement]) -> Sequence[SettledItem]:
        request = SettleRequest(settlements=list(settlements))
        return await self._known("queue/settle", request, lambda answer: answer.settlements)

    async def _known(
        self, verb: str, request: Any, items: Callable[[Any], Sequence[Outcome]]
    ) -> Sequence[Outcome]:
        """Ask the same again while it is not known what became of an item: the rest is answered as before."""

        async def attempt() -> Sequence[Outcome]:
            outcomes = items(await self._call(verb, request))
            errors = [outcome.error.error() for outcome in outcomes if outcome.error is not None]
            for error in errors:
                if isinstance(error, OutcomeUnknown):
                    raise error
            return outcomes

        return await self._retrying.call(attempt, repeatable=True)

    def _id(self) -> str:
        return f"{self._uid}-{next(self._numbers)}"

    async def publish(self, body: bytes, *, repeatable: bool) -> bytes:
        """See `Transport.publish`."""
        post = partial(self._posting.post, "publish", body)
        return await self._retrying.call(post, repeatable=repeatable)

    async def page(self, channel: str, query: bytes) -> bytes:
        """See `Transport.page`."""

        async def ask() -> bytes:
            return await self._posting.page(channel, query, await token_of(self._token))

        return await self._retrying.call(ask, repeatable=True)

    def events(self, channel: str, since: Position | None) -> AsyncGenerator[Event, None]:
        """See `Transport.events`. Who has the API key and no token reads on, without a WebSocket."""
        posting = self._posting
        if posting.has_key and not self._token:
            return poll(self.call, channel, since)
        watching = Watching(posting.websocket, self._token, self._clock, self._random, posting.tls)
        return watching.events(channel, since)


def _is_repeatable(verb: str, request: Any) -> bool:
    if isinstance(request, EnqueueRequest):
        return bool(request.request)
    if isinstance(request, streams.AppendRequest):
        return all(message.message_id is not None for message in request.messages)
    return verb not in ONCE


def _job_bytes(job: NewJob) -> int:
    return ITEM_BYTES + _body_bytes(job.data, job.b64data) + sum(map(len, job.headers.values()))


def _settlement_bytes(settlement: NewSettlement) -> int:
    result_bytes = _body_bytes(settlement.result, settlement.b64result)
    emitted_bytes = sum(len(msgspec.json.encode(emit)) for emit in settlement.emit)
    return ITEM_BYTES + result_bytes + emitted_bytes + len(settlement.reason) + len(settlement.details)


def _body_bytes(data: Any, b64data: bytes | None) -> int:
    return len(bytes(data)) if b64data is None else 4 * len(b64data) // 3
