"""The opening handshake of a WebSocket (RFC 6455, section 4), and what it chooses."""

import re
from binascii import b2a_base64
from collections.abc import Callable, Collection, Mapping
from functools import partial
from hashlib import sha1
from typing import Final
from urllib.parse import parse_qs

from aiofastnet import Transport

from gapless.ports import Clock
from gapless.server.addresses import Addresses
from gapless.server.framing import Parsers
from gapless.server.origin import Origins
from gapless.server.request import Refused, Request
from gapless.server.socket import Accept, Handshake
from gapless.server.websocket import WebSocket, WebSocketLimits

__all__ = ["WebSocketEndpoint"]

_PROTOCOLS: Final = {"centrifuge-json": False, "centrifuge-protobuf": True}
_KEY: Final = re.compile(rb"[A-Za-z0-9+/]{22}==")  # 16 bytes in base64
_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3
_SWITCHING: Final = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Accept: %b\r\n%b\r\n"
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
        self.shown: Collection[bytes] = ()  # headers that hooks are shown, in lower case
        self._parsers = Parsers(self.limits.message_bytes_max)

    def upgrade(self, request: Request, transport: Transport, rest: bytes) -> None:
        """Answer the opening handshake (RFC 6455, 4.2); `rest` is what came after it. Raises `Refused`."""
        fields = _joined(request.headers)
        key = _checked_key(request, fields)
        origin = fields.get(b"origin")
        host = fields.get(b"host", b"").decode("latin-1")
        if not self.origins.allow(None if origin is None else origin.decode("latin-1"), host):
            raise Refused(403, "this origin is not allowed")
        address = self.addresses.of(request.address, request.headers)
        self.admit(address)
        subprotocol = _choose_subprotocol(fields.get(b"sec-websocket-protocol", b"").decode("latin-1"))
        binary = _PROTOCOLS.get(subprotocol, False) or _asks_for_protobuf(request.query)
        handshake = Handshake(
            request.query.decode("ascii"), address, binary, _shown(fields, self.shown) if self.shown else None
        )
        socket = WebSocket(transport, self.clock, self.limits, self._parsers)
        socket.open(_response(key, subprotocol), partial(self.accept, handshake), rest)


def _all(address: str) -> None:
    """Admit."""


def _shown(fields: Mapping[bytes, bytes], names: Collection[bytes]) -> dict[str, str]:
    return {name.decode(): fields[name].decode("latin-1") for name in names if name in fields}


def _joined(headers: list[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Return the fields by name, the values of a repeated one joined."""
    joined = dict(headers)
    if len(joined) < len(headers):
        joined.clear()
        for name, value in headers:
            joined[name] = b"%b, %b" % (joined[name], value) if name in joined else value
    return joined


def _checked_key(request: Request, fields: dict[bytes, bytes]) -> bytes:
    if request.method != b"GET" or request.version != "1.1":
        raise Refused(400, "a WebSocket is opened with GET and HTTP/1.1")
    if fields.get(b"sec-websocket-version") != b"13":
        raise Refused(426, "WebSocket version 13 is spoken here", b"sec-websocket-version: 13\r\n")
    key = fields.get(b"sec-websocket-key", b"")
    if not _KEY.fullmatch(key):
        raise Refused(400, "malformed Sec-WebSocket-Key")
    return key


def _choose_subprotocol(offered: str) -> str:
    """Take the first that is known; without one, none is answered."""
    if not offered:
        return ""
    return next((name for name in map(str.strip, offered.split(",")) if name in _PROTOCOLS), "")


def _response(key: bytes, subprotocol: str) -> bytes:
    """Return the answer to the handshake (RFC 6455, 4.2.2)."""
    accept = b2a_base64(sha1(key + _GUID, usedforsecurity=False).digest(), newline=False)
    chosen = b"Sec-WebSocket-Protocol: %b\r\n" % subprotocol.encode() if subprotocol else b""
    return _SWITCHING % (accept, chosen)


def _asks_for_protobuf(query: bytes) -> bool:
    if not query:
        return False
    fields = parse_qs(query.decode("latin-1"))
    return fields.get("format") == ["protobuf"] or fields.get("cf_protocol") == ["protobuf"]
