"""A subscription over the network: a connection that comes back, and what arrived and was not taken yet."""

import asyncio
import ssl
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from inspect import isawaitable
from random import Random

from gapless.client.connection import Watcher, follow
from gapless.client.following import Event, Following
from gapless.core.errors import TokenExpired
from gapless.core.limits import INBOX_EVENTS_MAX
from gapless.core.stream import Position
from gapless.ports import Clock

__all__ = ["Token", "Watching", "token_of"]

Token = str | Callable[[], str | Awaitable[str]]
"""A connection token, or what returns one, and a new one when that has expired."""


async def token_of(token: Token) -> str:
    """Return a token."""
    if isinstance(token, str):
        return token
    found = token()
    return await found if isawaitable(found) else found


class Watching:
    """Follows a channel of the server at a WebSocket URL.

    When too much was not taken yet, the connection is given up, and taken up again where it left off.
    """

    def __init__(
        self, url: str, token: Token, clock: Clock, random: Random, tls: ssl.SSLContext | None
    ) -> None:
        self._url = url
        self._token = token
        self._clock = clock
        self._random = random
        self._tls = tls
        self._events: deque[Event] = deque()
        self._told = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def events(self, channel: str, since: Position | None) -> AsyncGenerator[Event, None]:
        """Return what happens, until it is closed.

        Raises:
            UsageError: the server refuses for good.
        """
        following = Following(channel, since=since, token=await token_of(self._token))
        try:
            while True:
                task = self._begin(following)
                while self._events or not task.done():
                    while self._events:
                        yield self._events.popleft()
                    self._told.clear()
                    if not task.done():
                        await self._told.wait()
                following = await self._again(task, channel, following)
        finally:
            if self._task is not None:
                self._task.cancel()
                await asyncio.gather(self._task, return_exceptions=True)

    def _begin(self, following: Following) -> asyncio.Task[None]:
        watcher = Watcher(deliver=self._deliver, connected=lambda: None, lost=lambda reason, wait_ms: None)
        work = follow(self._url, following, watcher, clock=self._clock, random=self._random, tls=self._tls)
        self._task = asyncio.get_running_loop().create_task(work)
        self._task.add_done_callback(lambda task: self._told.set())
        return self._task

    def _deliver(self, event: Event) -> None:
        self._events.append(event)
        self._told.set()
        if len(self._events) >= INBOX_EVENTS_MAX and self._task is not None:
            self._task.cancel()

    async def _again(self, task: "asyncio.Task[None]", channel: str, following: Following) -> Following:
        """Return what to go on with after a connection was given up, or raise why not."""
        if task.cancelled():
            return following
        try:
            task.result()
        except TokenExpired:
            if isinstance(self._token, str):
                raise
        return Following(channel, since=following.position, token=await token_of(self._token))
