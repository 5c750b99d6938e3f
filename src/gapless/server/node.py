"""A whole node: a store, a broker, sessions and a port, put together from a configuration."""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from functools import partial
from random import Random
from typing import Final

from starlette.routing import Route

from gapless import __version__
from gapless.broker import audit
from gapless.broker.broker import Broker
from gapless.broker.governing import govern
from gapless.broker.namespaces import Namespaces
from gapless.broker.revocations import Revocations
from gapless.broker.rounds import spread
from gapless.broker.tokens import Verifier
from gapless.broker.verbs import Verbs
from gapless.core.errors import StoreError
from gapless.ports import Clock, Durability
from gapless.protocol.codes import Disconnect, Unsubscribe
from gapless.server import api
from gapless.server.addresses import Addresses
from gapless.server.api import Api, Door, every_method
from gapless.server.app import Counted, build
from gapless.server.care import StoreCare
from gapless.server.care_routes import UPLOAD, care_routes
from gapless.server.config import Config, Effective, SetAt
from gapless.server.console import sampling
from gapless.server.console.console import Console
from gapless.server.console.desk import Desk
from gapless.server.console.passes import ConsoleTokens, Passes
from gapless.server.console.sampling import Sampling
from gapless.server.console.stories import Stories
from gapless.server.engine import message_bytes_max, open_store, verbs_over
from gapless.server.extension import Extension
from gapless.server.front import Front, cannot_listen
from gapless.server.handshake import WebSocketEndpoint
from gapless.server.health import NAMESPACE, Heartbeat
from gapless.server.hooks import Hooks, Known, Runner
from gapless.server.limiting import Limiting, Lockout
from gapless.server.messages import messages
from gapless.server.metrics import Gather, LoopLag, Sources
from gapless.server.nodes.cluster import Cluster, fingerprint
from gapless.server.origin import Origins
from gapless.server.parting import part_with, pause
from gapless.server.reloading import changes, check_feeds, may_stay, origins_now, reloaded
from gapless.server.replaying import replay_route
from gapless.server.revoking import Revoking
from gapless.server.sessions import SessionOptions, Sessions
from gapless.server.site import HttpLimits, Site
from gapless.server.tls import context as tls_context
from gapless.server.tokens import Trusts
from gapless.server.websocket import WebSocketLimits

__all__ = ["App", "Node"]

# One part in so many of the time to stop in is the store's, however clients linger.
STORE_PART: Final = 4

log: Final = logging.getLogger("gapless.node")


