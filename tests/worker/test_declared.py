"""What a worker that starts does to what is there: nothing that its handlers do not say."""

import asyncio
from random import Random
from typing import Any

from gapless import Gapless, Message, QueueSettings, StreamSettings
from gapless.core.jobs import QueueOptions
from gapless.core.retry import Retry
from gapless.protocol.settings import FullStreamSettings
from tests.server.serving import on_a_loop
from tests.worker.test_inside import until

RULES: dict[str, Any] = {
    "queues": [{"name": "fixed", "waiting_max": 4}, {"pattern": "mail.*", "retry": {"attempts_max": 2}}],
    "streams": [
        {"name": "fs", "retention_messages": 10, "keyed": True, "partitions": 2},
        {"pattern": "ord.*", "partitions": 4},
    ],
}


@on_a_loop
async def test_a_worker_leaves_queues_and_streams_as_rules_say() -> None:
    async with Gapless("memory:", config=RULES, random=Random(7)) as gl:
        read = []

        @gl.queue("fixed")
        async def fixed(n: int) -> None: ...

        @gl.queue("mail.a", lease="5s")
        async def mail(n: int) -> None: ...

        @gl.stream("fs", group="g", partitions=2)
        async def fs(n: int) -> None: ...

        @gl.stream("ord.y", group="g")
        async def order(n: int, message: Message) -> None:
            read.append(n)

        async with gl.worker():
            await gl.append_many("ord.y", range(20))
            await until(lambda: sorted(read) == list(range(20)))
        streams = {each.stream: each.options for each in (await gl.streams.list()).streams}
        assert streams["fs"] == FullStreamSettings(partitions=2, keyed=True, retention_messages=10)
        assert streams["ord.y"] == FullStreamSettings(partitions=4)
        queues = {each.queue: each.options for each in (await gl.queues.list()).queues}
        assert queues["fixed"] == QueueOptions(waiting_max=4)
        assert queues["mail.a"] == QueueOptions(retry=Retry(attempts_max=2), lease_ms=5_000)


@on_a_loop
async def test_a_reader_that_says_nothing_reads_all_partitions_that_there_are() -> None:
    async with Gapless("memory:", random=Random(7)) as gl:
        await gl.streams.declare("orders", StreamSettings(partitions=4))
        read = []

        @gl.stream("orders", group="g")
        async def order(n: int) -> None:
            read.append(n)

        async with gl.worker():
            await asyncio.gather(*(gl.append("orders", n, partition=n) for n in range(4)))
            await until(lambda: sorted(read) == [0, 1, 2, 3])


@on_a_loop
async def test_a_channel_is_read_whether_something_was_published_or_will_be() -> None:
    async with Gapless("memory:", random=Random(7)) as gl:
        read = []

        @gl.stream("alerts", group="push")
        async def alerts(n: int) -> None:
            read.append(n)

        @gl.stream("news", group="push", channel=True)
        async def news(n: int) -> None:
            read.append(n)

        await gl.publish("alerts", 1)
        async with gl.worker():
            await gl.publish("alerts", 2)
            await gl.publish("news", 3)
            await until(lambda: sorted(read) == [1, 2, 3])
        assert [each.stream for each in (await gl.streams.list()).streams] == []


@on_a_loop
async def test_a_result_is_kept_where_the_queue_says_so_and_not_the_handler() -> None:
    async with Gapless("memory:", random=Random(7)) as gl:
        await gl.queues.declare("sum", QueueSettings(result_ms=60_000))

        @gl.queue("sum")
        async def add(n: int) -> int:
            return n + 1

        @gl.queue("opaque")
        async def opaque(n: int) -> object:
            return object()  # which nobody keeps, so that it need be no JSON

        async with gl.worker() as worker:
            kept = await add.enqueue(1)
            await opaque.enqueue(1)
            assert (await gl.jobs.result(kept.id, wait="10s")).value == 2
            await until(lambda: worker.counters.done == 2)


@on_a_loop
async def test_a_queue_that_is_dropped_meanwhile_is_made_again() -> None:
    async with Gapless("memory:", random=Random(7)) as gl:
        done = []

        @gl.queue("mail", waiting=9)
        async def send(n: int) -> None:
            done.append(n)

        async with gl.worker():
            await send.enqueue(1)
            await until(lambda: done == [1])
            await gl.queues.drop("mail")
            await send.enqueue(2)
            await until(lambda: done == [1, 2])
        [mail] = (await gl.queues.list()).queues
        assert mail.options == QueueOptions(waiting_max=9)
