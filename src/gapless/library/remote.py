"""The verbs over the network: the same requests, posted to a server."""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from functools import partial
from itertools import count
from random import Random
from typing import Any, Final, TypeVar

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from gapless.client.calling import Calling, End
from gapless.client.following import Event
from gapless.core.errors import BadRequest, MethodNotFound, NotAvailable, OutcomeUnknown, PermissionDenied
from gapless.core.jobs import Deed
from gapless.core.stream import Position
from gapless.library.joining import Joining
from gapless.library.polling import poll
from gapless.library.posting import ANSWER_MS, Posting
from gapless.library.retrying import Retrying
from gapless.library.watching import Token, Watching, token_of
from gapless.protocol import hooks, queues, streams
from gapless.protocol.payloads import Failure
from gapless.protocol.queues import (
    ClaimAnswer,
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
from gapless.protocol.reading import ReplayedMessage, ReplayRequest
from gapless.server.clock import LoopClock

__all__ = ["ANSWERS", "Remote"]

Outcome = TypeVar("Outcome", EnqueuedItem, SettledItem)

ANSWERS: Final = {
    verb: msgspec.json.Decoder(answer).decode
    for verb, (_, answer) in {**queues.VERBS, **streams.VERBS, **hooks.VERBS}.items()
}
"""Reads the answer to each verb."""
_encode: Final = msgspec.json.Encoder().encode
GIVEN_UP: Final = "whoever claimed it has given up"
# What may be the fault of one of those that were joined.
APART: Final = (BadRequest, PermissionDenied)
# What changes something each time it is done, unless what it is asked names it.
ONCE: Final = frozenset(
    f"queue/{verb}" for verb in ("enqueue", "cancel", "redrive", "purge", "drop")
) | frozenset(f"stream/{verb}" for verb in ("append", "seek", "drop", "drop_group"))


class _Broken(Struct):
    """The last line of a replay that could not go on."""

    error: Failure


class Remote:
    """Implements `Transport`. `patience_ms` is for how long a call is made again."""

    keeps_store = False

    def __init__(self, posting: Posting, random: Random, *, token: Token, patience_ms: int) -> None:
        self._posting = posting
        self._random = random
        self._token = token
        self._patience_ms = patience_ms
        self._uid = f"{random.getrandbits(64):016x}"
        self._secret = f"{random.getrandbits(128):032x}"  # who knows a request's id is told its answer
        self._numbers = count(1)

    async def open(self) -> None:
        """See `Transport.open`. The server is reached with the first call."""
        self._clock = LoopClock()
        self._retrying = Retrying(self._clock, self._random, self._patience_ms)
        self._enqueues: Joining[bytes, EnqueuedItem] = Joining(self._enqueue, len, apart=APART)
        self._settles: Joining[bytes, SettledItem] = Joining(self._settle, len, apart=APART)
        self._posting.open()
        posting = self._posting
        self._calling: Calling | None = None
        if self._token and not posting.has_key:
            self._calling = Calling(
                posting.websocket, partial(token_of, self._token), self._clock, posting.tls
            )

    async def close(self) -> None:
        """See `Transport.close`."""
        await self._enqueues.finish()
        if self._calling is not None:
            await self._calling.finish()
        await self._settles.finish()
        await self._posting.close()
        if self._calling is not None:
            await self._calling.close()

    async def call(self, verb: str, request: Any) -> Any:
        """See `Transport.call`. Jobs and settlements that are asked for one at a time are joined."""
        match request:
            case EnqueueRequest(jobs=[job], request=""):
                return EnqueueAnswer(jobs=[await self._joined(self._enqueues, job)])
            case SettleRequest(settlements=[settlement]):
                return SettleAnswer(settlements=[await self._joined(self._settles, settlement)])
            case EnqueueRequest():
                request = replace(request, request=request.request or self._id())
            case ClaimRequest():
                return await self._claim(request)
        decode = ANSWERS.get(verb)
        if decode is None:
            raise MethodNotFound(f"there is no method {verb!r}")
        post = partial(self._post, verb, _encode(request), wait_ms=getattr(request, "wait_ms", 0))
        return decode(await self._retrying.call(post, repeatable=_is_repeatable(verb, request)))

    async def _claim(self, request: ClaimRequest) -> ClaimAnswer:
        """Claim; who gives up leaves nothing behind, but under an id of its own: it may ask again."""
        told = _nobody if request.request else self._release
        worker, asked = request.worker or self._uid, request.request or self._id()
        request = replace(request, worker=worker, request=asked)
        end = End(_encode(replace(request, wait_ms=0)), told) if self._calling is not None else None
        post = partial(self._post, "queue/claim", _encode(request), wait_ms=request.wait_ms, end=end)
        answer: ClaimAnswer = ANSWERS["queue/claim"](await self._retrying.call(post, repeatable=True))
        return answer

    def _release(self, answer: bytes) -> None:
        for job in ANSWERS["queue/claim"](answer).jobs:
            release = NewSettlement(
                id=job.id, fence=job.fence, deed=Deed.RELEASE, delay_ms=0, reason=GIVEN_UP
            )
            self._settles.put(_encode(release), _nobody)

    async def _post(self, method: str, body: bytes, *, wait_ms: int = 0, end: End | None = None) -> bytes:
        """Post to the server API, or call by the right of the token, where there is no key."""
        if self._calling is None:
            return await self._posting.post(method, body, wait_ms=wait_ms)
        name, within_ms = f"gapless.{method.replace('/', '.')}", ANSWER_MS + wait_ms
        return await self._calling.call(name, body, within_ms, waits=wait_ms > 0, end=end)

    async def _joined(self, joining: Joining[bytes, Any], item: NewJob | NewSettlement) -> Any:
        """Have one item sent with others; if it is refused for now, it is sent again."""
        try:
            written = _encode(item)
        except (TypeError, ValueError, RecursionError) as error:
            raise BadRequest(f"malformed request: {error}") from error
        outcome = await joining.one(written)
        if not _is_for_now(outcome):
            return outcome
        known = [outcome]

        async def attempt() -> Any:
            outcome = known.pop() if known else await joining.one(written)
            if _is_for_now(outcome):
                raise outcome.error.error()
            return outcome

        return await self._retrying.call(attempt, repeatable=False)

    async def _enqueue(self, jobs: Sequence[bytes]) -> Sequence[EnqueuedItem]:
        body = b'{"jobs":[%b],"atomic":false,"request":"%b"}' % (b",".join(jobs), self._id().encode())
        return await self._known("queue/enqueue", body, lambda answer: answer.jobs)

    async def _settle(self, settlements: Sequence[bytes]) -> Sequence[SettledItem]:
        body = b'{"settlements":[%b]}' % b",".join(settlements)
        return await self._known("queue/settle", body, lambda answer: answer.settlements)

    async def _known(
        self, verb: str, body: bytes, items: Callable[[Any], Sequence[Outcome]]
    ) -> Sequence[Outcome]:
        """Ask the same again while it is not known what became of an item: the rest is answered as before."""

        async def attempt() -> Sequence[Outcome]:
            outcomes = items(ANSWERS[verb](await self._post(verb, body)))
            for outcome in outcomes:
                if outcome.error is not None and isinstance(error := outcome.error.error(), OutcomeUnknown):
                    raise error
            return outcomes

        return await self._retrying.call(attempt, repeatable=True)

    def _id(self) -> str:
        return f"{self._secret}-{next(self._numbers)}"

    async def publish(self, body: bytes, *, repeatable: bool) -> bytes:
        """See `Transport.publish`."""
        post = partial(self._post, "publish", body)
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

    async def replay(self, request: ReplayRequest) -> AsyncGenerator[list[ReplayedMessage], None]:
        """See `Transport.replay`.

        Raises:
            NotAvailable: there is a token alone, which opens no replays.
        """
        if self._calling is not None:
            raise NotAvailable("a replay needs the API key")
        parts = self._posting.lines("stream/replay", _encode(request), pause_ms=request.pause_ms)
        async with aclosing(parts):
            async for lines in parts:
                yield [_replayed(line) for line in lines]


def _replayed(line: bytes) -> ReplayedMessage:
    """Return a message that is given again. Raises what went wrong, if the line tells that."""
    if line.startswith(b'{"error":'):
        raise msgspec.json.decode(line, type=_Broken).error.error()
    return msgspec.json.decode(line, type=ReplayedMessage)


def _nobody(outcome: object) -> None:
    """Tell nobody."""


def _is_for_now(outcome: Any) -> bool:
    """Tell whether an item was refused, and may be taken later."""
    return outcome.error is not None and outcome.error.error().temporary


def _is_repeatable(verb: str, request: Any) -> bool:
    if isinstance(request, EnqueueRequest):
        return bool(request.request)
    if isinstance(request, streams.AppendRequest):
        return all(message.message_id is not None for message in request.messages)
    return verb not in ONCE
