"""WebSocket (RFC 6455) over picows' parser of frames, with all that is not the matter of a single frame.

That is: reserved bits, the order of fragments, the size of a whole message, UTF-8, the closing handshake,
and an end to every wait.
"""

import asyncio
import logging
import socket
import struct
from codecs import IncrementalDecoder, getincrementaldecoder
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from aiofastnet import Transport
from picows import WSFrame, WSMsgType

from gapless.core.limits import (
    CLOSE_MS,
    FRAGMENTS_MAX,
    MESSAGE_BYTES_MAX,
    SOCKET_HIGH_BYTES,
)
from gapless.ports import Clock, Timer
from gapless.protocol.websocket import close_frame, pong_frame
from gapless.server.framing import NO_CODE, Parser, Parsers
from gapless.server.socket import Receiver, Socket
from gapless.server.traffic import Traffic, traffic

__all__ = ["WebSocket", "WebSocketLimits"]

# Close codes (RFC 6455, 7.4.1); the last is never sent.
NORMAL: Final = 1000
PROTOCOL_ERROR: Final = 1002
INVALID_TEXT: Final = 1007
POLICY_VIOLATION: Final = 1008
TOO_BIG: Final = 1009
INTERNAL_ERROR: Final = 1011
LOST: Final = 1006

# What may come from a peer (RFC 6455, 7.4) besides the codes of libraries and applications.
_REGISTERED: Final = frozenset(range(1000, 1015)) - {1004, NO_CODE, LOST}
_TEXT: Final = WSMsgType.TEXT
_BINARY: Final = WSMsgType.BINARY
_NO_LINGER: Final = struct.pack("ii", 1, 0)  # what is closed is reset (socket(7))
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


class WebSocket(asyncio.BufferedProtocol):
    """One open WebSocket: the `Socket` of a session, and what its transport calls."""

    __slots__ = (
        "__weakref__", "_binary", "_clock", "_code", "_decoder", "_fragments", "_limits", "_message",
        "_parser", "_parsers", "_reason", "_receiver", "_state", "_timer", "_transport", "write",
    )  # fmt: skip

    def __init__(self, transport: Transport, clock: Clock, limits: WebSocketLimits, parsers: Parsers) -> None:
        self.write: Callable[[bytes], object] = transport.write_nocheck
        self._transport = transport
        self._clock = clock
        self._limits = limits
        self._parsers = parsers
        self._parser: Parser | None = None  # while a frame is left half
        self._receiver: Receiver | None = None
        self._timer: Timer | None = None
        self._state = _OPEN
        self._code, self._reason = LOST, ""
        # A message that arrives in fragments.
        self._message: bytearray | None = None
        self._binary = False
        self._fragments = 0
        self._decoder: IncrementalDecoder | None = None

    def open(self, response: bytes, accept: Callable[[Socket], Receiver], rest: bytes) -> None:
        """Take the transport over: send the answer to the handshake, make the session, take what followed."""
        transport = self._transport
        transport.set_protocol(self)
        transport.set_write_buffer_limits(high=self._limits.high_bytes)
        self.write(response)
        try:
            self._receiver = accept(self)
        except Exception:
            log.exception("a connection could not be accepted")
            self._fail(INTERNAL_ERROR, "internal error")
        else:
            if self.buffered_bytes() > self._limits.high_bytes:
                self.pause_writing()
        while rest and not transport.is_closing():
            buffer = self.get_buffer(-1)
            piece, rest = rest[: len(buffer)], rest[len(buffer) :]
            buffer[: len(piece)] = piece
            self.buffer_updated(len(piece))

    # For the session.

    def close(self, code: int, reason: str) -> None:
        """See `Socket.close`."""
        if self._state is _OPEN:
            self._state = _CLOSING
            self._code, self._reason = code, reason
            self._send_close(code, reason)

    def cut(self) -> None:
        """End the connection as a lost network does: a reset, and no close frame."""
        connected = self._transport.get_extra_info("socket")
        if connected is not None:
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        self._transport.abort()

    def buffered_bytes(self) -> int:
        """See `Socket.buffered_bytes`."""
        return self._transport.get_write_buffer_size()

    def traffic(self) -> Traffic | None:
        """See `Socket.traffic`."""
        return traffic(self._transport)

    def pause_reading(self) -> None:
        """See `Socket.pause_reading`."""
        if self._state is _OPEN:
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """See `Socket.resume_reading`."""
        self._transport.resume_reading()

    # For the transport.

    def is_buffered_protocol(self) -> bool:
        """Tell aiofastnet that data goes to `get_buffer`."""
        return True

    def get_buffer(self, sizehint: int) -> memoryview:
        """Lend the parser's buffer; that of the shared one, unless a frame is left half."""
        return (self._parser or self._parsers.shared).get_buffer(sizehint)

    def buffer_updated(self, nbytes: int) -> None:
        """Parse what was read."""
        own = self._parser
        parser = own or self._parsers.shared
        if parser.parse(nbytes, self) and self._state is _OPEN:
            parser.taker = None
            if own is not None:
                self._parser = None
                self._parsers.give_back(own)
        elif own is None:
            self._parser = self._parsers.keep()

    def eof_received(self) -> None:
        """Let the transport close."""

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the session, unless it knows, and let go."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._tell(self._code, self._reason)
        if self._parser is not None:
            self._parser.let_go()
            self._parser = None

    def pause_writing(self) -> None:
        """The transport's buffer went over its high mark."""
        if self._receiver is not None and self._state is _OPEN:
            self._receiver.writing_paused()

    def resume_writing(self) -> None:
        """The transport's buffer went below its low mark."""
        if self._receiver is not None and self._state is _OPEN:
            self._receiver.writing_resumed()

    # For the parser.

    def take_frame(self, frame: WSFrame) -> None:
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

    def gave_up(self, parser: Parser, code: int, reason: str) -> None:
        """See `Taker.gave_up`."""
        if self._state is _OPEN:
            # Nothing counts behind a close frame, and picows may have parsed it, but not passed it on yet.
            closing = parser.closing()
            if closing is not None:
                self._peer_closes(*closing)
            else:
                self._fail(code, reason)

    def end(self) -> None:
        """See `Taker.end`."""
        self._transport.close()

    # Messages.

    def _deliver(self, payload: bytes, binary: bool) -> None:
        receiver = self._receiver
        assert receiver is not None
        try:
            receiver.received(payload, binary)
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
            self.write(pong_frame(frame.get_payload_as_bytes()))

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
        if self._state is _OPEN:
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
        self.write(close_frame(code, reason))
        self._transport.resume_reading()  # to see the answer
        self._end_soon()

    def _end_soon(self) -> None:
        if self._timer is None:
            self._timer = self._clock.after(self._limits.close_ms, self._transport.abort)


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
