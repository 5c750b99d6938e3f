"""Keeps a connection to a server, over picows: comes back when it is lost, with a growing wait."""

import asyncio
import ssl
from collections.abc import Callable
from random import Random
from typing import Final, Protocol

from msgspec import Struct
from picows import WSError, WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from gapless.client.following import Event, Following
from gapless.core.errors import BadRequest, PermissionDenied, Unavailable
from gapless.core.limits import CONNECT_MS, SILENCE_MS
from gapless.ports import Clock, Timer
from gapless.protocol.codes import reconnects

__all__ = ["Connection", "Talk", "Watcher", "backoff_ms", "follow"]

FIRST_WAIT_MS: Final = 200
WAIT_MS_MAX: Final = 20_000
NO_CODE: Final = 1005  # RFC 6455, 7.4.1


class Watcher(Struct, frozen=True):
    """Who is told: of each event, of the connection being there, and of its loss: why, and the wait in ms."""

    deliver: Callable[[Event], object]
    connected: Callable[[], object]
    lost: Callable[[str, int], object]


def backoff_ms(attempt: int, random: Random) -> int:
    """Return how long to wait before attempt number `attempt` (from 0): up to twice as long each time."""
    most_ms = min(WAIT_MS_MAX, FIRST_WAIT_MS << min(attempt, 10))
    return most_ms // 2 + random.randrange(most_ms // 2 + 1)


async def follow(
    url: str,
    following: Following,
    watcher: Watcher,
    *,
    clock: Clock,
    random: Random,
    tls: ssl.SSLContext | None = None,
) -> None:
    """Follow a channel of the server at the WebSocket `url` until cancelled.

    `tls` says whom to trust at a `wss://` URL; without it those whom the machine does.

    Raises:
        UsageError: the server refuses for good.
    """
    attempt = 0
    while True:
        connection = Connection(following, watcher, clock)
        try:
            await connection.run(url, tls)
            reason = "the connection ended"
        except (OSError, WSError, TimeoutError, BadRequest, Unavailable) as error:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        attempt = 0 if connection.served else attempt + 1
        wait_ms = backoff_ms(attempt, random)
        watcher.lost(reason, wait_ms)
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        timer = clock.after(wait_ms, lambda over=over: over.set_result(None))  # type: ignore[misc]
        try:
            await over
        finally:
            timer.cancel()


class Talk(Protocol):
    """The client's side of a connection. `ping_ms`: how often the server is heard; 0: not known yet."""

    ping_ms: int

    def hello(self) -> bytes:
        """Return what to send first."""

    def take(self, payload: bytes) -> tuple[list[Event], bytes]:
        """Take what the server sent; return what arrived, and what to answer, if anything."""


class Connection(WSListener):
    """One connection, until it ends."""

    def __init__(self, following: Talk, watcher: Watcher, clock: Clock) -> None:
        self.served = False
        self._following = following
        self._watcher = watcher
        self._clock = clock
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._heard = False
        self._timer: Timer | None = None
        self._transport: WSTransport | None = None

    async def run(self, url: str, tls: ssl.SSLContext | None) -> None:
        """Return when the connection has ended, or raise why."""
        try:
            await self._open(url, tls)
            await self._ended
        finally:
            self._let_go()

    def say(self, data: bytes) -> None:
        """Send something more, while it is open."""
        assert self._transport is not None
        self._transport.send(WSMsgType.TEXT, data)

    async def _open(self, url: str, tls: ssl.SSLContext | None) -> None:
        opening = asyncio.ensure_future(
            ws_connect(lambda: self, url, ssl_context=tls, websocket_handshake_timeout=None)
        )
        timer = self._clock.after(CONNECT_MS, opening.cancel)
        try:
            await opening
        except asyncio.CancelledError:
            if _cancelling():
                raise
            raise TimeoutError("the server does not answer") from None
        finally:
            timer.cancel()

    def _let_go(self) -> None:
        if not self._ended.cancel() and not self._ended.cancelled():
            self._ended.exception()  # whoever was waiting for it may have been cancelled
        if self._transport is not None:
            self._transport.disconnect(False)
        if self._timer is not None:
            self._timer.cancel()

    # picows' calls.

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Say who we are, and what we want."""
        self._transport = transport
        transport.send(WSMsgType.TEXT, self._following.hello())
        self._watch(transport)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Take what the server says, unless the connection is given up."""
        if self._ended.done():
            return
        self._heard = True
        try:
            if frame.msg_type is WSMsgType.CLOSE:
                self._closed(frame.get_payload_as_bytes())
            elif frame.msg_type is WSMsgType.TEXT and frame.fin:
                self._received(transport, frame.get_payload_as_bytes())
            elif frame.msg_type not in (WSMsgType.PING, WSMsgType.PONG):
                raise BadRequest("the server sent what is not a whole text")
        except Exception as error:
            self._end(error)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """Nothing more will come."""
        self._end(None)

    def _received(self, transport: WSTransport, payload: bytes) -> None:
        events, answer = self._following.take(payload)
        if answer:
            transport.send(WSMsgType.TEXT, answer)
        if not self.served and self._following.ping_ms:
            self.served = True
            self._watcher.connected()
        for event in events:
            self._watcher.deliver(event)

    def _closed(self, payload: bytes) -> None:
        code, reason = int.from_bytes(payload[:2]) or NO_CODE, payload[2:].decode(errors="replace")
        if not reconnects(code):
            raise PermissionDenied(f"the server closed the connection for good: {reason} ({code})")
        raise Unavailable(f"the server closed the connection: {reason} ({code})")

    def _watch(self, transport: WSTransport) -> None:
        """Give up a connection on which the server is not heard for longer than its pings are apart."""

        def look() -> None:
            if self._heard:
                self._watch(transport)
            else:
                self._end(TimeoutError("the server is not heard any more"))

        self._heard = False
        self._timer = self._clock.after(self._following.ping_ms + SILENCE_MS, look)

    def _end(self, error: Exception | None) -> None:
        if self._ended.done():
            return
        if error is None:
            self._ended.set_result(None)
        else:
            self._ended.set_exception(error)


def _cancelling() -> bool:
    """Tell whether this task itself is being cancelled."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
