"""What a node tells Prometheus: one table, from which the reference is made too.

Everything read here is a number that the node keeps anyway: a scrape looks at no channel and no connection.
No label holds a name that clients choose, so the number of time series is bounded.
"""

import os
import platform
import resource
from collections.abc import Awaitable, Callable, Iterable, Mapping
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Final, NamedTuple

from gapless import __version__
from gapless.broker.broker import Broker
from gapless.core.histogram import Histogram
from gapless.ports import Clock, Statistics, Timer
from gapless.server.api import Door
from gapless.server.hooks import OUTCOMES, Hooks
from gapless.server.nodes.cluster import Cluster
from gapless.server.sessions import Sessions
from gapless.server.site import Site
from gapless.sharing.joined import Joined

__all__ = [
    "METRICS",
    "Gather",
    "Kind",
    "LoopLag",
    "Metric",
    "Sample",
    "Samples",
    "Several",
    "Sources",
    "measured",
    "owns_writer",
]

LAG_PROBE_MS: Final = 250
LAG_BOUNDS_MS: Final = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 10_000)

Sample = tuple[tuple[str, ...], float | Histogram]
"""The values of the labels, and the number that goes with them."""

Samples = dict[str, list[Sample]]
"""What is told, by the names of the metrics."""

Gather = Callable[[], Awaitable[Samples]]
"""Finds the numbers of all processes that serve one port."""


class Kind(StrEnum):
    """Prometheus' types of metrics."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"
    SUMMARY = "summary"  # here: how many, and their sum


class Several(StrEnum):
    """How the numbers of several processes are told as one."""

    SUM = "sum"
    MOST = "most"
    LEAST = "least"
    WRITER = "writer"  # the sum of those who write the store, where others know their numbers too


class LoopLag:
    """How late the event loop is with what falls due: what everybody on this node waits at least."""

    def __init__(self, clock: Clock) -> None:
        self.histogram = Histogram(LAG_BOUNDS_MS)
        self._clock = clock
        self._timer: Timer | None = None

    def start(self) -> None:
        """Begin to measure."""
        self._due_ms = self._clock.now_ms() + LAG_PROBE_MS
        self._timer = self._clock.after(LAG_PROBE_MS, self._measure)

    def stop(self) -> None:
        """Measure no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _measure(self) -> None:
        self.histogram.observe(max(0, self._clock.now_ms() - self._due_ms))
        self.start()


class Sources(NamedTuple):
    """Where the numbers are kept."""

    broker: Broker
    sessions: Sessions
    door: Door
    site: Site
    clock: Clock
    lag: LoopLag
    engine: str
    started_ms: int
    hooks: Hooks
    cluster: Cluster
    gather: Gather | None


class Scrape:
    """One look at the sources."""

    def __init__(self, sources: Sources) -> None:
        self.node = sources
        self.broker, self.sessions = sources.broker, sources.sessions

    @cached_property
    def store(self) -> Statistics:
        """How the writer is doing."""
        return self.node.broker.store.statistics()

    @cached_property
    def usage(self) -> resource.struct_rusage:
        """What this process used of the machine."""
        return resource.getrusage(resource.RUSAGE_SELF)


class Metric(NamedTuple):
    """A row of the table: what is told, and how it is found."""

    name: str
    kind: Kind
    help: str
    read: Callable[[Scrape], Iterable[Sample]]
    labels: tuple[str, ...] = ()
    several: Several = Several.SUM


def measured(sources: Sources) -> Samples:
    """Look at the sources once."""
    scrape = Scrape(sources)
    return {metric.name: list(metric.read(scrape)) for metric in METRICS}


def owns_writer(sources: Sources) -> bool:
    """Tell whether the numbers of the store's writer are of this process."""
    store = sources.broker.store
    return not isinstance(store, Joined) or store.is_owner


def _one(read: Callable[[Scrape], float | Histogram]) -> Callable[[Scrape], Iterable[Sample]]:
    return lambda scrape: [((), read(scrape))]


def _by(
    read: Callable[[Scrape], Mapping[str, int] | Mapping[int, int]],
) -> Callable[[Scrape], Iterable[Sample]]:
    return lambda scrape: [
        ((str(label) if label else "other",), count) for label, count in read(scrape).items()
    ]


