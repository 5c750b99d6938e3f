"""Health is a message that goes round: through the store, the hub, and back out of the history."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from gapless.broker.broker import Broker
from gapless.broker.channel import Subscription, Wire
from gapless.broker.namespaces import Namespace
from gapless.core.errors import GaplessError, Unavailable
from gapless.core.limits import HEALTH_MS
from gapless.core.stream import Entry, Outcome
from gapless.ports import Clock
from gapless.protocol.codes import Disconnect, Unsubscribe
from gapless.protocol.messages import ClientInfo
from gapless.protocol.websocket import WebSocketWire

__all__ = ["NAMESPACE", "Heartbeat"]

NAMESPACE: Final = Namespace(
    name="gapless.health", history_size=100, history_ttl_ms=60_000, history_meta_ttl_ms=3_600_000
)
CHANNEL: Final = f"{NAMESPACE.name}:beat"


class Heartbeat:
    """Sends a message round when asked; who asks meanwhile shares the answer.

    `deaf` says why the node does not hear the others, if so.
    """

    def __init__(self, broker: Broker, clock: Clock, uid: str, deaf: Callable[[], str] = str) -> None:
        self._broker = broker
        self._clock = clock
        self._uid = uid
        self._deaf = deaf
        self._wire = WebSocketWire(binary=False)
        self._count = 0
        self._beating: asyncio.Task[None] | None = None
        self.stopping = False

    async def beat(self) -> None:
        """Return when a message went round.

        Raises:
            Unavailable: it did not within `HEALTH_MS`, or the node does not hear the others, or is to stop.
        """
        if self.stopping:
            raise Unavailable("shutting down")
        deaf = self._deaf()
        if deaf:
            raise Unavailable(deaf)
        if self._beating is None or self._beating.done():
            self._beating = asyncio.get_running_loop().create_task(self._within_time())
            self._beating.add_done_callback(_look)
        await asyncio.shield(self._beating)

    async def _within_time(self) -> None:
        round_trip = asyncio.get_running_loop().create_task(self._go_round())
        timer = self._clock.after(HEALTH_MS, round_trip.cancel)
        try:
            await round_trip
        except asyncio.CancelledError as error:
            raise Unavailable(f"no message went round within {HEALTH_MS} ms") from error
        finally:
            timer.cancel()

    async def _go_round(self) -> None:
        self._count += 1
        data = b'"%b %d"' % (self._uid.encode(), self._count)
        listener = _Listener(self._wire, data)
        start = await self._broker.start(CHANNEL, listener, None)
        subscription = self._broker.enter(CHANNEL, listener, start)
        try:
            entry = Entry(CHANNEL, data, NAMESPACE.retention)  # nobody but the system may
            self._broker.append((entry,), listener.stored, own=True)
            await asyncio.gather(listener.answered, listener.heard)
        finally:
            self._broker.leave(subscription)
        held = await self._broker.history(CHANNEL, limit=NAMESPACE.history_size)
        if not any(message.data == data for message in held.messages):
            raise Unavailable("what was stored cannot be read")


def _look(beating: asyncio.Task[None]) -> None:
    """Look at the outcome, which nobody may have waited for."""
    if not beating.cancelled():
        beating.exception()


class _Listener:
    """A reader inside the node that waits for one message."""

    def __init__(self, wire: Wire, data: bytes) -> None:
        loop = asyncio.get_running_loop()
        self.wire = wire
        self.paused = False
        self.info = ClientInfo()
        self.subscriptions: dict[str, Subscription] = {}
        self.answered: asyncio.Future[None] = loop.create_future()
        self.heard: asyncio.Future[None] = loop.create_future()
        self.write: Callable[[bytes], object] = self._take
        self._data = data

    def stored(self, entries: Sequence[Entry], outcomes: Sequence[Outcome]) -> None:
        """Learn what became of the message."""
        (outcome,) = outcomes
        if self.answered.done():
            return
        if isinstance(outcome, GaplessError):
            self.answered.set_exception(outcome)
        else:
            self.answered.set_result(None)

    def _take(self, data: bytes) -> None:
        if self._data in data and not self.heard.done():
            self.heard.set_result(None)

    def unsubscribed(self, subscription: Subscription, code: Unsubscribe) -> None:
        """Give up: the channel lost its position."""
        self._fail(code.reason)

    def disconnected(self, code: Disconnect) -> None:
        """Give up: the node parts with its readers."""
        self._fail(code.reason)

    def flush(self) -> None:
        """Nothing is held back."""

    def over(self, subscription: Subscription) -> bool:
        """Never."""
        return False

    def _fail(self, reason: str) -> None:
        if not self.heard.done():
            self.heard.set_exception(Unavailable(reason))
