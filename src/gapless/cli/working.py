"""`gapless worker`."""

import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from random import SystemRandom
from typing import Any, Final

import click
import uvloop
from msgspec import Struct

from gapless.cli.logs import start_logging
from gapless.cli.machine import spare_the_collector
from gapless.cli.supervision import tell_ready, tell_stopping
from gapless.core.durations import milliseconds
from gapless.core.errors import ConfigError
from gapless.library.gapless import Gapless
from gapless.server.clock import LoopClock
from gapless.server.config.model import Level, Log, LogFormat
from gapless.server.parting import pause
from gapless.worker.changes import Files
from gapless.worker.finding import find
from gapless.worker.health import serving_health
from gapless.worker.naming import own_name
from gapless.worker.worker import Options, Worker

__all__ = ["worker"]

CUT_SHORT: Final = 1
WATCH_MS: Final = 300
TELL_MS: Final = 500
SAME_MS: Final = 1_000  # what is asked twice so shortly is one request that came twice

log: Final = logging.getLogger("gapless.worker")


class How(Struct, frozen=True, kw_only=True):
    """How a worker is run, besides what it does."""

    target: str
    health_port: int | None
    metrics_port: int | None
    address: str
    watched: Files | None


class Milliseconds(click.ParamType[int]):
    """A duration, given as `30s`, `5m`."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return it in milliseconds."""
        if isinstance(value, int):
            return value
        try:
            return milliseconds(value)
        except ValueError:
            self.fail(f"{value!r} is no duration; write 30s, 5m or the like", param, ctx)


@click.command()
@click.argument("target", metavar="MODULE:GL")
@click.option("--concurrency", type=click.IntRange(1, 10_000), default=100, show_default=True,
              help="How many jobs and pages each process handles at once.")  # fmt: skip
@click.option("--processes", type=click.IntRange(1, 1_000), default=1, show_default=True,
              help="In how many processes handlers run.")  # fmt: skip
@click.option("--queues", default="", metavar="A,B", help="Serve only these queues, schedules and streams.")
@click.option("--reload", is_flag=True, help="Start anew when a file of the program changes.")
@click.option("--health", "health_port", type=click.IntRange(0, 65_535), metavar="PORT",
              help="Answer GET /health there.")  # fmt: skip
@click.option("--metrics", "metrics_port", type=click.IntRange(0, 65_535), metavar="PORT",
              help="Answer GET /metrics there, for Prometheus.")  # fmt: skip
@click.option("--health-address", default="0.0.0.0", show_default=True, metavar="ADDRESS",
              help="Where --health and --metrics listen: everywhere, unless this says where.")  # fmt: skip
@click.option("--inline", is_flag=True, help="Run handlers in this process; then timeouts are advice.")
@click.option("--drain-timeout", "drain_ms", type=Milliseconds(), default="30s", show_default=True,
              help="How long what runs may take to finish when the worker is told to stop.")  # fmt: skip
@click.option("--session", "session_ms", type=Milliseconds(), default="30s", show_default=True,
              help="How long it may be silent until its partitions of streams go to others, unless a handler "
                   "says so itself.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Log JSON objects.")
def worker(  # noqa: PLR0913 # an option each
    target: str,
    concurrency: int,
    processes: int,
    queues: str,
    reload: bool,
    health_port: int | None,
    metrics_port: int | None,
    health_address: str,
    inline: bool,
    drain_ms: int,
    session_ms: int,
    as_json: bool,
) -> None:
    """Handle jobs and messages with the functions declared at MODULE:GL, such as app:gl.

    Told to stop (SIGTERM, Ctrl-C) it claims no more and finishes what runs; told again it cancels that and
    gives it back.
    """
    start_logging(Log(level=Level.INFO, format=LogFormat.JSON if as_json else LogFormat.TEXT))
    options = Options(
        target="" if inline else target,
        concurrency=concurrency,
        processes=processes,
        only=tuple(name.strip() for name in queues.split(",") if name.strip()),
        drain_ms=drain_ms,
        session_ms=session_ms,
    )
    how = How(
        target=target,
        health_port=health_port,
        metrics_port=metrics_port,
        address=health_address,
        watched=Files() if reload else None,
    )
    if uvloop.run(_run(options, how)):
        sys.stderr.flush()
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


