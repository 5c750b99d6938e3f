"""What declared functions need is made, and what is there stays: over each of the doors."""

import pytest

from gapless.core.errors import BadRequest, UnknownStream
from gapless.core.jobs import QueueOptions
from gapless.protocol.groups import HeartbeatRequest
from gapless.protocol.settings import FullStreamSettings, QueueSettings, StreamSettings
from tests.library.conftest import Opened
from tests.server.serving import on_a_loop


@on_a_loop
async def test_declared_functions_leave_as_it_is_what_they_do_not_say(opened: Opened) -> None:
    async with opened() as gl:
        await gl.streams.declare("orders", StreamSettings(partitions=4, keyed=True, retention_messages=10))
        await gl.queues.declare("mail", QueueSettings(waiting_max=4, result_ms=60_000))

        @gl.stream("orders", group="billing")
        async def bill(n: int) -> None: ...

        @gl.stream("orders", group="search", keep_for="1h", audit=True)
        async def index(n: int) -> None: ...

        @gl.queue("mail", lease="5s")
        async def send(n: int) -> None: ...

        await gl.declare()
        [orders] = [each for each in (await gl.streams.list()).streams if each.stream == "orders"]
        assert orders.options == FullStreamSettings(
            partitions=4, keyed=True, retention_messages=10, retention_ms=3_600_000, audit=True
        )
        [mail] = (await gl.queues.list()).queues
        assert mail.options == QueueOptions(waiting_max=4, result_ms=60_000, lease_ms=5_000)


@on_a_loop
async def test_a_function_reads_the_channel_that_is_there(opened: Opened) -> None:
    async with opened() as gl:
        await gl.publish("room", 1)

        @gl.stream("room", group="push")
        async def push(n: int) -> None: ...

        @gl.stream("events", group="push")
        async def on_event(n: int) -> None: ...

        await gl.declare()
        streams = {each.stream for each in (await gl.streams.list()).streams}
        assert "events" in streams
        assert "room" not in streams
        request = HeartbeatRequest(source="room", group="push", member="m-1")
        assert len((await gl.streams.heartbeat(request)).held) == 1
        assert [message.offset for message in (await gl.streams.page("room")).messages] == [1]
        with pytest.raises(UnknownStream, match="'room' is a channel and no stream"):
            await push.append(2)
        with pytest.raises(BadRequest, match="'room' is a channel that has messages"):
            await gl.streams.declare("room")
        with pytest.raises(BadRequest, match="'events' is a stream"):
            await gl.publish("events", 1)


@on_a_loop
async def test_a_channel_can_be_read_before_anything_is_published(opened: Opened) -> None:
    async with opened() as gl:

        @gl.stream("room", group="push", channel=True)
        async def push(n: int) -> None: ...

        await gl.declare()
        request = HeartbeatRequest(source="room", group="push", member="m-1", channel=True)
        [held] = (await gl.streams.heartbeat(request)).held
        assert held.position.offset == 0
        await gl.publish("room", 1)
        assert [message.offset for message in (await gl.streams.page("room")).messages] == [1]
        await gl.streams.declare("orders")
        request = HeartbeatRequest(source="orders", group="push", member="m-1", channel=True)
        with pytest.raises(BadRequest, match="is a stream, and not a channel"):
            await gl.streams.heartbeat(request)
