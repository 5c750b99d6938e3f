"""What cannot be is refused in clear words, through every door, and leaves nothing behind."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from msgspec import Struct

from gapless import Gapless
from gapless.core.errors import (
    BadRequest,
    GaplessError,
    PositionLost,
    UnknownChannel,
    UnknownQueue,
    UnknownStream,
)
from gapless.core.jobs import State
from gapless.core.stream import Position
from gapless.protocol.groups import HeartbeatRequest, SeekRequest
from gapless.protocol.messages import payload
from gapless.protocol.queues import NewJob
from gapless.protocol.schedules import ScheduleRequest
from gapless.protocol.settings import StreamSettings
from tests.library.conftest import Opened
from tests.server.serving import on_a_loop

NULL = payload(b"null")
TOO_LARGE = "x" * 70_000
NEVER = "0 0 30 2 *"

Call = Callable[[Gapless], Awaitable[object]]
BAD: dict[str, tuple[Call, type[GaplessError], str]] = {
    "a queue with a typing error": (lambda gl: gl.enqueue("mial", 1), UnknownQueue, "mial"),
    "one of several queues": (
        lambda gl: gl.send_jobs([NewJob(queue="mail", data=NULL), NewJob(queue="mial", data=NULL)]),
        UnknownQueue,
        "mial",
    ),
    "a claim with a typing error": (lambda gl: gl.claim("mial", wait="20s"), UnknownQueue, "mial"),
    "a stream with a typing error": (lambda gl: gl.append("oders", 1), UnknownStream, "oders"),
    "a page of a stream with a typing error": (lambda gl: gl.streams.page("oders"), UnknownStream, "oders"),
    "a member of a group with a typing error": (
        lambda gl: gl.ask("stream/heartbeat", HeartbeatRequest(source="oders", group="readers", member="m")),
        UnknownStream,
        "oders",
    ),
    "the history of a stream with a typing error": (
        lambda gl: gl.history("stream:oders/0"),
        UnknownChannel,
        "no partition",
    ),
    "the history of a partition that is not there": (
        lambda gl: gl.history("stream:orders/1"),
        UnknownChannel,
        "no partition",
    ),
    "a schedule into nowhere": (
        lambda gl: gl.schedules.add(ScheduleRequest(name="s", queue="mial", data=NULL, every_ms=1_000)),
        UnknownQueue,
        "mial",
    ),
    "a job over the limit": (lambda gl: gl.enqueue("mail", TOO_LARGE), BadRequest, "bytes"),
    "one of several jobs over the limit": (
        lambda gl: gl.enqueue_many("mail", [1, TOO_LARGE, 3]),
        BadRequest,
        "bytes",
    ),
    "a message over the limit": (lambda gl: gl.append("orders", TOO_LARGE), BadRequest, "bytes"),
    "a cron expression that never fires": (
        lambda gl: gl.schedules.add(ScheduleRequest(name="s", queue="mail", data=NULL, cron=NEVER)),
        BadRequest,
        "never",
    ),
    "a malformed cron expression": (
        lambda gl: gl.schedules.add(ScheduleRequest(name="s", queue="mail", data=NULL, cron="* *")),
        BadRequest,
        "'[*] [*]' is no cron expression: wrong number of fields",
    ),
    "a header that is no text": (
        lambda gl: gl.enqueue("mail", 1, headers={"a": 5}),  # type: ignore[dict-item]
        BadRequest,
        "headers: 'a' is int, and has to be text",
    ),
    "a place in a channel that is a number": (
        lambda gl: gl.history("news", after=5),  # type: ignore[arg-type]
        BadRequest,
        "5 is no place: a cursor, a position, or a datetime",
    ),
    "a read from an offset beyond the end": (
        lambda gl: gl.streams.page("orders", 7),
        PositionLost,
        "offset 7 is beyond the end",
    ),
    "a read from a negative offset": (
        lambda gl: gl.streams.page("orders", -1),
        BadRequest,
        "-1 is no place",
    ),
    "a seek to an offset beyond the end": (
        lambda gl: gl.streams.seek("orders", "readers", 99_999),
        PositionLost,
        "offset 99999 is beyond the end: the partition has offsets 1 to 1",
    ),
    "a seek in an empty partition": (
        lambda gl: gl.ask("stream/seek", SeekRequest(source="empty", group="readers", offset=7)),
        PositionLost,
        "offset 7 is beyond the end: the partition is empty, and the next offset is 1",
    ),
    "a seek beyond the end": (
        lambda gl: gl.streams.seek("orders", "readers", {0: Position(EPOCH, 7)}),
        PositionLost,
        "beyond the end: the partition has offsets 1 to 1",
    ),
    "a seek to another timeline": (
        lambda gl: gl.streams.seek("orders", "readers", {0: Position("elsewhere", 1)}),
        PositionLost,
        "timeline",
    ),
    "a seek in a partition that is not there": (
        lambda gl: gl.streams.seek("orders", "readers", "earliest", partitions=[1]),
        BadRequest,
        "partition",
    ),
    "a seek of a group that is not there": (
        lambda gl: gl.streams.seek("orders", "raeders", "earliest"),
        UnknownStream,
        "raeders",
    ),
}
EPOCH = "the stream's own"  # stands for it, which is not known before


async def stands(gl: Gapless) -> tuple[object, ...]:
    """Return all that a refused call might have changed."""
    return (
        [(each.queue, each.ready, each.delayed) for each in (await gl.queues.list()).queues],
        [each.stream for each in (await gl.streams.list()).streams if each.stream != "gapless.audit"],
        (await gl.schedules.list()).schedules,
        (await gl.streams.lag("orders", "readers")).partitions[0].position,
        [each.group for each in (await gl.streams.groups()).groups],
    )


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_leaves_nothing_behind(
    name: str, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, refusal, words = BAD[name]

    @on_a_loop
    async def scene() -> None:
        async with opened() as gl:
            await gl.queues.declare("mail")
            await gl.streams.declare("orders", StreamSettings(partitions=1))
            monkeypatch.setitem(globals(), "EPOCH", (await gl.append("orders", 1)).epoch)
            await gl.streams.declare("empty", StreamSettings(partitions=1))
            for source in ("orders", "empty"):
                joined = HeartbeatRequest(source=source, group="readers", member="m-1")
                await gl.ask("stream/heartbeat", joined)
            before = await stands(gl)
            with pytest.raises(refusal, match=words):
                await bad(gl)
            assert await stands(gl) == before

    scene()


@on_a_loop
async def test_a_function_for_times_that_never_come_is_not_served(opened: Opened) -> None:
    async with opened() as gl:

        @gl.cron(NEVER)
        async def in_vain() -> None:
            raise AssertionError

        with pytest.raises(BadRequest, match="never"):
            async with gl.worker():
                pass


class Order(Struct):
    total: int


@on_a_loop
async def test_a_job_that_does_not_fit_its_handler_is_dead_at_once_and_says_why(opened: Opened) -> None:
    handled: list[Order] = []
    async with opened() as gl:

        @gl.queue("orders")
        async def handle(order: Order) -> None:
            handled.append(order)

        await gl.declare()
        unfit = await gl.enqueue("orders", {"total": "much"})
        unread = await gl.enqueue("orders", b"\xff")
        fit = await gl.enqueue("orders", {"total": 1})
        async with gl.worker():
            await until(lambda: _all_dead(gl, unfit.id, unread.id))
            await until(lambda: _has(handled, 1))
        for enqueued, words in ((unfit, "total"), (unread, "JSON")):
            job = await gl.jobs.look(enqueued.id)
            assert (job.state, job.attempt) == (State.DEAD, 1)
            assert words in job.reason
        assert handled == [Order(1)]
        assert fit.fresh
        await gl.jobs.redrive("orders", ids=[unfit.id], payload={"total": 2})
        async with gl.worker():
            await until(lambda: _has(handled, 2))
        assert handled == [Order(1), Order(2)]


async def until(true: Callable[[], Awaitable[bool]]) -> None:
    while True:
        if await true():
            return
        await asyncio.sleep(0)


async def _has(handled: list[Order], count: int) -> bool:
    return len(handled) == count


async def _all_dead(gl: Gapless, *ids: str) -> bool:
    return {(await gl.jobs.look(id)).state for id in ids} == {State.DEAD}


@pytest.mark.parametrize("url", ["memory:", "sqlite:app.db"])
@on_a_loop
async def test_a_channel_is_a_stream_once_something_was_published(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with Gapless(url) as gl:
        await gl.publish("room", 1)
        await gl.streams.heartbeat(HeartbeatRequest(source="room", group="readers", member="m-1"))
        assert [message.offset for message in (await gl.streams.page("room")).messages] == [1]
        with pytest.raises(UnknownStream, match="publish to the channel first"):
            await gl.streams.page("rom")
        with pytest.raises(UnknownStream, match="declare the stream"):
            await gl.streams.heartbeat(HeartbeatRequest(source="rom", group="readers", member="m-1"))
        found = (await gl.streams.groups()).groups
        assert [(each.source, each.group) for each in found] == [("room", "readers")]
