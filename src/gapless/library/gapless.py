"""`Gapless`: every verb, in this process or over the network."""

import ssl
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Callable,
    Coroutine,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    contextmanager,
    nullcontext,
)
from datetime import datetime
from importlib import import_module
from inspect import isasyncgenfunction, signature
from pathlib import Path
from random import Random, SystemRandom
from re import fullmatch
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar, Unpack

import msgspec

from gapless.core.errors import ConfigError, GaplessError, UnknownQueue, UnknownStream
from gapless.core.jobs import Enqueued
from gapless.core.limits import SCROLL_MESSAGES
from gapless.core.stream import Position
from gapless.library import making
from gapless.library.channels import (
    Page,
    Place,
    Publication,
    page_of,
    position_of,
    publications,
    query_of,
)
from gapless.library.declaring import declared
from gapless.library.handlers import JobHandler, RecurringHandler, StreamHandler
from gapless.library.home import Home
from gapless.library.making import JobOptions, MessageOptions
from gapless.library.payloads import encode, wire
from gapless.library.resolving import Overrides
from gapless.library.router import Router
from gapless.library.running import Context, Middleware
from gapless.library.sending import Sending, Verb, surrounding
from gapless.library.streaming import Streams
from gapless.library.tending import Jobs, Queues, Schedules
from gapless.library.times import Duration, duration_ms, moment
from gapless.library.transport import Transport
from gapless.library.watching import Token
from gapless.ports import Clock
from gapless.protocol import queues, streams
from gapless.protocol.payloads import NAME
from gapless.protocol.queues import ClaimedJob, HeldLease, NewJob, NewSettlement, SettledJob
from gapless.protocol.reading import ReplayedMessage, ReplayRequest
from gapless.protocol.settings import StreamSettings
from gapless.protocol.streams import AppendedMessage, NewMessage

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from gapless.library.blocking import Blocking

__all__ = ["Gapless"]

Result = TypeVar("Result")
Lifespan = Callable[..., Any]
_PLAINLY: Final[AbstractContextManager[None]] = nullcontext()


