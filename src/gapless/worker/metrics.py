"""What Prometheus is told of handlers: how long they take, how they end, what is in flight, what waits."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from gapless.core.errors import GaplessError
from gapless.library.gapless import Gapless
from gapless.library.handlers import Handler, StreamHandler
from gapless.protocol.queues import Emit
from gapless.worker.frames import HandleJob, HandlePage
from gapless.worker.runners import End, How, Task

__all__ = ["CONTENT_TYPE", "HandlerMetrics"]

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
NS: Final = 1e-9
# Seconds: from what only touches memory to what asks somebody far away.
BUCKETS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_OF: Final = ("source", "group")


class HandlerMetrics:
    """The metrics of a worker's handlers, in a registry; `elapsed_ns` measures durations.

    `source` is the queue or stream, `group` a stream's. One worker is measured by one.

    Raises:
        ValueError: the registry has them already.
    """

    def __init__(self, registry: CollectorRegistry, elapsed_ns: Callable[[], int]) -> None:
        self._registry = registry
        self._elapsed_ns = elapsed_ns
        self._seconds = Histogram(
            "gapless_handler_seconds",
            "How long handlers took for a job or message, waiting for their place included.",
            _OF,
            buckets=BUCKETS,
            registry=registry,
        )
        self._ends = Counter(
            "gapless_handler_deliveries",
            "By outcome: ack, retry, release, bury, settled, timed_out, stuck, crashed, lapsed, given_up.",
            (*_OF, "outcome"),
            registry=registry,
        )
        self._in_flight = Gauge(
            "gapless_handler_in_flight", "Jobs and pages that are being handled.", _OF, registry=registry
        )
        self._lag = Gauge(
            "gapless_handler_lag_messages",
            "Jobs that are ready, or messages that the group did not read yet.",
            _OF,
            registry=registry,
        )
        self._waited = Gauge(
            "gapless_handler_lag_seconds",
            "For how long the oldest of these has waited.",
            _OF,
            registry=registry,
        )

    def measured(self, task: Task) -> Task:
        """Return a task that is measured."""
        place = _place(task.frame)
        began_ns = self._elapsed_ns()
        in_flight = self._in_flight.labels(*place)
        in_flight.inc()
        ended, moved = task.ended, task.moved

        def end(how: End) -> None:
            in_flight.dec()
            self._end(place, began_ns, how, page=moved is not None)
            ended(how)

        def move(offset: int, emit: list[Emit]) -> None:
            nonlocal began_ns
            self._end(place, began_ns, None, page=False)
            began_ns = self._elapsed_ns()
            assert moved is not None
            moved(offset, emit)

        task.ended = end
        task.moved = move if moved is not None else None
        return task

    def _end(self, place: Sequence[str], began_ns: int, end: End | None, *, page: bool) -> None:
        """Count the end of a job or message; that of a page only if it is one message's failure."""
        if page and end is not None and end.how is How.DONE and end.outcome is None:
            return
        self._seconds.labels(*place).observe((self._elapsed_ns() - began_ns) * NS)
        self._ends.labels(*place, "ack" if end is None else _told(end)).inc()

    def scrape(self) -> bytes:
        """Return all of the registry as Prometheus reads it."""
        return generate_latest(self._registry)

    async def look(self, gl: Gapless, handlers: Iterable[Handler[Any]]) -> None:
        """Measure how far handlers are behind."""
        for handler in handlers:
            place = (handler.name, handler.terms.group if isinstance(handler, StreamHandler) else "")
            try:
                count, waited_ms = await _behind(gl, handler)
            except GaplessError:  # not now: better nothing than what is not true any more
                self._lag.remove(*place)
                self._waited.remove(*place)
            else:
                self._lag.labels(*place).set(count)
                self._waited.labels(*place).set(waited_ms / 1000)


def _place(frame: HandleJob | HandlePage) -> tuple[str, str]:
    return (frame.job.queue, "") if isinstance(frame, HandleJob) else (frame.stream, frame.group)


def _told(end: End) -> str:
    if end.how is not How.DONE:
        return str(end.how.value).replace(" ", "_")
    return "settled" if end.outcome is None else str(end.outcome.deed)


async def _behind(gl: Gapless, handler: Handler[Any]) -> tuple[int, int]:
    """Return how many wait for a handler, and for how long the oldest has."""
    if isinstance(handler, StreamHandler):
        lag = await gl.streams.lag(handler.name, handler.terms.group)
        return lag.lag, max((each.lag_ms for each in lag.partitions), default=0)
    [stats] = (await gl.queues.stats(handler.name)).queues
    return stats.ready, stats.oldest_ms
