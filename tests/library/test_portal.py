"""Without a loop: in a thread, in a script, after a fork, beside loops of others."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, assert_type

import pytest
from msgspec import Struct

from gapless import Gapless
from gapless.core.errors import BadRequest, ConfigError, UnknownChannel
from gapless.core.jobs import Enqueued
from gapless.core.stream import Position
from gapless.library.local import Local, configured
from tests.library.conftest import CONFIG
from tests.server.running import KEY, running


class Mail(Struct):
    to: str


def in_a_thread(work: Callable[[], Any]) -> Any:
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(work()))
    thread.start()
    thread.join()
    return found[0]


def test_every_verb_waits_where_there_is_no_loop() -> None:
    with Gapless("memory:", config=CONFIG).blocking() as b:
        first = assert_type(b.publish("chat:1", 1), Position | None)
        assert [p.data for p in b.history("chat:1", size=5).publications] == [1]
        b.publish("chat:1", 2)
        following = b.subscribe("chat:1", after=first)
        assert next(following).data == 2
        following.close()  # type: ignore[attr-defined]
        b.queues.declare("mail")
        assert_type(b.enqueue("mail", Mail("ada"), priority=3), Enqueued)
        [claimed] = b.claim("mail", wait="5s")
        assert b.jobs.look(claimed.id).attempt == 1
        b.streams.declare("orders")
        b.append("orders", 7)
        assert next(b.streams.follow("orders", "earliest"))[0] == 7
        with pytest.raises(UnknownChannel):
            b.publish("nowhere:1", 1)


def test_one_store_serves_all_threads_of_a_process() -> None:
    gl = Gapless("memory:")

    @gl.queue("mail")
    def send(mail: Mail) -> None: ...

    try:
        send.enqueue_sync(Mail("ada"))
        assert in_a_thread(lambda: send.send_sync(Mail("bob"))).fresh
        assert gl.sync.queues.stats("mail").queues[0].ready == 2
    finally:
        gl.sync.close()


def test_on_a_loop_s_own_thread_waiting_is_an_error() -> None:
    gl = Gapless("memory:")

    async def handler() -> None:
        with pytest.raises(BadRequest, match="await"):
            gl.sync.publish("news", 1)
        assert await asyncio.to_thread(gl.sync.publish, "news", 1) is not None
        await gl.close()

    asyncio.run(handler())


def test_other_threads_and_loops_reach_it_on_the_loop_that_it_lives_on() -> None:
    gl = Gapless("memory:")

    async def elsewhere() -> list[int]:
        told = []
        async for publication in gl.subscribe("news", after=start):
            told.append(publication.data)
            if len(told) == 2:
                break
        return told

    start: Position | None = None

    async def home() -> None:
        nonlocal start
        async with gl:
            start = await gl.publish("news", 0)
            await gl.publish("news", 1)
            await asyncio.to_thread(gl.sync.publish, "news", 2)
            assert await asyncio.to_thread(asyncio.run, elsewhere()) == [1, 2]

    asyncio.run(home())


def test_a_connection_is_made_anew_on_each_loop() -> None:
    async def serve() -> None:
        async with running() as node:
            gl = Gapless(f"http://127.0.0.1:{node.port}", api_key=KEY)
            for number in (1, 2):
                at = await asyncio.to_thread(asyncio.run, once(gl))
                assert at == number

    async def once(gl: Gapless) -> int:
        async with gl:
            at = await gl.publish("chat:1", {})
            assert at is not None
            return at.offset

    asyncio.run(serve())


def test_after_a_fork_the_child_has_a_connection_of_its_own() -> None:
    script = """
import os, sys
from gapless import Gapless
gl = Gapless("memory:")
assert gl.sync.publish("news", 1).offset == 1
pid = os.fork()
if pid == 0:
    assert gl.sync.publish("news", 1).offset == 1  # a store of its own: the parent's is not here
    sys.exit(0)
_, status = os.waitpid(pid, 0)
assert gl.sync.publish("news", 2).offset == 2
sys.exit(os.waitstatus_to_exitcode(status))
"""
    assert run(script) == (0, b"", b"")


def test_a_script_that_closes_nothing_ends_in_good_order(tmp_path: Path) -> None:
    script = (
        "import sys; from gapless import Gapless; print(Gapless(sys.argv[1]).sync.publish('n', 1).offset)"
    )
    for offset in (1, 2):
        assert run(script, f"sqlite:{tmp_path / 'app.db'}") == (0, b"%d\n" % offset, b"")


def test_importing_gapless_imports_nothing_else() -> None:
    script = """
import sys, gapless
print([name for name in sys.modules if name.startswith(("gapless.", "msgspec", "asyncio"))])
"""
    assert run(script) == (0, b"[]\n", b"")


def run(script: str, *arguments: str) -> tuple[int, bytes, bytes]:
    command = [sys.executable, "-c", script, *arguments]
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    return done.returncode, done.stdout, done.stderr


def test_another_way_to_the_store_is_taken_while_nothing_is_open() -> None:
    gl, made = Gapless("sqlite:/nowhere/at/all.db"), list[Local]()

    def make() -> Local:
        made.append(Local(configured("memory:", CONFIG), Random(7)))
        return made[-1]

    gl.through(make)
    with gl.blocking() as b:
        assert b.publish("chat:1", 1) is not None
        assert len(made) == 1
        with pytest.raises(ConfigError, match="open"):
            gl.through(make)
