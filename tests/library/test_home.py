"""Where a connection lives while the loops that use it come and go."""

import asyncio
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from gapless import Gapless
from gapless.core.errors import StoreRefused
from tests.server.running import KEY, running

JOIN = """
import sys
from gapless import Gapless
gl = Gapless(sys.argv[1])
print(gl.sync.queues.stats("mail").queues[0].ready)
"""


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:{tmp_path / 'app.db'}"


def mails(url: str) -> tuple[Gapless, Any]:
    gl = Gapless(url)

    @gl.queue("mail")
    async def send(number: int) -> None: ...

    return gl, send


def ready(gl: Gapless) -> int:
    return gl.sync.queues.stats("mail").queues[0].ready


def joined(url: str) -> int:
    """Return how many jobs another process sees."""
    done = subprocess.run([sys.executable, "-c", JOIN, url], capture_output=True, timeout=60, check=True)
    return int(done.stdout)


@pytest.mark.parametrize("order", ["aaa", "asa", "saa", "ass"])
def test_a_loop_for_each_request_may_come_before_and_after_calls_without_one(url: str, order: str) -> None:
    gl, send = mails(url)
    for number, view in enumerate(order, 1):
        assert (asyncio.run(send.enqueue(number)) if view == "a" else send.send_sync(number)).fresh
        assert ready(gl) == number
    gl.sync.close()


def test_what_is_in_memory_outlasts_the_loops_that_use_it() -> None:
    gl, send = mails("memory:")
    for _ in range(3):
        asyncio.run(send.enqueue(1))
    assert ready(gl) == 3
    gl.sync.close()


def test_another_process_joins_one_that_has_used_up_three_loops(url: str) -> None:
    gl, send = mails(url)
    for _ in range(3):
        asyncio.run(send.enqueue(1))
    assert joined(url) == 3
    gl.sync.close()


def test_it_is_closed_on_one_loop_and_opened_again_by_the_next(url: str) -> None:
    gl, send = mails(url)
    for number in (1, 2, 3):
        asyncio.run(send.enqueue(number))
        asyncio.run(gl.close())
        assert not gl.is_open
        assert joined(url) == number
    assert asyncio.run(_within(gl, send)) == 4


async def _within(gl: Gapless, send: Any) -> int:
    async with gl:
        await send.enqueue(4)
        return (await gl.queues.stats("mail")).queues[0].ready


def test_neither_threads_nor_descriptors_are_left_by_loops_that_ended(url: str) -> None:
    gl, send = mails(url)
    asyncio.run(send.enqueue(1))
    threads, descriptors = threading.active_count(), len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        asyncio.run(send.enqueue(1))
    asyncio.run(gl.close())
    asyncio.run(_within(gl, send))
    asyncio.run(send.enqueue(1))
    assert threading.active_count() == threads
    assert len(os.listdir("/proc/self/fd")) == descriptors
    gl.sync.close()


def test_a_server_is_reached_over_the_same_connections_by_loop_after_loop() -> None:
    async def serve() -> None:
        async with running() as node:
            gl = Gapless(f"http://127.0.0.1:{node.port}", api_key=KEY)
            for number in range(1, 4):
                await asyncio.to_thread(asyncio.run, gl.publish("chat:1", number))
            page = await gl.history("chat:1")
            following = gl.subscribe("chat:1", after=page.publications[1].cursor)
            assert (await anext(following)).data == 3
            await following.aclose()
            await gl.close()

    asyncio.run(serve())


def test_what_a_loop_took_with_it_is_opened_anew_and_nothing_acknowledged_is_lost(url: str) -> None:
    """Opened by name on a loop, and never closed."""
    gl, send = mails(url)

    async def first() -> None:
        await gl.__aenter__()
        await send.enqueue(1)

    asyncio.run(first())
    asyncio.run(send.enqueue(2))
    assert joined(url) == ready(gl) == 2
    gl.sync.close()


def test_others_join_what_a_loop_left_behind_though_nobody_uses_it_again(url: str) -> None:
    gl, send = mails(url)

    async def first() -> None:
        await gl.__aenter__()
        await send.enqueue(1)

    asyncio.run(first())
    assert joined(url) == 1


def test_a_loop_that_stands_still_is_told_and_not_waited_for() -> None:
    gl = Gapless("memory:")
    loop = asyncio.new_event_loop()
    loop.run_until_complete(gl.__aenter__())
    with pytest.raises(StoreRefused, match="stands still"):
        gl.sync.publish("news", 1)
    with pytest.raises(StoreRefused, match="stands still"):
        asyncio.run(gl.close())
    assert gl.is_open
    loop.run_until_complete(gl.close())
    loop.close()


def test_a_worker_opens_what_is_not_open_and_closes_it_again(url: str) -> None:
    gl, done = Gapless(url), asyncio.Event()

    @gl.queue("mail")
    async def send(number: int) -> None:
        done.set()

    async def work() -> None:
        async with gl.worker():
            await send.enqueue(1)
            await asyncio.wait_for(done.wait(), 10)
        assert not gl.is_open
        async with gl:
            async with gl.worker():
                pass
            assert gl.is_open

    asyncio.run(work())
