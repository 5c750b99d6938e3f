"""Those who publish at several nodes, over HTTP and over WebSocket, and write down what they are told."""

import asyncio
import itertools
import json
import time
from collections.abc import Sequence
from random import Random
from typing import Any, Protocol

import aiohttp

from gapless.server.clock import LoopClock
from gapless.server.parting import pause
from tests.faults.cluster import calling
from tests.faults.cluster.calling import ANSWER_SECONDS, UNKNOWN
from tests.faults.cluster.events import Recorder
from tests.faults.cluster.network import Network
from tests.faults.cluster.subscriber import OPENING_SECONDS, Place

__all__ = ["HttpPublisher", "Publisher", "SocketPublisher"]

AGAIN_MS = (5, 60)
PIPELINED = 4


class Publisher(Protocol):
    """Publishes while `gate` is open, until cancelled; then what it began has ended."""

    acknowledged: int
    under_way: int  # messages of which it does not know yet what became of them

    async def run(self, gate: asyncio.Event) -> None:
        """Publish."""


class HttpPublisher:
    """Publishes one message after the other; with keys, until it knows that it is stored, anywhere."""

    def __init__(
        self, name: str, channels: Sequence[str], places: Sequence[Place], record: Recorder, dice: Random,
        network: Network, *, keyed: bool, pause_ms: int,
    ) -> None:  # fmt: skip
        self.acknowledged = 0
        self.under_way = 0
        self._name = name
        self._channels = channels
        self._places = itertools.cycle(places)
        self._at = next(self._places)
        self._record = record
        self._dice = dice
        self._keyed = keyed
        self._pause_ms = pause_ms
        self._network = network
        self._numbers = itertools.count(1)

    async def run(self, gate: asyncio.Event) -> None:
        """See `Publisher.run`."""
        async with calling.session(self._network) as session:
            while True:
                await gate.wait()
                await self._next(session)
                await pause(LoopClock(), self._dice.randint(0, self._pause_ms))

    async def _next(self, session: aiohttp.ClientSession) -> None:
        number = next(self._numbers)
        id, channel = f"{self._name}-{number}", self._dice.choice(self._channels)
        self.under_way = 1
        while not await self._tried(session, id, channel, number):
            self._at = next(self._places)
            await pause(LoopClock(), self._dice.randint(*AGAIN_MS))
            if not self._keyed:
                break
        self.under_way = 0

    async def _tried(self, session: aiohttp.ClientSession, id: str, channel: str, number: int) -> bool:
        node, url = self._at
        request: dict[str, Any] = {"channel": channel, "data": {"id": id}}
        origin = "" if self._keyed else self._name
        if self._keyed:
            request["idempotency_key"] = id
        now_ms = time.time_ns() // 1_000_000
        self._record(
            self._name, "invoke", id, channel, key=self._keyed, origin=origin, number=number, time_ms=now_ms
        )
        what, position, code = "unknown", ("", 0), 0
        try:
            async with session.post(f"{url}/api/publish", json=request) as response:
                answer = await response.json()
            what, position, code = _outcome(answer)
        except (OSError, aiohttp.ClientError, TimeoutError, json.JSONDecodeError):
            pass
        self._record(self._name, what, id, channel, position, node=node, code=code)
        self.acknowledged += what == "ok"
        return what == "ok"


def _outcome(answer: dict[str, Any]) -> tuple[str, tuple[str, int], int]:
    error = answer.get("error")
    if error is None:
        result = answer.get("result") or {}
        return "ok", (result.get("epoch", ""), result.get("offset", 0)), 0
    return ("unknown" if error["code"] == UNKNOWN else "fail"), ("", 0), error["code"]


