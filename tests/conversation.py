"""Conversations with a session: commands in, replies out, over a socket that only remembers."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Coroutine
from itertools import count
from random import Random
from typing import Any

from msgspec.structs import replace

from gapless import backends
from gapless.backends import Options
from gapless.broker.broker import Broker
from gapless.broker.namespaces import Namespace, Namespaces
from gapless.broker.tokens import Claims, Grant, Override, SubscriptionClaims
from gapless.core.errors import TokenExpired, Unauthorized
from gapless.ports import Clock, Timer
from gapless.protocol.messages import NO_PAYLOAD, Payload, payload
from gapless.server.session import Session
from gapless.server.sessions import SessionOptions, Sessions
from gapless.server.socket import Handshake
from gapless.server.traffic import Traffic

T = 1_700_000_000_000

OPEN = Namespace(
    allow_subscribe_for_client=True,
    allow_subscribe_for_anonymous=True,
    allow_publish_for_client=True,
    allow_publish_for_anonymous=True,
    allow_history_for_client=True,
    allow_history_for_anonymous=True,
    allow_presence_for_client=True,
    allow_presence_for_anonymous=True,
)


class HandClock(Clock):
    """A clock that a test moves by hand."""

    def __init__(self) -> None:
        self._now_ms = T
        self._timers: list[tuple[int, int, HandTimer]] = []
        self._turn = count()

    def now_ms(self) -> int:
        return self._now_ms

    def after(self, delay_ms: int, callback: Callable[[], object]) -> Timer:
        timer = HandTimer(callback)
        self._timers.append((self._now_ms + delay_ms, next(self._turn), timer))
        return timer

    def pass_ms(self, ms: int) -> None:
        end_ms = self._now_ms + ms
        while due := [entry for entry in self._timers if entry[0] <= end_ms]:
            first = min(due)
            self._timers.remove(first)
            self._now_ms = max(self._now_ms, first[0])
            if not first[2].cancelled:
                first[2].callback()
        self._now_ms = end_ms


class HandTimer:
    def __init__(self, callback: Callable[[], object]) -> None:
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class MemorySocket:
    """A socket that remembers what was written; `full_bytes` makes it full once so much was."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.closed_with: tuple[int, str] | None = None
        self.full_bytes: int | None = None
        self.reading = True
        self.counted: Traffic | None = None
        self.session: Session | None = None

    def write(self, data: bytes) -> None:
        self.frames.append(data)
        if self.full_bytes is not None and self.buffered_bytes() > self.full_bytes and self.session:
            self.session.writing_paused()

    def drain(self) -> None:
        """Let the peer take everything that waits."""
        self.full_bytes = None
        assert self.session is not None
        self.session.writing_resumed()

    def close(self, code: int, reason: str) -> None:
        self.closed_with = (code, reason)

    def buffered_bytes(self) -> int:
        """All that was written, when the peer takes nothing; else nothing."""
        return 0 if self.full_bytes is None else sum(map(len, self.frames))

    def traffic(self) -> Traffic | None:
        return self.counted

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


def payloads(data: bytes) -> list[bytes]:
    """Split unmasked frames into payloads."""
    found = []
    while data:
        size, start = data[1], 2
        if size == 126:
            size, start = int.from_bytes(data[2:4]), 4
        elif size == 127:
            size, start = int.from_bytes(data[2:10]), 10
        found.append(data[start : start + size])
        data = data[start + size :]
    return found


class Peer:
    """A client in JSON: says commands, hears replies."""

    def __init__(self, stage: "Stage", address: str = "127.0.0.1") -> None:
        self.socket = MemorySocket()
        self.session = stage.sessions.accept(Handshake("", address, False), self.socket)
        self.socket.session = self.session
        self._id = 0
        self._unread: list[dict[str, Any]] = []

    def say(self, *commands: dict[str, Any] | str) -> None:
        """Send commands, numbered unless they are text to be sent as it stands."""
        lines = []
        for command in commands:
            if isinstance(command, dict) and "send" not in command:
                self._id += 1
                command = {"id": self._id, **command}
            lines.append(command if isinstance(command, str) else json.dumps(command))
        self.session.received("\n".join(lines).encode(), False)

    def heard(self) -> list[dict[str, Any]]:
        """Take out what the server has written."""
        unread, self._unread = self._unread, []
        frames, self.socket.frames = self.socket.frames, []
        return unread + [json.loads(line) for f in frames for p in payloads(f) for line in p.split(b"\n")]

    async def ask(self, *commands: dict[str, Any] | str) -> list[dict[str, Any]]:
        """Send commands and return what was heard once the node is at rest."""
        self.say(*commands)
        await rest()
        return self.heard()

    async def connect(self, **request: Any) -> dict[str, Any]:
        [reply] = await self.ask({"connect": request})
        return reply

    async def follow(self, channel: str, **request: Any) -> dict[str, Any]:
        """Subscribe; return the result or error. What follows the reply is heard later."""
        reply, *self._unread = await self.ask({"subscribe": {"channel": channel, **request}})
        result: dict[str, Any] = reply.get("subscribe", reply)
        return result

    def offsets(self) -> list[int]:
        """Take out what was heard, and return the offsets of the publications."""
        return [r["push"]["pub"].get("offset", 0) for r in self.heard() if "pub" in r.get("push", {})]


