"""A whole node: a store, a broker, sessions and a port, put together from a configuration."""

import asyncio
import errno
import logging
import socket
from collections.abc import Awaitable
from random import Random
from typing import Final

from gapless import __version__, backends
from gapless.broker.broker import Broker
from gapless.broker.tokens import Verifier
from gapless.core.errors import StoreError, StoreRefused, Unavailable
from gapless.core.limits import MESSAGE_BYTES_MAX, PART_PER_TURN_MIN, PART_TURN_MS
from gapless.ports import Clock, Durability, Streams
from gapless.protocol.codes import Disconnect
from gapless.server import api
from gapless.server.api import Api, Door
from gapless.server.app import build
from gapless.server.config import Config
from gapless.server.front import Front
from gapless.server.handshake import WebSocketEndpoint
from gapless.server.health import NAMESPACE, Heartbeat
from gapless.server.origin import Origins
from gapless.server.sessions import SessionOptions, Sessions
from gapless.server.site import Site
from gapless.server.websocket import WebSocketLimits

__all__ = ["Node"]

# One part in so many of the time to stop in is the store's, however clients linger.
STORE_PART: Final = 4

log: Final = logging.getLogger("gapless.node")


class Node:
    """Everything that runs behind one port. `failed` is done when the store had to close."""

    def __init__(self, config: Config, clock: Clock, random: Random) -> None:
        self._config = config
        self._clock = clock
        self._random = random
        self.uid = f"{random.getrandbits(128):032x}"
        self._message_bytes_max = max(MESSAGE_BYTES_MAX, config.websocket.message_size_limit)
        self.failed: asyncio.Future[StoreError] = asyncio.get_running_loop().create_future()

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return self._front.port

    @property
    def durability(self) -> Durability:
        """What an acknowledgement of this node is worth."""
        return self._store.durability

    # Start --------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open the store, then the port.

        Raises:
            ConfigError: there is no such kind of store.
            StoreRefused: the store may not be opened as it is, or is less durable than was asked for.
            Unavailable: the port cannot be listened on.
        """
        self._started_ms = self._clock.now_ms()
        self._store = await self._open_store()
        try:
            await self._assemble()
        except BaseException:
            await self._store.close()
            raise

    async def _open_store(self) -> Streams:
        options = self._config.store
        opened = backends.Options(failed=self.store_failed, message_bytes_max=self._message_bytes_max)
        store = await backends.open(options.url, opened)
        classes = list(Durability)
        if classes.index(store.durability) < classes.index(options.minimum):
            await store.close()
            raise StoreRefused(
                f"store.durability: {options.minimum.value!r} is asked for, but {options.url} gives only"
                f" {store.durability.value!r}: use another store or place, or ask for less"
            )
        return store

    async def _assemble(self) -> None:
        config, clock = self._config, self._clock
        loop = asyncio.get_running_loop()
        self._broker = Broker(
            self._store,
            clock,
            config.channel.compiled(NAMESPACE),
            soon=loop.call_soon,
            message_bytes_max=self._message_bytes_max,
        )
        self._heartbeat = Heartbeat(self._broker, clock, self.uid)
        self.sessions = Sessions(
            self._broker,
            clock,
            session_options(config),
            verify=Verifier(hmac_secret_key=config.client.token.hmac_secret_key).connection,
            random=self._random,
        )
        door = Door(Api(self._broker, lambda: [self.info()]), config.http_api)
        endpoint = WebSocketEndpoint(
            self.sessions.accept,
            clock,
            origins=Origins(config.client.allowed_origins),
            limits=WebSocketLimits(message_bytes_max=config.websocket.message_size_limit),
        )
        site = Site(
            build(config, door, self._heartbeat),
            clock,
            hot={} if config.http_api.disabled else door.hot(),
            upgrades={} if config.websocket.disabled else {config.websocket.handler_prefix: endpoint.upgrade},
        )
        self._front = Front(site)
        await self._broker.open()
        try:
            await self._listen()
        except BaseException:
            await self._broker.close()
            raise

    async def _listen(self) -> None:
        server = self._config.http_server
        try:
            await self._front.listen(server.address, server.port)
        except OSError as error:
            reason = {
                errno.EADDRINUSE: "another process listens there",
                errno.EACCES: "this user may not listen there",
            }.get(error.errno or 0, error.strerror or str(error))
            where = f"{server.address or 'every address'}, port {server.port}"
            raise Unavailable(f"http_server: cannot listen on {where}: {reason}") from error
        log.info("listening on port %d, store %s", self.port, self._config.store.url.partition(":")[0])

    def store_failed(self, error: StoreError) -> None:
        """Hear that the store had to close."""
        if not self.failed.done():
            self.failed.set_result(error)

    # Stop ---------------------------------------------------------------------------------

    async def stop(self) -> None:
        """Fail `/health`, accept nobody, ask clients to reconnect elsewhere, finish what is in flight.

        All within `shutdown.timeout`, of which a part is the store's; what has not ended by then is cut.
        Repeated calls do nothing.
        """
        if self._heartbeat.stopping:
            return
        self._heartbeat.stopping = True
        timeout_ms = self._config.shutdown.timeout_ms
        end_ms = self._clock.now_ms() + timeout_ms
        cut_ms = end_ms - timeout_ms // STORE_PART
        log.info("stopping")
        self._front.stop_accepting()
        await self._part_with_clients(cut_ms)
        await self._front.shutdown(max(0, cut_ms - self._clock.now_ms()))
        await self._broker.close()
        if not await self._in_time(self._store.close(), end_ms):
            log.error("the store did not close in time")
        log.info("stopped")

    async def _part_with_clients(self, end_ms: int) -> None:
        """Disconnect everybody (3001), in turns, so that they do not come back all at once."""
        leaving = list(self.sessions.all)
        turns = max(1, (end_ms - self._clock.now_ms()) // (2 * PART_TURN_MS))
        per_turn = max(PART_PER_TURN_MIN, -(-len(leaving) // turns))
        for first in range(0, len(leaving), per_turn):
            for session in leaving[first : first + per_turn]:
                session.disconnected(Disconnect.SHUTDOWN)
            await self._pause()
        while self.sessions.all and self._clock.now_ms() < end_ms:
            await self._pause()

    async def _pause(self) -> None:
        over = asyncio.get_running_loop().create_future()
        self._clock.after(PART_TURN_MS, lambda: over.set_result(None))
        await over

    async def _in_time(self, work: Awaitable[None], end_ms: int) -> bool:
        task = asyncio.ensure_future(work)
        timer = self._clock.after(max(0, end_ms - self._clock.now_ms()), task.cancel)
        try:
            await task
        except asyncio.CancelledError:
            return False
        finally:
            timer.cancel()
        return True

    # Look ---------------------------------------------------------------------------------

    def info(self) -> api.Node:
        """Tell how the node is doing."""
        followed = [channel for channel in self._broker.hub.channels.values() if channel.subscriptions]
        return api.Node(
            uid=self.uid,
            name=f"{socket.gethostname()}_{self.port}",
            version=__version__,
            num_clients=len(self.sessions.all),
            num_users=len(self.sessions.users()),
            num_channels=len(followed),
            num_subs=sum(len(channel.subscriptions) for channel in followed),
            uptime=(self._clock.now_ms() - self._started_ms) // 1000,
            store=api.StoreInfo(
                engine=self._config.store.url.partition(":")[0],
                durability=self._store.durability,
                epoch=self._store.epoch,
                statistics=self._store.statistics()._asdict(),
            ),
        )


def session_options(config: Config) -> SessionOptions:
    """Return what the configuration says about connections."""
    client = config.client
    return SessionOptions(
        insecure=client.insecure,
        allow_anonymous_connect_without_token=client.allow_anonymous_connect_without_token,
        ping_interval_ms=client.ping_interval_ms,
        pong_timeout_ms=client.pong_timeout_ms,
        stale_close_delay_ms=client.stale_close_delay_ms,
        expired_close_delay_ms=client.expired_close_delay_ms,
        channel_limit=client.channel_limit,
        history_max_publication_limit=client.history_max_publication_limit,
    )
