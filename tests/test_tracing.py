"""Traces that hold together over queues, streams and channels."""

import asyncio
import sys
from collections.abc import Sequence

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from gapless import Backoff, Gapless, Job, Message, Release
from gapless.core.errors import ConfigError
from gapless.testing import TestGapless
from gapless.tracing import Tracing

CHAT = {"name": "chat", "history_size": 10, "history_ttl": "1h"}


class Traced:
    """A Gapless that is traced, and its spans."""

    def __init__(self) -> None:
        self._kept = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self._kept))
        self.gl = Gapless("memory:", config={"channel": {"namespaces": [CHAT]}})
        self.gl.use(Tracing(provider))

    def spans(self, name: str) -> Sequence[ReadableSpan]:
        return [span for span in self._kept.get_finished_spans() if span.name == name]

    def span(self, name: str) -> ReadableSpan:
        [found] = self.spans(name)
        return found


def follows(span: ReadableSpan, parent: ReadableSpan) -> bool:
    assert parent.context is not None
    return span.parent is not None and span.parent.span_id == parent.context.span_id


def test_what_is_handled_follows_what_was_sent_through_all_patterns() -> None:
    traced = Traced()
    gl = traced.gl

    @gl.queue("mail")
    async def send(mail: str, job: Job) -> None:
        job.emit("sent", stream="orders")
        job.emit("sent", channel="chat:1")
        await gl.publish("chat:2", "sent")

    @gl.stream("orders", group="billing")
    async def bill(order: str) -> None: ...

    @gl.stream("chat:1", group="search")
    async def index(news: str, message: Message) -> None: ...

    with TestGapless(gl) as t:
        send.enqueue_sync("ada")
        t.run_until_idle()
    sent, handled = traced.span("enqueue mail"), traced.span("process mail")
    assert follows(handled, sent)
    for emitted in ("append orders", "publish chat:1", "publish chat:2"):
        assert follows(traced.span(emitted), handled)
    assert follows(traced.span("process orders"), traced.span("append orders"))
    assert follows(traced.span("process chat:1"), traced.span("publish chat:1"))
    assert (sent.kind, handled.kind) == (SpanKind.PRODUCER, SpanKind.CONSUMER)


def test_each_attempt_is_a_span_with_its_error() -> None:
    traced = Traced()

    @traced.gl.queue("mail", retry=Backoff(2, base="1s"))
    async def send(mail: str, job: Job) -> None:
        if job.attempt == 1:
            raise ConnectionError("no route")

    with TestGapless(traced.gl) as t:
        send.enqueue_sync("ada")
        t.advance("10s")
    failed, done = traced.spans("process mail")
    assert failed.status.status_code is StatusCode.ERROR
    assert failed.attributes is not None
    assert failed.attributes["error.type"] == "ConnectionError"
    assert [event.name for event in failed.events] == ["exception"]
    assert done.status.status_code is StatusCode.UNSET
    assert follows(failed, traced.span("enqueue mail"))
    assert follows(done, traced.span("enqueue mail"))


def test_a_release_is_no_error() -> None:
    traced = Traced()

    @traced.gl.queue("mail")
    async def send(mail: str, job: Job) -> None:
        raise Release(delay="1h")

    with TestGapless(traced.gl) as t:
        send.enqueue_sync("ada")
        t.run_until_idle()
    assert traced.span("process mail").status.status_code is StatusCode.UNSET


def test_what_takes_too_long_ends_its_span() -> None:
    traced = Traced()

    @traced.gl.queue("mail", timeout="5m")
    async def send(mail: str) -> None:
        await asyncio.Event().wait()

    with TestGapless(traced.gl) as t:
        send.enqueue_sync("ada")
        t.advance("5m")
    assert traced.spans("process mail")[0].status.status_code is StatusCode.ERROR


def test_a_batch_is_one_span_and_each_job_of_it_follows() -> None:
    traced = Traced()

    @traced.gl.queue("mail")
    async def send(mail: str) -> None: ...

    with TestGapless(traced.gl) as t:
        traced.gl.wait_for(send.enqueue_many(["ada", "bob"]))
        t.run_until_idle()
    batch = traced.span("enqueue mail")
    assert batch.attributes is not None
    assert batch.attributes["messaging.batch.message_count"] == 2
    assert all(follows(span, batch) for span in traced.spans("process mail"))
    assert len(traced.spans("process mail")) == 2


def test_a_repeat_under_another_span_is_the_same_message() -> None:
    traced = Traced()
    gl = traced.gl

    @gl.queue("mail")
    async def send(mail: str) -> None: ...

    with TestGapless(gl):
        first = gl.sync.publish("chat:1", "hi", idempotency_key="m-1")
        assert gl.sync.publish("chat:1", "hi", idempotency_key="m-1") == first
        assert send.enqueue_sync("ada", message_id="m-1").fresh
        assert not send.enqueue_sync("ada", message_id="m-1").fresh


def test_nothing_is_sent_along_unless_a_provider_is_configured() -> None:
    gl = Gapless("memory:")
    gl.use(Tracing())
    headers = []

    @gl.queue("mail")
    async def send(mail: str, job: Job) -> None:
        headers.append(dict(job.headers))
        assert not trace.get_current_span().get_span_context().is_valid

    with TestGapless(gl) as t:
        send.enqueue_sync("ada")
        t.run_until_idle()
    assert headers == [{}]


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "gapless.tracing")
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(ConfigError, match=r"pip install gapless\[otel\]"):
        __import__("gapless.tracing")
