"""What a sample says: how a node is doing, in numbers of the table of metrics under short names."""

from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import UNSET, Struct, UnsetType

from gapless.core.histogram import Histogram
from gapless.server.metrics import Sample as Row
from gapless.server.metrics import Samples

__all__ = ["Depth", "Lag", "Sample", "Window", "counters", "gauges"]

GAUGES: Final = {
    "connections": "gapless_connections",
    "users": "gapless_users",
    "channels": "gapless_channels",
    "subscriptions": "gapless_subscriptions",
    "behind": "gapless_subscriptions_behind",
    "stalled": "gapless_sockets_stalled",
    "waiting": "gapless_publications_waiting",
    "store_queue": "gapless_store_queue_entries",
    "rss_bytes": "process_resident_memory_bytes",
    "open_files": "process_open_fds",
    "cpu_s": "process_cpu_seconds_total",
    "nodes": "gapless_nodes",
    "deaf": "gapless_node_deaf",
}
COUNTERS: Final = {
    "opened": "gapless_connections_opened_total",
    "closed": "gapless_disconnects_total",
    "publications": "gapless_publications_total",
    "deliveries": "gapless_deliveries_total",
    "delivered_bytes": "gapless_delivered_bytes_total",
    "dropped": "gapless_publications_dropped_total",
    "commands": "gapless_commands_total",
    "command_errors": "gapless_command_errors_total",
    "api_errors": "gapless_api_errors_total",
    "entries": "gapless_store_entries_total",
}
LATE: Final = 0.99  # of the loop's turns so many were not later


class Depth(Struct):
    """How many jobs of a queue are where, and for how long the oldest ready one has been due."""

    ready: int
    delayed: int
    leased: int
    dead: int
    oldest_ms: int


class Lag(Struct):
    """How far a group is behind: in messages, and in the partition where it is furthest in time."""

    lag: int
    lag_ms: int


class Sample(Struct):
    """How a node is doing. Counters count since `started_ms`.

    Of several nodes over one SQLite file one is the `writer`, whose `commits`, `entries` and `store_queue`
    the others tell too. Queues and groups are told by one node of all, and not in every sample.
    """

    at_ms: int
    node: str
    name: str
    started_ms: int
    writer: bool
    gauges: Mapping[str, float]
    counters: Mapping[str, float]
    queues: Mapping[str, Depth] | UnsetType = UNSET
    groups: Mapping[str, Lag] | UnsetType = UNSET


class Window:
    """The time between one sample and the next of its kind: how late the event loop was in it."""

    def __init__(self) -> None:
        self._before: Histogram | None = None

    def late_ms(self, measured: Samples) -> float:
        """Return what nearly all that fell due was not later than since the last call."""
        lag = _histogram(measured, "gapless_loop_lag_seconds")
        since = lag if self._before is None else lag.since(self._before)
        self._before = lag
        return round(since.quantile(LATE) * 1000, 1)


def gauges(measured: Samples, late_ms: float) -> dict[str, float]:
    """Return what goes up and down."""
    commits = dict(_numbers(measured, "gapless_store_recent_commit_seconds"))
    return {
        **{name: _sum(measured, metric) for name, metric in GAUGES.items()},
        "commit_p50_ms": round(commits[("0.5",)] * 1000, 2),
        "commit_p99_ms": round(commits[("0.99",)] * 1000, 2),
        "loop_lag_p99_ms": late_ms,
    }


def counters(measured: Samples) -> dict[str, float]:
    """Return what only rises."""
    outcomes = dict(_numbers(measured, "gapless_recoveries_total"))
    lost = outcomes.pop(("lost",))
    return {
        **{name: _sum(measured, metric) for name, metric in COUNTERS.items()},
        "commits": _histogram(measured, "gapless_store_commit_seconds").counts[0],
        "recovered": sum(outcomes.values()),
        "recovered_messages": _histogram(measured, "gapless_recovered_messages").sum,
        "lost": lost,
    }


def _sum(measured: Samples, metric: str) -> float:
    return round(sum(value for _, value in _numbers(measured, metric)), 2)


def _numbers(measured: Samples, metric: str) -> Sequence[tuple[tuple[str, ...], float]]:
    return [(labels, value) for labels, value in measured[metric] if not isinstance(value, Histogram)]


def _histogram(measured: Samples, metric: str) -> Histogram:
    rows: Sequence[Row] = measured[metric]
    ((_, found),) = rows
    assert isinstance(found, Histogram), metric
    return found
