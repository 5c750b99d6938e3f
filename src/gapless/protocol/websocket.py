"""The frames a server sends (RFC 6455, section 5): unmasked and whole, so that one object serves all."""

from collections.abc import Iterator, Sequence
from typing import Final

from gapless.core.limits import CLOSE_REASON_BYTES_MAX, FRAME_BYTES_MAX
from gapless.protocol.codec import Codec, codec

__all__ = ["WebSocketWire", "binary_frame", "close_frame", "frames", "pong_frame", "text_frame"]

_TEXT: Final = b"\x81"
_BINARY: Final = b"\x82"
_CLOSE: Final = b"\x88"
_PONG: Final = b"\x8a"


def text_frame(payload: bytes) -> bytes:
    """Return one final text frame. The payload must be UTF-8."""
    return _header(_TEXT, len(payload)) + payload


def binary_frame(payload: bytes) -> bytes:
    """Return one final binary frame."""
    return _header(_BINARY, len(payload)) + payload


def frames(codec: Codec, parts: Sequence[bytes]) -> bytes:
    """Join one part or more into as few frames as hold them, in order.

    A frame carries at most `FRAME_BYTES_MAX` bytes, unless a single part is larger: parts are never split.
    """
    assert parts
    frame = binary_frame if codec.binary else text_frame
    payload = codec.pack(parts)
    if len(payload) <= FRAME_BYTES_MAX or len(parts) == 1:
        return frame(payload)
    return b"".join([frame(codec.pack(group)) for group in _groups(parts, len(codec.separator))])


def close_frame(code: int, reason: str) -> bytes:
    """Return a close frame, the reason cut between characters to `CLOSE_REASON_BYTES_MAX` bytes."""
    cut = reason.encode()[:CLOSE_REASON_BYTES_MAX].decode(errors="ignore").encode()
    return _header(_CLOSE, 2 + len(cut)) + code.to_bytes(2) + cut


def pong_frame(payload: bytes) -> bytes:
    """Return the answer to a ping, whose payload it repeats."""
    return _header(_PONG, len(payload)) + payload


def _header(opcode: bytes, length_bytes: int) -> bytes:
    if length_bytes < 126:
        return opcode + length_bytes.to_bytes(1)
    if length_bytes < 0x10000:
        return opcode + b"\x7e" + length_bytes.to_bytes(2)
    return opcode + b"\x7f" + length_bytes.to_bytes(8)


def _groups(parts: Sequence[bytes], separator_bytes: int) -> Iterator[Sequence[bytes]]:
    start = size_bytes = 0
    for index, part in enumerate(parts):
        if index > start and size_bytes + separator_bytes + len(part) > FRAME_BYTES_MAX:
            yield parts[start:index]
            start, size_bytes = index, 0
        size_bytes += len(part) + (separator_bytes if index > start else 0)
    yield parts[start:]


class WebSocketWire:
    """How WebSocket connections of one encoding are written to."""

    __slots__ = ("codec", "ping")

    def __init__(self, *, binary: bool) -> None:
        self.codec = codec(binary=binary)
        self.ping = self.frames([self.codec.ping])

    def frames(self, parts: Sequence[bytes]) -> bytes:
        """Return `parts` as frames."""
        return frames(self.codec, parts)