async def _run(options: Options, how: How) -> bool:
    """Work until told to stop; return whether to start anew."""
    asked = asyncio.Event()
    working: list[Worker] = []
    asking = _Asking(asked, working)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, asking.ask, number)
    clock = LoopClock()
    try:
        gl = find(how.target)
        worker = Worker(gl, options, clock, SystemRandom(), own_name(SystemRandom()))
        working.append(worker)
        return await _work(worker, gl, how, asked)
    except ConfigError as error:
        if how.watched is None:
            raise
        log.error("%s", error)
        return await _until_changed(how.watched, asked)


async def _work(worker: Worker, gl: Gapless, how: How, asked: asyncio.Event) -> bool:
    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(gl)
        await _tell_of(worker, how, stack)
        starting = loop.create_task(worker.start())
        stopping = loop.create_task(asked.wait())
        await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            starting.cancel()
            await asyncio.wait((starting,))
            return False
        await starting
        log.info("serving %s", ", ".join(worker.names()))
        spare_the_collector()
        tell_ready()
        return await _until_asked(worker, how, asked, stopping)


async def _tell_of(worker: Worker, how: How, stack: AsyncExitStack) -> None:
    """Serve health and metrics, where that is asked for."""
    scrape = _measured(worker) if how.metrics_port is not None else None
    for what, port in (("health", how.health_port), ("metrics", how.metrics_port)):
        if port is None or (what == "metrics" and port and port == how.health_port):
            continue
        serving = serving_health(worker.health, how.address, port, scrape)
        log.info("GET /%s at port %d", what, await stack.enter_async_context(serving))


def _measured(worker: Worker) -> Callable[[], tuple[bytes, str]]:
    """Have a worker's handlers measured; return what tells of them."""
    from prometheus_client import REGISTRY

    from gapless.worker.metrics import CONTENT_TYPE, HandlerMetrics

    metrics = worker.metrics = HandlerMetrics(REGISTRY, time.perf_counter_ns)
    return lambda: (metrics.scrape(), CONTENT_TYPE)


async def _until_asked(
    worker: Worker, how: How, asked: asyncio.Event, stopping: "asyncio.Task[bool]"
) -> bool:
    loop = asyncio.get_running_loop()
    waits: list[asyncio.Task[Any]] = [stopping, loop.create_task(worker.failed())]
    if how.watched is not None:
        waits.append(loop.create_task(_until_changed(how.watched, asked)))
    telling = loop.create_task(_tell(worker)) if sys.stderr.isatty() else None
    done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    tell_stopping()
    counters = worker.counters
    again = not asked.is_set() and how.watched is not None
    log.info("%s; %d are running", "starting anew" if again else "stopping", counters.running)
    if again:
        worker.cut_short()
    await worker.stop()
    for each in (*waits, telling):
        if each is not None and each not in done:
            each.cancel()
    log.info("ended: %d done, %d failed", counters.done, counters.failed)
    for each in done:
        each.result()
    return again


async def _until_changed(watched: Files, asked: asyncio.Event) -> bool:
    """Wait until a file of the program changes; False if told to stop before that."""
    clock = LoopClock()
    while not asked.is_set():
        await pause(clock, WATCH_MS)
        files = watched.changed()
        if files:
            log.info("changed: %s", ", ".join(files))
            return True
    return False


async def _tell(worker: Worker) -> None:
    """Show on the terminal how far it is, in one line that changes."""
    clock = LoopClock()
    done = worker.counters.done
    try:
        while True:
            await pause(clock, TELL_MS)
            counters = worker.counters
            rate = (counters.done - done) * 1000 // TELL_MS
            done = counters.done
            line = f"{done:,} done, {counters.failed:,} failed, {counters.running:,} running, {rate:,}/s"
            sys.stderr.write(f"\r\x1b[K{line}")
            sys.stderr.flush()
    finally:
        sys.stderr.write("\r\x1b[K")


class _Asking:
    """Signals to stop: in good order; at the second time cancel what runs, at the third end at once."""

    def __init__(self, asked: asyncio.Event, working: list[Worker]) -> None:
        self._asked = asked
        self._working = working
        self._last: tuple[int, int] = (0, -SAME_MS)
        self._clock = LoopClock()

    def ask(self, number: int) -> None:
        """Hear a signal. Who sends one to a process and to its group (timeout(1) does) means it once."""
        before, before_ms = self._last
        now_ms = self._clock.now_ms()
        if number == before and now_ms - before_ms < SAME_MS:
            return
        self._last = number, now_ms
        if not self._asked.is_set():
            self._asked.set()
        elif self._working:
            log.warning("asked to stop a second time: what runs is cancelled and given back")
            self._working.pop().cut_short()
        else:
            logging.shutdown()
            os._exit(CUT_SHORT)
