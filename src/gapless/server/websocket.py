"""WebSocket (RFC 6455) over picows, with what picows leaves to its caller.

That is: reserved bits, the order of fragments, the size of a whole message, UTF-8, the closing handshake,
and an end to every wait. Of picows remain the parser of single frames and the answer to the handshake.
"""

import logging
from codecs import IncrementalDecoder, getincrementaldecoder
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, cast

from aiofastnet import Transport
from picows import (
    WSAutoPingStrategy,
    WSFrame,
    WSListener,
    WSMsgType,
    WSTransport,
    WSUpgradeRequest,
    WSUpgradeResponseWithListener,
)
from picows.picows import WSProtocol  # type: ignore[attr-defined] # compiled, and not in the stubs

from gapless.core.limits import (
    CLOSE_MS,
    FRAGMENTS_MAX,
    MESSAGE_BYTES_MAX,
    SOCKET_HIGH_BYTES,
)
from gapless.ports import Clock, Timer
from gapless.protocol.websocket import close_payload
from gapless.server.socket import Receiver, Socket

__all__ = ["WebSocket", "WebSocketLimits"]

# Close codes (RFC 6455, 7.4.1); the last two are never sent.
NORMAL: Final = 1000
PROTOCOL_ERROR: Final = 1002
INVALID_TEXT: Final = 1007
POLICY_VIOLATION: Final = 1008
TOO_BIG: Final = 1009
INTERNAL_ERROR: Final = 1011
NO_CODE: Final = 1005
LOST: Final = 1006

# What may come from a peer (RFC 6455, 7.4) besides the codes of libraries and applications.
_REGISTERED: Final = frozenset(range(1000, 1015)) - {1004, NO_CODE, LOST}
_TEXT: Final = WSMsgType.TEXT
_BINARY: Final = WSMsgType.BINARY
_READ_BUFFER_BYTES: Final = 2048  # picows' least; it doubles as frames ask for it
_SWITCHING: Final = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n%b\r\n"
_OPEN, _CLOSING, _CLOSED = range(3)  # the second: our close frame is out, the receiver is not told yet

log: Final = logging.getLogger("gapless.websocket")
utf8_decoder = getincrementaldecoder("utf-8")


@dataclass(frozen=True, slots=True)
class WebSocketLimits:
    """What one message of a peer may be, what may wait for the peer, and how long its end may take."""

    message_bytes_max: int = MESSAGE_BYTES_MAX
    fragments_max: int = FRAGMENTS_MAX
    high_bytes: int = SOCKET_HIGH_BYTES
    close_ms: int = CLOSE_MS


