"""What is delivered to a handler: a job of a queue, or a message of a stream."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, Protocol, TypeVar, Unpack, overload

from gapless.core.errors import BadRequest
from gapless.core.jobs import Deed
from gapless.core.stream import Position
from gapless.library import making
from gapless.library.making import JobOptions
from gapless.library.outcomes import Outcome
from gapless.library.payloads import encode, wire
from gapless.library.sending import Sending
from gapless.library.times import Duration, duration_ms, moment
from gapless.protocol.queues import ClaimedJob, Emit, EmitAppend, EmitPublish
from gapless.protocol.reading import StreamMessage

__all__ = ["Delivery", "Desk", "Job", "Message"]

Answer = TypeVar("Answer")


class Named(Protocol):
    """A declared handler, by which its queue or stream is named."""

    @property
    def name(self) -> str:
        """The name of its queue or stream."""

    def key_of(self, payload: Any) -> str | None:
        """Return the key that its declaration gives a payload."""


class Desk(Protocol):
    """Where a job that is being handled is spoken for: the worker, or the connection it was claimed by."""

    async def extend(self, job: ClaimedJob, lease_ms: int) -> int:
        """Let the lease last until `lease_ms` from now; return until when. Raises LeaseLost."""

    async def settle(self, job: ClaimedJob, outcome: Outcome) -> None:
        """Settle the job. Raises LeaseLost, and what its emits are refused with."""


class Delivery:
    """What jobs and messages have in common."""

    def __init__(self, key: str | None, headers: Mapping[str, str]) -> None:
        self.key = key
        self.headers = headers
        self.settled = False
        self.surround: Callable[[Sending], AbstractContextManager[None]] | None = None
        self._emitted: list[Emit] = []

    @overload
    def emit(
        self,
        payload: object,
        *,
        channel: str,
        headers: Mapping[str, str] | None = None,
        idempotency_key: str | None = None,
    ) -> None: ...
    @overload
    def emit(self, payload: object, *, queue: str | Named, **options: Unpack[JobOptions]) -> None: ...
    @overload
    def emit(
        self,
        payload: object,
        *,
        stream: str | Named,
        key: str | None = None,
        partition: int | None = None,
        headers: Mapping[str, str] | None = None,
        message_id: str | None = None,
    ) -> None: ...
    def emit(
        self,
        payload: object,
        *,
        channel: str | None = None,
        queue: str | Named | None = None,
        stream: str | Named | None = None,
        **options: Any,
    ) -> None:
        """Publish to a channel, enqueue, or append to a stream, in one transaction with the acknowledgement.

        Nothing of it is stored unless the handler succeeds. A queue or stream is named by its name or by the
        declared function.

        Raises:
            BadRequest: not exactly one of `channel`, `queue` and `stream` is given, or what is given is
            malformed.
        """
        if sum(place is not None for place in (channel, queue, stream)) != 1:
            raise BadRequest("what is emitted goes to a channel, a queue or a stream: name one of them")
        if channel is not None:
            publication = _publication(channel, payload, **options)
            self._emit(Emit(publish=publication), Sending("publish", channel, [publication.headers]))
        elif queue is not None:
            job = making.job(_name(queue), payload, **_keyed(queue, payload, options))
            self._emit(Emit(enqueue=job), Sending("enqueue", job.queue, [job.headers]))
        elif stream is not None:
            message = _message(_name(stream), payload, **_keyed(stream, payload, options))
            self._emit(Emit(append=message), Sending("append", message.stream, [message.headers]))

    def _emit(self, emit: Emit, sending: Sending) -> None:
        if self.surround is not None:
            with self.surround(sending):
                pass
        self._emitted.append(emit)

    def emitted(self) -> list[Emit]:
        """Return what was emitted since this was last asked."""
        emitted, self._emitted = self._emitted, []
        return emitted


class Job(Delivery):
    """A job as its handler sees it.

    `attempt` counts from 1. `fence` is this lease's; `fence_number` only rises, for resources of your own
    that refuse a number below the highest that they have seen. With `alone` the last lease of it ran out.
    `keeps_result`: what the handler returns is kept, for as long as the queue says.
    """

    def __init__(
        self, claimed: ClaimedJob, desk: Desk, *, manual: bool = False, keeps_result: bool = False
    ) -> None:
        super().__init__(claimed.key, claimed.headers)
        self.id = claimed.id
        self.queue = claimed.queue
        self.attempt = claimed.attempt
        self.fence = claimed.fence
        self.fence_number = claimed.fence_number
        self.priority = claimed.priority
        self.alone = claimed.alone
        self.keeps_result = keeps_result
        self._claimed = claimed
        self._desk = desk
        self._manual = manual
        self._loop = asyncio.get_running_loop()

    @property
    def enqueued_at(self) -> datetime:
        """When it was enqueued, by the store's clock."""
        return moment(self._claimed.enqueued_ms)

    async def extend(self, lease: Duration = "30s") -> datetime:
        """Let the lease last until `lease` from now; return until when. A worker does it by itself.

        Raises:
            LeaseLost: it is over; somebody else may have the job.
        """
        return moment(await self._desk.extend(self._claimed, duration_ms(lease)))

    async def ack(self, result: object = None) -> None:
        """Say that the job is done (`ack="manual"`), with what was emitted so far.

        Raises:
            LeaseLost: it is not this handler's any more, and nothing was stored.
        """
        encoded = encode(result) if result is not None else None
        outcome = Outcome(deed=Deed.ACK)
        if encoded is not None:
            outcome.result, outcome.binary = encoded
        await self._settle(outcome)

    async def retry(self, reason: str = "", *, delay: Duration | None = None) -> None:
        """Have it tried again (`ack="manual"`), after `delay` or when the policy says. Raises as `ack`."""
        delay_ms = None if delay is None else duration_ms(delay)
        await self._settle(Outcome(deed=Deed.RETRY, delay_ms=delay_ms, reason=reason))

    async def release(self, *, delay: Duration = 0) -> None:
        """Leave the job to others (`ack="manual"`); it was no attempt. Raises as `ack`."""
        await self._settle(Outcome(deed=Deed.RELEASE, delay_ms=duration_ms(delay)))

    async def bury(self, reason: str) -> None:
        """Put the job with the dead letters (`ack="manual"`). Raises as `ack`."""
        await self._settle(Outcome(deed=Deed.BURY, reason=reason))

    def wait(self, work: Coroutine[Any, Any, Answer]) -> Answer:
        """Wait for what one of these methods returns, in a plain handler: `job.wait(job.extend("1m"))`."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _settle(self, outcome: Outcome) -> None:
        if not self._manual:
            raise BadRequest('this handler is acknowledged by its return; declare it with ack="manual"')
        await self.settle(outcome)

    async def settle(self, outcome: Outcome) -> None:
        """Settle with an outcome, once."""
        if outcome.deed is Deed.ACK:
            outcome.emit = self.emitted()
        await self._desk.settle(self._claimed, outcome)
        self.settled = True


class Message(Delivery):
    """A message of a stream as its handler sees it. `channel` is where it was published, if it is one's.

    `fence` and `fence_number` are of the member's hold on the partition, as a job's are of its lease.
    """

    def __init__(
        self, stream: str, epoch: str, delivered: StreamMessage, *, fence: str = "", fence_number: int = 0
    ) -> None:
        super().__init__(delivered.key or None, delivered.headers)
        self.fence = fence
        self.fence_number = fence_number
        self.stream = stream
        self.partition = delivered.partition
        self.offset = delivered.offset
        self.channel = delivered.channel
        self._epoch = epoch
        self._time_ms = delivered.time_ms

    @property
    def id(self) -> str:
        """A name of this message that no other has: for an inbox, or as an idempotency key."""
        return f"{self.stream}/{self.partition}/{self._epoch}/{self.offset}"

    @property
    def position(self) -> Position:
        """Where it stands in its partition."""
        return Position(self._epoch, self.offset)

    @property
    def time(self) -> datetime:
        """When it was stored, by the store's clock."""
        return moment(self._time_ms)


def _name(target: str | Named) -> str:
    return target if isinstance(target, str) else target.name


def _keyed(target: str | Named, payload: object, options: dict[str, Any]) -> dict[str, Any]:
    if isinstance(target, str) or options.get("key") is not None:
        return options
    return {**options, "key": target.key_of(payload)}


def _publication(
    channel: str,
    payload: object,
    *,
    headers: Mapping[str, str] | None = None,
    idempotency_key: str | None = None,
) -> EmitPublish:
    body = wire(encode(payload))
    return EmitPublish(
        channel=channel, headers=making.headers_of(headers), idempotency_key=idempotency_key, **body
    )


def _message(
    stream: str,
    payload: object,
    *,
    key: str | None = None,
    partition: int | None = None,
    headers: Mapping[str, str] | None = None,
    message_id: str | None = None,
) -> EmitAppend:
    return EmitAppend(
        stream=stream,
        key=key,
        partition=partition,
        message_id=message_id,
        headers=making.headers_of(headers),
        **wire(encode(payload)),
    )
