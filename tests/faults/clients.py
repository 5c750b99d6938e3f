"""Stock clients that publish as fast as they are answered, and stock clients that check what they receive."""

import asyncio
import json
from random import Random
from typing import Any

import cent
from centrifuge import (  # type: ignore[import-untyped] # it has no types
    CentrifugeError,
    Client,
    ClientEventHandler,
    SubscriptionEventHandler,
)

from tests.faults.ledger import CHANNELS, Ledger
from tests.program import API_KEY

__all__ = ["Publisher", "Subscriber", "connected"]

REQUEST_SECONDS_MAX = 5
PIPELINED = 8
RECONNECT = {"min_reconnect_delay": 0.01, "max_reconnect_delay": 0.1, "timeout": REQUEST_SECONDS_MAX}


async def connected(url: str, events: ClientEventHandler | None = None, *, binary: bool = False) -> Client:
    """Return a client that connects, and comes back soon whenever it is cut off."""
    client = Client(url, events, use_protobuf=binary, proxy=None, **RECONNECT)
    await client.connect()
    return client


class Publisher:
    """Publishes until it is cancelled, and notes what is acknowledged. `up` is set while the server runs."""

    def __init__(self, name: str, ledger: Ledger, up: asyncio.Event, dice: Random) -> None:
        self._name = name
        self._ledger = ledger
        self._up = up
        self._dice = dice
        self._published = 0

    def _next(self) -> tuple[str, str]:
        self._published += 1
        return self._dice.choice(CHANNELS), f"{self._name}-{self._published}"

    async def over_http(self, api_url: str, *, keyed: bool) -> None:
        """Publish one after the other; with a key, again and again until it is acknowledged."""
        async with cent.AsyncClient(api_url, API_KEY, timeout=REQUEST_SECONDS_MAX) as client:
            while True:
                channel, id = self._next()
                request = cent.PublishRequest(
                    channel=channel, data={"id": id}, idempotency_key=id if keyed else None
                )
                while not await self._tried(client, request, id) and keyed:
                    self._ledger.retries += 1

    async def _tried(self, client: cent.AsyncClient, request: cent.PublishRequest, id: str) -> bool:
        await self._up.wait()
        try:
            stored = await client.publish(request)
        except cent.CentError:
            self._ledger.unknown += 1
            await asyncio.sleep(0)
            return False
        self._ledger.note(request.channel, id, stored.offset or 0)
        return True

    async def over_websocket(self, client: Client) -> None:
        """Publish several at once, each once: there is no key, so an unknown one is not tried again."""
        try:
            while True:
                await self._up.wait()
                await asyncio.gather(*(self._try_once(client) for _ in range(PIPELINED)))
        finally:
            await client.disconnect()

    async def _try_once(self, client: Client) -> None:
        channel, id = self._next()
        try:
            await client.publish(channel, {"id": id})
        except CentrifugeError:
            self._ledger.unknown += 1
        else:
            self._ledger.note(channel, id)


class Subscriber(ClientEventHandler):  # type: ignore[misc]
    """Follows every channel, and checks that each message is the next."""

    def __init__(self, ledger: Ledger, *, binary: bool) -> None:
        self._ledger = ledger
        self._binary = binary
        self._client: Client | None = None
        self._followed = {channel: _Follower(ledger, channel, binary=binary) for channel in CHANNELS}

    async def join(self, url: str) -> None:
        """Connect, and subscribe to every channel."""
        self._client = await connected(url, self, binary=self._binary)
        for channel, follower in self._followed.items():
            options = {"min_resubscribe_delay": 0.01, "max_resubscribe_delay": 0.1}
            await self._client.new_subscription(channel, follower, **options).subscribe()

    async def leave(self) -> None:
        """Disconnect."""
        if self._client is not None:
            self._client.events = ClientEventHandler()
            await self._client.disconnect()

    def caught_up(self, ends: dict[str, int]) -> bool:
        """Tell whether it is subscribed everywhere, and has received everything up to `ends`."""
        return all(
            follower.subscribed and follower.last >= ends.get(channel, 0)
            for channel, follower in self._followed.items()
        )

    async def on_disconnected(self, ctx: Any) -> None:
        """Called when the server sends the client away for good."""
        self._ledger.false_alarm(f"a subscriber was sent away: {ctx.code} {ctx.reason}")


class _Follower(SubscriptionEventHandler):  # type: ignore[misc]
    def __init__(self, ledger: Ledger, channel: str, *, binary: bool) -> None:
        self._ledger = ledger
        self._channel = channel
        self._binary = binary
        self.subscribed = False
        self.last = 0

    async def on_subscribed(self, ctx: Any) -> None:
        self.subscribed = True
        if ctx.was_recovering and not ctx.recovered:
            self._ledger.false_alarm(f"{self._channel} says that it lost what follows {self.last}")
        elif ctx.was_recovering:
            self._ledger.recovered()
        self._ledger.changed.set()

    async def on_publication(self, ctx: Any) -> None:
        offset = ctx.pub.offset
        if offset != self.last + 1:
            self._ledger.gap(f"{self._channel} delivered {offset} after {self.last}")
        self.last = offset
        data = ctx.pub.data if not self._binary else json.loads(ctx.pub.data)
        self._ledger.deliver(self._channel, offset, data["id"])

    async def on_unsubscribed(self, ctx: Any) -> None:
        if ctx.code:  # 0: it left
            self._ledger.false_alarm(f"{self._channel} was ended: {ctx.code} {ctx.reason}")
