"""What all HTTP connections of one port share."""

import asyncio
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from aiofastnet import Transport

from gapless.core.limits import BODY_BYTES_MAX, BODY_MS, CLOSE_MS, HEAD_MS, IDLE_MS, MESSAGE_BYTES_MAX
from gapless.ports import Clock
from gapless.server.heads import Heads
from gapless.server.limiting import Lockout
from gapless.server.request import NO_HEADERS, Request, Route

if TYPE_CHECKING:
    from gapless.server.http import HttpConnection

__all__ = ["NO_ROUTE", "READ_BYTES", "App", "Handler", "HttpLimits", "Site", "Upgrade", "is_below"]

App = Any  # an ASGI 3 application; uvicorn, Starlette and asgiref each type it in their own way
Handler = Callable[[Request], None]
Upgrade = Callable[[Request, Transport, bytes], None]
"""Take a connection over: its request, its transport, and what came after the head. Raises `Refused`."""

READ_BYTES: Final = 64 * 1024
NO_ROUTE: Final = b"other"


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """What one connection may ask for. `idle_ms` is reached within its double."""

    body_bytes_max: int = BODY_BYTES_MAX
    payload_bytes_max: int = MESSAGE_BYTES_MAX
    head_ms: int = HEAD_MS
    body_ms: int = BODY_MS
    idle_ms: int = IDLE_MS
    close_ms: int = CLOSE_MS

    def too_large(self) -> str:
        """Return what is said of a body over the limit; who has a payload of that size has two to know."""
        return f"a body may have {self.body_bytes_max} bytes, and a payload in it {self.payload_bytes_max}"


class Site:
    """What all connections of one port share.

    `hot` maps a method and a path without a query to its handler, `patterns` what matches a whole path to
    the route of every method there, `upgrades` a path to what takes a WebSocket over. The body of a request
    to a path in `streamed` may be of any length: the app reads it as it comes. Below `api_prefix` refusals
    are JSON.
    """

    def __init__(
        self,
        app: App,
        clock: Clock,
        *,
        hot: Mapping[tuple[str, str], Handler] | None = None,
        patterns: Mapping[re.Pattern[bytes], Route] | None = None,
        upgrades: Mapping[str, Upgrade] | None = None,
        streamed: Iterable[str] = (),
        api_prefix: str | None = None,
        limits: HttpLimits | None = None,
    ) -> None:
        self.app = app
        self.clock = clock
        self._hot = {
            (method.encode(), path.encode()): Route(path.encode(), run)
            for (method, path), run in (hot or {}).items()
        }
        self._patterns = dict(patterns or {})
        self.upgrades = {path.encode(): upgrade for path, upgrade in (upgrades or {}).items()}
        self.streamed = {path.encode() for path in streamed}
        self.api_prefix = api_prefix
        self.limits = limits or HttpLimits()
        self.connections: set[HttpConnection] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        self.heads = Heads()
        self.buffer = memoryview(
            bytearray(READ_BYTES)
        )  # for all: what is read is parsed before the next read
        self.date = NO_HEADERS  # a whole line
        self.default_headers: list[tuple[bytes, bytes]] = []
        self.responses: dict[tuple[bytes, int], int] = {}  # by route and status
        self.lockout: Lockout | None = None
        self.draining = False
        self._empty = asyncio.Event()

    def count(self, route: bytes, status: int) -> None:
        """Count a response."""
        counted = route, status
        self.responses[counted] = self.responses.get(counted, 0) + 1

    def find(self, method: bytes, path: bytes) -> Route | None:
        """Return what answers such a request at once; None leaves it to the app."""
        route = self._hot.get((method, path))
        if route is None:
            for pattern, matched in self._patterns.items():
                if pattern.fullmatch(path):
                    return matched
        return route

    def left(self, connection: "HttpConnection") -> None:
        """Forget a connection."""
        self.connections.discard(connection)
        if self.draining and not self.connections:
            self._empty.set()

    async def emptied(self, wait_ms: int) -> None:
        """Wait until a draining site has no connections, but no longer than `wait_ms`."""
        if self.connections:
            timer = self.clock.after(wait_ms, self._empty.set)
            await self._empty.wait()
            timer.cancel()


def is_below(path: str, prefix: str) -> bool:
    """Tell whether a path is that of the API at `prefix`."""
    return path == prefix or path.startswith(f"{prefix}/")
