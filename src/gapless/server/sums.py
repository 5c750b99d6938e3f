"""The metrics of several processes that serve one port, told as those of one server."""

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from msgspec import Struct

from gapless.core.histogram import Histogram
from gapless.server.metrics import METRICS, Kind, Samples, Several

__all__ = ["Counts", "Measured", "heard", "kept", "summed", "told"]

_NUMBERS: Final[dict[Several, Callable[[float, float], float]]] = {
    Several.SUM: lambda one, other: one + other,
    Several.WRITER: lambda one, other: one + other,
    Several.MOST: max,
    Several.LEAST: min,
}


class Counts(Struct, array_like=True):
    """A histogram, as it is passed on."""

    bounds: list[float]
    counts: list[int]
    sum: float


Row = tuple[tuple[str, ...], float | Counts]
"""The values of the labels, and the number that goes with them."""


class Measured(Struct, array_like=True):
    """What one process tells: the rows of each metric; whether it writes the store itself."""

    owns_writer: bool
    rows: dict[str, list[Row]]


def told(samples: Samples, *, owns_writer: bool) -> Measured:
    """Return the numbers of this process as they are passed on."""
    return Measured(
        owns_writer,
        {
            name: [
                (labels, _counts(value) if isinstance(value, Histogram) else value) for labels, value in rows
            ]
            for name, rows in samples.items()
        },
    )


def heard(measured: Measured) -> Samples:
    """Return numbers that were passed on."""
    return {
        name: [(labels, _histogram(value) if isinstance(value, Counts) else value) for labels, value in rows]
        for name, rows in measured.rows.items()
    }


def summed(processes: Sequence[Measured], ended: Measured | None = None) -> Measured:
    """Return the numbers of one server: of the processes that run, and what is `kept` of those that ended."""
    writers = [one for one in processes if one.owns_writer] or processes[:1]
    gone = [ended] if ended is not None else []
    rows: dict[str, list[Row]] = {}
    for metric in METRICS:
        tell = writers if metric.several is Several.WRITER else processes
        found = [row for one in (*tell, *gone) for row in one.rows.get(metric.name, ())]
        rows[metric.name] = _joined(found, _NUMBERS[metric.several])
    return Measured(any(one.owns_writer for one in processes), rows)


def kept(last: Measured, ended: Measured | None) -> Measured:
    """Return what is still told of processes that ended: what only rises, so that no sum falls."""
    rising = {
        metric.name: last.rows.get(metric.name, [])
        for metric in METRICS
        if metric.kind is not Kind.GAUGE and (metric.several is not Several.WRITER or last.owns_writer)
    }
    return summed([Measured(True, rising)], ended)


def _joined(rows: Iterable[Row], numbers: Callable[[float, float], float]) -> list[Row]:
    found: dict[tuple[str, ...], float | Counts] = {}
    for labels, value in rows:
        held = found.get(labels)
        if isinstance(held, Counts) and isinstance(value, Counts):
            both = zip(held.counts, value.counts, strict=True)
            found[labels] = Counts(held.bounds, [one + other for one, other in both], held.sum + value.sum)
        elif held is None or isinstance(held, Counts) or isinstance(value, Counts):
            found[labels] = value
        else:
            found[labels] = numbers(held, value)
    return list(found.items())


def _counts(histogram: Histogram) -> Counts:
    return Counts(list(histogram.bounds), list(histogram.counts), histogram.sum)


def _histogram(counts: Counts) -> Histogram:
    histogram = Histogram(counts.bounds)
    histogram.counts, histogram.sum = counts.counts, counts.sum
    return histogram
