"""A front on a free port of this machine, its clock in the test's hand."""

import asyncio
import functools
import heapq
import itertools
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from typing import Any, ParamSpec

import uvloop

from gapless.ports import Clock, Timer
from gapless.server.front import Front
from gapless.server.request import Request
from gapless.server.site import App, Handler, HttpLimits, Site, Upgrade
from tests.server.raw_socket import RawSocket

DEADLINE_S = 30
P = ParamSpec("P")


def on_a_loop(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run a test on uvloop, and fail it when it waits for what never comes."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        uvloop.run(asyncio.wait_for(test(*args, **kwargs), DEADLINE_S))

    return run


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop turn until something is so."""
    while not condition():  # noqa: ASYNC110 # no event tells what the kernel does
        await asyncio.sleep(0)


class HandClock(Clock):
    """Stands still until the test moves it."""

    def __init__(self) -> None:
        self._now_ms = 0
        self._due: list[tuple[int, int, HandTimer]] = []
        self._count = itertools.count()

    def now_ms(self) -> int:
        return self._now_ms

    def after(self, delay_ms: int, callback: Callable[[], object]) -> Timer:
        timer = HandTimer(callback)
        heapq.heappush(self._due, (self._now_ms + delay_ms, next(self._count), timer))
        return timer

    def move(self, by_ms: int) -> None:
        until_ms = self._now_ms + by_ms
        while self._due and self._due[0][0] <= until_ms:
            self._now_ms, _, timer = heapq.heappop(self._due)
            timer.run()
        self._now_ms = until_ms

    def waiting(self) -> int:
        """Return how many callbacks are still to come."""
        return sum(timer.is_set() for _, _, timer in self._due)


class HandTimer:
    def __init__(self, callback: Callable[[], object]) -> None:
        self._callback: Callable[[], object] | None = callback

    def is_set(self) -> bool:
        return self._callback is not None

    def cancel(self) -> None:
        self._callback = None

    def run(self) -> None:
        callback, self._callback = self._callback, None
        if callback is not None:
            callback()


class Serving:
    """A front, what it serves, and the requests that came through."""

    def __init__(
        self,
        hot: Mapping[tuple[str, str], Handler] | None = None,
        upgrades: Callable[[Clock], Mapping[str, Upgrade]] | None = None,
        app: App | None = None,
        limits: HttpLimits | None = None,
    ) -> None:
        self.clock = HandClock()
        self.handled: list[tuple[bytes, bytes]] = []
        self.clients: list[RawSocket] = []
        self.site = Site(
            app or self._app,
            self.clock,
            hot={("POST", "/hot"): self._answer, ("GET", "/hot"): self._answer, **(hot or {})},
            upgrades=upgrades(self.clock) if upgrades else {},
            limits=limits,
        )
        self.front = Front(self.site)

    def _answer(self, request: Request) -> None:
        self.handled.append((request.path, request.body))
        request.respond(200, request.body)

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message["body"]
            more = message["more_body"]
        self.handled.append((scope["raw_path"], body))
        length = str(len(body)).encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]})
        await send({"type": "http.response.body", "body": body})

    async def connect(self) -> RawSocket:
        client = await RawSocket.connect(self.front.port)
        self.clients.append(client)
        return client

    async def end(self) -> None:
        for client in self.clients:
            client.leave()
        ending = asyncio.create_task(self.front.shutdown(1))
        while not ending.done():
            self.clock.move(1)
            await asyncio.sleep(0)
        await ending

    async def settle(self) -> None:
        """Return once the server has read all that was sent before: a later request was answered."""
        socket = await self.connect()
        socket.send(b"GET /hot HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
        assert [response.status for response in await socket.responses()] == [200]
        self.handled.remove((b"/hot", b""))


@asynccontextmanager
async def serving(
    hot: Mapping[tuple[str, str], Handler] | None = None,
    upgrades: Callable[[Clock], Mapping[str, Upgrade]] | None = None,
    app: App | None = None,
    limits: HttpLimits | None = None,
) -> AsyncIterator[Serving]:
    served = Serving(hot, upgrades, app, limits)
    await served.front.listen("127.0.0.1", 0)
    try:
        yield served
    finally:
        await served.end()
