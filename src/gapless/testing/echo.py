"""A WebSocket echo over the server's own sockets, for suites that test the protocol itself.

`python -m gapless.testing.echo --port N` serves it at `/`, without a limit on the size of a message.
"""

import asyncio
import sys
from typing import Final

import click
import uvloop
from starlette.applications import Starlette

from gapless.protocol.websocket import binary_frame, text_frame
from gapless.server.clock import LoopClock
from gapless.server.front import Front
from gapless.server.handshake import WebSocketEndpoint
from gapless.server.site import Site
from gapless.server.socket import Handshake, Socket
from gapless.server.websocket import WebSocketLimits

__all__ = ["Echo", "main", "serve"]

UNLIMITED: Final = WebSocketLimits(message_bytes_max=sys.maxsize, fragments_max=sys.maxsize)


class Echo:
    """Sends back what it receives. A `Receiver`."""

    def __init__(self, handshake: Handshake, socket: Socket) -> None:
        self._socket = socket

    def received(self, payload: bytes, binary: bool) -> None:
        """Send it back."""
        self._socket.write((binary_frame if binary else text_frame)(payload))

    def writing_paused(self) -> None:
        """Take no more until the peer has taken what it is owed."""
        self._socket.pause_reading()

    def writing_resumed(self) -> None:
        """Go on."""
        self._socket.resume_reading()

    def closed(self, code: int, reason: str) -> None:
        """Nothing is held."""


async def serve(port: int) -> None:
    """Serve until cancelled; the first line that is printed is the address."""
    clock = LoopClock()
    endpoint = WebSocketEndpoint(Echo, clock, limits=UNLIMITED)
    front = Front(Site(Starlette(), clock, upgrades={"/": endpoint.upgrade}))
    await front.listen("127.0.0.1", port)
    click.echo(f"ws://127.0.0.1:{front.port}/")
    await asyncio.get_running_loop().create_future()


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), required=True, help="0: any free one.")
def main(port: int) -> None:
    """Serve a WebSocket echo on a port of this machine."""
    uvloop.run(serve(port))


if __name__ == "__main__":
    main()
