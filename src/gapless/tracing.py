"""OpenTelemetry: spans of what is sent and of what is handled, joined over queues, streams and channels.

The context travels as the W3C says (`traceparent`, `tracestate`, `baggage`): in the headers of jobs and of
messages, which are the tags of publications.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar, Token
from typing import Any, Final, NamedTuple

from gapless import __version__
from gapless.core.errors import ConfigError
from gapless.library.delivery import Delivery, Job, Message
from gapless.library.outcomes import Release
from gapless.library.running import Middleware
from gapless.library.sending import Sending

try:
    from opentelemetry import context, propagate, trace
    from opentelemetry.trace import Span, SpanKind, Status, StatusCode, TracerProvider
except ImportError as error:
    raise ConfigError("traces need OpenTelemetry: pip install gapless[otel]") from error

__all__ = ["Tracing"]


class _Begun(NamedTuple):
    span: Span
    token: Token[Any]


_BEGUN: Final[ContextVar[_Begun | None]] = ContextVar("gapless.tracing", default=None)


class Tracing(Middleware):
    """Spans by the semantic conventions for messaging: `gl.use(Tracing())`.

    Without a provider it is OpenTelemetry's own, and nothing is recorded or sent along until a program
    configures one. What is handled is a child of the span in which it was sent.

    Raises:
        ConfigError: OpenTelemetry's API is not installed.
    """

    def __init__(self, provider: TracerProvider | None = None) -> None:
        self._tracer = trace.get_tracer("gapless", __version__, provider)

    def sending(self, sending: Sending) -> AbstractContextManager[None]:
        """See `Middleware.sending`."""
        return self._sending(sending)

    @contextmanager
    def _sending(self, sending: Sending) -> Iterator[None]:
        attributes: dict[str, str | int] = _common("send", sending.verb, sending.place)
        if len(sending.headers) > 1:
            attributes["messaging.batch.message_count"] = len(sending.headers)
        named = f"{sending.verb} {sending.place}"
        with self._tracer.start_as_current_span(named, kind=SpanKind.PRODUCER, attributes=attributes):
            for headers in sending.headers:
                propagate.inject(headers)
            yield

    async def before(self, delivery: Delivery) -> None:
        """See `Middleware.before`."""
        sent = propagate.extract(delivery.headers)
        span = self._tracer.start_span(
            f"process {_place(delivery)}", sent, SpanKind.CONSUMER, attributes=_attributes(delivery)
        )
        token = context.attach(trace.set_span_in_context(span, sent))
        _BEGUN.set(_Begun(span, token))

    async def after(self, delivery: Delivery, result: Any) -> None:
        """See `Middleware.after`."""
        self._end(None)

    async def error(self, delivery: Delivery, error: BaseException) -> None:
        """See `Middleware.error`; a release is no failure."""
        self._end(None if isinstance(error, Release) else error)

    def _end(self, error: BaseException | None) -> None:
        begun = _BEGUN.get()
        if begun is None:
            return
        _BEGUN.set(None)
        if error is not None:
            begun.span.record_exception(error)
            begun.span.set_attribute("error.type", type(error).__qualname__)
            begun.span.set_status(Status(StatusCode.ERROR, str(error)))
        begun.span.end()
        context.detach(begun.token)


def _common(kind: str, name: str, place: str) -> dict[str, str | int]:
    return {
        "messaging.system": "gapless",
        "messaging.operation.type": kind,
        "messaging.operation.name": name,
        "messaging.destination.name": place,
    }


def _place(delivery: Delivery) -> str:
    if isinstance(delivery, Job):
        return delivery.queue
    assert isinstance(delivery, Message)
    return delivery.stream


def _attributes(delivery: Delivery) -> dict[str, str | int]:
    told = _common("process", "process", _place(delivery))
    if isinstance(delivery, Job):
        return {**told, "messaging.message.id": delivery.id, "gapless.attempt": delivery.attempt}
    assert isinstance(delivery, Message)
    partition = str(delivery.partition)
    return {
        **told,
        "messaging.message.id": delivery.id,
        "messaging.destination.partition.id": partition,
        "gapless.offset": delivery.offset,
    }
