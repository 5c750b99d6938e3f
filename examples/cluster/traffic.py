"""Clients that read and a backend that publishes through HAProxy, and a count of what arrived."""

import asyncio
from dataclasses import asdict, dataclass
from typing import Any

import cent
from centrifuge import (  # type: ignore[import-untyped] # it has no types
    Client,
    ClientEventHandler,
    SubscriptionEventHandler,
)

from examples.cluster.programs import until

CHANNEL = "chat:cluster"
REQUEST_SECONDS_MAX = 5
ARRIVE_SECONDS_MAX = 15
PAGE_MESSAGES = 1_000


@dataclass
class Score:
    """What arrived, and what is there for those who come later.

    `lost` are missing without a word, `told` are clients that were told that something may be missing.
    `forgotten` were acknowledged, and the store has them no more: then everybody has to be told.
    """

    clients: int = 0
    messages: int = 0
    deliveries: int = 0
    lost: int = 0
    missing_and_told: int = 0
    forgotten: int = 0
    told: int = 0
    doubled: int = 0
    disordered: int = 0
    reconnects: int = 0
    retries: int = 0
    seconds: float = 0

    @property
    def kept(self) -> bool:
        """Tell whether the promise was kept: each message once, in order, or the client was told."""
        everybody_knows = not self.forgotten or self.told == self.clients
        return not (self.lost or self.doubled or self.disordered) and everybody_knows

    def report(self) -> dict[str, Any]:
        return {"kept": self.kept, **asdict(self)}


class _Connection(ClientEventHandler):  # type: ignore[misc]
    reconnects = 0

    async def on_connecting(self, ctx: Any) -> None:
        self.reconnects += ctx.code != 0  # 0: it was asked to connect


class _Reader(SubscriptionEventHandler):  # type: ignore[misc]
    def __init__(self) -> None:
        self.seen: set[int] = set()
        self.last = 0
        self.doubled = self.disordered = self.told = 0
        self.subscribed = asyncio.Event()

    async def on_subscribed(self, ctx: Any) -> None:
        self.subscribed.set()
        self.told += ctx.was_recovering and not ctx.recovered

    async def on_publication(self, ctx: Any) -> None:
        number = ctx.pub.data["number"]
        self.doubled += number in self.seen
        self.disordered += number < self.last
        self.seen.add(number)
        self.last = number


class Traffic:
    """Stock SDK clients that follow a channel, and one backend that publishes numbers to it, at its pace.

    The backend gives each message an idempotency key, and publishes it until it is acknowledged.
    """

    def __init__(self, websocket: str, api: str, key: str, *, clients: int, pace_ms: int) -> None:
        self._websocket = websocket
        self._client = cent.AsyncClient(api, key, timeout=REQUEST_SECONDS_MAX)
        self._pace_ms = pace_ms
        self._connections = [_Connection() for _ in range(clients)]
        self._readers = [_Reader() for _ in range(clients)]
        self._joined: list[Client] = []
        self._ending = False
        self.published = 0
        self.retries = 0

    async def run(self, during: Any) -> Score:
        """Publish while `during` is awaited; then wait for the last message, and count."""
        began = asyncio.get_running_loop().time()
        try:
            for connection, reader in zip(self._connections, self._readers, strict=True):
                self._joined.append(await self._join(connection, reader))
            await asyncio.gather(*(reader.subscribed.wait() for reader in self._readers))
            publishing = asyncio.create_task(self._publish())
            try:
                await during
            finally:
                self._ending = True
                await publishing
            await self._arrived()
            score = self._score()
            score.forgotten = self.published - len(await self._held())
        finally:
            await asyncio.gather(*(client.disconnect() for client in self._joined))
            await self._client.close()
        score.seconds = round(asyncio.get_running_loop().time() - began, 1)
        return score

    async def _join(self, connection: _Connection, reader: _Reader) -> Client:
        client = Client(
            self._websocket, connection, min_reconnect_delay=0.1, max_reconnect_delay=2, timeout=5, proxy=None
        )
        subscription = client.new_subscription(
            CHANNEL, reader, min_resubscribe_delay=0.1, max_resubscribe_delay=2
        )
        await subscription.subscribe()
        await client.connect()
        return client

    async def _publish(self) -> None:
        while not self._ending:
            await self._publish_one(self.published + 1)
            self.published += 1
            await asyncio.sleep(self._pace_ms / 1000)

    async def _publish_one(self, number: int) -> None:
        request = cent.PublishRequest(
            channel=CHANNEL, data={"number": number}, idempotency_key=f"message-{number}"
        )
        while True:
            try:
                await self._client.publish(request)
            except cent.CentError:
                self.retries += 1
                await asyncio.sleep(0.1)
            else:
                return

    async def _arrived(self) -> None:
        """Wait until everybody has the last message: what somebody lacks then will not come any more."""

        async def arrived() -> bool:
            return all(reader.last == self.published for reader in self._readers)

        await until(arrived, ARRIVE_SECONDS_MAX)

    async def _held(self) -> set[int]:
        """Return what is there for those who come later."""
        held: set[int] = set()
        since = None
        while True:
            page = await self._client.history(
                cent.HistoryRequest(channel=CHANNEL, limit=PAGE_MESSAGES, since=since)
            )
            if not page.publications:
                return held
            held.update(publication.data["number"] for publication in page.publications)
            since = cent.StreamPosition(offset=page.publications[-1].offset, epoch=page.epoch)

    def _score(self) -> Score:
        missing = {True: 0, False: 0}
        for reader in self._readers:
            missing[reader.told > 0] += self.published - len(reader.seen)
        return Score(
            clients=len(self._readers),
            messages=self.published,
            deliveries=sum(len(reader.seen) + reader.doubled for reader in self._readers),
            lost=missing[False],
            missing_and_told=missing[True],
            told=sum(reader.told > 0 for reader in self._readers),
            doubled=sum(reader.doubled for reader in self._readers),
            disordered=sum(reader.disordered for reader in self._readers),
            reconnects=sum(connection.reconnects for connection in self._connections),
            retries=self.retries,
        )