class SocketPublisher:
    """Publishes several messages at once over a WebSocket, each once."""

    def __init__(
        self, name: str, channels: Sequence[str], places: Sequence[Place], record: Recorder, dice: Random,
        network: Network, *, pause_ms: int,
    ) -> None:  # fmt: skip
        self.acknowledged = 0
        self.under_way = 0
        self._name = name
        self._channels = channels
        self._places = itertools.cycle(places)
        self._record = record
        self._dice = dice
        self._pause_ms = pause_ms
        self._network = network
        self._numbers = itertools.count(1)
        self._connections = itertools.count(1)

    async def run(self, gate: asyncio.Event) -> None:
        """See `Publisher.run`."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=OPENING_SECONDS)
        async with aiohttp.ClientSession(timeout=timeout, connector=self._network.connector()) as session:
            while True:
                await gate.wait()
                node, url = next(self._places)
                url = url.replace("http", "ws", 1) + "/connection/websocket"
                try:
                    async with asyncio.timeout(OPENING_SECONDS):
                        socket = await session.ws_connect(url)
                except (OSError, aiohttp.ClientError, TimeoutError):
                    await pause(LoopClock(), self._dice.randint(*AGAIN_MS))
                    continue
                try:
                    await _Connection(self, socket, node, next(self._connections)).run(gate)
                finally:
                    if socket._response.connection is not None:
                        socket._response.connection.close()

    def begin(self, origin: str) -> tuple[int, str, str]:
        """Return the number, name and channel of a further message, which was written down."""
        number = next(self._numbers)
        id, channel = f"{self._name}-{number}", self._dice.choice(self._channels)
        self.under_way += 1
        now_ms = time.time_ns() // 1_000_000
        self._record(self._name, "invoke", id, channel, origin=origin, number=number, time_ms=now_ms)
        return number, id, channel

    def end(self, what: str, id: str, channel: str, node: str, code: int = 0) -> None:
        """Write down what became of it."""
        self._record(self._name, what, id, channel, node=node, code=code)
        self.under_way -= 1
        self.acknowledged += what == "ok"

    async def rest(self) -> None:
        """Wait a while, as long as dice say."""
        await pause(LoopClock(), self._dice.randint(0, self._pause_ms))

    @property
    def name(self) -> str:
        """Return what it is called."""
        return self._name


class _Connection:
    """One connection of a publisher: what was not answered when it ends is not known."""

    def __init__(
        self, publisher: SocketPublisher, socket: aiohttp.ClientWebSocketResponse, node: str, number: int
    ) -> None:
        self._publisher = publisher
        self._socket = socket
        self._node = node
        self._origin = f"{publisher.name}/{number}"
        self._asked: dict[int, tuple[str, str]] = {}

    async def run(self, gate: asyncio.Event) -> None:
        try:
            await self._socket.send_str('{"id":1,"connect":{}}')
            while True:
                await self._fill(gate)
                async with asyncio.timeout(ANSWER_SECONDS):
                    message = await self._socket.receive()
                if message.type is not aiohttp.WSMsgType.TEXT:
                    return
                for line in message.data.splitlines():
                    await self._heard(json.loads(line))
        except (OSError, aiohttp.ClientError, TimeoutError):
            pass
        finally:
            for id, channel in self._asked.values():
                self._publisher.end("unknown", id, channel, self._node)

    async def _fill(self, gate: asyncio.Event) -> None:
        """Have some messages under way."""
        if self._asked or not gate.is_set():
            return
        await self._publisher.rest()
        if not gate.is_set():
            return
        for _ in range(PIPELINED):
            number, id, channel = self._publisher.begin(self._origin)
            self._asked[number + 1] = (id, channel)
            publish = {"channel": channel, "data": {"id": id}}
            await self._socket.send_str(json.dumps({"id": number + 1, "publish": publish}))

    async def _heard(self, reply: dict[str, Any]) -> None:
        if not reply:
            await self._socket.send_str("{}")
        asked = self._asked.pop(reply.get("id", 0), None)
        if asked is None:
            return
        code = reply.get("error", {}).get("code", 0)
        what = "ok" if "error" not in reply else "unknown" if code == UNKNOWN else "fail"
        self._publisher.end(what, *asked, self._node, code)