class WebSocket(WSListener):
    """One open WebSocket: the `Socket` of a session, and what picows calls."""

    __slots__ = (
        "_accept", "_binary", "_clock", "_code", "_decoder", "_fragments", "_limits", "_message", "_reason",
        "_receiver", "_state", "_timer", "_transport", "_ws", "write",
    )  # fmt: skip

    def __init__(
        self,
        transport: Transport,
        clock: Clock,
        limits: WebSocketLimits,
        accept: Callable[[Socket], Receiver],
    ) -> None:
        self.write: Callable[[bytes], object] = transport.write_nocheck
        self._transport = transport
        self._clock = clock
        self._limits = limits
        self._accept: Callable[[Socket], Receiver] | None = accept
        self._ws: WSTransport | None = None
        self._receiver: Receiver | None = None
        self._timer: Timer | None = None
        self._state = _OPEN
        self._code, self._reason = LOST, ""
        # A message that arrives in fragments.
        self._message: bytearray | None = None
        self._binary = False
        self._fragments = 0
        self._decoder: IncrementalDecoder | None = None

    def take_over(self, subprotocol: str, data: bytes) -> None:
        """Answer the handshake and take what follows it; `data` is a head as picows wants it, and that."""
        transport = self._transport
        protocol = self._protocol(subprotocol)
        transport.set_write_buffer_limits(high=self._limits.high_bytes)
        transport.set_protocol(protocol)
        protocol.connection_made(_Connection(transport))
        while data and not transport.is_closing():
            buffer = protocol.get_buffer(-1)
            piece, data = data[: len(buffer)], data[len(buffer) :]
            buffer[: len(piece)] = piece
            protocol.buffer_updated(len(piece))

    def _protocol(self, subprotocol: str) -> Any:
        response = WSUpgradeResponseWithListener(cast(Any, _SwitchingProtocols(subprotocol)), self)

        def listen(request: WSUpgradeRequest) -> WSUpgradeResponseWithListener:
            return response

        never_ping = (False, 0, 0, WSAutoPingStrategy.PING_WHEN_IDLE)
        pong = False  # ours to send, so that nothing follows a close frame
        server = (None, None, False, listen, _Log(self), False, None)
        return WSProtocol(
            *server, *never_ping, pong, self._limits.message_bytes_max, None, _READ_BUFFER_BYTES
        )

    # For the session.

    def close(self, code: int, reason: str) -> None:
        """See `Socket.close`."""
        if self._state is _OPEN:
            self._state = _CLOSING
            self._code, self._reason = code, reason
            self._send_close(code, reason)

    def buffered_bytes(self) -> int:
        """See `Socket.buffered_bytes`."""
        return self._transport.get_write_buffer_size()

    def pause_reading(self) -> None:
        """See `Socket.pause_reading`."""
        if self._state is _OPEN:
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """See `Socket.resume_reading`."""
        self._transport.resume_reading()

    # For picows.

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Make the session."""
        accept, self._accept = self._accept, None
        assert accept is not None
        self._ws = transport
        transport.request.headers.clear()
        try:
            self._receiver = accept(self)
        except Exception:
            log.exception("a connection could not be accepted")
            self._fail(INTERNAL_ERROR, "internal error")
            return
        if self.buffered_bytes() > self._limits.high_bytes:
            self.pause_writing()

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Take a frame; nearly all are whole messages."""
        kind = frame.msg_type
        if self._state is not _OPEN:
            if kind is WSMsgType.CLOSE:
                self._transport.close()
        elif frame.rsv1 or frame.rsv2 or frame.rsv3:
            self._fail(PROTOCOL_ERROR, "reserved bits are set")
        elif (kind is _TEXT or kind is _BINARY) and frame.fin and self._message is None:
            payload = frame.get_payload_as_bytes()
            if kind is _BINARY or payload.isascii() or _is_utf8(payload):
                self._deliver(payload, kind is _BINARY)
            else:
                self._fail(INVALID_TEXT, "text is not UTF-8")
        else:
            self._take_other(kind, frame)

    def _take_other(self, kind: WSMsgType, frame: WSFrame) -> None:
        if kind is WSMsgType.PING:
            self._pong(frame)
        elif kind is WSMsgType.CLOSE:
            code: Any = frame.get_close_code()  # an IntEnum, whatever the stubs say
            self._peer_closes(int(code) if frame.payload_size else NO_CODE, frame.get_close_reason())
        elif kind is not WSMsgType.PONG:
            self._take_fragment(kind, frame)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """Tell the session, unless it knows, and let go."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._tell(self._code, self._reason)
        self._ws = None

    def pause_writing(self) -> None:
        """The transport's buffer went over its high mark."""
        if self._receiver is not None and self._state is _OPEN:
            self._receiver.writing_paused()

    def resume_writing(self) -> None:
        """The transport's buffer went below its low mark."""
        if self._receiver is not None and self._state is _OPEN:
            self._receiver.writing_resumed()

    def gave_up(self, code: int, reason: str) -> None:
        """The parser met what is no frame; picows sends a close frame, if none was sent, and ends it."""
        if self._state is not _OPEN:
            return
        handshake: Any = cast(WSTransport, self._ws).close_handshake  # None, whatever the stubs say
        if handshake is not None and handshake.recv is not None:
            # Nothing counts behind a close frame, and picows has read it, but not delivered it yet.
            self._peer_closes(int(handshake.recv.code) or NO_CODE, handshake.recv.reason)
        else:
            self._tell(code, reason)
            self._end_soon()

    # Messages.

    def _deliver(self, payload: bytes, binary: bool) -> None:
        try:
            cast(Receiver, self._receiver).received(payload, binary)
        except Exception:
            log.exception("a session failed")
            self._fail(INTERNAL_ERROR, "internal error")

    def _take_fragment(self, kind: WSMsgType, frame: WSFrame) -> None:
        message = self._message
        if (message is None) is (kind is WSMsgType.CONTINUATION):
            self._fail(PROTOCOL_ERROR, "fragments are out of order")
            return
        if message is None:
            message = self._message = bytearray()
            self._fragments = 0
            self._binary = kind is _BINARY
            self._decoder = None if self._binary else utf8_decoder()
        self._continue(message, frame)

    def _continue(self, message: bytearray, frame: WSFrame) -> None:
        limits = self._limits
        payload = frame.get_payload_as_bytes()
        self._fragments += 1
        if len(message) + len(payload) > limits.message_bytes_max:
            self._fail(TOO_BIG, f"a message may have {limits.message_bytes_max} bytes")
        elif self._fragments > limits.fragments_max:
            self._fail(POLICY_VIOLATION, f"a message may have {limits.fragments_max} fragments")
        elif self._decoder is not None and not _continues_utf8(self._decoder, payload, last=bool(frame.fin)):
            self._fail(INVALID_TEXT, "text is not UTF-8")
        else:
            message += payload
            if frame.fin:
                self._message = self._decoder = None
                self._deliver(bytes(message), self._binary)

    def _pong(self, frame: WSFrame) -> None:
        # A peer that asks without taking the answers gets none: RFC 6455 (5.5.3) allows to leave them out.
        if self.buffered_bytes() <= self._limits.high_bytes:
            cast(WSTransport, self._ws).send_pong(frame.get_payload_as_bytes())

    # The end.

    def _peer_closes(self, code: int, reason: str | None) -> None:
        """Answer the peer's close frame, and be the one that ends the connection (RFC 6455, 7.1.1)."""
        if code == NO_CODE:
            self._send_close(NORMAL, "")
        elif code in _REGISTERED or 3000 <= code <= 4999:
            self._send_close(code, "")
        else:
            code, reason = PROTOCOL_ERROR, "no such close code"
            self._send_close(code, reason)
        self._tell(code, reason or "")
        self._transport.close()

    def _fail(self, code: int, reason: str) -> None:
        """Close because of the peer, or because of a bug; what still arrives is dropped."""
        log.debug("frames refused", extra={"code": code, "reason": reason})
        self._send_close(code, reason)
        self._tell(code, reason)

    def _tell(self, code: int, reason: str) -> None:
        receiver, self._receiver = self._receiver, None
        self._state = _CLOSED
        self._message = self._decoder = None
        if receiver is not None:
            try:
                receiver.closed(code, reason)
            except Exception:
                log.exception("a session failed to end")

    def _send_close(self, code: int, reason: str) -> None:
        """Send a close frame and give the peer a moment to answer it."""
        cast(WSTransport, self._ws).send_close(cast(Any, code), close_payload(code, reason)[2:])
        self._transport.resume_reading()  # to see the answer
        self._end_soon()

    def _end_soon(self) -> None:
        if self._timer is None:
            self._timer = self._clock.after(self._limits.close_ms, self._transport.abort)


