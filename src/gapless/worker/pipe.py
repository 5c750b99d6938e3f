"""One end of the pipe between a worker and a process of handlers: what is sent in one turn is one write."""

import asyncio
import signal
from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar, cast

import msgspec

__all__ = ["Pipe", "ended_by"]

Frame = TypeVar("Frame")
_PREFIX_BYTES: Final = 4  # the length of what follows, the high byte first
_encode: Final = msgspec.json.Encoder().encode_into


class Pipe(asyncio.Protocol, Generic[Frame]):
    """Sends frames, and tells each that comes to `heard`; `lost` is called when the other end is gone."""

    def __init__(
        self,
        decoder: "msgspec.json.Decoder[list[Frame]]",
        heard: Callable[[Frame], object],
        lost: Callable[[], object],
    ) -> None:
        self._decode = decoder.decode
        self._heard = heard
        self._lost = lost
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._waiting: list[Any] = []
        self._read = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send what waits."""
        self._transport = cast("asyncio.Transport", transport)
        self.flush()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell that the other end is gone."""
        self._transport = None
        self._lost()

    def send(self, frame: Any) -> None:
        """Send a frame soon; what is sent to nobody is dropped."""
        self._waiting.append(frame)
        if len(self._waiting) == 1:
            self._loop.call_soon(self.flush)

    def flush(self) -> None:
        """Send what waits now."""
        if self._transport is None or not self._waiting:
            return
        frames, self._waiting = self._waiting, []
        written = bytearray(_PREFIX_BYTES)
        _encode(frames, written, _PREFIX_BYTES)
        written[:_PREFIX_BYTES] = (len(written) - _PREFIX_BYTES).to_bytes(_PREFIX_BYTES, "big")
        self._transport.write(written)

    def data_received(self, data: bytes) -> None:
        """Tell of every frame that has come whole."""
        read = self._read
        read += data
        start = 0
        while len(read) - start >= _PREFIX_BYTES:
            end = start + _PREFIX_BYTES + int.from_bytes(read[start : start + _PREFIX_BYTES], "big")
            if len(read) < end:
                break
            for frame in self._decode(bytes(read[start + _PREFIX_BYTES : end])):
                self._heard(frame)
            start = end
        del read[:start]

    def close(self) -> None:
        """Send what waits, then let go."""
        self.flush()
        if self._transport is not None:
            self._transport.close()


def ended_by(code: int) -> str:
    """Return what an exit code of a child means."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
