"""A follower comes back by itself, waits longer each time, and gives up a silent server."""

import asyncio
from random import Random
from typing import Any

import pytest

from gapless.client.connection import Watcher, backoff_ms, follow
from gapless.client.following import Arrived, Event, Following, Missed
from gapless.core.errors import PermissionDenied
from gapless.core.limits import SILENCE_MS
from gapless.protocol.codes import Disconnect
from tests.server.running import call, running
from tests.server.serving import HandClock, on_a_loop, until

INSECURE: dict[str, Any] = {"client": {"insecure": True}}


class Heard:
    """What a follower told, and the follower."""

    def __init__(self, port: int, clock: HandClock, channel: str = "chat:1", token: str = "") -> None:
        self.events: list[Event] = []
        self.losses: list[tuple[str, int]] = []
        self.connects = 0
        self.following = Following(channel, token=token)
        watcher = Watcher(deliver=self.events.append, connected=self.connected, lost=self.lost)
        url = f"ws://127.0.0.1:{port}/connection/websocket"
        self.task = asyncio.create_task(follow(url, self.following, watcher, clock=clock, random=Random(1)))

    def connected(self) -> None:
        self.connects += 1

    def lost(self, reason: str, wait_ms: int) -> None:
        self.losses.append((reason, wait_ms))

    def data(self) -> list[bytes]:
        return [event.data for event in self.events if isinstance(event, Arrived)]

    async def until(self, count: int) -> None:
        await until(lambda: len(self.data()) >= count)

    async def loss(self) -> int:
        """Wait for the next loss, and return how long the follower waits then."""
        await until(lambda: bool(self.losses))
        return self.losses.pop()[1]

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


@on_a_loop
async def test_nothing_is_missed_while_the_connection_is_away() -> None:
    async with running(INSECURE) as node:
        clock = HandClock()
        heard = Heard(node.port, clock)
        await until(lambda: heard.following.position is not None)
        for number in (0, 2, 4):
            await call(node, "/api/publish", {"channel": "chat:1", "data": number})
            await heard.until(number + 1)
            (session,) = node.sessions.all
            session.disconnected(Disconnect.FORCE_RECONNECT)
            wait_ms = await heard.loss()
            await call(node, "/api/publish", {"channel": "chat:1", "data": number + 1})
            clock.move(wait_ms)
            await heard.until(number + 2)
        assert heard.data() == [b"0", b"1", b"2", b"3", b"4", b"5"]
        assert heard.connects == 4
        assert not any(isinstance(event, Missed) for event in heard.events)
        await heard.stop()


@on_a_loop
async def test_a_server_that_is_not_there_is_tried_again() -> None:
    async with running(INSECURE) as node:
        port = node.port
    clock = HandClock()
    heard = Heard(port, clock)
    for _ in range(3):
        clock.move(await heard.loss())
    await heard.stop()


@on_a_loop
async def test_a_server_that_refuses_for_good_is_not_asked_again() -> None:
    async with running() as node:
        heard = Heard(node.port, HandClock(), token="no token")
        with pytest.raises(PermissionDenied, match="3500"):
            await heard.task


@on_a_loop
async def test_a_server_that_falls_silent_is_given_up() -> None:
    async with running(INSECURE) as node:
        clock = HandClock()
        heard = Heard(node.port, clock)
        await until(lambda: heard.following.position is not None)
        clock.move(heard.following.ping_ms + SILENCE_MS)  # what was heard until now counts
        assert heard.losses == []
        clock.move(heard.following.ping_ms + SILENCE_MS)
        await until(lambda: bool(heard.losses))
        assert "not heard" in heard.losses[0][0]
        await heard.stop()


def test_the_wait_doubles_up_to_a_limit_and_is_never_the_same_for_all() -> None:
    waits = [{backoff_ms(attempt, Random(seed)) for seed in range(100)} for attempt in range(12)]
    assert all(len(spread) > 50 for spread in waits)
    assert min(waits[0]) >= 100
    assert max(waits[0]) <= 200
    assert min(waits[11]) >= 10_000
    assert max(waits[11]) <= 20_000
