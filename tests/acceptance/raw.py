"""A client without manners: the bytes that it is told to send, over a plain socket."""

import base64
import json
import os
import socket
import struct
import time
from types import TracebackType
from typing import Any, NamedTuple, Self

__all__ = ["BINARY", "CLOSE", "CONTINUATION", "PING", "TEXT", "Frame", "RawClient", "exchange", "frame"]

PATIENCE_SECONDS = 10
CONTINUATION, TEXT, BINARY, CLOSE, PING = 0x0, 0x1, 0x2, 0x8, 0x9


class Frame(NamedTuple):
    """A WebSocket frame, as it came from the server."""

    opcode: int
    payload: bytes

    @property
    def code(self) -> int:
        """The code of a close frame."""
        assert self.opcode == CLOSE, self
        return int(struct.unpack("!H", self.payload[:2])[0]) if self.payload else 1005


def frame(
    payload: bytes, opcode: int = TEXT, *, last: bool = True, claimed_bytes: int | None = None
) -> bytes:
    """Encode a client's frame (RFC 6455, 5.2), which may claim to be longer than it is."""
    size = len(payload) if claimed_bytes is None else claimed_bytes
    head = bytes([opcode | 0x80 * last])
    if size < 126:
        head += struct.pack("!B", 0x80 | size)
    elif size < 1 << 16:
        head += struct.pack("!BH", 0x80 | 126, size)
    else:
        head += struct.pack("!BQ", 0x80 | 127, size)
    return head + bytes(4) + payload  # a mask of zeros changes nothing


def exchange(port: int, request: bytes) -> bytes:
    """Send bytes, and return all that comes back until the server closes the connection."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE_SECONDS) as connection:
        answer = b""
        try:
            connection.sendall(request)
            while data := connection.recv(65_536):
                answer += data
        except ConnectionError:  # it closed before it had read all
            pass
        return answer


class RawClient:
    """A WebSocket whose frames are written and read by hand. `token` connects at once, None does not."""

    def __init__(self, port: int, token: str | None = None, *, binary: bool = False) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), PATIENCE_SECONDS)
        self._buffer = b""
        self._replies: list[dict[str, Any]] = []
        self._passed: list[dict[str, Any]] = []
        self._ids = 0
        self._open(port, binary)
        if token is not None:
            self.call("connect", token=token)

    def _open(self, port: int, binary: bool) -> None:
        self.send_bytes(
            b"GET /connection/websocket%b HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %b\r\n\r\n"
            % (b"?cf_protocol=protobuf" if binary else b"", port, base64.b64encode(os.urandom(16)))
        )
        while b"\r\n\r\n" not in self._buffer:
            self._receive()
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101"), head

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Leave without a word."""
        self._socket.close()

    # Bytes --------------------------------------------------------------------------------

    def send_bytes(self, data: bytes) -> None:
        """Send bytes as they are; a server that has closed the connection does not matter."""
        try:
            self._socket.sendall(data)
        except ConnectionError:
            pass

    def send(self, *commands: Any, opcode: int = TEXT) -> None:
        """Send commands, joined in one frame."""
        self.send_bytes(frame("\n".join(map(json.dumps, commands)).encode(), opcode))

    def _receive(self) -> None:
        data = self._socket.recv(65_536)
        if not data:
            raise ConnectionResetError("the server closed the connection")
        self._buffer += data

    def _take(self, size_bytes: int) -> bytes:
        while len(self._buffer) < size_bytes:
            self._receive()
        data, self._buffer = self._buffer[:size_bytes], self._buffer[size_bytes:]
        return data

    def frame(self) -> Frame:
        """Wait for the next frame; raises ConnectionResetError when there is none."""
        first, second = self._take(2)
        assert first & 0xF0 == 0x80, "the server sends whole frames, with no reserved bit"
        size = second
        if size == 126:
            (size,) = struct.unpack("!H", self._take(2))
        elif size == 127:
            (size,) = struct.unpack("!Q", self._take(8))
        return Frame(first & 0xF, self._take(size))

    # The protocol, in JSON ----------------------------------------------------------------

    def reply(self) -> dict[str, Any]:
        """Wait for the next reply or push, {} being a ping; a close frame fails."""
        if not self._replies:
            told = self.frame()
            assert told.opcode == TEXT, (told, told.code if told.opcode == CLOSE else "")
            self._replies = [json.loads(line) for line in told.payload.split(b"\n")]
        return self._replies.pop(0)

    def answer(self, id: int) -> dict[str, Any]:
        """Wait for the reply to command `id`; pongs are given, and pushes wait for `publication`."""
        while (reply := self.reply()).get("id") != id:
            if reply:
                self._passed.append(reply)
            else:
                self.pong()
        return reply

    def call(self, method: str, **request: Any) -> dict[str, Any]:
        """Send a command, and return its reply."""
        self._ids += 1
        self.send({"id": self._ids, method: request})
        return self.answer(self._ids)

    def publication(self, channel: str) -> Any:
        """Wait for the next publication in a channel, and return its data."""
        while True:
            reply = self._passed.pop(0) if self._passed else self.reply()
            push = reply.get("push", {})
            if not reply:
                self.pong()
            if push.get("channel") == channel and "pub" in push:
                return push["pub"]["data"]

    def wait_for_ping(self) -> None:
        """Drop everything up to the next ping."""
        while self.reply():
            pass

    def pong(self) -> None:
        """Answer a ping."""
        self.send_bytes(frame(b"{}"))

    def end(self) -> int:
        """Wait for the end: the code of the close frame, or 1006 when there was none."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        try:
            while time.monotonic() < deadline:
                told = self.frame()
                if told.opcode == CLOSE:
                    return told.code
        except ConnectionError:
            return 1006
        raise AssertionError("the server does not close the connection")
