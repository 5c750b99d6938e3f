"""A worker in a group with others: it takes what it is given, and lets go of what is not its own any more."""

import asyncio
from random import Random
from typing import Any

import pytest

from gapless import Gapless
from gapless.core.errors import ConfigError, UnknownStream
from gapless.protocol.groups import HeartbeatAnswer, HeartbeatRequest, LagRequest, LeaveRequest, SeekRequest
from gapless.protocol.reading import Edge
from gapless.protocol.streams import TrimRequest
from tests.server.serving import HandClock, on_a_loop
from tests.worker.test_inside import until


async def members(gl: Gapless) -> list[str]:
    """Return who holds each partition; nothing before the group has begun."""
    try:
        answer = await gl.ask("stream/lag", LagRequest(source="orders", group="billing"))
    except UnknownStream:
        return []
    return [partition.member for partition in answer.partitions]


async def beat(gl: Gapless, member: str) -> HeartbeatAnswer:
    request = HeartbeatRequest(source="orders", group="billing", member=member)
    answer: HeartbeatAnswer = await gl.ask("stream/heartbeat", request)
    return answer


@on_a_loop
async def test_workers_that_come_and_go_are_heard_of_at_once() -> None:
    seen: list[int] = []
    async with Gapless("memory:", random=Random(7)) as gl:

        @gl.stream("orders", group="billing", partitions=2, session="10m")
        async def on_order(n: int) -> None:
            seen.append(n)

        async with gl.worker():
            await until(lambda: _has_members(gl, 1))
            async with gl.worker():
                await until(lambda: _has_members(gl, 2))
                await gl.append_many("orders", [0], partition=0)
                await gl.append_many("orders", [1], partition=1)
                await until(lambda: sorted(seen) == [0, 1])
            await until(lambda: _has_members(gl, 1))
            await gl.append_many("orders", [2], partition=0)
            await gl.append_many("orders", [3], partition=1)
            await until(lambda: sorted(seen) == [0, 1, 2, 3])
        assert await members(gl) == ["", ""]


async def _has_members(gl: Gapless, count: int) -> bool:
    """Tell whether so many members hold all partitions."""
    held = await members(gl)
    return bool(held) and all(held) and len(set(held)) == count


@on_a_loop
async def test_a_commit_that_comes_too_late_is_refused_and_told(caplog: pytest.LogCaptureFixture) -> None:
    clock, seen, go_on = HandClock(), [], asyncio.Event()
    async with Gapless("memory:", random=Random(7)) as gl:

        @gl.stream("orders", group="billing")
        async def on_order(n: int) -> None:
            seen.append(n)
            await go_on.wait()

        await gl.declare()
        await gl.append("orders", 0)
        async with gl.worker(clock=clock):
            await until(lambda: seen == [0])
            [member] = await members(gl)
            await gl.ask("stream/leave", LeaveRequest(source="orders", group="billing", member=member))
            assert len((await beat(gl, "other")).held) == 1
            go_on.set()
            await until(lambda: "partition 0 of orders is another's" in caplog.text)
            answer = await gl.ask("stream/lag", LagRequest(source="orders", group="billing"))
            assert answer.lag == 1


@on_a_loop
async def test_a_group_that_is_sought_goes_on_there_at_once() -> None:
    seen = []
    async with Gapless("memory:", random=Random(7)) as gl:

        @gl.stream("orders", group="billing", session="10m")
        async def on_order(n: int) -> None:
            seen.append(n)

        await gl.declare()
        await gl.append_many("orders", range(3))
        async with gl.worker():
            await until(lambda: seen == [0, 1, 2])
            await gl.ask("stream/seek", SeekRequest(source="orders", group="billing", to=Edge.EARLIEST))
            await until(lambda: seen == [0, 1, 2, 0, 1, 2])


@on_a_loop
async def test_a_partition_that_halts_is_told_by_a_worker_that_is_well() -> None:
    async with Gapless("memory:", random=Random(7)) as gl:

        @gl.stream("orders", group="billing", session="10m")
        async def on_order(n: int) -> None: ...

        await gl.declare()
        async with gl.worker():
            await gl.append_many("orders", [0])
            await until(lambda: _has_members(gl, 1))
        await gl.append_many("orders", range(3))
        await gl.ask("stream/trim", TrimRequest(stream="orders", partition=0, offset=3))
        async with gl.worker() as worker:
            await until(lambda: worker.health()["halted"])
            health = worker.health()
            assert health["well"]
            assert health["halted"][0].startswith("partition 0 of orders: ")
            await gl.ask("stream/seek", SeekRequest(source="orders", group="billing", to=Edge.EARLIEST))
            await until(lambda: not worker.health()["halted"])


class Hasty(Gapless):
    """A server that does not wait, and counts the heartbeats that it is asked for."""

    beats = 0

    async def ask(self, verb: str, request: Any) -> Any:
        """See `Gapless.ask`."""
        if isinstance(request, HeartbeatRequest):
            self.beats += 1
            request.wait_ms = 0
        return await super().ask(verb, request)


@on_a_loop
async def test_a_server_that_does_not_wait_is_not_asked_all_the_time() -> None:
    clock, seen = HandClock(), []
    async with Hasty("memory:", random=Random(7)) as gl:

        @gl.stream("orders", group="billing", session="30s")
        async def on_order(n: int) -> None:
            seen.append(n)

        async with gl.worker(clock=clock):
            while clock.now_ms() < 120_000:
                clock.move(50)
                for _ in range(20):
                    await asyncio.sleep(0)
            assert 12 <= gl.beats < 30
            await on_order.append(1)
            await until(lambda: seen == [1])


@on_a_loop
async def test_a_session_has_its_bounds() -> None:
    async with Gapless("memory:", random=Random(7)) as gl:
        for session in ("999ms", "11m"):
            with pytest.raises(ConfigError, match=r"session: .* is not from 1s to 10m"):

                @gl.stream("orders", group="billing", session=session)
                async def on_order(n: int) -> None: ...

        @gl.stream("orders", group="billing")
        async def bill(n: int) -> None: ...

        with pytest.raises(ConfigError, match="a session lasts from 1s to 10m, not 500ms"):
            await gl.run_worker(session="500ms")
