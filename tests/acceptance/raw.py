"""A client without manners: the bytes that it is told to send, over a plain socket."""

import json
import socket
import struct
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Any, NamedTuple, Self

from tests.server.raw_socket import CLOSE, TEXT, frame, upgrade

__all__ = ["Frame", "RawClient", "exchange"]

PATIENCE_SECONDS = 10


class Frame(NamedTuple):
    """A WebSocket frame, as it came from the server."""

    opcode: int
    payload: bytes

    @property
    def code(self) -> int:
        """The code of a close frame."""
        assert self.opcode == CLOSE, self
        return int(struct.unpack("!H", self.payload[:2])[0]) if self.payload else 1005


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
    """A WebSocket whose frames are written and read by hand. `token` connects at once, None does not.

    Its kernel takes about `takes_bytes` before anybody reads; 0 is as many as it likes.
    """

    def __init__(
        self, port: int, token: str | None = None, *, binary: bool = False, takes_bytes: int = 0
    ) -> None:
        self._socket = socket.socket()
        self._socket.settimeout(PATIENCE_SECONDS)
        if takes_bytes:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, takes_bytes)
        self._socket.connect(("127.0.0.1", port))
        self._buffer = b""
        self._replies: list[dict[str, Any]] = []
        self._passed: list[dict[str, Any]] = []
        self._ids = 0
        self._open(binary)
        if token is not None:
            self.call("connect", token=token)

    def _open(self, binary: bool) -> None:
        query = "?cf_protocol=protobuf" if binary else ""
        self.send_bytes(upgrade(f"/connection/websocket{query}"))
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

    def send(self, *commands: Any) -> None:
        """Send commands, joined in one frame."""
        self.send_bytes(frame(TEXT, "\n".join(map(json.dumps, commands)).encode()))

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

    def replies(self) -> Iterator[dict[str, Any]]:
        """Yield replies and pushes, without end; pings are answered."""
        while True:
            if reply := self.reply():
                yield reply
            else:
                self.pong()

    def answer(self, id: int) -> dict[str, Any]:
        """Wait for the reply to command `id`; what comes before it waits for `push`."""
        for reply in self.replies():
            if reply.get("id") == id:
                return reply
            self._passed.append(reply)
        raise AssertionError("there is always one more")

    def call(self, method: str, **request: Any) -> dict[str, Any]:
        """Send a command, and return its reply."""
        self._ids += 1
        self.send({"id": self._ids, method: request})
        return self.answer(self._ids)

    def push(self, channel: str) -> dict[str, Any]:
        """Wait for the next push about a channel, or about the connection where that is empty."""
        while True:
            reply = self._passed.pop(0) if self._passed else next(self.replies())
            push: dict[str, Any] = reply.get("push", {})
            if push and push.get("channel", "") == channel:
                return push

    def publication(self, channel: str) -> Any:
        """Wait for the next publication in a channel, and return its data."""
        while "pub" not in (push := self.push(channel)):
            pass
        return push["pub"]["data"]

    def wait_for_ping(self) -> None:
        """Drop everything up to the next ping."""
        while self.reply():
            pass

    def pong(self) -> None:
        """Answer a ping."""
        self.send_bytes(frame(TEXT, b"{}"))

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