class Gapless(Router):
    """Messages that must not get lost: channels, queues and streams, with the same verbs wherever they are.

    `sqlite:app.db` and `memory:` are stores in this process; `config` says of their channels and queues
    what a server's configuration would, as a file's path or in its structure. `http://…` is a server,
    which `api_key` opens. With a connection `token` instead it is used as by that user's client: what its
    rights and the namespaces allow, publishing without tags, versions and bytes, up to 64 KiB at once. What
    is refused for now, and what may be repeated without harm, is tried again for up to `patience`.

    Use it as `async with gl:`: it lives on that loop, and is closed at the end. Or at once: then it lives in
    a thread of its own from its first use on, whichever loops and threads come and go, and each call costs
    about 0.1 ms more.

    Raises:
        ConfigError: the URL or the configuration is malformed.
    """

    def __init__(
        self,
        url: str = "sqlite:gapless.db",
        *,
        api_key: str = "",
        token: Token = "",
        config: Mapping[str, Any] | str | Path | None = None,
        tls: ssl.SSLContext | None = None,
        patience: Duration = "30s",
        random: Random | None = None,
    ) -> None:
        super().__init__()
        self.dependency_overrides: dict[Callable[..., Any], Callable[..., Any]] = {}
        self.config = config
        self.jobs = Jobs(self.ask)
        self.queues = Queues(self.ask)
        self.schedules = Schedules(self.ask)
        self.streams = Streams(self.ask, self._replay)
        self._middleware: list[Middleware] = []
        self._lifespan: Lifespan | None = None
        dice = self._random = random or SystemRandom()
        if url.partition(":")[0] in ("http", "https"):
            if config is not None:
                raise ConfigError("the configuration of a server is the server's own")
            make = _remote(url, dice, api_key, token, tls, duration_ms(patience))
        else:
            make = _local(url, dice, config)
        self._home = Home(make)

    # Open and close -----------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        await self._home.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def is_open(self) -> bool:
        """Tell whether it was opened, here or by its use, and not closed."""
        return self._home.is_open

    async def close(self) -> None:
        """Let go of the store, or of the connections; what is used afterwards opens it again."""
        await self._home.close()

    def through(self, make: Callable[[], Transport]) -> None:
        """Reach everything through another transport from now on, as a worker's child does.

        Raises:
            ConfigError: it is open.
        """
        if self._home.is_open:
            raise ConfigError("it is open; close it first")
        self._home = Home(make)

    @contextmanager
    def meanwhile(self, make: Callable[[], Transport], middleware: Middleware) -> Iterator[None]:
        """Reach everything through another transport for a while; deliveries are told to `middleware` too.

        Raises:
            ConfigError: it is open.
        """
        before = self._home
        self.through(make)
        self._middleware.append(middleware)
        try:
            yield
        finally:
            self._home = before
            self._middleware.remove(middleware)

    def wait_for(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Wait for a verb in a program, or a thread, that has no loop: `gl.wait_for(gl.publish(…))`.

        Raises:
            BadRequest: an event loop runs in this thread, and would stand still.
        """
        return self._home.wait_for(work)

    @property
    def sync(self) -> "Blocking":
        """The verbs without a loop: `gl.sync.publish(…)`; it stays open."""
        from gapless.library.blocking import Blocking

        return Blocking(self)

    def blocking(self) -> "Blocking":
        """Return the verbs without a loop, closed at the end: `with gl.blocking() as b: b.publish(…)`."""
        return self.sync

    async def ask(self, verb: str, request: Any) -> Any:
        """Carry out a verb of queues or streams (`queue/claim`) by its request, and return its answer.

        Raises:
            MethodNotFound: there is no such verb. GaplessError: as the request says.
        """
        return await self._home.run(lambda transport: transport.call(verb, request))

    async def carry(self, work: Callable[[Transport], Coroutine[Any, Any, Result]]) -> Result:
        """Have work done with what carries the verbs, on the loop that it lives on; opens it first."""
        return await self._home.run(work)

    def _replay(self, request: ReplayRequest) -> AsyncGenerator[list[ReplayedMessage], None]:
        return self._home.iterate(lambda transport: transport.replay(request))

    # Channels -----------------------------------------------------------------------------

    async def publish(
        self,
        channel: str,
        data: object,
        *,
        idempotency_key: str = "",
        tags: Mapping[str, str] | None = None,
        skip_history: bool = False,
        version: int = 0,
        version_epoch: str = "",
        expected: Position | None = None,
    ) -> Position | None:
        """Publish to a channel, and return where the message stands; None where no history is kept.

        A repeat with the same `idempotency_key` within a day is the same message. A `version` that is not
        above the last one of its epoch is stale: nothing is stored. `expected` is where the channel must
        end.

        Raises:
            UnknownChannel, BadRequest: there is no such namespace, or what is given is malformed.
            KeyConflict: the key was given to another payload. PositionConflict: the channel ends elsewhere.
            Unavailable: not now; nothing was stored. OutcomeUnknown: nobody knows whether it was.
        """
        headers = making.headers_of(tags)
        with self._surrounded("publish", channel, [headers]):
            said = {
                "channel": channel,
                "tags": headers or None,
                "idempotency_key": idempotency_key or None,
                "skip_history": skip_history or None,
                "version": version or None,
                "version_epoch": version_epoch or None,
                "expected": making.wire_position(expected),
            }
            body = msgspec.json.encode({**{name: it for name, it in said.items() if it}, **_payload(data)})
            repeatable = bool(idempotency_key or version)
            told = await self.carry(lambda transport: transport.publish(body, repeatable=repeatable))
        result = msgspec.json.decode(told, type=dict[str, Any])
        return Position(result["epoch"], result["offset"]) if result.get("offset") else None

    async def history(
        self,
        channel: str,
        *,
        before: Place | None = None,
        after: Place | None = None,
        around: Place | None = None,
        size: int = SCROLL_MESSAGES,
    ) -> Page:
        """Return a page of a channel: the newest, or what is before, after or around a cursor or a time.

        Raises:
            NotAvailable: the channel keeps no history. UnknownChannel: there is no such namespace.
            PositionTrimmed, TimelineGone: what lies there cannot be told any more.
        """
        query = query_of(channel, before=before, after=after, around=around, size=size)
        return page_of(channel, await self.carry(lambda transport: transport.page(channel, query)))

    def subscribe(
        self, channel: str, *, after: str | Position | None = None
    ) -> AsyncGenerator[Publication, None]:
        """Follow a channel from a cursor or position on, or from now on: each message once and in order.

        It outlasts reconnects. Close it (`contextlib.aclosing`) to stop before it ends.

        Raises:
            PositionLost: what was published after the last message cannot be told.
            UsageError: the channel cannot be followed.
        """
        since = position_of(channel, after)
        events = self._home.iterate(lambda transport: transport.events(channel, since))
        return publications(channel, events)

    # Jobs ---------------------------------------------------------------------------------

    async def enqueue(self, queue: str, payload: object, **options: Unpack[JobOptions]) -> Enqueued:
        """Enqueue a job into a queue by its name. Raises as a declared function's `enqueue`, and:

        Raises:
            UnknownQueue: it was not declared, here or elsewhere.
        """
        [enqueued] = await self.send_jobs([making.job(queue, payload, **options)])
        return enqueued

    async def enqueue_many(
        self, queue: str, payloads: Iterable[object], **options: Unpack[JobOptions]
    ) -> list[Enqueued]:
        """Enqueue up to 1,000 jobs, all or none; the options hold for each. Raises as `enqueue`."""
        return await self.send_jobs([making.job(queue, payload, **options) for payload in payloads])

    async def send_jobs(self, jobs: list[NewJob]) -> list[Enqueued]:
        """Enqueue jobs, all or none. A queue that is not there is made if a handler is declared for it."""
        request = queues.EnqueueRequest(jobs=jobs)
        try:
            return await self._enqueue(request)
        except UnknownQueue:
            if not await self._declare({job.queue for job in jobs}):
                raise
        return await self._enqueue(request)

    async def _enqueue(self, request: queues.EnqueueRequest) -> list[Enqueued]:
        place = request.jobs[0].queue if request.jobs else ""
        with self._surrounded("enqueue", place, [job.headers for job in request.jobs]):
            answer: queues.EnqueueAnswer = await self.ask("queue/enqueue", request)
        return [Enqueued(held.id, held.fresh) for held in map(_held, answer.jobs)]

    async def claim(
        self, queue: str, *, limit: int = 1, wait: Duration = 0, lease: Duration = 0, worker: str = ""
    ) -> list[ClaimedJob]:
        """Lease jobs by hand, as a worker does by itself; wait for up to `wait` for the first.

        Raises:
            UnknownQueue: there is no such queue.
        """
        request = queues.ClaimRequest(
            queue=queue,
            limit=limit,
            wait_ms=duration_ms(wait),
            lease_ms=duration_ms(lease),
            worker=worker,
        )
        answer: queues.ClaimAnswer = await self.ask("queue/claim", request)
        return list(answer.jobs)

    async def extend(
        self, jobs: Sequence[ClaimedJob], lease: Duration = "30s"
    ) -> list[datetime | GaplessError]:
        """Let leases last until `lease` from now; return until when for each, or why not."""
        leases = [HeldLease(id=job.id, fence=job.fence) for job in jobs]
        request = queues.ExtendRequest(leases=leases, lease_ms=duration_ms(lease))
        answer: queues.ExtendAnswer = await self.ask("queue/extend", request)
        return [
            item.error.error() if item.error is not None else moment(_held(item).lease_until_ms)
            for item in answer.leases
        ]

    async def settle(self, settlements: Sequence[NewSettlement]) -> list[SettledJob | GaplessError]:
        """Settle claimed jobs; return for each where it is now, or why it was not settled."""
        request = queues.SettleRequest(settlements=list(settlements))
        answer: queues.SettleAnswer = await self.ask("queue/settle", request)
        return [item.error.error() if item.error is not None else _held(item) for item in answer.settlements]

    # Streams ------------------------------------------------------------------------------

    async def append(
        self, stream: str, payload: object, **options: Unpack[MessageOptions]
    ) -> AppendedMessage:
        """Append a message to a stream by its name. Raises as a declared function's `append`, and:

        Raises:
            UnknownStream: it was not declared, here or elsewhere.
        """
        [appended] = await self.send_messages(stream, [making.message(payload, **options)])
        return appended

    async def append_many(
        self,
        stream: str,
        payloads: Iterable[object],
        *,
        atomic: bool = False,
        **options: Unpack[MessageOptions],
    ) -> list[AppendedMessage]:
        """Append up to 1,000 messages in their order; `atomic` ones go to one partition, all or none.

        The options hold for each. Raises as `append`.
        """
        messages = [making.message(payload, **options) for payload in payloads]
        return await self.send_messages(stream, messages, atomic=atomic)

    async def send_messages(
        self, stream: str, messages: list[NewMessage], *, atomic: bool = False
    ) -> list[AppendedMessage]:
        """Append messages. A stream that is not there is made if a handler here reads it."""
        request = streams.AppendRequest(stream=stream, messages=messages, atomic=atomic)
        try:
            return await self._append(request)
        except UnknownStream:
            if not await self._declare_stream(stream):
                raise
        return await self._append(request)

    async def _append(self, request: streams.AppendRequest) -> list[AppendedMessage]:
        with self._surrounded("append", request.stream, [each.headers for each in request.messages]):
            answer: streams.AppendAnswer = await self.ask("stream/append", request)
        return [_held(item) for item in answer.messages]

    # Declared functions -------------------------------------------------------------------

    async def declare(self) -> None:
        """Make what the declared functions need, or let it be as they say: what a worker does when it starts.

        Raises:
            BadRequest: a cron expression never fires, or a stream has another number of partitions.
            PermissionDenied: they may not be declared. Queues that are there are taken as they are by who
                may claim from them.
        """
        handlers = list(self.handlers())
        handled = {handler.name for handler in handlers if isinstance(handler, JobHandler)}
        await self._declare(handled)
        dead = {handler.terms.dead for handler in handlers if isinstance(handler, StreamHandler)}
        for name in dead - handled - {""}:
            await self._declare_if_missing(name)
        for name in {handler.name for handler in handlers if isinstance(handler, StreamHandler)}:
            await self._declare_stream(name)
        for handler in handlers:
            if isinstance(handler, RecurringHandler):
                await self.schedules.add(handler.schedule)

    async def _declare(self, names: set[str]) -> bool:
        found = [h for h in self.handlers() if isinstance(h, JobHandler) and h.name in names]
        for handler in found:
            await declared(self.ask, handler.name, handler.terms.settings)
        return bool(found)

    async def _declare_if_missing(self, queue: str) -> None:
        """Make a queue that nobody has declared: how others have done it stays."""
        try:
            await self.queues.stats(queue)
        except UnknownQueue:
            await self.queues.declare(queue)

    async def _declare_stream(self, name: str) -> bool:
        """Declare a stream as a handler says; if none says how it is kept, only where nothing can be read."""
        terms = [h.terms for h in self.handlers() if isinstance(h, StreamHandler) and h.name == name]
        if not terms or not fullmatch(NAME, name) or any(each.channel for each in terms):
            return False  # a namespace or a channel
        settings = next((each.settings for each in terms if each.settings is not None), None)
        await self.ask(
            "stream/declare",
            streams.DeclareStreamRequest(
                stream=name, options=settings or StreamSettings(), if_missing=settings is None
            ),
        )
        return True

    def asyncapi(self, title: str, version: str = "0.0.0") -> dict[str, Any]:
        """Return what the declared functions receive, as an AsyncAPI 3.0 document."""
        from gapless.library.asyncapi import asyncapi

        return asyncapi(self.handlers(), title, version)

    def use(self, middleware: Middleware) -> None:
        """Have every delivery told to `middleware`, inside of those that were given before."""
        self._middleware.append(middleware)

    def _surrounded(
        self, verb: Verb, place: str, headers: list[dict[str, str]]
    ) -> AbstractContextManager[None]:
        if not self._middleware:
            return _PLAINLY
        return surrounding(self._middleware, Sending(verb, place, headers))

    def lifespan(self, function: Lifespan) -> Lifespan:
        """Declare what is done before the first delivery and after the last: a generator that yields once.

        What it yields is the state, which handlers get by `Depends(gl.state)`. It may take the Gapless.

        Raises:
            ConfigError: there is one already.
        """
        if self._lifespan is not None:
            raise ConfigError("there is a lifespan already; one does it all")
        self._lifespan = function
        return function

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Context]:
        """Return what handlers run in, within the lifespan."""
        overrides: Overrides = self.dependency_overrides
        if self._lifespan is None:
            yield Context(middleware=self._middleware, overrides=overrides)
            return
        async with _entering(self._lifespan, self) as state:
            yield Context(state=state, middleware=self._middleware, overrides=overrides)

    def worker(
        self,
        *,
        concurrency: int = 100,
        only: Sequence[str] = (),
        drain: Duration = "30s",
        session: Duration = "30s",
        clock: Clock | None = None,
        metrics: "CollectorRegistry | None" = None,
    ) -> AbstractAsyncContextManager[Any]:
        """Serve the declared functions on this loop while the body runs: `async with gl.worker():`.

        `concurrency` jobs and pages of messages are handled at once. `only` names the queues, schedules and
        streams to serve. At the end what runs is finished, for up to `drain`; then it is cancelled, and given
        back. What is not open is opened, and closed at the end. In this process a `timeout` is advice: what
        does not let go when it is cancelled goes on. A worker with processes of its own, where a timeout is a
        limit, is `gapless worker`. `metrics` is a registry of prometheus_client, in which the handlers are
        measured.

        Raises:
            ConfigError: there is nothing to serve, or something is named that nobody has declared.
        """
        inside: Callable[..., AbstractAsyncContextManager[Any]]
        inside = import_module("gapless.worker.inside").inside  # which is built on this
        options = {"concurrency": concurrency, "only": only, "drain": drain, "session": session}
        return inside(self, self._random, clock=clock, metrics=metrics, **options)

    async def run_worker(self, **options: Any) -> None:
        """Serve the declared functions until this is cancelled; the options are those of `worker`."""
        async with self.worker(**options) as working:
            await working.failed()

    def _sender(self) -> "Gapless":
        return self


def _held(item: Any) -> Any:
    """Return an item's result, or raise its error."""
    if item.error is not None:
        raise item.error.error()
    return item.result


def _payload(data: object) -> dict[str, Any]:
    body = wire(encode(data))
    return {"b64data": body["b64data"]} if body["b64data"] is not None else {"data": body["data"]}


def _entering(lifespan: Lifespan, gl: Gapless) -> AbstractAsyncContextManager[Any]:
    entering = asynccontextmanager(lifespan) if isasyncgenfunction(lifespan) else lifespan
    entered: AbstractAsyncContextManager[Any] = entering(gl) if signature(lifespan).parameters else entering()
    return entered


def _remote(
    url: str, random: Random, api_key: str, token: Token, tls: ssl.SSLContext | None, patience_ms: int
) -> Callable[[], Transport]:
    from gapless.library.posting import Posting
    from gapless.library.remote import Remote

    def make() -> Transport:
        posting = Posting(url, api_key=api_key, tls=tls)
        return Remote(posting, random, token=token, patience_ms=patience_ms)

    make()  # a malformed URL is told at once
    return make


def _local(
    url: str, random: Random, config: Mapping[str, Any] | str | Path | None
) -> Callable[[], Transport]:
    from gapless.library.local import Local, configured

    read = configured(url, config)
    return lambda: Local(read, random)