async def rest() -> None:
    """Let the node finish what it can without time passing."""
    for _ in range(12):
        await asyncio.sleep(0)


class Stage:
    """A node over a memory store, with its clock in the test's hand."""

    def __init__(self, clock: HandClock, broker: Broker, sessions: Sessions, tokens: "PlainTokens") -> None:
        self.clock = clock
        self.broker = broker
        self.sessions = sessions
        self.tokens = tokens

    def peer(self, address: str = "127.0.0.1") -> Peer:
        return Peer(self, address)

    async def reader(self, channel: str, **request: Any) -> Peer:
        peer = self.peer()
        await peer.connect()
        await peer.follow(channel, **request)
        peer.heard()
        return peer

    async def publish(self, channel: str, *data: Any) -> None:
        for item in data:
            self.broker.publish(channel, json.dumps(item).encode(), lambda outcome: None)
        await rest()


def token(user: str, channel: str = "", *, until_ms: int = 0, **claims: Any) -> str:
    """Return a token: of a connection, or with a channel of a subscription. `info`, `data` are any JSON,
    `override` and what `subs` hold are like `Override` and these claims; `jti`, `iat_ms` name the token."""
    return json.dumps({"user": user, "channel": channel, "until_ms": until_ms, **claims})


class PlainTokens:
    """Stands in for tokens and their signature: what `token` returns, `user`, and `user@milliseconds`.

    Between `fetch` and `fetched`, keys are being fetched.
    """

    def __init__(self) -> None:
        self.fetching: asyncio.Future[None] | None = None

    def fetch(self) -> None:
        self.fetching = asyncio.get_running_loop().create_future()

    def fetched(self) -> None:
        assert self.fetching is not None
        self.fetching.set_result(None)
        self.fetching = None

    def ready(self, token: str, *, subscription: bool = False) -> Awaitable[None] | None:
        return asyncio.shield(self.fetching) if self.fetching is not None else None

    def connection(self, token: str, now_ms: int) -> Claims:
        said = self._said(token, now_ms)
        subscriptions = {channel: _grant(each) for channel, each in said.get("subs", {}).items()}
        return Claims(
            said["user"],
            said["until_ms"],
            _raw(said, "info"),
            subscriptions=subscriptions,
            token_id=said.get("jti", ""),
            issued_ms=said.get("iat_ms", 0),
            queues=said.get("queues", {}),
            streams=said.get("streams", {}),
        )

    def subscription(self, token: str, now_ms: int) -> SubscriptionClaims:
        said = self._said(token, now_ms)
        issued = {"token_id": said.get("jti", ""), "issued_ms": said.get("iat_ms", 0)}
        return SubscriptionClaims(said["user"], said.get("channel", ""), replace(_grant(said), **issued))

    def _said(self, token: str, now_ms: int) -> dict[str, Any]:
        if token.startswith("{"):
            said: dict[str, Any] = json.loads(token)
        else:
            user, _, until = token.partition("@")
            said = {"user": user, "until_ms": int(until or 0)}
        if said["user"] == "forged":
            raise Unauthorized("the signature does not match")
        if 0 < said["until_ms"] <= now_ms:
            raise TokenExpired("the token has expired")
        return said


def _grant(said: dict[str, Any]) -> Grant:
    override = Override(**said.get("override", {}))
    return Grant(_raw(said, "info"), _raw(said, "data"), override, said.get("until_ms", 0))


def _raw(said: dict[str, Any], name: str) -> Payload:
    return payload(json.dumps(said[name]).encode()) if name in said else NO_PAYLOAD


def play(
    scene: Callable[[Stage], Coroutine[Any, Any, None]],
    *named: Namespace,
    without: Namespace = OPEN,
    **options: Any,
) -> None:
    """Run `scene` on a fresh node."""

    async def run() -> None:
        loop = asyncio.get_running_loop()
        clock = HandClock()
        store = await backends.open("memory:", Options(now_ms=clock.now_ms))
        broker = Broker(store, clock, Namespaces(without=without, named=named), soon=loop.call_soon)
        await broker.open()
        tokens = PlainTokens()
        given = SessionOptions(**{"allow_anonymous_connect_without_token": True, **options})
        sessions = Sessions(broker, clock, given, tokens=tokens, random=Random(1))
        try:
            await scene(Stage(clock, broker, sessions, tokens))
        finally:
            await broker.close()
            await store.close()

    asyncio.run(run())
