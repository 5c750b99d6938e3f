"""A worker on the test's own loop: what becomes of jobs and messages, and how it ends."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest

from gapless import Backoff, Gapless, Job, Message, Reject, Release, Retry
from gapless.core.errors import ConfigError, UnknownJob
from gapless.core.jobs import State
from gapless.protocol.groups import LagRequest
from gapless.protocol.settings import QueueSettings
from tests.server.serving import on_a_loop

Opened = Callable[[], AbstractAsyncContextManager[Gapless]]
AT_ONCE = Backoff(3, base="1ms", cap="1ms", jitter=False)


@pytest.fixture(params=["memory", "sqlite"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Opened:
    @asynccontextmanager
    async def open_one() -> AsyncIterator[Gapless]:
        url = "memory:" if request.param == "memory" else f"sqlite:{tmp_path / 'app.db'}"
        async with Gapless(url, random=Random(7)) as gl:
            yield gl

    return open_one


async def is_gone(gl: Gapless, id: str) -> bool:
    try:
        await gl.jobs.look(id)
    except UnknownJob:
        return True
    return False


async def until(condition: Callable[[], Any]) -> None:
    """Wait until something is so; a condition may be awaited."""
    while True:
        held = condition()
        if await held if asyncio.iscoroutine(held) else held:
            return
        await asyncio.sleep(0)


async def state(gl: Gapless, id: str) -> State:
    return (await gl.jobs.look(id)).state


@on_a_loop
async def test_a_job_is_handled_once_and_gone(opened: Opened) -> None:
    async with opened() as gl:
        handled = []

        @gl.queue("mail")
        async def send(n: int) -> None:
            handled.append(n)

        @gl.queue("plain", result_ttl="1h")
        def plain(n: int) -> int:
            return n + 1

        async with gl.worker() as worker:
            jobs = await send.enqueue_many(range(300))
            kept = await plain.enqueue(1)
            assert (await gl.jobs.result(kept.id, wait="10s")).value == 2
            await until(lambda: worker.counters.done == 301)
            await until(lambda: is_gone(gl, jobs[-1].id))
        assert sorted(handled) == list(range(300))


@on_a_loop
async def test_what_fails_is_tried_again_and_in_the_end_dead(opened: Opened) -> None:
    async with opened() as gl:
        attempts: list[int] = []

        @gl.queue("mail", retry=AT_ONCE)
        async def send(n: int, job: Job) -> None:
            attempts.append(job.attempt)
            if n == 1:
                raise Reject("never")
            if n == 2 and job.attempt == 1:
                raise Release
            raise Retry("busy") if n == 2 else ValueError("no")

        async with gl.worker():
            failing = await send.enqueue(0)
            await until(lambda: _is(gl, failing.id, State.DEAD))
            assert attempts == [1, 2, 3]
            view = await gl.jobs.look(failing.id)
            assert view.reason == "ValueError: no"
            assert "raise Retry" in view.details
            rejected = await send.enqueue(1)
            await until(lambda: _is(gl, rejected.id, State.DEAD))
            assert (await gl.jobs.look(rejected.id)).reason == "never"


async def _is(gl: Gapless, id: str, wanted: State) -> bool:
    return await state(gl, id) is wanted


@on_a_loop
async def test_what_a_job_emits_is_stored_with_its_acknowledgement_or_it_fails(opened: Opened) -> None:
    async with opened() as gl:
        received = []

        @gl.queue("receipts")
        async def receipt(n: int) -> None:
            received.append(n)

        @gl.queue("mail", retry=AT_ONCE)
        async def send(n: int, job: Job) -> None:
            if n == 1:
                job.emit(n, queue="nobody-declared-this")
            else:
                job.emit(n, queue=receipt)

        async with gl.worker():
            await send.enqueue(0)
            await until(lambda: received == [0])
            refused = await send.enqueue(1)
            await until(lambda: _is(gl, refused.id, State.DEAD))
            assert "is refused" in (await gl.jobs.look(refused.id)).reason
        assert received == [0]


@on_a_loop
async def test_by_hand_and_at_most_once(opened: Opened) -> None:
    async with opened() as gl:
        seen: list[object] = []

        @gl.queue("hand", ack="manual")
        async def by_hand(n: int, job: Job) -> None:
            await job.extend("1m")
            await job.ack()
            seen.append(await is_gone(gl, job.id))

        @gl.queue("once", guarantee="at-most-once")
        async def once(n: int, job: Job) -> None:
            seen.append(await is_gone(gl, job.id))
            raise ValueError("lost")

        async with gl.worker() as worker:
            await by_hand.enqueue(1)
            await until(lambda: seen == [True])
            await once.enqueue(1)
            await until(lambda: seen == [True, True])
            await until(lambda: worker.counters.running == 0)


@on_a_loop
async def test_a_job_over_its_timeout_is_cancelled_and_fails(opened: Opened) -> None:
    async with opened() as gl:

        @gl.queue("slow", timeout="20ms", retry=Backoff(1))
        async def slow(n: int) -> None:
            await asyncio.Event().wait()

        async with gl.worker():
            job = await slow.enqueue(1)
            await until(lambda: _is(gl, job.id, State.DEAD))
            assert (await gl.jobs.look(job.id)).reason == "timeout after 20ms"


@on_a_loop
async def test_no_more_run_at_once_than_may(opened: Opened) -> None:
    async with opened() as gl:
        running = {"all": 0, "one": 0}
        most = {"all": 0, "one": 0}

        async def run(name: str) -> None:
            running[name] += 1
            most[name] = max(most[name], running[name])
            for _ in range(20):
                await asyncio.sleep(0)
            running[name] -= 1

        @gl.queue("all")
        async def every(n: int) -> None:
            await run("all")

        @gl.queue("one", concurrency=1)
        async def single(n: int) -> None:
            await run("one")

        async with gl.worker(concurrency=4) as worker:
            await every.enqueue_many(range(40))
            await single.enqueue_many(range(10))
            await until(lambda: worker.counters.done == 50)
        assert most["one"] == 1
        assert 1 < most["all"] <= 4


@on_a_loop
async def test_a_worker_that_stops_finishes_what_runs_and_leaves_the_rest(opened: Opened) -> None:
    async with opened() as gl:
        go_on = asyncio.Event()
        begun = []

        @gl.queue("mail")
        async def send(n: int) -> None:
            begun.append(n)
            await go_on.wait()

        async with gl.worker(concurrency=2):
            jobs = await send.enqueue_many(range(5))
            await until(lambda: len(begun) == 2)
            asyncio.get_running_loop().call_soon(go_on.set)
        [queue] = (await gl.queues.stats("mail")).queues
        assert (queue.ready, queue.leased, queue.failed) == (3, 0, 0)
        assert begun == [0, 1]
        assert (await gl.jobs.look(jobs[2].id)).attempt == 0


@on_a_loop
async def test_what_does_not_finish_in_time_is_given_back_and_is_no_attempt(opened: Opened) -> None:
    async with opened() as gl:
        begun = asyncio.Event()

        @gl.queue("mail")
        async def send(n: int) -> None:
            begun.set()
            await asyncio.Event().wait()

        async with gl.worker(drain="10ms"):
            job = await send.enqueue(1)
            await begun.wait()
        view = await gl.jobs.look(job.id)
        assert (view.state, view.attempt) == (State.WAITING, 0)


# Streams --------------------------------------------------------------------------------------


async def lag(gl: Gapless, source: str, group: str) -> int:
    answer = await gl.ask("stream/lag", LagRequest(source=source, group=group))
    return int(answer.lag)


@on_a_loop
async def test_a_group_reads_every_message_in_order_and_commits(opened: Opened) -> None:
    async with opened() as gl:
        read: dict[str, list[int]] = {}
        receipts = []

        @gl.queue("receipts")
        async def receipt(n: int) -> None:
            receipts.append(n)

        @gl.stream("orders", group="billing", partitions=3)
        async def on_order(n: int, message: Message) -> None:
            read.setdefault(str(message.key), []).append(n)
            message.emit(n, queue=receipt)

        async with gl.worker():
            for n in range(60):
                await on_order.append(n, key=str(n % 5))
            await until(lambda: sum(map(len, read.values())) == 60)
            await until(lambda: _caught_up(gl))
            await until(lambda: len(receipts) == 60)
        assert read == {str(key): list(range(key, 60, 5)) for key in range(5)}
        async with gl.worker():
            await on_order.append(60, key="0")
            await until(lambda: read["0"][-1] == 60)
        assert sum(map(len, read.values())) == 61


async def _caught_up(gl: Gapless) -> bool:
    return await lag(gl, "orders", "billing") == 0


@on_a_loop
async def test_a_message_that_fails_holds_its_partition_up_and_one_that_is_rejected_is_passed_over(
    opened: Opened,
) -> None:
    async with opened() as gl:
        seen: list[int] = []

        @gl.stream("orders", group="billing")
        async def on_order(n: int) -> None:
            seen.append(n)
            if n == 1 and seen.count(1) < 3:
                raise Retry(delay="1ms")
            if n == 2:
                raise Reject("no order")

        async with gl.worker():
            for n in range(4):
                await on_order.append(n)
            await until(lambda: _caught_up(gl))
        assert seen == [0, 1, 1, 1, 2, 3]
        [told] = (await gl.streams.audit(name="orders", what="pass_over")).records
        assert told.details["group"] == "billing"
        assert (told.details["partition"], told.details["reason"]) == (0, "no order")
        assert (await gl.streams.page("orders")).messages[2].offset == told.details["offset"]


@on_a_loop
async def test_what_is_passed_over_is_put_into_its_queue_with_the_commit(opened: Opened) -> None:
    async with opened() as gl:
        seen: list[int] = []

        @gl.stream("orders", group="billing", retry=AT_ONCE, dead="unbilled")
        async def on_order(n: int) -> None:
            seen.append(n)
            if n == 1:
                raise ValueError("no")
            if n == 2:
                raise Reject("never")

        async with gl.worker():
            for n in range(4):
                await on_order.append(n)
            await until(lambda: _caught_up(gl))
        assert seen == [0, 1, 1, 1, 2, 3]
        records = (await gl.streams.audit(name="orders", what="pass_over")).records
        told = [(each.details["reason"], each.details["attempts"]) for each in reversed(records)]
        assert told == [("ValueError: no", 3), ("never", 1)]
        jobs = await gl.claim("unbilled", limit=10)
        assert [(bytes(job.data), job.headers["dead-reason"]) for job in jobs] == [
            (b"1", "ValueError: no"),
            (b"2", "never"),
        ]


@on_a_loop
async def test_a_partition_waits_while_the_queue_for_dead_ones_has_no_room(opened: Opened) -> None:
    async with opened() as gl:
        seen: list[int] = []

        @gl.stream("orders", group="billing", dead="unbilled")
        async def on_order(n: int) -> None:
            seen.append(n)
            if n < 2:
                raise Reject("never")

        await gl.queues.declare("unbilled", QueueSettings(waiting_max=1))
        async with gl.worker() as worker:
            for n in range(3):
                await on_order.append(n)
            await until(lambda: worker.counters.failed == 2)
            assert await lag(gl, "orders", "billing") == 2
            [first] = await gl.claim("unbilled", worker="me")
            await until(lambda: _caught_up(gl))
            [second] = await gl.claim("unbilled", worker="me")
        assert seen == [0, 1, 2]
        assert (bytes(first.data), bytes(second.data)) == (b"0", b"1")


@on_a_loop
async def test_a_message_is_passed_over_though_its_dead_letter_is_refused(
    opened: Opened, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened() as gl:
        seen: list[int] = []

        @gl.stream("orders", group="billing", dead="unbilled")
        async def on_order(n: int) -> None:
            seen.append(n)
            if n == 0:
                await gl.queues.drop("unbilled")
                raise Reject("never")

        async with gl.worker():
            await on_order.append(0)
            await on_order.append(1)
            await until(lambda: _caught_up(gl))
        assert seen == [0, 1]
        [told] = (await gl.streams.audit(name="orders", what="pass_over")).records
        reason = "its dead letter is refused, and not stored: there is no queue 'unbilled'"
        assert told.details["reason"].startswith(reason)
        assert told.details["reason"].endswith("; the message: never")
        assert f"offset {told.details['offset']} of partition 0 is passed over, but its dead" in caplog.text


@on_a_loop
async def test_a_worker_that_is_cut_short_waits_for_no_room(opened: Opened) -> None:
    async with opened() as gl:

        @gl.stream("orders", group="billing", dead="unbilled")
        async def on_order(n: int) -> None:
            raise Reject("never")

        await gl.queues.declare("unbilled", QueueSettings(waiting_max=1))
        async with gl.worker() as worker:
            await on_order.append(0)
            await on_order.append(1)
            await until(lambda: worker.counters.failed == 2)
            worker.cut_short()
        assert await lag(gl, "orders", "billing") == 1


@on_a_loop
async def test_a_worker_that_stops_leaves_its_group_at_the_message_at_hand(opened: Opened) -> None:
    async with opened() as gl:
        seen: list[int] = []
        go_on = asyncio.Event()

        @gl.stream("orders", group="billing")
        async def on_order(n: int) -> None:
            seen.append(n)
            await go_on.wait()

        await gl.declare()
        await gl.append_many("orders", range(10))
        async with gl.worker():
            await until(lambda: seen == [0])
            asyncio.get_running_loop().call_soon(asyncio.get_running_loop().call_soon, go_on.set)
        assert await lag(gl, "orders", "billing") == 10 - len(seen)
        async with gl.worker():
            await until(lambda: _caught_up(gl))
        assert seen == list(range(10))


# What is served -------------------------------------------------------------------------------


@on_a_loop
async def test_schedules_are_kept_and_fire(opened: Opened) -> None:
    async with opened() as gl:
        ticks = asyncio.Event()

        @gl.every("1s", name="tidy")
        async def tidy(job: Job) -> None:
            ticks.set()

        async with gl.worker():
            [schedule] = (await gl.schedules.list()).schedules
            assert (schedule.name, schedule.every_ms) == ("tidy", 1_000)
            await ticks.wait()


@on_a_loop
async def test_there_must_be_something_to_serve() -> None:
    async with Gapless("memory:") as gl:
        with pytest.raises(ConfigError, match="no handler was declared"):
            await gl.run_worker()

        @gl.queue("mail")
        async def send(n: int) -> None: ...

        with pytest.raises(ConfigError, match="no handler was declared for mial; there are: mail"):
            await gl.run_worker(only=["mial"])
