"""Listening to Redis Pub/Sub: what is published while a connection stands, each message once, in order."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from random import Random
from typing import Any, Final, Protocol

import hiredis
from msgspec import Struct

from gapless.backends.redis.connection import Connection
from gapless.backends.redis.errors import translated
from gapless.client.connection import backoff_ms
from gapless.core.errors import StoreRefused, Unavailable
from gapless.ports import Clock
from gapless.server.parting import pause

__all__ = ["RETRY_MS_MAX", "Listener", "Listening", "Seeking"]

RETRY_MS_MAX: Final = 2_000
SILENCE_MS: Final = 5_000


class Seeking(Protocol):
    """Finds the Redis to listen to."""

    async def reach(self, lost: Callable[[Connection], object]) -> Connection:
        """Return a connection, logged in; `lost` is called when it ends.

        Raises:
            StoreRefused: it refuses the user or password.
            Unavailable: it cannot be reached.
        """


class Listener(Struct, frozen=True):
    """Who is told: of each message, of the subscriptions being there, and of their loss: why, the wait."""

    message: Callable[[bytes, bytes], object]
    subscribed: Callable[[], object]
    lost: Callable[[str, int], object]


class Listening:
    """Subscriptions to channels and patterns of one Redis, again and again.

    A message to a channel that several of them match comes once for each; only one of these is told.
    """

    def __init__(
        self,
        seeker: Seeking,
        channels: Sequence[str],
        patterns: Sequence[str],
        listener: Listener,
        clock: Clock,
        random: Random,
    ) -> None:
        self._seeker = seeker
        self._channels = channels
        self._patterns = patterns
        self._listener = listener
        self._clock = clock
        self._random = random
        self._expected = 0  # subscriptions that are not confirmed
        self._heard = False
        # Redis hands a message to all subscriptions that it matches before it takes the next one: the first
        # of them that is heard for a channel is the one that counts, until another channel is heard of.
        self._channel: bytes | None = None
        self._matched: bytes | None = None  # a pattern; None: the name itself

    async def run(self) -> None:
        """Listen until cancelled.

        Raises:
            StoreRefused: Redis refuses the user, the password or a channel.
        """
        attempt = 0
        while True:
            self._expected = len(self._channels) + len(self._patterns)
            try:
                await self._listen()
                reason = "the connection to Redis is lost"
            except StoreRefused:
                raise
            except Unavailable as error:
                reason = str(error)
            attempt = attempt + 1 if self._expected else 0
            wait_ms = min(RETRY_MS_MAX, backoff_ms(attempt, self._random))
            self._listener.lost(reason, wait_ms)
            await pause(self._clock, wait_ms)

    async def _listen(self) -> None:
        """Return when the connection is lost."""
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        connection = await self._seeker.reach(partial(_end, ended))
        connection.pushed = partial(self._pushed, ended)
        if self._channels:
            connection.say("SUBSCRIBE", *self._channels)
        if self._patterns:
            connection.say("PSUBSCRIBE", *self._patterns)
        looking = asyncio.ensure_future(self._look(connection))
        try:
            await ended
        finally:
            looking.cancel()
            connection.pushed = _ignore
            connection.cut()

    async def _look(self, connection: Connection) -> None:
        """Give up a connection that is silent although it was asked."""
        while True:
            self._heard = False
            await pause(self._clock, SILENCE_MS)
            if self._heard:
                continue
            connection.say("PING")
            await pause(self._clock, SILENCE_MS)
            if not self._heard:
                connection.cut()
                return

    def _pushed(self, ended: "asyncio.Future[None]", told: Any) -> None:
        self._heard = True
        if isinstance(told, hiredis.ReplyError):
            _end_with(ended, translated(str(told)))
            return
        kind = told[0]
        if kind == b"message":
            self._message(told[1], None, told[2])
        elif kind == b"pmessage":
            self._message(told[2], told[1], told[3])
        elif kind in (b"subscribe", b"psubscribe"):
            self._expected -= 1
            if not self._expected:
                self._listener.subscribed()

    def _message(self, channel: bytes, matched: bytes | None, payload: bytes) -> None:
        if self._channel != channel:
            self._channel, self._matched = channel, matched
        if self._matched == matched:
            self._listener.message(channel, payload)


def _end(ended: "asyncio.Future[None]", connection: Connection) -> None:
    if not ended.done():
        ended.set_result(None)


def _end_with(ended: "asyncio.Future[None]", error: Exception) -> None:
    if not ended.done():
        ended.set_exception(error)


def _ignore(told: Any) -> None:
    """Nobody listens any more."""
