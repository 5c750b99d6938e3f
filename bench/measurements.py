"""What is measured, on which servers, and what is asked of gapless."""

from collections.abc import Callable

from bench.console_measurements import CONSOLE_MEASUREMENTS
from bench.loads import Load, connect, generate, messages, on_disk, publish_on_redis, publish_on_sqlite, start
from bench.measurement import (
    SQLITE,
    Measurement,
    absolute,
    at_least,
    at_most,
    cpu_us,
    of,
    p99_ms,
    per_cpu_second,
    per_second,
)
from bench.node_measurements import NODE_MEASUREMENTS
from bench.queue_measurements import QUEUE_MEASUREMENTS
from bench.report import Figure, Sample, Target

__all__ = ["MEASUREMENTS"]


def beside_peer(load: Load) -> dict[str, Load]:
    return {"peer": load, "gapless": load}


def opened_us(sample: Sample) -> float:
    return cpu_us(sample) + 1e6 * sample["open_cpu_seconds"] / sample["count"]


def kib(sample: Sample) -> float:
    return sample["connection_bytes"] / 1024


def beside_short(kind: str) -> Callable[[Sample], float]:
    return lambda sample: sample[f"long_{kind}_per_cpu_second"] / sample[f"short_{kind}_per_cpu_second"]


PAGES = "GET …/messages, 50 items"
STORED = "acknowledged publishes, fsynced"

MEASUREMENTS = (
    Measurement(
        "fan_out",
        "one publisher, 1,000 subscribers, 50 messages a second of 128 bytes",
        beside_peer(generate("paced", "-connections", "1000", "-duration", "10s")),
        (
            Figure("fan-out 1 → 1000 at 50/s: CPU per delivery", "µs", cpu_us, at_most(0.6)),
            Figure("fan-out 1 → 1000 at 50/s: p99 latency", "ms", p99_ms, at_most(1)),
        ),
    ),
    Measurement(
        "saturated",
        "the same, as fast as 64 messages in flight allow",
        beside_peer(generate("saturated", "-connections", "1000", "-in-flight", "64")),
        (
            Figure(
                "saturated fan-out 1 → 1000: deliveries per CPU second", "/s", per_cpu_second, at_least(3)
            ),
            Figure("saturated fan-out 1 → 1000: deliveries", "/s", per_second),
        ),
    ),
    Measurement(
        "storm",
        "2,000 clients reconnect at once, each recovering the same 100 messages",
        beside_peer(generate("storm", "-connections", "2000", quick=())),
        (
            Figure("reconnect storm, 100 messages each: CPU per client", "µs", cpu_us, at_most(0.8)),
            Figure("reconnect storm: last client recovered after", "ms", lambda sample: sample["max_ms"]),
        ),
    ),
    Measurement(
        "idle",
        "5,000 connections after the first 500, each subscribed to a channel of its own",
        beside_peer(generate("idle", "-connections", "5000", "-own-channel", quick=("-connections", "2000"))),
        (Figure("idle connection, own channel: memory", "KiB", kib, at_most(0.6)),),
    ),
    Measurement(
        "idle_shared",
        "5,000 connections after the first 500, all subscribed to one channel",
        beside_peer(generate("idle", "-connections", "5000", quick=("-connections", "2000"))),
        (Figure("idle connection, one channel: memory", "KiB", kib, at_most(0.6)),),
    ),
    Measurement(
        "http",
        "POST /api/publish on 32 keep-alive connections, one request in flight on each",
        beside_peer(generate("http")),
        (Figure("HTTP publish: CPU per request", "µs", cpu_us, at_most(0.8)),),
    ),
    Measurement(
        "batch",
        "POST /api/batch of 100 publishes to 100 channels, on 32 keep-alive connections",
        beside_peer(generate("http", "-batch", "100")),
        (
            Figure("HTTP batch of 100: publications per CPU second", "/s", per_cpu_second, at_least(2)),
            Figure("HTTP batch of 100: publications", "/s", per_second),
        ),
    ),
    Measurement(
        "disk",
        "publishes of 128 bytes to 32 channels that keep 1,000, 256 in flight over 32 connections "
        "(Redis: 256 connections), each acknowledged after fsync",
        {
            "Redis": on_disk(publish_on_redis),
            "NATS": on_disk(generate("nats")),
            SQLITE: on_disk(publish_on_sqlite),
        },
        (
            Figure(STORED, "/s", per_second, Target(50_000, at_least=True, ratio=False), SQLITE, ""),
            Figure(f"{STORED}: p99", "ms", p99_ms, Target(10, ratio=False), SQLITE, ""),
            Figure(f"{STORED}, beside appendfsync always", "/s", per_second, at_least(0.7), SQLITE, "Redis"),
            Figure(f"{STORED}, beside sync_interval always", "/s", per_second, at_least(10), SQLITE, "NATS"),
        ),
    ),
    Measurement(
        "connect",
        "5,000 clients open WebSockets, then connect with tokens of their own (HS256), a hundred at a time",
        beside_peer(connect),
        (
            Figure("connect with a token: CPU", "µs", cpu_us, at_most(0.8)),
            Figure("a WebSocket opened, and such a connect: CPU", "µs", opened_us, at_most(0.8)),
        ),
    ),
    Measurement(
        "messages",
        "GET /api/channels/{channel}/messages?size=50 with a token, on 16 keep-alive connections: the newest "
        "page, those before 500 places in a channel of 1,000,000 messages and those at their times; beside "
        "it a channel of 1,000",
        {SQLITE: messages},
        (
            *(
                Figure(
                    f"{PAGES}, {kind}: requests per CPU second",
                    "/s",
                    of(f"long_{name}_per_cpu_second"),
                    target,
                    SQLITE,
                    "",
                )
                for kind, name, target in (
                    ("the newest", "newest", absolute(3_000, at_least=True)),
                    ("from the store", "stored", absolute(1_500, at_least=True)),
                    ("at a time", "timed", absolute(1_500, at_least=True)),
                )
            ),
            *(
                Figure(
                    f"{PAGES}, {kind}: a million messages beside a thousand",
                    "×",
                    beside_short(name),
                    absolute(0.8, at_least=True),
                    SQLITE,
                    "",
                )
                for kind, name in (("from the store", "stored"), ("at a time", "timed"))
            ),
        ),
    ),
    Measurement(
        "channels",
        "1,000 connections follow 100 channels each and publish to each; then GET /metrics 20 times",
        {SQLITE: generate("channels", "-connections", "1000", quick=("-connections", "100"))},
        (
            Figure(
                "a channel with history, a subscriber, a message: memory",
                "KiB",
                lambda sample: sample["channel_bytes"] / 1024,
                absolute(6),
                SQLITE,
                "",
            ),
            Figure("/metrics with 100,000 channels", "ms", of("metrics_ms"), absolute(50), SQLITE, ""),
        ),
    ),
    *NODE_MEASUREMENTS,
    *QUEUE_MEASUREMENTS,
    *CONSOLE_MEASUREMENTS,
    Measurement(
        "start",
        "a fresh process on an empty SQLite file",
        {SQLITE: start},
        (
            Figure(
                "start to first accepted connection",
                "ms",
                lambda sample: sample["start_ms"],
                Target(500, ratio=False),
                SQLITE,
                "",
            ),
            Figure(
                "import gapless",
                "ms",
                lambda sample: sample["import_ms"],
                Target(150, ratio=False),
                SQLITE,
                "",
            ),
        ),
    ),
)
