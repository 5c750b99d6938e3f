"""One delivery, from its bytes to what is to be done about it. No process or socket is known here."""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import AbstractContextManager, AsyncExitStack, nullcontext
from functools import partial
from typing import Any, Final

from msgspec import Struct

from gapless.core.errors import BadRequest
from gapless.core.jobs import Deed
from gapless.library.delivery import Delivery, Job
from gapless.library.handlers import Handler, JobHandler
from gapless.library.outcomes import Outcome, Reject, failure
from gapless.library.payloads import Undecodable, encode
from gapless.library.resolving import InThread, Overrides, Scope
from gapless.library.router import STATE
from gapless.library.sending import Sending, surrounding

__all__ = ["Context", "Middleware", "run_handler"]

log: Final = logging.getLogger("gapless.library")


class Middleware:
    """Hears of every delivery; the first one given hears first of its beginning and last of its end.

    What `before` or `after` raises fails the delivery, as if the handler had.
    """

    async def before(self, delivery: Delivery) -> None:
        """Hear that the handler is about to be called."""

    async def after(self, delivery: Delivery, result: Any) -> None:
        """Hear that it returned; the message is acknowledged after this."""

    async def error(self, delivery: Delivery, error: BaseException) -> None:
        """Hear that it failed; of a `Retry`, `Reject` or `Release` too, and when it is given up."""

    def sending(self, sending: Sending) -> AbstractContextManager[None]:
        """Surround what is sent by this Gapless and what its handlers emit; headers may be added."""
        return nullcontext()


class Context(Struct, kw_only=True, frozen=True):
    """What handlers run in. `in_process` is for those that are declared so; without a pool it is a thread."""

    state: Any = None
    middleware: Sequence[Middleware] = ()
    overrides: Overrides = {}
    in_thread: InThread = asyncio.to_thread
    in_process: InThread = asyncio.to_thread


async def run_handler(
    handler: Handler[Any], delivery: Delivery, data: bytes, context: Context
) -> Outcome | None:
    """Handle one delivery, and return what is to be done about it.

    None if nothing is: it was acknowledged before the handler was called, or the handler settles it by hand.
    Errors of the handler are outcomes; cancelling this is not.

    Raises:
        LeaseLost: the job was to be acknowledged first, and is another's by now. It was not handled.
    """
    terms = handler.terms if isinstance(handler, JobHandler) else None
    try:
        shape = handler.binding.shape
        payload = shape.decode(data) if shape is not None else None
    except Undecodable as error:
        return failure(Reject(str(error)))
    if terms is not None and terms.at_most_once and isinstance(delivery, Job):
        await delivery.settle(Outcome(deed=Deed.ACK))
    if context.middleware:
        delivery.surround = partial(surrounding, context.middleware)
    token = STATE.set(context.state)
    try:
        outcome = await _outcome(handler, delivery, payload, context)
    finally:
        STATE.reset(token)
    if delivery.settled:
        if outcome.deed is not Deed.ACK:
            log.warning("%r failed after it was settled: %s", handler, outcome.details or outcome.reason)
        return None
    return None if terms is not None and terms.manual and outcome.deed is Deed.ACK else outcome


async def _outcome(handler: Handler[Any], delivery: Delivery, payload: object, context: Context) -> Outcome:
    begun: list[Middleware] = []
    try:
        for middleware in context.middleware:
            begun.append(middleware)
            await middleware.before(delivery)
        result = await _called(handler, delivery, payload, context)
        for middleware in reversed(begun):
            await middleware.after(delivery, result)
        return _done(delivery, result)
    except (Exception, SystemExit) as error:
        return await _failed(begun, delivery, error)
    except asyncio.CancelledError as error:
        outcome = await _failed(begun, delivery, error)
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        return outcome  # something that it waited for was cancelled, not this


async def _called(handler: Handler[Any], delivery: Delivery, payload: object, context: Context) -> Any:
    stack = AsyncExitStack()
    run = context.in_process if handler.terms.executor == "process" else context.in_thread
    scope = Scope(payload, delivery, stack, context.in_thread, context.overrides)
    try:
        result = await scope.call(handler.binding, run)
    except BaseException as error:
        await stack.__aexit__(type(error), error, error.__traceback__)
        raise  # also when a dependency has swallowed it: what failed is not acknowledged
    await stack.aclose()
    return result


def _done(delivery: Delivery, result: Any) -> Outcome:
    outcome = Outcome(deed=Deed.ACK, emit=delivery.emitted())
    if isinstance(delivery, Job) and delivery.keeps_result and result is not None:
        try:
            outcome.result, outcome.binary = encode(result)
        except BadRequest as error:
            raise Reject(f"it is done, but its result cannot be kept: {error}") from error
    return outcome


async def _failed(begun: Sequence[Middleware], delivery: Delivery, error: BaseException) -> Outcome:
    for middleware in reversed(begun):
        try:
            await middleware.error(delivery, error)
        except Exception:
            log.exception("middleware %s failed to hear of an error", type(middleware).__name__)
    return failure(error)
