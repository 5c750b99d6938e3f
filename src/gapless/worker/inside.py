"""A worker inside of a program that is something else too: a web app, a test."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, nullcontext
from random import Random
from typing import TYPE_CHECKING

from gapless.library.gapless import Gapless
from gapless.library.times import Duration, duration_ms
from gapless.ports import Clock
from gapless.server.clock import LoopClock
from gapless.worker.naming import own_name
from gapless.worker.worker import Options, Worker

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

__all__ = ["inside"]


@asynccontextmanager
async def inside(
    gl: Gapless,
    random: Random,
    *,
    concurrency: int = 100,
    only: Sequence[str] = (),
    drain: Duration = "30s",
    session: Duration = "30s",
    clock: Clock | None = None,
    metrics: "CollectorRegistry | None" = None,
) -> AsyncIterator[Worker]:
    """Serve the handlers of `gl` on this loop while the body runs; see `Gapless.worker`."""
    options = Options(
        concurrency=concurrency, only=only, drain_ms=duration_ms(drain), session_ms=duration_ms(session)
    )
    worker = Worker(gl, options, clock or LoopClock(), random, own_name(random))
    if metrics is not None:
        from gapless.worker.metrics import HandlerMetrics

        worker.metrics = HandlerMetrics(metrics, time.perf_counter_ns)
    async with nullcontext() if gl.is_open else gl:
        await worker.start()
        try:
            yield worker
        finally:
            await asyncio.shield(worker.stop())