class Node:
    """Everything that runs behind one port. `failed` is done when the store had to close.

    An `app` is begun before anybody can connect, and ended when nobody is connected any more. Where several
    processes serve one port, `gather` finds the metrics of all of them. An `extension` adds to the node.
    `origins` tell where each key of the configuration was set. Processes that serve one port have a common
    `secret`: it signs what the configuration has no secret for.
    """

    sources: Sources

    def __init__(
        self,
        config: Config,
        clock: Clock,
        random: Random,
        app: "App | None" = None,
        gather: Gather | None = None,
        extension: Extension | None = None,
        origins: SetAt | None = None,
    ) -> None:
        self._config = config
        self._set_at: SetAt = origins or {}
        self._app = app
        self._gather = gather
        self._extension = extension or Extension()
        self._stack = AsyncExitStack()  # what the application holds
        self._own: list[tuple[Known, Runner]] = []
        self._clock = clock
        self._random = random
        self._trusts = Trusts(clock)
        self.secret = ""
        self.uid = f"{random.getrandbits(128):032x}"
        self.failed: asyncio.Future[StoreError] = asyncio.get_running_loop().create_future()

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return self._front.port

    @property
    def durability(self) -> Durability:
        """What an acknowledgement of this node is worth."""
        return self._store.durability

    @property
    def config(self) -> Config:
        """What it runs with."""
        return self._config

    @property
    def effective(self) -> Effective:
        """What it runs with, and where each key was set."""
        return Effective(self._config, self._set_at)

    @property
    def clock(self) -> Clock:
        """Its time."""
        return self._clock

    @property
    def broker(self) -> Broker:
        """The channels."""
        return self._broker

    @property
    def verbs(self) -> Verbs | None:
        """The verbs of queues and streams, if the store has them."""
        return self._verbs

    # Start --------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open the store, then the port.

        Raises:
            ConfigError: there is no such kind of store.
            StoreRefused: the store may not be opened as it is, or is less durable than was asked for.
            Unavailable: the port cannot be listened on.
        """
        self._started_ms = self._clock.now_ms()
        self.name = self._config.node.name or socket.gethostname()
        self._store = await open_store(self._config, self.store_failed)
        try:
            await self._assemble()
        except BaseException:
            await self._store.close()
            raise

    async def _assemble(self) -> None:
        config, clock = self._config, self._clock
        self._extension.attach(self)
        self._assemble_broker()
        self._assemble_sessions()
        self._hooks = Hooks(clock)
        self._addresses = Addresses(config.http_server.trusted_proxies)
        self._revoking = Revoking(self._store, self.sessions, clock)
        self._door = Door(
            Api(
                self._broker,
                every_method(
                    self.sessions,
                    self._revoking,
                    self.cluster.registry.nodes,
                    lambda: self.effective,
                    self._verbs,
                )
                | dict(self._extension.methods()),
            ),
            config.http_api,
            None if self._passes is None else Desk(self._passes, self._broker),
        )
        self._care = StoreCare(self._store, clock, self._random, self._broker.placing.check_generation)
        self._origins = Origins(config.client.allowed_origins)
        self._endpoint = WebSocketEndpoint(
            self.sessions.accept,
            clock,
            origins=self._origins,
            addresses=self._addresses,
            admit=self.sessions.admit,
            limits=WebSocketLimits(message_bytes_max=config.websocket.message_size_limit),
        )
        self._messages = messages(config, self.sessions, self._door, self._origins)
        self._front = Front(self._site(), tls=tls_context(config.http_server.tls, clock.now_ms()))
        await self._broker.open()
        try:
            await self._revoking.start()
            if self._verbs is not None:
                await self._verbs.start()
            await self._begin_app()
            await self.cluster.start()
            await self._listen()
            self.name = self._config.node.name or f"{self.name}_{self.port}"
        except BaseException:
            await self.cluster.stop()
            await self._stack.aclose()
            await self._revoking.stop()
            if self._verbs is not None:
                await self._verbs.stop()
            await self._broker.close()
            raise
        if config.prometheus.enabled or config.console.enabled:
            self._lag.start()
        if config.console.enabled:
            self._sampling.start()

    def _assemble_broker(self) -> None:
        config, clock = self._config, self._clock
        self._broker = Broker(
            self._store,
            clock,
            namespaces_of(config),
            soon=asyncio.get_running_loop().call_soon,
            node=self.uid,
            bus=self._extension.bus(self._store.bus),
            message_bytes_max=message_bytes_max(config),
            check_ms=spread(config.store.check_interval_ms, self._random.random),
        )
        self._broker.append_by(self._extension.appending)
        self._verbs = verbs_over(self._store, clock, self._broker, config)
        self.cluster = Cluster(
            self._broker,
            clock,
            self._random,
            interval_ms=config.node.beat_interval_ms,
            info=self.info,
            fingerprint=lambda: fingerprint(self._config),
        )
        self._heartbeat = Heartbeat(self._broker, clock, self.uid, deaf=lambda: self.cluster.registry.deaf)

    def _assemble_sessions(self) -> None:
        config, clock = self._config, self._clock
        self._tokens = Verifier(*self._trusts.read(config.client))
        revocations = Revocations()
        self._passes: Passes | None = None
        if config.console.enabled:
            shared = self.secret or f"{self._random.getrandbits(256):064x}"
            self._passes = Passes(config, clock, shared, revocations)
        self.sessions = Sessions(
            self._broker,
            clock,
            session_options(config),
            tokens=self._tokens if self._passes is None else ConsoleTokens(self._passes, self._tokens),
            random=self._random,
            revocations=revocations,
            limiting=Limiting(config.limits, clock, connects_per_second=config.client.connection_rate_limit),
            verbs=self._verbs,
        )
        self.sessions.stories = Stories(clock) if config.console.enabled else None
        self.sessions.reach(self.cluster.asking)
        self.cluster.share_hooks(self.sessions.workers)

    def _site(self) -> Site:
        """Return what the port serves."""
        config = self._config
        upgrade = {config.websocket.handler_prefix: self._endpoint.upgrade}
        site = Site(
            None,
            self._clock,
            hot={} if config.http_api.disabled else self._door.hot(),
            patterns=self._messages.routes() if config.messages.enabled else {},
            upgrades={} if config.websocket.disabled else upgrade,
            streamed=[config.http_api.handler_prefix + UPLOAD],
            api_prefix=None if config.http_api.disabled else config.http_api.handler_prefix,
            limits=HttpLimits(
                body_bytes_max=config.http_api.body_size_limit, payload_bytes_max=message_bytes_max(config)
            ),
        )
        self._lag = LoopLag(self._clock)
        engine = config.store.url.partition(":")[0]
        self.sources = Sources(
            self._broker,
            self.sessions,
            self._door,
            site,
            self._clock,
            self._lag,
            engine,
            self._started_ms,
            self._hooks,
            self.cluster,
            self._gather,
        )
        self._sampling = Sampling(self.sources, self._verbs, lambda: self.name)
        prefix = config.http_api.handler_prefix
        routes = care_routes(self._care, self._door, prefix, self._broker.removing.erase)
        if self._verbs is not None:
            routes.append(replay_route(self._verbs.streaming.replay, self._door, prefix))
        added = self._extension.routes()
        routes += [*added, *self._console_routes(added)]
        site.lockout = Lockout(self.sessions.limiting, self._addresses, self._clock)
        app = build(config, self._door, self._heartbeat, self.sources, routes)
        site.app = Counted(app, site.count, site.lockout)
        return site

    def _console_routes(self, added: Sequence[Route]) -> list[Route]:
        self._console: Console | None = None
        if self._passes is None:
            return []
        self._console = Console(self._config, self._passes, self._clock, self._addresses, self._broker)
        return self._console.routes(added, self._door.methods)

    async def _begin_app(self) -> None:
        if self._app is not None:
            self._own = await self._stack.enter_async_context(self._app(self))
        self._serve_hooks(self._config)

    def _serve_hooks(self, config: Config) -> None:
        """Ask the application's hooks, and workers for those that are configured."""
        workers = self.sessions.workers
        workers.expected = Known(config.hooks.catalogue())
        places = [*self._own, (workers.expected, workers)]
        self._hooks.timeout_ms = workers.timeout_ms = config.hooks.timeout_ms
        self._hooks.serve(places)
        self.sessions.hooks = self._hooks if any(known for known, _ in places) else None
        self._endpoint.shown = [name.lower().encode() for name in config.hooks.http_headers]

    async def _listen(self) -> None:
        server = self._config.http_server
        try:
            await self._front.listen(server.address, server.port, reuse_port=server.workers > 1)
        except OSError as error:
            raise cannot_listen(server.address, server.port, error) from error
        log.info("listening on port %d, store %s", self.port, self._config.store.url.partition(":")[0])

    def store_failed(self, error: StoreError) -> None:
        """Hear that the store had to close."""
        if not self.failed.done():
            self.failed.set_result(error)

    # Reload -------------------------------------------------------------------------------

    def reload(self, config: Config, origins: SetAt | None = None) -> None:
        """Go on with another configuration, as far as that needs no restart; what does is told in a warning.

        It holds at once: subscriptions that it does not allow any more are ended (2000). Files that it names
        are read again. `origins` tell where its keys were set.

        Raises:
            ConfigError: a key or certificate cannot be used; nothing has changed then.
        """
        now = reloaded(self._config, config)
        namespaces = namespaces_of(now)
        check_feeds(self._broker.namespaces, namespaces)
        secured = tls_context(now.http_server.tls, self._clock.now_ms())
        self._tokens.replace(*self._trusts.read(now.client))
        self._front.tls = secured
        for change in changes(self._config, now):
            log.info("configuration changed: %s", change)
        for change in changes(now, config):
            log.warning("not changed before a restart: %s", change)
        self._set_at = origins_now(self.effective, Effective(config, origins or {}), now)
        before, self._config = self._config, now
        self._origins.replace(now.client.allowed_origins)
        self._door.open_to(now.http_api)
        self._follow_console(now)
        self._messages.forget_tokens()
        self.sessions.limit_anew(
            session_options(now), now.limits, connects_per_second=now.client.connection_rate_limit
        )
        if (before.channel, before.client.insecure) != (now.channel, now.client.insecure):
            self._govern(namespaces)
        if self._verbs is not None:
            self._verbs.follow(now.queues, now.streams)
        self._serve_hooks(now)
        log.info("configuration read again")

    def _follow_console(self, config: Config) -> None:
        """Let in to the console whom this configuration does; end connections that it would not."""
        if self._passes is None or self._console is None:
            return
        self._passes.follow(config)
        self._console.follow(config)
        for session in list(self.sessions.all):
            if session.claims.watches and not self._passes.holds(session.claims):
                session.disconnected(Disconnect.INVALID_TOKEN)

    def _govern(self, namespaces: Namespaces) -> None:
        for session in self.sessions.all:
            for channel in session.subscribing:  # let in by the old rules, and not there yet
                session.unsubscribe_by_server(channel, Unsubscribe.STATE_INVALIDATED)
        insecure = self._config.client.insecure
        ended = govern(self._broker, namespaces, partial(may_stay, namespaces, insecure=insecure))
        if ended:
            log.info("%d subscriptions ended that are not allowed any more", ended)

    # Stop ---------------------------------------------------------------------------------

    async def stop(self) -> None:
        """Fail `/health`, accept nobody, ask clients to reconnect (spread), finish what is in flight.

        All within `shutdown.timeout`, of which a part is the store's; what has not ended by then is cut.
        Repeated calls do nothing.
        """
        if self._heartbeat.stopping:
            return
        self._heartbeat.stopping = True
        options, clock = self._config.shutdown, self._clock
        end_ms = clock.now_ms() + options.timeout_ms
        cut_ms = end_ms - options.timeout_ms // STORE_PART
        log.info("stopping")
        if options.delay_ms:
            await pause(clock, min(options.delay_ms, options.timeout_ms // 2))
        self._front.stop_accepting()
        if self._verbs is not None:
            self._verbs.stop_waiting()
        await part_with(
            list(self.sessions.all), self._broker, clock, spread_ms=options.spread_ms, end_ms=cut_ms
        )
        if not await self._in_time(self._hooks.close(), cut_ms):
            log.error("hooks did not hear in time of those who left")
        self.sessions.workers.stop()
        await self._stack.aclose()
        await self._front.shutdown(max(0, cut_ms - clock.now_ms()))
        self._lag.stop()
        await self._sampling.stop()
        self._tokens.close()
        await self._revoking.stop()
        await self._care.close()
        if self._verbs is not None:
            await self._verbs.stop()
        if not await self._in_time(self.cluster.stop(), cut_ms):
            log.error("the other nodes were not told in time that this one stops")
        await self._broker.close()
        if not await self._in_time(self._store.close(), end_ms):
            log.error("the store did not close in time")
        log.info("stopped")

    async def _in_time(self, work: Awaitable[None], end_ms: int) -> bool:
        task = asyncio.ensure_future(work)
        late = asyncio.ensure_future(pause(self._clock, max(0, end_ms - self._clock.now_ms())))
        try:
            await asyncio.wait((task, late), return_when=asyncio.FIRST_COMPLETED)
        finally:  # whoever cancels this wait is not told that it took too long
            late.cancel()
            in_time = task.done()
            task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        return in_time

    # Look ---------------------------------------------------------------------------------

    def info(self) -> api.Node:
        """Tell how the node is doing."""
        hub = self._broker.hub
        return api.Node(
            uid=self.uid,
            name=self.name,
            version=__version__,
            num_clients=len(self.sessions.all),
            num_users=self.sessions.num_users,
            num_channels=hub.followed,
            num_subs=hub.subscriptions,
            uptime=(self._clock.now_ms() - self._started_ms) // 1000,
            store=api.StoreInfo(
                engine=self._config.store.url.partition(":")[0],
                durability=self._store.durability,
                epoch=self._store.epoch,
                statistics=self._store.statistics()._asdict(),
            ),
        )


App = Callable[[Node], AbstractAsyncContextManager[list[tuple[Known, Runner]]]]
"""Runs an application beside a node; gives its hooks."""


def namespaces_of(config: Config) -> Namespaces:
    """Return the namespaces that are configured, and those of the system."""
    return config.channel.compiled(NAMESPACE, sampling.NAMESPACE, audit.NAMESPACE)


def session_options(config: Config) -> SessionOptions:
    """Return what the configuration says about connections."""
    client, personal = config.client, config.client.subscribe_to_user_personal_channel
    return SessionOptions(
        insecure=client.insecure,
        allow_anonymous_connect_without_token=client.allow_anonymous_connect_without_token,
        disallow_anonymous_connection_tokens=client.disallow_anonymous_connection_tokens,
        personal_channel_prefix=_personal_channel_prefix(config),
        single_connection=personal.enabled and personal.single_connection,
        connect_include_server_time=client.connect_include_server_time,
        ping_interval_ms=client.ping_interval_ms,
        pong_timeout_ms=client.pong_timeout_ms,
        stale_close_delay_ms=client.stale_close_delay_ms,
        expired_close_delay_ms=client.expired_close_delay_ms,
        expired_sub_close_delay_ms=client.expired_sub_close_delay_ms,
        channel_limit=client.channel_limit,
        connection_limit=client.connection_limit,
        user_connection_limit=client.user_connection_limit,
        history_max_publication_limit=client.history_max_publication_limit,
    )


def _personal_channel_prefix(config: Config) -> str:
    personal, channel = config.client.subscribe_to_user_personal_channel, config.channel
    if not personal.enabled:
        return ""
    namespace = personal.personal_channel_namespace
    return (namespace + channel.namespace_boundary if namespace else "") + channel.user_boundary