def _commands(scrape: Scrape) -> Iterable[Sample]:
    for request, count in scrape.sessions.counts.commands.items():
        yield (_snake(request.__name__.removesuffix("Request")),), count


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")


def _responses(scrape: Scrape) -> Iterable[Sample]:
    for (route, status), count in scrape.node.site.responses.items():
        yield (route.decode(), str(status)), count


def _hooks(scrape: Scrape) -> Iterable[Sample]:
    for (hook, outcome), took in scrape.node.hooks.took.items():
        yield (hook, outcome), _seconds(took)


def _disconnects(scrape: Scrape) -> Iterable[Sample]:
    counts = scrape.sessions.counts
    for by, codes in (("server", counts.ended), ("client", counts.left)):
        for code, count in codes.items():
            yield (by, str(code) if code else "other"), count


def _commit_quantiles(scrape: Scrape) -> Iterable[Sample]:
    store = scrape.store
    return [(("0.5",), store.commit_ns_p50 / 1e9), (("0.99",), store.commit_ns_p99 / 1e9)]


def _resident_bytes(scrape: Scrape) -> Iterable[Sample]:
    statm = Path("/proc/self/statm")
    if statm.exists():
        yield (), int(statm.read_text().split()[1]) * resource.getpagesize()


def _open_files(scrape: Scrape) -> Iterable[Sample]:
    # Listing 100,000 descriptors takes as long as sending 10,000 messages; Linux 6.2 tells the number.
    count = Path("/proc/self/fd").stat().st_size if os.path.isdir("/proc/self/fd") else 0
    if count:
        yield (), count


def _seconds(histogram: Histogram) -> Histogram:
    """Return a histogram of milliseconds as one of seconds."""
    converted = Histogram([bound / 1000 for bound in histogram.bounds])
    converted.counts, converted.sum = list(histogram.counts), histogram.sum / 1000
    return converted


