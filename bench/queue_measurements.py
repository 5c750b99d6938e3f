"""The measurements of queues, workers and streams."""

from collections.abc import Callable

from bench.loads import generate, on_disk
from bench.measurement import SQLITE, Measurement, absolute, at_least, cpu_us, of, per_second
from bench.queue_loads import backlog, beside_hook_worker, cycle, streams, worker
from bench.report import Figure, Sample, Target
from bench.servers import NO_SERVER

__all__ = ["QUEUE_MEASUREMENTS"]

CYCLE = "a job enqueued, claimed, acknowledged"
CYCLE_TARGETS = {
    "NATS": at_least(5),
    "RabbitMQ": at_least(5),
    "NATS default": at_least(1),
    "Redis": None,
    "Redis everysec": None,
}
WORKERS = ("taskiq", "Dramatiq", "Celery")
GAPLESS_WORKER = worker("gapless", "gapless", "worker", "bench.workers.gapless_worker:gl")
TASKIQ_WORKER = "worker bench.workers.taskiq_worker:broker --workers 1 --log-level WARNING"
DRAMATIQ_WORKER = "bench.workers.dramatiq_worker --processes 1 --threads 10"
CELERY_WORKER = (
    "-A bench.workers.celery_worker worker --pool threads --concurrency 10 --loglevel WARNING "
    "--without-gossip --without-mingle --without-heartbeat"
)
PLACES = {NO_SERVER: "in process", SQLITE: "over the network"}
CACHE_MIB = 64  # of the database's pages, in memory
GROWTH_MIB_MAX = 64


def fsynced(label: str, value: Callable[[Sample], float], target: Target | None, beside: str = "") -> Figure:
    return Figure(label, "/s", value, target, SQLITE, beside)


def stream_figure(kind: str, what: str, where: str, least: float) -> Figure:
    target = absolute(least, at_least=True) if least else None
    label = f"stream, {what}, {PLACES[where]}: messages"
    return Figure(label, "/s", of(f"{kind}_per_second"), target, where, "")


def beside_few(name: str) -> Callable[[Sample], float]:
    return lambda sample: sample[f"{name}_per_second"] / sample["few_per_second"]


def grown_mib(sample: Sample) -> float:
    """What the server's memory grew by, but for the cache, which the backlogs fill."""
    return sample["after_mib"] - sample["before_mib"] - CACHE_MIB


QUEUE = Measurement(
    "queue",
    "jobs of 200 bytes through one Python client, which enqueues 256 at a time and meanwhile claims and "
    "acknowledges as many. gapless: a call for each enqueue, claims and settlements of 128, all answered "
    "after fsync. NATS JetStream: a work queue, publish_async, pulls of 128, an ack for each message; "
    "sync_interval always, or as it comes, with an fsync every 2 minutes. RabbitMQ: a quorum queue, "
    "publisher confirms, prefetch 256, an ack for each message. Redis: a stream, pipelines of 128 XADD, "
    "XREADGROUP and XACK of 128; appendfsync always or everysec",
    {
        "NATS": on_disk(cycle("nats")),
        "NATS default": on_disk(cycle("nats")),
        "RabbitMQ": on_disk(cycle("rabbitmq")),
        "Redis": on_disk(cycle("redis")),
        "Redis everysec": on_disk(cycle("redis")),
        SQLITE: on_disk(cycle("gapless")),
    },
    (
        *(fsynced(CYCLE, per_second, target, beside) for beside, target in CYCLE_TARGETS.items()),
        *(
            Figure(f"{CYCLE}: CPU of the server", "µs", cpu_us, None, SQLITE, beside)
            for beside in CYCLE_TARGETS
        ),
    ),
    peers=True,
)

