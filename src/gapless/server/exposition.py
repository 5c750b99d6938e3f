"""The metrics as Prometheus reads them. Imported only where they are served: its library takes 40 ms."""

import hmac
from collections.abc import Awaitable, Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    SummaryMetricFamily,
)
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response

from gapless.core.errors import Unavailable
from gapless.core.histogram import Histogram
from gapless.server.metrics import METRICS, Kind, Metric, Sample, Samples, Sources, measured

__all__ = ["metrics_endpoint"]


def metrics_endpoint(sources: Sources, key: str) -> Callable[[Request], Awaitable[Response]]:
    """Return what answers a scrape; with a `key`, only who presents it as a bearer token gets an answer.

    Where several processes serve the port, it tells of all of them.
    """
    expected = f"Bearer {key}".encode()

    async def answer(request: Request) -> Response:
        given = request.headers.get("authorization", "").encode()
        if key and not hmac.compare_digest(given, expected):
            return Response("the key is missing or wrong", 401, {"www-authenticate": "Bearer"})
        try:
            samples = measured(sources) if sources.gather is None else await sources.gather()
        except Unavailable as error:
            return Response(str(error), 503)
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Table(samples))
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(registry), headers={"content-type": content_type})

    return answer


class _Table(Collector):
    """The table, with the numbers of one scrape."""

    def __init__(self, samples: Samples) -> None:
        self._samples = samples

    def collect(self) -> Iterator[Family]:
        """Yield every metric with its samples."""
        for metric in METRICS:
            yield _family(metric, self._samples.get(metric.name, ()))

    def describe(self) -> Iterable[Family]:
        """Yield nothing: the table's names are its own."""
        return ()


def _family(metric: Metric, samples: Iterable[Sample]) -> Family:
    name, labels = metric.name.removesuffix("_total"), metric.labels
    if metric.kind is Kind.COUNTER:
        family: Family = CounterMetricFamily(name, metric.help, labels=labels)
    elif metric.kind is Kind.GAUGE:
        family = GaugeMetricFamily(name, metric.help, labels=labels)
    elif metric.kind is Kind.SUMMARY:
        family = SummaryMetricFamily(name, metric.help, labels=labels)
    else:
        family = HistogramMetricFamily(name, metric.help, labels=labels)
    for values, value in samples:
        _add(family, values, value)
    return family


def _add(family: Family, labels: tuple[str, ...], value: float | Histogram) -> None:
    if isinstance(family, CounterMetricFamily | GaugeMetricFamily):
        assert not isinstance(value, Histogram)
        family.add_metric(labels, value)
        return
    assert isinstance(value, Histogram)
    if isinstance(family, SummaryMetricFamily):
        family.add_metric(labels, value.counts[0], value.sum)
    else:
        assert isinstance(family, HistogramMetricFamily)
        buckets = [(f"{bound:g}".replace("inf", "+Inf"), count) for bound, count in value.cumulative()]
        family.add_metric(labels, buckets, value.sum)
