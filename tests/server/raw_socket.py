"""A client that sends what it is told, byte for byte: bad HTTP, and WebSocket frames one by one."""

import asyncio
import contextlib
from dataclasses import dataclass
from typing import Self

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
KEY = b"dGhlIHNhbXBsZSBub25jZQ=="  # the example of RFC 6455 (1.3)
ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
MASK = b"\x12\x34\x56\x78"


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    reserved: int = 0,
    masked: bool = True,
    announced: int | None = None,
) -> bytes:
    """Return a client's frame; `announced` is a length other than the payload's."""
    length = len(payload) if announced is None else announced
    head = bytes([fin << 7 | reserved << 4 | opcode])
    bit = masked << 7
    if length < 126:
        head += bytes([bit | length])
    elif length < 0x10000:
        head += bytes([bit | 126]) + length.to_bytes(2)
    else:
        head += bytes([bit | 127]) + length.to_bytes(8)
    if not masked:
        return head + payload
    return head + MASK + bytes(byte ^ MASK[index % 4] for index, byte in enumerate(payload))


def close(code: int, reason: bytes = b"") -> bytes:
    return frame(CLOSE, code.to_bytes(2) + reason)


def upgrade(path: str = "/ws", *fields: str, version: int = 13, connection: str = "Upgrade") -> bytes:
    """Return an opening handshake."""
    lines = [
        f"GET {path} HTTP/1.1",
        "Host: here",
        "Upgrade: websocket",
        f"Connection: {connection}",
        f"Sec-WebSocket-Version: {version}",
        f"Sec-WebSocket-Key: {KEY.decode()}",
        *fields,
    ]
    return "\r\n".join([*lines, "", ""]).encode()


class NoResponse(Exception):
    """The server ended the connection instead."""


@dataclass
class Response:
    status: int
    headers: dict[str, str]
    body: bytes


class RawSocket:
    """One connection. Everything it waits for comes within the deadline of the test's loop."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def connect(cls, port: int) -> Self:
        return cls(*await asyncio.open_connection("127.0.0.1", port, limit=1 << 24))

    @classmethod
    async def websocket(cls, port: int, path: str = "/ws", *fields: str) -> Self:
        """Connect and shake hands."""
        socket = await cls.connect(port)
        socket.send(upgrade(path, *fields))
        response = await socket.response()
        assert response.status == 101
        return socket

    def send(self, *data: bytes) -> None:
        self.writer.write(b"".join(data))

    async def rest(self) -> bytes:
        """Read until the server ends the connection."""
        return await self.reader.read()

    async def response(self) -> Response:
        try:
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        except asyncio.IncompleteReadError as error:
            raise (ValueError if error.partial else NoResponse)(error.partial) from None
        fields = [line.partition(":") for line in head[1:]]
        headers = {name.lower(): value.strip() for name, _, value in fields}
        if headers.get("transfer-encoding") == "chunked":
            body = await self._chunks()
        else:
            body = await self.reader.readexactly(int(headers.get("content-length", 0)))
        return Response(int(head[0].split()[1]), headers, body)

    async def _chunks(self) -> bytes:
        body = b""
        while size := int(await self.reader.readline(), 16):
            body += (await self.reader.readexactly(size + 2))[:-2]
        await self.reader.readline()
        return body

    async def responses(self) -> list[Response]:
        """Read all responses until the server ends the connection."""
        found = []
        with contextlib.suppress(NoResponse):
            while True:
                found.append(await self.response())
        return found

    async def receive(self) -> tuple[int, bytes]:
        """Read one frame, whole and unmasked as a server's must be: its opcode and payload."""
        first, second = await self.reader.readexactly(2)
        assert first & 0xF0 == 0x80
        assert second < 128
        length = second
        if second >= 126:
            length = int.from_bytes(await self.reader.readexactly(2 if second == 126 else 8))
        return first & 0xF, await self.reader.readexactly(length)

    async def closed(self) -> tuple[int, str]:
        """Read the close frame that has to be next: its code and reason."""
        opcode, payload = await self.receive()
        assert opcode == CLOSE
        assert len(payload) <= 125
        return int.from_bytes(payload[:2]), payload[2:].decode()

    def leave(self) -> None:
        """Drop the connection without a word."""
        self.writer.transport.abort()
