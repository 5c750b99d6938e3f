"""Declared functions: still callable as they were, and the place to send what they handle."""

from collections.abc import Callable, Coroutine, Iterable
from functools import update_wrapper
from hashlib import blake2b
from importlib import import_module
from operator import attrgetter
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Final,
    Generic,
    ParamSpec,
    Protocol,
    TypeVar,
    Unpack,
)

from gapless.core.errors import ConfigError
from gapless.core.jobs import Enqueued
from gapless.library import making
from gapless.library.binding import Binding, Kind, named
from gapless.library.making import JobOptions, MessageOptions
from gapless.library.payloads import Encoded
from gapless.library.terms import QueueTerms, StreamTerms
from gapless.protocol.queues import NewJob
from gapless.protocol.schedules import ScheduleRequest
from gapless.protocol.streams import AppendedMessage, NewMessage

__all__ = [
    "Handler",
    "JobHandler",
    "QueueHandler",
    "RecurringHandler",
    "Sender",
    "StreamHandler",
]

_DIGEST_BYTES: Final = 16

Payload = TypeVar("Payload")
Others = ParamSpec("Others")
Function = TypeVar("Function", bound=Callable[..., Any], covariant=True)
Result = TypeVar("Result")


class Sender(Protocol):
    """What sends for declared functions."""

    async def send_jobs(self, jobs: list[NewJob]) -> list[Enqueued]:
        """Enqueue jobs, all or none."""

    async def send_messages(self, stream: str, messages: list[NewMessage]) -> list[AppendedMessage]:
        """Append messages, each to its partition."""

    def wait_for(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Wait for work without a loop."""


class Handler(Generic[Function]):
    """A function that was declared to handle something; it can be called as before."""

    def __init__(
        self,
        function: Function,
        name: str,
        binding: Binding,
        sender: Callable[[], Sender],
        terms: QueueTerms | StreamTerms,
    ) -> None:
        if binding.kind in (Kind.GENERATOR, Kind.ASYNC_GENERATOR):
            raise ConfigError(f"{named(function)}: a handler returns once, and yields nothing")
        if terms.executor == "process":
            if binding.kind is Kind.AWAITABLE:
                raise ConfigError(f"{named(function)}: an async function cannot run in a process of a pool")
            binding.call = self  # which is what another process finds under the function's name
        update_wrapper(self, function)
        self.function = function
        self.name = name
        self.binding = binding
        self._sender = sender
        self.terms: Any = terms
        self._key = terms.key

    if TYPE_CHECKING:
        __name__: str
        __qualname__: str
        __call__: Function
    else:

        def __call__(self, *args: Any, **kwargs: Any) -> Any:  # noqa: D102
            return self.function(*args, **kwargs)

    def __reduce__(self) -> tuple[Any, ...]:
        return _declared, (self.function.__module__, self.function.__qualname__)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}: {named(self.function)}>"

    def key_of(self, payload: Any) -> str | None:
        """Return the key that the declaration gives a payload."""
        key = self._key(payload) if self._key is not None else None
        return None if key is None else str(key)

    def _encoded(self, payload: Any) -> Encoded:
        assert self.binding.shape is not None
        return self.binding.shape.encode(payload)


def _declared(module: str, name: str) -> Any:
    return attrgetter(name)(import_module(module))


class JobHandler(Handler[Function]):
    """A function that handles the jobs of a queue, which is its `name`."""

    terms: QueueTerms

    def __init__(self, function: Function, name: str, terms: QueueTerms, **rest: Any) -> None:
        super().__init__(function, name, terms=terms, **rest)


class QueueHandler(JobHandler[Function]):
    """What `queue` makes of a function."""

    async def enqueue(
        self: "QueueHandler[Callable[Concatenate[Payload, Others], Any]]",
        payload: Payload,
        **options: Unpack[JobOptions],
    ) -> Enqueued:
        """Enqueue a job for this function.

        Raises:
            BadRequest: the payload is of another type, or an option is malformed.
            KeyConflict: the message id was given to another payload.
            LimitExceeded: as many jobs wait as the queue takes.
            Unavailable: not now; nothing was stored. OutcomeUnknown: nobody knows whether it was.
        """
        [enqueued] = await self._sender().send_jobs([self._job(payload, options)])
        return enqueued

    async def enqueue_many(
        self: "QueueHandler[Callable[Concatenate[Payload, Others], Any]]",
        payloads: Iterable[Payload],
        **options: Unpack[JobOptions],
    ) -> list[Enqueued]:
        """Enqueue up to 1,000 jobs, all or none; the options hold for each. Raises as `enqueue`."""
        return await self._sender().send_jobs([self._job(payload, options) for payload in payloads])

    def enqueue_sync(
        self: "QueueHandler[Callable[Concatenate[Payload, Others], Any]]",
        payload: Payload,
        **options: Unpack[JobOptions],
    ) -> Enqueued:
        """Do as `enqueue` without a loop: in a Django view, a script, a thread. Raises as `enqueue`."""
        return self._sender().wait_for(self.enqueue(payload, **options))

    send_sync = enqueue_sync

    def _job(self, payload: Any, options: JobOptions) -> NewJob:
        encoded = self._encoded(payload)
        job = making.job(self.name, encoded, **options)
        if job.key is None:
            job.key = self.key_of(payload)
        if self.terms.unique_for_ms:
            job.unique = job.unique or blake2b(encoded.data, digest_size=_DIGEST_BYTES).hexdigest()
            job.unique_ms = job.unique_ms or self.terms.unique_for_ms
        return job


class RecurringHandler(JobHandler[Function]):
    """What `cron` and `every` make of a function; its queue is the schedule's alone."""

    def __init__(
        self, function: Function, name: str, terms: QueueTerms, *, schedule: ScheduleRequest, **rest: Any
    ) -> None:
        super().__init__(function, name, terms, **rest)
        self.schedule = schedule


class StreamHandler(Handler[Function]):
    """What `stream` makes of a function; its `name` is the source that it reads."""

    terms: StreamTerms

    def __init__(self, function: Function, name: str, terms: StreamTerms, **rest: Any) -> None:
        super().__init__(function, name, terms=terms, **rest)

    async def append(
        self: "StreamHandler[Callable[Concatenate[Payload, Others], Any]]",
        payload: Payload,
        **options: Unpack[MessageOptions],
    ) -> AppendedMessage:
        """Append a message to the stream.

        Raises:
            BadRequest: the payload is of another type, or an option is malformed.
            PositionConflict: the partition, or the key, does not end as expected.
            KeyConflict: the message id was given to another payload.
            Unavailable: not now; nothing was stored. OutcomeUnknown: nobody knows whether it was.
        """
        [appended] = await self._sender().send_messages(self.name, [self._message(payload, options)])
        return appended

    async def append_many(
        self: "StreamHandler[Callable[Concatenate[Payload, Others], Any]]",
        payloads: Iterable[Payload],
        **options: Unpack[MessageOptions],
    ) -> list[AppendedMessage]:
        """Append up to 1,000 messages, each to its partition, in their order. Raises as `append`."""
        messages = [self._message(payload, options) for payload in payloads]
        return await self._sender().send_messages(self.name, messages)

    def append_sync(
        self: "StreamHandler[Callable[Concatenate[Payload, Others], Any]]",
        payload: Payload,
        **options: Unpack[MessageOptions],
    ) -> AppendedMessage:
        """Do as `append` without a loop. Raises as `append`."""
        return self._sender().wait_for(self.append(payload, **options))

    def _message(self, payload: Any, options: MessageOptions) -> NewMessage:
        message = making.message(self._encoded(payload), **options)
        if message.key is None:
            message.key = self.key_of(payload)
        return message
