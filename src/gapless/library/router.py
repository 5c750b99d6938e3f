"""Declaring: which function handles what. Nothing here needs a connection."""

from collections.abc import Callable, Iterator
from contextvars import ContextVar
from re import fullmatch
from typing import Any, Final, Literal, TypeVar, Unpack

from gapless.core.errors import ConfigError
from gapless.core.limits import QUEUE_NAME_BYTES_MAX
from gapless.library.binding import bind, named
from gapless.library.delivery import Job, Message
from gapless.library.handlers import Handler, QueueHandler, RecurringHandler, Sender, StreamHandler
from gapless.library.hooks import Declaring
from gapless.library.terms import QueueSaid, StreamSaid, queue_terms, stream_terms
from gapless.library.times import Duration, duration_ms
from gapless.protocol.messages import payload
from gapless.protocol.payloads import NAME
from gapless.protocol.schedules import Missed, ScheduleRequest

__all__ = ["STATE", "Router"]

Function = TypeVar("Function", bound=Callable[..., Any])

STATE: Final[ContextVar[Any]] = ContextVar("gapless.state")
"""What the lifespan gave, while something is handled."""

_NOTHING: Final = payload(b"null")


class Router(Declaring):
    """Handlers and hooks, declared without a connection: `gl.include(router)` connects them."""

    def __init__(self) -> None:
        super().__init__()
        self._parent: Router | None = None
        self._handlers: list[Handler[Any]] = []

    def include(self, router: "Router") -> None:
        """Take over the handlers and hooks of another router, also those that it is given later.

        Raises:
            ConfigError: one of them handles what another handler does already.
        """
        if router is self._root() or router in self._included:
            raise ConfigError("a router is included once, and not in itself")
        for handler in router.handlers():
            self._check_free(handler)
        for hook in router.hooks():
            self._check_free_hook(hook)
        router._parent = self
        self._included.append(router)

    def handlers(self) -> Iterator[Handler[Any]]:
        """Return all handlers, those of included routers too."""
        yield from self._handlers
        for router in self._included:
            yield from router.handlers()

    def state(self) -> Any:
        """Return what the lifespan gave: for handlers, as `Depends(router.state)`.

        Raises:
            ConfigError: nothing is being handled, or there is no lifespan.
        """
        try:
            return STATE.get()
        except LookupError:
            raise ConfigError("no state: nothing is being handled here, or there is no lifespan") from None

    def queue(self, name: str, **said: Unpack[QueueSaid]) -> Callable[[Function], QueueHandler[Function]]:
        """Declare the function that handles the jobs of a queue; its first parameter takes the payload.

        Its return acknowledges the job. After an exception it is tried again as `retry` says, and in the end
        put with the dead letters. See `QueueSaid` for the options.

        Raises:
            ConfigError: an option is malformed, a parameter of the function cannot be given anything, or
                the queue has a handler already.
        """

        def declare(function: Function) -> QueueHandler[Function]:
            _check_name(function, name)
            terms = queue_terms(function, **said)
            binding = bind(function, Job, takes_payload=True)
            handler = QueueHandler(function, name, terms, binding=binding, sender=self._sender)
            self._add(handler)
            return handler

        return declare

    def stream(
        self, name: str, *, group: str, **said: Unpack[StreamSaid]
    ) -> Callable[[Function], StreamHandler[Function]]:
        """Declare the function that handles the messages of a stream for a group, its first parameter.

        `name` is a stream, a namespace (`chat:`) with all its channels, or one channel. See `StreamSaid`
        for the options.

        Raises:
            ConfigError: as `queue` does; or another handler says otherwise how the stream is kept.
        """

        def declare(function: Function) -> StreamHandler[Function]:
            terms = stream_terms(function, group, **said)
            binding = bind(function, Message, takes_payload=True)
            handler = StreamHandler(function, name, terms, binding=binding, sender=self._sender)
            self._add(handler)
            return handler

        return declare

    def cron(
        self,
        expression: str,
        *,
        name: str = "",
        tz: str = "UTC",
        missed: Literal["one", "all", "none"] = "one",
        **said: Unpack[QueueSaid],
    ) -> Callable[[Function], RecurringHandler[Function]]:
        """Declare a function that runs at the times of a cron expression, once a tick in all of the workers.

        It takes no payload. `name` is that of the schedule and of its queue: the function's, unless given. Of
        ticks that were missed while no node ran, `one` is made up for, or all, or none.

        Raises:
            ConfigError: as `queue` does. Whether the expression ever fires is for the server to tell.
        """
        return self._recurring(name, {"cron": expression, "time_zone": tz, "missed": Missed(missed)}, said)

    def every(
        self,
        apart: Duration,
        *,
        name: str = "",
        missed: Literal["one", "all", "none"] = "one",
        **said: Unpack[QueueSaid],
    ) -> Callable[[Function], RecurringHandler[Function]]:
        """Declare a function that runs again and again, so far `apart`. Otherwise as `cron`."""
        return self._recurring(name, {"every_ms": duration_ms(apart), "missed": Missed(missed)}, said)

    def _recurring(
        self, name: str, when: dict[str, Any], said: QueueSaid
    ) -> Callable[[Function], RecurringHandler[Function]]:
        def declare(function: Function) -> RecurringHandler[Function]:
            called = name or getattr(function, "__name__", "")
            terms = queue_terms(function, **said)
            schedule = ScheduleRequest(name=called, queue=called, data=_NOTHING, **when)
            handler = RecurringHandler(
                function, called, terms, schedule=schedule, binding=bind(function, Job), sender=self._sender
            )
            _check_name(function, called)
            self._add(handler)
            return handler

        return declare

    def _root(self) -> "Router":
        return self if self._parent is None else self._parent._root()

    def _whole(self) -> Declaring:
        return self._root()

    def _sender(self) -> Sender:
        """Return what sends: the Gapless that includes this router.

        Raises:
            ConfigError: none does.
        """
        root = self._root()
        if root is self:
            raise ConfigError("declared on a router that no Gapless includes: gl.include(router)")
        return root._sender()

    def _add(self, handler: Handler[Any]) -> None:
        self._check_free(handler)
        self._handlers.append(handler)

    def _check_free(self, handler: Handler[Any]) -> None:
        for other in self._root().handlers():
            if _place(other) == _place(handler):
                raise ConfigError(f"{handler!r}: that is handled already, by {named(other.function)}")
            if not _agree(other, handler):
                raise ConfigError(f"{handler!r} says otherwise how it is kept than {named(other.function)}")


def _check_name(function: Callable[..., Any], name: str) -> None:
    if not fullmatch(NAME, name) or len(name) > QUEUE_NAME_BYTES_MAX:
        said = f"up to {QUEUE_NAME_BYTES_MAX} letters, digits, '_', '-' and '.'"
        raise ConfigError(f"{named(function)}: {name!r} is no name of a queue: {said}")


def _place(handler: Handler[Any]) -> tuple[str, ...]:
    if isinstance(handler, StreamHandler):
        return ("stream", handler.name, handler.terms.group)
    return ("queue", handler.name)


def _agree(one: Handler[Any], other: Handler[Any]) -> bool:
    if not (isinstance(one, StreamHandler) and isinstance(other, StreamHandler) and one.name == other.name):
        return True
    said = one.terms.settings, other.terms.settings
    return None in said or said[0] == said[1]
