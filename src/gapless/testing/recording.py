"""What was handled while a test ran: each delivery, what it was called with, and what became of it."""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from inspect import signature
from typing import Any, Final

from msgspec import Struct

from gapless.core.jobs import Deed, State
from gapless.library.delivery import Delivery, Job, Message
from gapless.library.handlers import Handler
from gapless.library.running import Middleware
from gapless.protocol.groups import CommittedItem, NewCommit
from gapless.protocol.queues import NewSettlement, SettledItem

__all__ = ["Delivered", "Recorder"]

_CURRENT: Final[ContextVar["Delivered | None"]] = ContextVar("gapless.testing.delivered", default=None)


class Delivered(Struct, kw_only=True):
    """One delivery of a job or message. `arguments` are what the function was called with, by name.

    `outcome` is `running`, then `handled` or `failed` until the store has answered: `acked`, `committed`,
    `retried`, `released`, `dead`; `refused` if the lease or partition was another's by then, or what it
    emitted was refused; `crashed` if the worker died before it heard. `error` is what the function raised.
    """

    name: str
    id: str
    key: str | None
    attempt: int
    delivery: Delivery
    handler: Handler[Any] | None = None
    payload: Any = None
    arguments: dict[str, Any] = {}
    called: bool = False
    outcome: str = "running"
    result: Any = None
    error: BaseException | None = None


class Recorder(Middleware):
    """Hears of deliveries as middleware, and of what the store made of them."""

    def __init__(self) -> None:
        self.deliveries: list[Delivered] = []
        self.stirred = 0

    # As middleware ------------------------------------------------------------------------

    async def before(self, delivery: Delivery) -> None:
        """See `Middleware.before`."""
        self.stirred += 1
        delivered = self._begun(delivery)
        self.deliveries.append(delivered)
        _CURRENT.set(delivered)

    async def after(self, delivery: Delivery, result: Any) -> None:
        """See `Middleware.after`."""
        self.stirred += 1
        for delivered in self._of(delivery):
            delivered.result = result
            self._became(delivered, "handled")

    async def error(self, delivery: Delivery, error: BaseException) -> None:
        """See `Middleware.error`."""
        self.stirred += 1
        for delivered in self._of(delivery):
            delivered.error = error
            self._became(delivered, "failed")

    def _begun(self, delivery: Delivery) -> Delivered:
        if isinstance(delivery, Job):
            name, id, attempt = delivery.queue, delivery.id, delivery.attempt
        else:
            assert isinstance(delivery, Message)
            name, id = delivery.stream, delivery.id
            attempt = 1 + sum(each.id == id for each in self.deliveries)
        return Delivered(name=name, id=id, key=delivery.key, attempt=attempt, delivery=delivery)

    def _of(self, delivery: Delivery) -> Iterator[Delivered]:
        return (each for each in reversed(self.deliveries) if each.delivery is delivery)

    def _became(self, delivered: Delivered, outcome: str) -> None:
        if delivered.outcome == "running":  # otherwise it was settled by hand
            delivered.outcome = outcome

    # Around the functions -----------------------------------------------------------------

    @contextmanager
    def listening(self, handlers: list[Handler[Any]]) -> Iterator[None]:
        """Note what functions are called with, meanwhile."""
        calls = [(handler.binding, handler.binding.call) for handler in handlers]
        for handler in handlers:
            handler.binding.call = self._noting(handler)
        try:
            yield
        finally:
            for binding, call in calls:
                binding.call = call

    def _noting(self, handler: Handler[Any]) -> Callable[..., Any]:
        function, named = handler.function, signature(handler.function)
        takes_payload = handler.binding.shape is not None

        @functools.wraps(function)
        def noting(*args: Any, **kwargs: Any) -> Any:
            self.stirred += 1
            delivered = _CURRENT.get()
            if delivered is not None:
                delivered.called, delivered.handler = True, handler
                delivered.arguments = named.bind(*args, **kwargs).arguments
                delivered.payload = next(iter(delivered.arguments.values()), None) if takes_payload else None
            return function(*args, **kwargs)

        return noting

    # From the store -----------------------------------------------------------------------

    def settled(self, new: NewSettlement, item: SettledItem | None) -> None:
        """Hear what became of a settlement; None: the worker died."""
        for delivered in self.deliveries:
            if isinstance(delivered.delivery, Job) and delivered.delivery.fence == new.fence:
                delivered.outcome = _told(new, item)

    def committed(self, source: str, new: NewCommit, item: CommittedItem | None) -> None:
        """Hear what became of a commit; None: the worker died."""
        outcome = "crashed" if item is None else "refused" if item.error is not None else "committed"
        for delivered in self.deliveries:
            message = delivered.delivery
            if not isinstance(message, Message) or delivered.outcome != "handled":
                continue
            place = (message.stream, message.partition, message.fence)
            if place == (source, new.partition, new.fence) and message.offset <= new.offset:
                delivered.outcome = outcome

    def crashed(self) -> None:
        """Hear that the worker died with what it had at hand."""
        for delivered in self.deliveries:
            if delivered.outcome in ("running", "handled", "failed"):
                delivered.outcome = "crashed"


def _told(new: NewSettlement, item: SettledItem | None) -> str:
    if item is None:
        return "crashed"
    if item.result is None:
        return "refused"
    if item.result.state is State.DEAD:
        return "dead"
    return {Deed.ACK: "acked", Deed.RETRY: "retried", Deed.RELEASE: "released", Deed.BURY: "dead"}[new.deed]
