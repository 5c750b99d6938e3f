"""What Prometheus is told of handlers."""

import asyncio

from prometheus_client import CollectorRegistry

from gapless import Backoff, Gapless, Job, Message
from gapless.testing.clock import VirtualClock
from tests.server.serving import on_a_loop, until


@on_a_loop
async def test_deliveries_are_counted_by_their_ends_and_timed() -> None:
    gl, registry = Gapless("memory:"), CollectorRegistry()

    @gl.queue("mail", retry=Backoff(2, delays=[0]))
    async def send(mail: str, job: Job) -> None:
        if mail == "bad":
            raise ValueError(mail)

    @gl.stream("orders", group="billing")
    async def bill(order: int, message: Message) -> None: ...

    def told(name: str, source: str, group: str = "", **labels: str) -> float:
        return registry.get_sample_value(name, {"source": source, "group": group, **labels}) or 0

    async with gl:
        await gl.declare()
        await send.enqueue_many(["good", "bad"])
        await bill.append_many([1, 2, 3])
        async with gl.worker(metrics=registry):
            total = "gapless_handler_deliveries_total"
            await until(lambda: told(total, "mail", outcome="retry") == 2)
            await until(lambda: told(total, "orders", "billing", outcome="ack") == 3)
            assert told(total, "mail", outcome="ack") == 1
            assert told("gapless_handler_seconds_count", "mail") == 3
            assert told("gapless_handler_seconds_count", "orders", "billing") == 3
            await until(lambda: not told("gapless_handler_in_flight", "orders", "billing"))
            assert told("gapless_handler_in_flight", "mail") == 0


@on_a_loop
async def test_how_far_handlers_are_behind_is_measured_again_and_again() -> None:
    gl, registry, clock = Gapless("memory:"), CollectorRegistry(), VirtualClock()

    @gl.queue("mail")
    async def send(mail: str) -> None: ...

    @gl.stream("orders", group="billing")
    async def bill(order: int) -> None: ...

    def lag(source: str, group: str = "") -> float | None:
        return registry.get_sample_value("gapless_handler_lag_messages", {"source": source, "group": group})

    async with gl:
        await gl.declare()
        await gl.queues.pause("mail")
        async with gl.worker(metrics=registry, clock=clock):
            await until(lambda: lag("mail") == 0)
            while lag("orders", "billing") != 0:  # at first the group may not have begun
                clock.move(clock.now_ms() + 1_000)
                await asyncio.sleep(0)
            await send.enqueue("ada")
            while lag("mail") != 1:
                clock.move(clock.now_ms() + 1_000)
                await asyncio.sleep(0)
