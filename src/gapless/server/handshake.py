"""The opening handshake of a WebSocket (RFC 6455, section 4), and what it chooses."""

import re
from collections.abc import Callable
from functools import partial
from typing import Final
from urllib.parse import parse_qs

from aiofastnet import Transport

from gapless.ports import Clock
from gapless.server.addresses import Addresses
from gapless.server.origin import Origins
from gapless.server.request import Refused, Request
from gapless.server.socket import Accept, Handshake
from gapless.server.websocket import WebSocket, WebSocketLimits

__all__ = ["WebSocketEndpoint"]

_PROTOCOLS: Final = {"centrifuge-json": False, "centrifuge-protobuf": True}
_KEY: Final = re.compile(rb"[A-Za-z0-9+/]{22}==")  # 16 bytes in base64
# picows wants the head as it knows it: it does not take Firefox's `Connection: keep-alive, Upgrade`.
_HEAD: Final = (
    b"GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %b\r\n\r\n"
)


class WebSocketEndpoint:
    """Where WebSockets are opened: `upgrade` takes a connection over, `accept` makes its session.

    `admit` is asked with the client's address before; it raises `Refused`.
    """

    def __init__(
        self,
        accept: Accept,
        clock: Clock,
        *,
        origins: Origins | None = None,
        addresses: Addresses | None = None,
        admit: Callable[[str], object] | None = None,
        limits: WebSocketLimits | None = None,
    ) -> None:
        self.accept = accept
        self.clock = clock
        self.origins = origins or Origins()
        self.addresses = addresses or Addresses()
        self.admit = admit or _all
        self.limits = limits or WebSocketLimits()

    def upgrade(self, request: Request, transport: Transport, rest: bytes) -> None:
        """Answer the opening handshake (RFC 6455, 4.2); `rest` is what came after it. Raises `Refused`."""
        key = _checked_key(request)
        headers = _joined(request.headers)
        if not self.origins.allow(headers.get("origin"), headers.get("host", "")):
            raise Refused(403, "this origin is not allowed")
        address = self.addresses.of(request.address, request.headers)
        self.admit(address)
        subprotocol = _choose_subprotocol(headers.get("sec-websocket-protocol", ""))
        handshake = Handshake(
            request.decoded_path(),
            request.query.decode("ascii"),
            headers,
            address,
            _PROTOCOLS.get(subprotocol, False) or _asks_for_protobuf(request.query),
        )
        socket = WebSocket(transport, self.clock, self.limits, partial(self.accept, handshake))
        socket.take_over(subprotocol, _HEAD % key + rest)


def _all(address: str) -> None:
    """Admit."""


def _checked_key(request: Request) -> bytes:
    if request.method != b"GET" or request.version != "1.1":
        raise Refused(400, "a WebSocket is opened with GET and HTTP/1.1")
    if request.header(b"sec-websocket-version") != b"13":
        raise Refused(426, "WebSocket version 13 is spoken here", b"sec-websocket-version: 13\r\n")
    key = request.header(b"sec-websocket-key") or b""
    if not _KEY.fullmatch(key):
        raise Refused(400, "malformed Sec-WebSocket-Key")
    return key


def _joined(headers: list[tuple[bytes, bytes]]) -> dict[str, str]:
    joined: dict[str, str] = {}
    for field, content in headers:
        name, value = field.decode("ascii"), content.decode("latin-1")
        joined[name] = f"{joined[name]}, {value}" if name in joined else value
    return joined


def _choose_subprotocol(offered: str) -> str:
    """Take the first that is known; without one, none is answered."""
    return next((name for name in map(str.strip, offered.split(",")) if name in _PROTOCOLS), "")


def _asks_for_protobuf(query: bytes) -> bool:
    if not query:
        return False
    fields = parse_qs(query.decode("latin-1"))
    return fields.get("format") == ["protobuf"] or fields.get("cf_protocol") == ["protobuf"]