class _Connection:
    """The transport and its socket, as picows sees them: it neither sets what the front has set, nor asks.

    That saves it twelve calls into the kernel and the socket module for each connection.
    """

    __slots__ = ("_transport",)

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def write(self, data: bytes) -> None:
        """Pass on: the answer to the handshake, and control frames."""
        self._transport.write_nocheck(data)

    def get_write_buffer_size(self) -> int:
        """Pass on."""
        return self._transport.get_write_buffer_size()

    def close(self) -> None:
        """Pass on."""
        self._transport.close()

    def abort(self) -> None:
        """Pass on."""
        self._transport.abort()

    def get_extra_info(self, name: str) -> object:
        """Be the socket, and secure, so that all that is sent goes through the transport."""
        return self

    def fileno(self) -> int:
        """Name no descriptor."""
        return -1

    def setsockopt(self, *option: int) -> None:
        """Leave it as it is."""

    def getsockopt(self, *option: int) -> int:
        """Tell nothing: it is for the log."""
        return 0


class _SwitchingProtocols:
    """The answer to a handshake (RFC 6455, 4.2.2), which picows completes with what it accepts."""

    __slots__ = ("headers",)

    status: Final = 101

    def __init__(self, subprotocol: str) -> None:
        self.headers = {"Sec-WebSocket-Protocol": subprotocol} if subprotocol else {}

    def to_bytes(self) -> bytearray:
        """Return the whole response."""
        fields = "".join([f"{name}: {content}\r\n" for name, content in self.headers.items()])
        return bytearray(_SWITCHING % fields.encode())


class _Log:
    """What picows logs, which is also how it tells that it gave up on a peer. One per connection."""

    __slots__ = ("_socket",)

    def __init__(self, socket: WebSocket) -> None:
        self._socket = socket

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 # logging's name
        """Keep picows from describing every read."""
        return False

    def debug(self, message: str, *args: object) -> None:
        """Pass on."""
        log.debug(message, *args)

    info = warning = debug

    def error(self, message: str, *args: object) -> None:
        """The parser refused a frame; its error's arguments are a close code and a reason."""
        log.debug(message, *args)
        match args:
            case [[int(code), str(reason)]]:
                self._socket.gave_up(int(code), reason)
            case _:
                self._socket.gave_up(PROTOCOL_ERROR, "")

    def exception(self, message: str, *args: object) -> None:
        """A bug, here or in picows."""
        log.exception(message, *args)
        self._socket.gave_up(INTERNAL_ERROR, "")


def _is_utf8(payload: bytes) -> bool:
    try:
        payload.decode()
    except UnicodeDecodeError:
        return False
    return True


def _continues_utf8(decoder: IncrementalDecoder, payload: bytes, *, last: bool) -> bool:
    try:
        decoder.decode(payload, last)
    except UnicodeDecodeError:
        return False
    return True
