"""The measurements of several nodes on one Redis, and of several processes on one machine."""

from collections.abc import Callable

from bench.loads import LOAD_SECONDS_MAX, Load, generate
from bench.measurement import (
    SQLITE,
    Measurement,
    absolute,
    at_least,
    at_most,
    cpu_us,
    of,
    p99_ms,
    per_second,
)
from bench.report import Figure, Sample, Target
from bench.servers import SECRET

__all__ = ["NODE_MEASUREMENTS", "soak"]

GAPLESS, PEER = "gapless on Redis", "peer on Redis"
SEVERAL = "gapless of 2 workers"
STORM_CHANNELS = 10
SOAK_SECONDS = 60
DRIFT_PERCENT_MAX = 5


def beside_peer(load: Load) -> dict[str, Load]:
    return {PEER: load, GAPLESS: load}


def store_us(sample: Sample) -> float:
    return 1e6 * sample["store_cpu_seconds"] / sample["count"]


def shared(label: str, unit: str, value: Callable[[Sample], float], target: Target | None = None) -> Figure:
    return Figure(label, unit, value, target, GAPLESS, PEER)


def soak(name: str, seconds: int, channels: int) -> Measurement:
    """Clients come and go for so long, with so many channels besides their rooms, over and over."""
    options = (
        "-connections",
        "400",
        "-channels",
        str(channels),
        "-duration",
        f"{seconds}s",
        "-secret",
        SECRET,
    )
    took = f"{seconds // 60} min" if seconds >= 60 else f"{seconds} s"
    return Measurement(
        name,
        f"{took} on two nodes: 400 connections at a time, each with a token, a room and one of {channels:,} "
        "channels, both of which it publishes to; it ends within 4 s, every second one is cut, and every "
        "second client recovers at the other node. Memory is compared from the tenth after the first fifth "
        "of the time to the last tenth, descriptors from before the clients to after them",
        {GAPLESS: generate("soak", *options, seconds_max=seconds + LOAD_SECONDS_MAX)},
        (
            Figure(
                f"{took} of churn: memory of a node grows by",
                "%",
                of("drift_percent"),
                absolute(DRIFT_PERCENT_MAX),
                GAPLESS,
                "",
            ),
            Figure(
                f"{took} of churn: descriptors of a node left open",
                "",
                of("descriptors_left"),
                absolute(0),
                GAPLESS,
                "",
            ),
            Figure(f"{took} of churn: memory of a node", "MiB", of("last_mib"), None, GAPLESS, ""),
            Figure(f"{took} of churn: connections", "", of("connects"), None, GAPLESS, ""),
        ),
        repeats_max=1,
    )


NODE_MEASUREMENTS: tuple[Measurement, ...] = (
    Measurement(
        "two_nodes",
        "two nodes on one Redis (appendfsync always): one publisher at one, 500 subscribers of a channel at "
        "each, 50 messages a second of 128 bytes; CPU is that of both nodes",
        beside_peer(generate("paced", "-connections", "1000", "-duration", "5s")),
        (
            shared("two nodes, 1 → 1000 at 50/s: CPU per delivery", "µs", cpu_us, at_most(0.6)),
            shared("two nodes, 1 → 1000 at 50/s: p99 latency", "ms", p99_ms, at_most(1)),
        ),
    ),
    Measurement(
        "two_nodes_rooms",
        "the same with 100 channels, of which each has 5 subscribers at each node, and 500 messages a second",
        beside_peer(
            generate("paced", "-connections", "1000", "-channels", "100", "-rate", "500", "-duration", "5s")
        ),
        (
            shared("two nodes, 100 times 1 → 10, 500/s: CPU per delivery", "µs", cpu_us, at_most(1)),
            shared("two nodes, 100 times 1 → 10, 500/s: p99 latency", "ms", p99_ms),
            shared("two nodes, 100 times 1 → 10, 500/s: CPU of Redis per delivery", "µs", store_us),
        ),
    ),
    Measurement(
        "two_nodes_publish",
        "publishes of 128 bytes to 32 channels that keep 1,000, half of them to each of two nodes on one "
        "Redis, 256 in flight over 32 connections, each acknowledged after Redis' fsync",
        beside_peer(generate("publish")),
        (
            shared("publishes over one Redis", "/s", per_second, at_least(1)),
            shared("publishes over one Redis: CPU of the nodes", "µs", cpu_us),
            shared("publishes over one Redis: CPU of Redis", "µs", store_us),
        ),
    ),
    Measurement(
        "two_nodes_storm",
        f"2,000 clients reconnect at once to two nodes on one Redis, each recovering 100 messages of one of "
        f"{STORM_CHANNELS} channels, of which the nodes hold nothing, as after a restart of both",
        beside_peer(
            generate("cold", "-connections", "2000", "-channels", str(STORM_CHANNELS), quick=()),
        ),
        (
            shared("two nodes, storm after a restart: CPU per client", "µs", cpu_us, at_most(0.6)),
            shared("two nodes, storm after a restart: CPU of Redis per client", "µs", store_us),
            Figure(
                "two nodes, storm after a restart: reads of the store per channel and node",
                "",
                of("channel_reads_max"),
                absolute(1),
                GAPLESS,
                "",
            ),
        ),
    ),
    Measurement(
        "workers_on_one_port",
        "gapless serve --workers 2 beside one process, on a SQLite file of its own: one publisher, 1,000 "
        "subscribers of one channel, 50 messages a second of 128 bytes; CPU is that of all processes",
        {each: generate("paced", "-connections", "1000", "-duration", "5s") for each in (SQLITE, SEVERAL)},
        (
            Figure(
                "2 workers, 1 → 1000 at 50/s: CPU per delivery", "µs", cpu_us, at_most(1.2), SEVERAL, SQLITE
            ),
            Figure("2 workers, 1 → 1000 at 50/s: p99 latency", "ms", p99_ms, None, SEVERAL, SQLITE),
            Figure(
                "2 workers: clients of the one with more",
                "%",
                of("share_max_percent"),
                absolute(60),
                SEVERAL,
                "",
            ),
        ),
    ),
    soak("churn", SOAK_SECONDS, 100),
)
