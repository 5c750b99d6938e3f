"""One connection to Redis: commands out, replies back in their order."""

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Callable
from typing import Any, Final, cast

import hiredis

__all__ = ["Connection", "Lost"]

# Closes a socket with a reset, and drops what the kernel has not sent (socket(7), SO_LINGER).
RESET: Final = struct.pack("ii", 1, 0)

Answered = Callable[[Any], object]
"""Hears a reply, or the error (an exception) in its place."""


class Lost(ConnectionError):
    """The connection ended before the reply came: what became of the command is not known."""


class Connection(asyncio.Protocol):
    """Pipelines commands; all of a tick go in one write.

    `lost` is called once when the connection has ended. What comes without being asked for (of Pub/Sub) goes
    to `pushed`, once that is set: from then on no command has a reply of its own.
    """

    _transport: asyncio.Transport

    def __init__(self, lost: Callable[["Connection"], object]) -> None:
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader(notEnoughData=_NOTHING)
        self._lost = lost
        self._waiting: deque[Answered] = deque()
        self._told: list[bytes] = []
        self.pushed: Callable[[list[Any]], object] | None = None
        self.is_lost = False
        self._why = "the connection to Redis is lost"

    # Out ----------------------------------------------------------------------------------

    def send(self, answered: Answered, *command: bytes | str | int) -> None:
        """Send a command at the end of the tick; `answered` hears its reply, or `Lost`."""
        if self.is_lost:
            self._loop.call_soon(answered, Lost("the connection to Redis is lost"))
            return
        self._waiting.append(answered)
        self.say(*command)

    def say(self, *command: bytes | str | int) -> None:
        """Send a command that has no reply of its own."""
        if not self._told:
            self._loop.call_soon(self._flush)
        self._told.append(hiredis.pack_command(cast("tuple[str]", command)))

    async def call(self, *command: bytes | str | int) -> Any:
        """Send a command, and return its reply.

        Raises:
            Lost: the connection ended first.
            hiredis.ReplyError: Redis refuses it.
        """
        future: asyncio.Future[Any] = self._loop.create_future()

        def answered(reply: Any) -> None:
            if not future.done():
                future.set_result(reply)

        self.send(answered, *command)
        reply = await future
        if isinstance(reply, Exception):
            raise reply
        return reply

    def _flush(self) -> None:
        told, self._told = self._told, []
        if not self.is_lost:
            self._transport.write(b"".join(told))

    # In -----------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        reader = self._reader
        try:
            reader.feed(data)
            while (reply := reader.gets()) is not _NOTHING:
                if self.pushed is not None:
                    self.pushed(reply)
                else:
                    self._waiting.popleft()(reply)
        except (hiredis.ProtocolError, IndexError):
            self._why = "what answers there is no Redis"
            self.cut()

    @property
    def is_waiting(self) -> bool:
        """Tell whether a reply is owed."""
        return bool(self._waiting)

    def cut(self) -> None:
        """End the connection at once. What was not sent never is: it might come after what is sent anew."""
        if not self.is_lost:
            connected = self._transport.get_extra_info("socket")
            if connected is not None:
                connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost = True
        self._lost(self)
        waiting, self._waiting = self._waiting, deque()
        for answered in waiting:
            answered(Lost(self._why))


_NOTHING: Final = object()
