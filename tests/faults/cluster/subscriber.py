"""A client of several nodes that writes down all it is told: it comes back, elsewhere, with its position."""

import asyncio
import itertools
import json
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

import aiohttp

from gapless.protocol.codes import reconnects
from gapless.server.clock import LoopClock
from gapless.server.parting import pause
from tests.faults.cluster.events import Recorder
from tests.faults.cluster.network import Network

__all__ = ["Place", "Subscriber"]

SILENCE_SECONDS = 2.5  # the servers of these tests ping every second
OPENING_SECONDS = 3
BACK_MS = (10, 150)
STAY_SECONDS = 0.3

Place = tuple[str, str]
"""What a node is called, and where it is reached: http://…, without a path."""


class Subscriber:
    """Follows channels at one of several nodes; when it loses it, at the next."""

    def __init__(
        self, name: str, channels: Sequence[str], places: Sequence[Place], record: Recorder, dice: Random,
        network: Network,
    ) -> None:  # fmt: skip
        self.name = name
        self.received = 0
        self.token = ""
        self.away_ms: tuple[int, int] | None = None  # how long it is away, each time that it has been there
        self.positions: dict[str, tuple[str, int]] = {}
        self.live: set[str] = set()
        self._channels = channels
        self._places = itertools.cycle(places)
        self._record = record
        self._dice = dice
        self._network = network
        self._ids = itertools.count(1)
        self._asked: dict[int, str] = {}
        self._retries: set[asyncio.Task[None]] = set()
        self._leaves: asyncio.Timeout | None = None

    def stay(self) -> None:
        """Be away no more: not even when the time is over that it was to be there."""
        self.away_ms = None
        if self._leaves is not None and not self._leaves.expired():
            self._leaves.reschedule(None)

    def caught_up(self, ends: Mapping[str, tuple[str, int]]) -> bool:
        """Tell whether it follows every channel, and stands where these end."""
        return all(
            channel in self.live and self.positions[channel] == ends[channel]
            for channel in self._channels
            if channel in ends
        )

    async def run(self) -> None:
        """Follow, until cancelled."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=OPENING_SECONDS)
        async with aiohttp.ClientSession(timeout=timeout, connector=self._network.connector()) as session:
            while True:
                await self._once(session)
                await pause(LoopClock(), self._dice.randint(*(self.away_ms or BACK_MS)))

    async def _once(self, session: aiohttp.ClientSession) -> None:
        """Be connected once, however it ends."""
        _, url = next(self._places)
        opening = session.ws_connect(url.replace("http", "ws", 1) + "/connection/websocket", autoping=True)
        code = 0
        try:
            async with asyncio.timeout(OPENING_SECONDS):
                socket = await opening
        except (OSError, aiohttp.ClientError, TimeoutError):
            return
        try:
            async with asyncio.timeout(STAY_SECONDS if self.away_ms else None) as self._leaves:
                await self._talk(socket)
        except (OSError, aiohttp.ClientError, TimeoutError):
            pass
        finally:
            self._leaves = None
            code = socket.close_code or 0
            self._record(self.name, "disconnected", code=code if 3000 <= code < 5000 else 0)
            self.live.clear()
            self._asked.clear()
            for retry in self._retries:
                retry.cancel()
            if socket._response.connection is not None:  # no time is spent on parting with who is not there
                socket._response.connection.close()

    async def _talk(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        connect = {"id": next(self._ids), "connect": {"token": self.token} if self.token else {}}
        await socket.send_str(json.dumps(connect))
        for channel in self._channels:
            await self._ask(socket, channel)
        while True:
            # Not wait_for: that of Python 3.11 forgets a cancellation that comes together with a message.
            async with asyncio.timeout(SILENCE_SECONDS):
                message = await socket.receive()
            if message.type is not aiohttp.WSMsgType.TEXT:
                return
            for line in message.data.splitlines():
                await self._heard(socket, json.loads(line))

    async def _ask(self, socket: aiohttp.ClientWebSocketResponse, channel: str) -> None:
        id = next(self._ids)
        self._asked[id] = channel
        request: dict[str, Any] = {"channel": channel, "recoverable": True}
        if channel in self.positions:
            epoch, offset = self.positions[channel]
            request |= {"recover": True, "epoch": epoch, "offset": offset}
        await socket.send_str(json.dumps({"id": id, "subscribe": request}))

    async def _heard(self, socket: aiohttp.ClientWebSocketResponse, reply: dict[str, Any]) -> None:
        if not reply:
            await socket.send_str("{}")
        elif "push" in reply:
            await self._pushed(socket, reply["push"])
        elif (channel := self._asked.pop(reply.get("id", 0), None)) is not None:
            if "error" in reply:
                self._refused(socket, channel, reply["error"])
            else:
                self._subscribed(channel, reply["subscribe"])

    def _subscribed(self, channel: str, result: dict[str, Any]) -> None:
        since = self.positions.get(channel)
        recovered = result.get("recovered", False)
        at = (result.get("epoch", ""), result.get("offset", 0))
        self._record(self.name, "subscribed", channel=channel, position=at, since=since, recovered=recovered)
        self.positions[channel] = at
        self.live.add(channel)
        for publication in result.get("publications", ()):
            self._published(channel, publication)

    def _published(self, channel: str, publication: dict[str, Any]) -> None:
        epoch, _ = self.positions[channel]
        at = (epoch, publication.get("offset", 0))
        self._record(self.name, "delivered", publication["data"]["id"], channel, at)
        self.positions[channel] = at
        self.received += 1

    async def _pushed(self, socket: aiohttp.ClientWebSocketResponse, push: dict[str, Any]) -> None:
        channel = push.get("channel", "")
        if "pub" in push:
            self._published(channel, push["pub"])
        elif "unsubscribe" in push:
            code = push["unsubscribe"]["code"]
            self._record(self.name, "unsubscribed", channel=channel, code=code)
            self.live.discard(channel)
            if code >= 2500:
                await self._ask(socket, channel)
        elif "disconnect" in push:
            assert reconnects(push["disconnect"]["code"]), push

    def _refused(self, socket: aiohttp.ClientWebSocketResponse, channel: str, error: dict[str, Any]) -> None:
        if not error.get("temporary"):
            self._record(self.name, "refused", channel=channel, code=error["code"])
        retry = asyncio.get_running_loop().create_task(self._ask_again(socket, channel))
        self._retries.add(retry)
        retry.add_done_callback(self._retries.discard)

    async def _ask_again(self, socket: aiohttp.ClientWebSocketResponse, channel: str) -> None:
        await pause(LoopClock(), self._dice.randint(*BACK_MS))
        try:
            await self._ask(socket, channel)
        except (OSError, aiohttp.ClientError):
            pass
