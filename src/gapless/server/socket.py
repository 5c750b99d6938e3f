"""The seam between a session and its connection: a WebSocket, or a simulated one."""

from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

from gapless.server.traffic import Traffic

__all__ = ["Accept", "Handshake", "Receiver", "Socket"]


class Handshake(NamedTuple):
    """What a session is told of how its connection was opened.

    `address` is the peer's IP address, "" for a Unix socket. `binary` says that the client
    asked for Protobuf, by subprotocol or by query. `headers` are those that hooks
    are shown, in lower case; None where there is none.
    """

    query: str
    address: str
    binary: bool
    headers: Mapping[str, str] | None = None


class Receiver(Protocol):
    """A session, seen from its socket."""

    def received(self, payload: bytes, binary: bool) -> None:
        """Take one whole message. Text is valid UTF-8. Never called after `Socket.close` or `closed`."""

    def writing_paused(self) -> None:
        """The socket holds more unsent bytes than its high mark. Called from inside `Socket.write`."""

    def writing_resumed(self) -> None:
        """The socket has drained below its low mark, a quarter of the high one."""

    def closed(self, code: int, reason: str) -> None:
        """The connection is over; called exactly once, last of all calls.

        With the peer's code as soon as its close frame arrives (1005 when it sent none); with ours
        (1002, 1007, 1009, 1011) as soon as the peer breaks the protocol; with that of `Socket.close` once the
        connection has ended; with 1006 when the connection was lost without a close frame.
        """


class Socket(Protocol):
    """An open connection, as a session is given it."""

    @property
    def write(self) -> Callable[[bytes], object]:
        """Send the bytes of one or more whole frames; never blocks. Keep it: it does not change.

        May call `Receiver.writing_paused` before it returns. Harmless on a lost connection.
        """

    def close(self, code: int, reason: str) -> None:
        """Send a close frame, and end the connection when the peer answers, or after a short deadline anyhow.

        The reason is cut to what fits a close frame. Repeated calls do nothing.
        """

    def buffered_bytes(self) -> int:
        """How many written bytes the peer's side has not taken yet."""

    def traffic(self) -> Traffic | None:
        """What the system counted of the connection; None where it does not."""

    def pause_reading(self) -> None:
        """Take nothing more from the peer until `resume_reading`; what was read already may still arrive."""

    def resume_reading(self) -> None:
        """Read again."""


Accept = Callable[[Handshake, Socket], Receiver]
"""Make the session of a new connection. It may already write to the socket, or close it."""