WORK = Measurement(
    "workers",
    "20,000 no-op jobs that wait when the worker starts, from the first handled to the last, in one process "
    "on one core, each set as it does best: gapless and taskiq (on a Redis Stream) with their 100 "
    "coroutines, Dramatiq and Celery with 10 threads. The server has a core of its own: gapless's, which "
    "fsyncs, or a Redis that keeps nothing on disk. In process: the worker holds the SQLite file itself",
    {
        "taskiq": worker("taskiq", "taskiq", *TASKIQ_WORKER.split()),
        "Dramatiq": worker("dramatiq", "dramatiq", *DRAMATIQ_WORKER.split()),
        "Celery": worker("celery", "celery", *CELERY_WORKER.split()),
        SQLITE: GAPLESS_WORKER,
        NO_SERVER: GAPLESS_WORKER,
    },
    tuple(
        Figure(f"no-op jobs through a worker, {where}", "/s", per_second, at_least(1), server, beside)
        for server, where in PLACES.items()
        for beside in WORKERS
    ),
    peers=True,
)

HOOKED = {
    "gapless": "no hook",
    "gapless with hooks": "a hook in the server's process",
    "gapless with a hook worker": "a hook in a worker",
}
HOOKS = Measurement(
    "hooks",
    "publishes of 128 bytes to 32 channels in memory, 256 in flight over 32 connections: without a hook, and "
    "each let through by one that says yes, in the server's process (its CPU is counted) or in a worker "
    "beside it (whose CPU is not). The difference is what a decision costs the server",
    {
        name: beside_hook_worker(generate("publish")) if name.endswith("worker") else generate("publish")
        for name in HOOKED
    },
    tuple(
        Figure(f"publish, {how}: {what}", unit, value, None, name, "")
        for name, how in HOOKED.items()
        for what, unit, value in (("CPU of the server", "µs", cpu_us), ("publishes", "/s", per_second))
    ),
)

STREAMS = Measurement(
    "streams",
    "messages of 200 bytes to a stream of one partition, fsynced, in batches of 100, 8 at a time; then a "
    "group reads them in pages of up to 1,000 and commits each page; one Python client",
    {server: on_disk(streams) for server in PLACES},
    (
        stream_figure("append", "append in batches of 100", NO_SERVER, 100_000),
        stream_figure("append", "append in batches of 100", SQLITE, 50_000),
        stream_figure("read", "read by a group", NO_SERVER, 200_000),
        stream_figure("read", "read by a group", SQLITE, 0),
    ),
)

BACKLOG = Measurement(
    "backlog",
    "claims of 100 jobs, one after the other, by the median: from a queue that holds 1,000; from one in "
    "which 1,000,000 wait; from one with 1,000 that are ready and 1,000,000 that are due tomorrow. Memory is "
    "the server's: before the backlogs, with each, and after a minute of claims beside them",
    {SQLITE: backlog},
    (
        fsynced("jobs claimed, of 1,000", of("few_per_second"), None),
        *(
            Figure(
                f"jobs claimed, {what}, beside the same of 1,000",
                "×",
                beside_few(name),
                absolute(0.8, at_least=True),
                SQLITE,
                "",
            )
            for name, what in (
                ("waiting", "of 1,000,000"),
                ("delayed", "of 1,000 and 1,000,000 delayed ones"),
            )
        ),
        *(
            Figure(f"memory of the server, {when}", "MiB", of(f"{name}_mib"), None, SQLITE, "")
            for name, when in (
                ("before", "before a backlog"),
                ("with_waiting", "with 1,000,000 waiting jobs"),
                ("with_delayed", "with 1,000,000 delayed ones besides"),
                ("after", "after a minute of claims beside both"),
            )
        ),
        Figure(
            f"memory of the server: growth beyond a cache of {CACHE_MIB} MiB",
            "MiB",
            grown_mib,
            absolute(GROWTH_MIB_MAX),
            SQLITE,
            "",
        ),
    ),
    repeats_max=1,
)

QUEUE_MEASUREMENTS = (QUEUE, WORK, STREAMS, BACKLOG, HOOKS)