METRICS: Final = (
    # Connections
    Metric(
        "gapless_connections",
        Kind.GAUGE,
        "Connections that are open.",
        _by(lambda scrape: scrape.sessions.counts.open),
        ("protocol",),
    ),
    Metric(
        "gapless_connections_opened_total",
        Kind.COUNTER,
        "Connections that were opened.",
        _by(lambda scrape: scrape.sessions.counts.opened),
        ("protocol",),
    ),
    Metric(
        "gapless_users",
        Kind.GAUGE,
        "Different users that are connected.",
        _one(lambda scrape: scrape.sessions.num_users),
    ),
    Metric(
        "gapless_disconnects_total",
        Kind.COUNTER,
        "Connections that ended, by who ended them and the close code.",
        _disconnects,
        ("by", "code"),
    ),
    Metric(
        "gapless_commands_total",
        Kind.COUNTER,
        "Commands of clients, by what they ask for.",
        _commands,
        ("command",),
    ),
    Metric(
        "gapless_command_errors_total",
        Kind.COUNTER,
        "Commands of clients that were answered with an error, by its code.",
        _by(lambda scrape: scrape.sessions.counts.errors),
        ("code",),
    ),
    Metric(
        "gapless_limited_total",
        Kind.COUNTER,
        "What the limits kept out, or kept waiting, by the limit.",
        _by(lambda scrape: scrape.sessions.limiting.refused),
        ("limit",),
    ),
    # Channels
    Metric(
        "gapless_channels",
        Kind.GAUGE,
        "Channels that somebody on this node is subscribed to.",
        _one(lambda scrape: scrape.broker.hub.followed),
    ),
    Metric(
        "gapless_subscriptions",
        Kind.GAUGE,
        "Subscriptions on this node.",
        _one(lambda scrape: scrape.broker.hub.subscriptions),
    ),
    Metric(
        "gapless_subscriptions_behind",
        Kind.GAUGE,
        "Subscriptions that read on from a position of their own: they recover, or their socket is full.",
        _one(lambda scrape: scrape.broker.hub.subscriptions - scrape.broker.hub.level),
    ),
    Metric(
        "gapless_sockets_stalled",
        Kind.GAUGE,
        "Connections whose socket takes nothing more for now.",
        _one(lambda scrape: scrape.sessions.counts.stalled),
    ),
    Metric(
        "gapless_publications_total",
        Kind.COUNTER,
        "Publications that were taken from clients and backends; the system's own are not counted.",
        _one(lambda scrape: scrape.broker.publications - scrape.broker.own),
    ),
    Metric(
        "gapless_publications_waiting",
        Kind.GAUGE,
        "Publications that were taken and are not answered yet.",
        _one(lambda scrape: scrape.broker.publications - scrape.broker.answered),
    ),
    Metric(
        "gapless_deliveries_total",
        Kind.COUNTER,
        "Publications that were written to subscribers, each of them counted; the system's own are not.",
        _one(lambda scrape: scrape.broker.hub.deliveries),
    ),
    Metric(
        "gapless_delivered_bytes_total",
        Kind.COUNTER,
        "Bytes of these publications, as they were sent.",
        _one(lambda scrape: scrape.broker.hub.delivered_bytes),
    ),
    Metric(
        "gapless_publications_dropped_total",
        Kind.COUNTER,
        "Publications that slow subscribers went without, where their namespace says so.",
        _one(lambda scrape: scrape.broker.hub.dropped),
    ),
    Metric(
        "gapless_joins_dropped_total",
        Kind.COUNTER,
        "Joins and leaves that slow subscribers went without.",
        _one(lambda scrape: scrape.broker.hub.joins_dropped),
    ),
    Metric(
        "gapless_tail_bytes",
        Kind.GAUGE,
        "Memory that holds the encoded ends of channels, from which who comes back is served.",
        _one(lambda scrape: scrape.broker.hub.tail_bytes),
    ),
    # Other nodes
    Metric(
        "gapless_nodes",
        Kind.GAUGE,
        "Nodes over the same store, this one among them, as far as it knows.",
        _one(lambda scrape: len(scrape.node.cluster.registry.nodes())),
        several=Several.MOST,
    ),
    Metric(
        "gapless_node_deaf",
        Kind.GAUGE,
        "Whether this node does not hear on the bus what it should: 0 or 1. Its /health fails then.",
        _one(lambda scrape: float(bool(scrape.node.cluster.registry.deaf))),
        several=Several.MOST,
    ),
    Metric(
        "gapless_acts_told_again_total",
        Kind.COUNTER,
        "What all nodes are to do, told again because one of them had not answered.",
        _one(lambda scrape: scrape.node.cluster.asking.told_again),
    ),
    Metric(
        "gapless_rings_healed_total",
        Kind.COUNTER,
        "Channels found behind their stream by asking the store: no node had rung for it, or not yet.",
        _one(lambda scrape: scrape.broker.placing.healed),
    ),
    # Recovery
    Metric(
        "gapless_recoveries_total",
        Kind.COUNTER,
        "Positions that clients presented, by how they were answered: from the tail, from the store, with the"
        " newest of a cache, or lost (recovered: false).",
        _by(lambda scrape: scrape.broker.recovery.outcomes),
        ("outcome",),
    ),
    Metric(
        "gapless_recovered_messages",
        Kind.HISTOGRAM,
        "How many messages those had missed whose position was recovered.",
        _one(lambda scrape: scrape.broker.recovery.sizes),
    ),
    # Store
    Metric(
        "gapless_store_commit_seconds",
        Kind.SUMMARY,
        "Commits of the store, and the time they took.",
        lambda scrape: [((), _summary(scrape.store.commits, scrape.store.commit_ns_sum / 1e9))],
        several=Several.WRITER,
    ),
    Metric(
        "gapless_store_recent_commit_seconds",
        Kind.GAUGE,
        "How long the latest commits took.",
        _commit_quantiles,
        ("quantile",),
        several=Several.MOST,
    ),
    Metric(
        "gapless_store_entries_total",
        Kind.COUNTER,
        "Messages in these commits; divided by the commits, the size of a batch.",
        _one(lambda scrape: scrape.store.entries),
        several=Several.WRITER,
    ),
    Metric(
        "gapless_store_queue_entries",
        Kind.GAUGE,
        "Messages that wait for a commit.",
        _one(lambda scrape: scrape.store.queue_entries),
        several=Several.WRITER,
    ),
    Metric(
        "gapless_store_queue_bytes",
        Kind.GAUGE,
        "Bytes that wait for a commit.",
        _one(lambda scrape: scrape.store.queue_bytes),
        several=Several.WRITER,
    ),
    Metric(
        "gapless_store_reads_total",
        Kind.COUNTER,
        "Pages that were read from the store.",
        _one(lambda scrape: scrape.store.reads),
        several=Several.WRITER,
    ),
    # HTTP
    Metric(
        "gapless_http_connections",
        Kind.GAUGE,
        "HTTP connections that are open, WebSockets not among them.",
        _one(lambda scrape: len(scrape.node.site.connections)),
    ),
    Metric(
        "gapless_http_responses_total",
        Kind.COUNTER,
        "HTTP requests that were answered; 101 opens a WebSocket.",
        _responses,
        ("route", "status"),
    ),
    Metric(
        "gapless_api_errors_total",
        Kind.COUNTER,
        "Calls of the server API that were answered with an error, by its code; a batch is one call.",
        _by(lambda scrape: scrape.node.door.errors),
        ("code",),
    ),
    # Hooks
    Metric(
        "gapless_hook_seconds",
        Kind.HISTOGRAM,
        "Hooks that were asked, and how long they took, by what came of it: "
        + ", ".join(f"{outcome} ({meaning})" for outcome, meaning in OUTCOMES.items())
        + ".",
        _hooks,
        ("hook", "outcome"),
    ),
    Metric(
        "gapless_hooks_running",
        Kind.GAUGE,
        "Hooks that were asked and have not answered yet.",
        _one(lambda scrape: scrape.node.hooks.running),
    ),
    Metric(
        "gapless_hook_workers",
        Kind.GAUGE,
        "Workers that serve hooks.",
        _one(lambda scrape: len(scrape.sessions.workers)),
    ),
    Metric(
        "gapless_hooks_unserved",
        Kind.GAUGE,
        "Hooks for which workers are to be asked and that none serves; above 0, clients are refused.",
        _by(lambda scrape: scrape.sessions.workers.unserved()),
        ("hook",),
    ),
    # Node
    Metric(
        "gapless_loop_lag_seconds",
        Kind.HISTOGRAM,
        "How late the event loop is with what falls due.",
        _one(lambda scrape: _seconds(scrape.node.lag.histogram)),
    ),
    Metric(
        "gapless_uptime_seconds",
        Kind.GAUGE,
        "Time since the node was started.",
        _one(lambda scrape: (scrape.node.clock.now_ms() - scrape.node.started_ms) / 1000),
        several=Several.MOST,
    ),
    Metric(
        "gapless_build_info",
        Kind.GAUGE,
        "Always 1; the labels tell what runs.",
        lambda scrape: [((__version__, platform.python_version()), 1)],
        ("version", "python"),
        several=Several.MOST,
    ),
    Metric(
        "gapless_store_info",
        Kind.GAUGE,
        "Always 1; the labels tell what an acknowledgement is worth.",
        lambda scrape: [((scrape.node.engine, scrape.broker.store.durability.value), 1)],
        ("engine", "durability"),
        several=Several.MOST,
    ),
    # Process, by the names that Prometheus gives these for every program
    Metric(
        "process_cpu_seconds_total",
        Kind.COUNTER,
        "CPU time of this process.",
        _one(lambda scrape: scrape.usage.ru_utime + scrape.usage.ru_stime),
    ),
    Metric("process_resident_memory_bytes", Kind.GAUGE, "Memory that this process holds.", _resident_bytes),
    Metric("process_open_fds", Kind.GAUGE, "File descriptors that are open (Linux 6.2 on).", _open_files),
    Metric(
        "process_max_fds",
        Kind.GAUGE,
        "File descriptors that may be open.",
        _one(lambda scrape: resource.getrlimit(resource.RLIMIT_NOFILE)[0]),
    ),
    Metric(
        "process_start_time_seconds",
        Kind.GAUGE,
        "When the node was started, since the Unix epoch.",
        _one(lambda scrape: scrape.node.started_ms / 1000),
        several=Several.LEAST,
    ),
)


def _summary(count: int, total: float) -> Histogram:
    """Return a count and a sum."""
    summary = Histogram(())
    summary.counts, summary.sum = [count], total
    return summary
