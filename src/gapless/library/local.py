"""The verbs in this process: a store of its own, with the same use cases that a node has."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from random import Random
from typing import Any, Final

import msgspec

from gapless.broker.broker import Broker
from gapless.broker.permissions import refuse_system
from gapless.broker.rounds import spread
from gapless.broker.scrolling import Scrolling
from gapless.broker.verbs import Verbs
from gapless.client.following import Event, Following
from gapless.core.errors import BadRequest, GaplessError, NotAvailable, StoreError, StoreFailed
from gapless.core.stream import Position
from gapless.library.inbox import Inbox
from gapless.ports import Clock, Streams
from gapless.protocol.reading import ReplayedMessage, ReplayRequest
from gapless.server.api import Api
from gapless.server.clock import LoopClock
from gapless.server.config import Config, Source, from_file, read
from gapless.server.engine import message_bytes_max, open_store, verbs_over
from gapless.server.messages.items import answer, items
from gapless.server.messages.query import read as read_query

__all__ = ["DEFAULTS", "Local", "configured"]

# Channels without a namespace keep history unless a configuration says otherwise.
DEFAULTS: Final = Source(
    name="the library",
    tree={
        "channel": {
            "without_namespace": {"history_size": 1_000, "history_ttl": "24h", "force_recovery": True}
        }
    },
)


def configured(url: str, config: Mapping[str, Any] | str | Path | None) -> Config:
    """Return the configuration of a store in this process: a file's, or one in the structure of a file.

    Raises:
        ConfigError: it is malformed.
    """
    given = [DEFAULTS]
    if isinstance(config, str | Path):
        given = [from_file(Path(config))]
    elif config is not None:
        given = [Source(name="config", tree=dict(config))]
    return read([*given, Source(name="Gapless(…)", tree={"store": {"url": url}})])


class Local:
    """Implements `Transport`. `clock` is the store's too; None: the machine's."""

    keeps_store = True

    def __init__(self, config: Config, random: Random, clock: Clock | None = None) -> None:
        self._config = config
        self._random = random
        self._given_clock = clock
        self._failed: StoreError | None = None

    async def open(self) -> None:
        """See `Transport.open`.

        Raises:
            StoreRefused: the store may not be opened as it is.
        """
        given = self._given_clock
        now_ms = given.now_ms if given is not None else None
        store = await open_store(self._config, self._store_failed, now_ms)
        try:
            await self._assemble(store, given or LoopClock())
        except BaseException:
            await store.close()
            raise

    async def _assemble(self, store: Streams, clock: Clock) -> None:
        config = self._config
        self._clock = clock
        self._store = store
        self._broker = Broker(
            store,
            clock,
            config.channel.compiled(),
            soon=asyncio.get_running_loop().call_soon,
            node=f"{self._random.getrandbits(128):032x}",
            check_ms=spread(config.store.check_interval_ms, self._random.random),
            message_bytes_max=message_bytes_max(config),
        )
        self._api = Api(self._broker, {})
        self._scrolling = Scrolling(self._broker, items)
        self._verbs = verbs_over(store, clock, self._broker, config)
        await self._broker.open()
        if self._verbs is not None:
            await self._verbs.start()

    def _store_failed(self, error: StoreError) -> None:
        self._failed = error

    async def close(self) -> None:
        """See `Transport.close`."""
        if self._verbs is not None:
            await self._verbs.stop()
        await self._broker.close()
        await self._store.close()

    def _usable(self) -> None:
        if self._failed is not None:
            raise StoreFailed(f"the store had to close: {self._failed}")

    async def call(self, verb: str, request: Any) -> Any:
        """See `Transport.call`."""
        self._usable()
        return await self._having().call(verb, _checked(request))

    def replay(self, request: ReplayRequest) -> AsyncGenerator[list[ReplayedMessage], None]:
        """See `Transport.replay`. Raises as `Replaying.replay`."""
        return self._having().streaming.replay(_checked(request))

    def _having(self) -> Verbs:
        if self._verbs is None:
            raise NotAvailable("this store has neither queues nor groups")
        return self._verbs

    async def publish(self, body: bytes, *, repeatable: bool) -> bytes:
        """See `Transport.publish`."""
        done: asyncio.Future[bytes | GaplessError] = asyncio.get_running_loop().create_future()

        def told(outcome: bytes | GaplessError) -> None:
            if not done.done():
                done.set_result(outcome)

        self._api.call("publish", body, told)
        outcome = await done
        if isinstance(outcome, GaplessError):
            raise outcome
        return outcome

    async def page(self, channel: str, query: bytes) -> bytes:
        """See `Transport.page`."""
        refuse_system(channel)
        where, point, size = read_query(channel, query)
        scrolling = self._scrolling
        if point is None:
            scroll = await scrolling.newest(channel, size)
        elif where == "before":
            scroll = await scrolling.before(channel, point, size)
        elif where == "after":
            scroll = await scrolling.after(channel, point, size)
        else:
            scroll = await scrolling.around(channel, point, size)
        return answer(channel, scroll, newest_first=where != "after")

    def events(self, channel: str, since: Position | None) -> AsyncGenerator[Event, None]:
        """See `Transport.events`."""
        following = Following(channel, since=since)
        return Inbox(self._broker, following, self._clock, self._random).events()


def _checked(request: Any) -> Any:
    """Return a request as it arrives over a wire: held against its type, and nobody else's any more."""
    try:
        return msgspec.json.decode(msgspec.json.encode(request), type=type(request))
    except (msgspec.MsgspecError, TypeError, ValueError, RecursionError) as error:
        raise BadRequest(f"malformed request: {error}") from error
