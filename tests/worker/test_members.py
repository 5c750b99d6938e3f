"""A worker in a group with others: it takes what it is given, and lets go of what is not its own any more."""

import asyncio
from random import Random

import pytest

from gapless import Gapless
from gapless.protocol.groups import HeartbeatAnswer, HeartbeatRequest, LagRequest, LeaveRequest, SeekRequest
from gapless.protocol.reading import Edge
from tests.server.serving import HandClock, on_a_loop
from tests.worker.test_inside import until

SESSION_MS = 30_000


async def members(gl: Gapless) -> list[str]:
    answer = await gl.ask("stream/lag", LagRequest(source="orders", group="billing"))
    return [partition.member for partition in answer.partitions]


async def beat(gl: Gapless, member: str) -> HeartbeatAnswer:
    answer: HeartbeatAnswer = await gl.ask(
        "stream/heartbeat", HeartbeatRequest(source="orders", group="billing", member=member)
    )
    return answer


@on_a_loop
async def test_what_another_member_leaves_is_taken_with_the_next_heartbeat() -> None:
    clock, seen = HandClock(), []
    async with Gapless("memory:", random=Random(7)) as gl:

        @gl.stream("orders", group="billing", partitions=2)
        async def on_order(n: int) -> None:
            seen.append(n)

        await gl.declare()
        await gl.append_many("orders", [0], partition=0)
        await gl.append_many("orders", [1], partition=1)
        await beat(gl, "other")
        async with gl.worker(clock=clock, session="30s"):
            await until(lambda: _both(gl))
            await beat(gl, "other")
            clock.move(SESSION_MS // 3)
            await until(lambda: len(seen) == 1)
            await gl.ask("stream/leave", LeaveRequest(source="orders", group="billing", member="other"))
            clock.move(SESSION_MS // 3)
            await until(lambda: sorted(seen) == [0, 1])


async def _both(gl: Gapless) -> bool:
    """Tell whether the worker has joined: the other is to give one of two partitions away."""
    return len((await beat(gl, "other")).held) == 1


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
async def test_a_group_that_is_sought_goes_on_there() -> None:
    clock, seen = HandClock(), []
    async with Gapless("memory:", random=Random(7)) as gl:

        @gl.stream("orders", group="billing")
        async def on_order(n: int) -> None:
            seen.append(n)

        await gl.declare()
        await gl.append_many("orders", range(3))
        async with gl.worker(clock=clock):
            await until(lambda: seen == [0, 1, 2])
            await gl.ask("stream/seek", SeekRequest(source="orders", group="billing", to=Edge.EARLIEST))
            clock.move(SESSION_MS // 3)
            await until(lambda: seen == [0, 1, 2, 0, 1, 2])
