"""Frames out of bytes: picows' parser, without the connection that picows has around it.

A parser in which no frame is left half can go on with the bytes of any WebSocket. So one serves all of
them, and only a WebSocket that is amid a frame has one to itself.
"""

import logging
from collections.abc import Callable
from typing import Any, Final, Protocol, cast

from picows import (
    WSAutoPingStrategy,
    WSFrame,
    WSListener,
    WSTransport,
    WSUpgradeRequest,
    WSUpgradeResponseWithListener,
)
from picows.picows import WSProtocol  # type: ignore[attr-defined] # compiled, and not in the stubs

__all__ = ["NO_CODE", "Parser", "Parsers", "Taker"]

NO_CODE: Final = 1005  # a close frame without one (RFC 6455, 7.1.5)
_PROTOCOL_ERROR: Final = 1002
_INTERNAL_ERROR: Final = 1011

_BUFFER_BYTES: Final = 2048  # picows' least; it doubles as frames ask for it
_RESTING_MAX: Final = 16  # parsers kept for those who will be amid a frame
_UNPARSED: Final = -1
_HEAD: Final = (  # what has picows look for frames
    b"GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)

log: Final = logging.getLogger("gapless.websocket")


class Taker(Protocol):
    """A WebSocket, seen from its parser."""

    def take_frame(self, frame: WSFrame) -> None:
        """Take a frame; it is gone after the call."""

    def gave_up(self, parser: "Parser", code: int, reason: str) -> None:
        """Close with this code: what comes next is no frame, and nothing more is parsed."""

    def end(self) -> None:
        """End the connection; called a moment after `gave_up`."""


class Parser(WSListener):
    """Parses what is put into its buffer, and passes the frames to its `taker`."""

    __slots__ = ("_feed", "_picows", "_unparsed_bytes", "get_buffer", "taker")

    def __init__(self, frame_bytes_max: int) -> None:
        self.taker: Taker | None = None
        self._unparsed_bytes = _UNPARSED
        never_ping = (False, 0, 0, WSAutoPingStrategy.PING_WHEN_IDLE)
        pong = False  # the WebSocket's to send, so that nothing follows a close frame
        server = (None, None, False, self._listen, _Log(self), False, None)
        self._picows: Any = WSProtocol(*server, *never_ping, pong, frame_bytes_max, None, _BUFFER_BYTES)
        self._picows.connection_made(_Nowhere(self))
        self._feed: Callable[[int], None] = self._picows.buffer_updated
        self.get_buffer: Callable[[int], memoryview] = self._picows.get_buffer
        self.get_buffer(-1)[: len(_HEAD)] = _HEAD
        self._feed(len(_HEAD))

    def _listen(self, request: WSUpgradeRequest) -> WSUpgradeResponseWithListener:
        return WSUpgradeResponseWithListener(cast(Any, _Unsent()), self)

    def parse(self, nbytes: int, taker: Taker) -> bool:
        """Parse what was put into the buffer; tell whether no frame is left half, nor anything behind it."""
        assert self.taker is None or self.taker is taker
        self.taker = taker
        self._unparsed_bytes = _UNPARSED
        self._feed(nbytes)
        return self._unparsed_bytes == 0

    def closing(self) -> tuple[int, str] | None:
        """Return the code and reason of a close frame that was parsed, though perhaps not passed on."""
        handshake: Any = self._picows.transport.close_handshake  # None, whatever the stubs say
        if handshake is None or handshake.recv is None:
            return None
        return int(handshake.recv.code) or NO_CODE, handshake.recv.reason or ""

    def let_go(self) -> None:
        """Parse nothing more; without this only the collector would find it."""
        self.taker = None
        del self._picows, self._feed, self.get_buffer

    # For picows.

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Frames come next."""

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Pass it on."""
        taker = self.taker
        assert taker is not None
        self._unparsed_bytes = frame.tail_size
        taker.take_frame(frame)

    def gave_up(self, code: int, reason: str) -> None:
        """Pass it on."""
        if self.taker is not None:
            self.taker.gave_up(self, code, reason)

    def end(self) -> None:
        """Pass it on."""
        if self.taker is not None:
            self.taker.end()


class Parsers:
    """The parser that is `shared`, and those that a WebSocket keeps while a frame is left half.

    What is put into the buffer of the shared one is to be parsed at once. Needs a running loop.
    """

    __slots__ = ("_frame_bytes_max", "_resting", "shared")

    def __init__(self, frame_bytes_max: int) -> None:
        self._frame_bytes_max = frame_bytes_max
        self._resting: list[Parser] = []
        self.shared = Parser(frame_bytes_max)

    def keep(self) -> Parser:
        """Return the shared parser, for one WebSocket alone from now on; another takes its place."""
        kept = self.shared
        self.shared = self._resting.pop() if self._resting else Parser(self._frame_bytes_max)
        return kept

    def give_back(self, parser: Parser) -> None:
        """Take a parser that was kept, and in which no frame is left half."""
        if len(self._resting) < _RESTING_MAX:
            self._resting.append(parser)
        else:
            parser.let_go()


class _Nowhere:
    """The transport and its socket, as picows sees them. What it would send is the WebSocket's to send."""

    __slots__ = ("_parser",)

    def __init__(self, parser: Parser) -> None:
        self._parser = parser

    def write(self, data: bytes) -> None:
        """Drop it."""

    def get_write_buffer_size(self) -> int:
        """Hold nothing."""
        return 0

    def close(self) -> None:
        """Pass on: picows gave up a moment ago."""
        self._parser.end()

    def get_extra_info(self, name: str) -> object:
        """Be the socket, and secure, so that all that is sent comes to `write`."""
        return self

    def fileno(self) -> int:
        """Name no descriptor."""
        return -1

    def setsockopt(self, *option: int) -> None:
        """There is nothing to set."""

    def getsockopt(self, *option: int) -> int:
        """Tell nothing: it is for the log."""
        return 0


class _Unsent:
    """The answer to the handshake, for picows."""

    __slots__ = ("headers",)

    status: Final = 101

    def __init__(self) -> None:
        self.headers: dict[str, str] = {}

    def to_bytes(self) -> bytearray:
        """Return nothing: the endpoint has answered."""
        return bytearray()


class _Log:
    """What picows logs, which is also how it tells that it gave up on a peer."""

    __slots__ = ("_parser",)

    def __init__(self, parser: Parser) -> None:
        self._parser = parser

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 # logging's name
        """Keep picows from describing every read."""
        return False

    def debug(self, message: str, *args: object) -> None:
        """Pass on."""
        log.debug(message, *args)

    def info(self, message: str, *args: object) -> None:
        """Drop it: a parser has no connection to tell of."""

    def error(self, message: str, *args: object) -> None:
        """The parser refused a frame; its error's arguments are a close code and a reason."""
        log.debug(message, *args)
        match args:
            case [[int(code), str(reason)]]:
                self._parser.gave_up(int(code), reason)
            case _:
                self._parser.gave_up(_PROTOCOL_ERROR, "")

    def exception(self, message: str, *args: object) -> None:
        """A bug, here or in picows."""
        log.exception(message, *args)
        self._parser.gave_up(_INTERNAL_ERROR, "")
