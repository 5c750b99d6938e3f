"""A subscription inside this process: a reader of the hub, as a connection is, and the client of it."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from random import Random
from typing import Final

from gapless.broker.broker import Broker
from gapless.broker.channel import Subscription, Wire
from gapless.broker.permissions import refuse_system
from gapless.client.connection import backoff_ms
from gapless.client.following import Event, Following
from gapless.core.errors import PermissionDenied, Unavailable
from gapless.core.limits import INBOX_EVENTS_MAX
from gapless.core.stream import Position
from gapless.ports import Clock
from gapless.protocol.codec import codec
from gapless.protocol.codes import Disconnect, Unsubscribe, reconnects
from gapless.protocol.messages import ClientInfo, Push, Reply, SubscribeRequest, SubscribeResult
from gapless.server.parting import pause

__all__ = ["Inbox"]


class _Wire:
    """Readers in this process are written the parts as they are."""

    codec = codec(binary=False)
    ping = b""

    def frames(self, parts: Sequence[bytes]) -> bytes:
        return self.codec.pack(parts)


_WIRE: Final = _Wire()


class Inbox:
    """What arrived of one channel and was not taken yet. Implements `broker.channel.Reader`.

    One that is full stands as a connection does whose socket is: it reads on from the log when it is emptied.
    """

    def __init__(self, broker: Broker, following: Following, clock: Clock, random: Random) -> None:
        self.wire: Wire = _WIRE
        self.paused = False
        self.info = ClientInfo()
        self.subscriptions: dict[str, Subscription] = {}
        self.write: Callable[[bytes], object] = self._written
        self._broker = broker
        self._following = following
        self._clock = clock
        self._random = random
        self._asked = following.hello()
        self._events: deque[Event] = deque()
        self._ended: Exception | None = None
        self._arrived = asyncio.Event()

    async def events(self) -> AsyncGenerator[Event, None]:
        """Return what happens, until it is closed.

        Raises:
            UsageError: it cannot be followed.
        """
        try:
            while True:
                if self._asked:
                    await self._subscribe()
                while self._events:
                    yield self._events.popleft()
                    self._resume()
                if self._ended is not None:
                    raise self._ended
                if not self._asked:
                    self._arrived.clear()
                    await self._arrived.wait()
        finally:
            self._leave()

    async def _subscribe(self) -> None:
        """Carry out what the follower asks for; as long as the store cannot, again."""
        [*_, command] = self.wire.codec.commands(self._asked)
        self._asked = b""
        assert command.subscribe is not None
        attempt = 0
        while True:
            try:
                await self._begin(command.id, command.subscribe)
                return
            except Unavailable:
                await pause(self._clock, backoff_ms(attempt, self._random))
                attempt += 1

    async def _begin(self, id: int, request: SubscribeRequest) -> None:
        broker, channel = self._broker, request.channel
        refuse_system(channel)
        since = Position(request.epoch, request.offset) if request.recover else None
        start = await broker.start(channel, self, since)
        broker.hub.settle()
        broker.check_room(channel)
        result = SubscribeResult(
            recoverable=broker.namespaces.of(channel).namespace.history,
            epoch=start.epoch,
            offset=start.offset,
            recovered=start.recovered,
        )
        self._written(self.wire.codec.subscribed(id, result, start.publications))
        broker.enter(channel, self, start)

    def _written(self, data: bytes) -> None:
        events, asked = self._following.take(data)
        self._events += events
        self._asked = asked or self._asked
        self._arrived.set()
        if len(self._events) >= INBOX_EVENTS_MAX and not self.paused:
            self.paused = True
            self._broker.hub.stall(self)

    def _resume(self) -> None:
        if self.paused and len(self._events) <= INBOX_EVENTS_MAX // 2:
            self.paused = False
            self._broker.catch_up.resume(self)

    def _leave(self) -> None:
        for subscription in list(self.subscriptions.values()):
            self._broker.leave(subscription)
        self.subscriptions.clear()

    # What the hub says --------------------------------------------------------------------

    def unsubscribed(self, subscription: Subscription, code: Unsubscribe) -> None:
        """Hear that the position does not hold any more: the follower asks again, with its own."""
        self._leave()
        push = Push(channel=subscription.channel.name, unsubscribe=code.push())
        self._written(self.wire.codec.reply(Reply(push=push)))

    def disconnected(self, code: Disconnect) -> None:
        """Hear that a connection would be ended: come back, if clients do after that code."""
        self._leave()
        if reconnects(code):
            self._asked = self._following.hello()
        else:
            reason = f"the server closed the connection for good: {code.reason} ({int(code)})"
            self._ended = PermissionDenied(reason)
        self._arrived.set()

    def flush(self) -> None:
        """Nothing is held back."""

    def over(self, subscription: Subscription) -> bool:
        """Never."""
        return False
