"""The demo at /demo: its page, its two channels, and who talks there. Only `gapless dev` has it."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from random import Random
from typing import Any, Final

import msgspec
from msgspec.structs import replace
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gapless import __version__
from gapless.broker.namespaces import Namespace
from gapless.cli.dev.crowd import Crowd
from gapless.cli.dev.own_api import OwnApi
from gapless.core.errors import BadRequest
from gapless.protocol.hooks import Catalogue, Decision, HookAsked, Subscribing
from gapless.protocol.messages import payload
from gapless.server.config import Config
from gapless.server.console.files import SECURITY, Pages
from gapless.server.hooks import Known, Runner
from gapless.server.node import App, Node

__all__ = ["PREFIX", "Demo", "with_demo"]

PREFIX: Final = "/demo"
NAME_CHARACTERS_MAX: Final = 32
DAY_MS: Final = 24 * 3600 * 1000

PLAIN: Final = Namespace(
    name="demo_plain",
    allow_subscribe_for_client=True,
    allow_subscribe_for_anonymous=True,
    allow_publish_for_subscriber=True,
    allow_publish_for_anonymous=True,
    allow_history_for_subscriber=True,
    allow_history_for_anonymous=True,
    allow_presence_for_subscriber=True,
    allow_presence_for_anonymous=True,
)
KEPT: Final = replace(
    PLAIN,
    name="demo",
    history_size=5_000,
    history_ttl_ms=DAY_MS,
    force_recovery=True,
    presence=True,
    join_leave=True,
    force_push_join_leave=True,
)


def with_demo(config: Config) -> Config:
    """Return a configuration that has the namespaces of the demo; those of the user stay as they are."""
    channel = config.channel
    there = {namespace.name for namespace in channel.namespaces}
    more = tuple(namespace for namespace in (PLAIN, KEPT) if namespace.name not in there)
    return replace(config, channel=replace(channel, namespaces=(*channel.namespaces, *more)))


class Demo:
    """The page, and the conversation in its channels. An `app` of the user's runs beside it."""

    def __init__(self, config: Config, random: Random, app: App | None = None) -> None:
        boundary = config.channel.namespace_boundary
        self.plain, self.kept = (f"{name}{boundary}subway" for name in (PLAIN.name, KEPT.name))
        self._config = config
        self._random = random
        self._app = app

    def routes(self) -> Sequence[Route]:
        """Return what is served."""
        return (Route(f"{PREFIX}/about.json", self._about), *Pages("demo").routes(PREFIX))

    def _about(self, request: Request) -> Response:
        config = self._config
        told = {
            "version": __version__,
            "api": config.http_api.handler_prefix,
            "websocket": config.websocket.handler_prefix,
            "console": config.console.handler_prefix if config.console.enabled else None,
            "plain": self.plain,
            "kept": self.kept,
        }
        fields = {**SECURITY, "cache-control": "no-cache"}
        return Response(json.dumps(told), headers=fields, media_type="application/json")

    @asynccontextmanager
    async def running(self, node: Node) -> AsyncIterator[list[tuple[Known, Runner]]]:
        """Run the conversation beside a node; give the hooks of the user's app, then the demo's own."""
        async with AsyncExitStack() as stack:
            places = [] if self._app is None else await stack.enter_async_context(self._app(node))
            talking = asyncio.get_running_loop().create_task(self._talk(node))
            stack.push_async_callback(_ended, talking)
            yield [*places, (Known(Catalogue(subscribe=[self.kept])), Names())]

    async def _talk(self, node: Node) -> None:
        api = OwnApi(node)
        is_heard = partial(self._is_heard, node)
        try:
            await Crowd(partial(self._say, api), is_heard, node.clock, self._random).run()
        finally:
            await api.close()

    async def _say(self, api: OwnApi, message: dict[str, Any]) -> None:
        await api.post("broadcast", {"channels": [self.plain, self.kept], "data": message})

    def _is_heard(self, node: Node) -> bool:
        channels = node.broker.hub.channels
        return any(name in channels and channels[name].subscriptions for name in (self.plain, self.kept))


class Names(Runner):
    """Tells others the name that somebody subscribes with (`data.name`)."""

    async def run(self, asked: HookAsked) -> Decision:
        """See `Runner.run`. Raises BadRequest: what was sent is not what the demo sends."""
        assert isinstance(asked, Subscribing)
        try:
            given = msgspec.json.decode(asked.body(), type=_Named | None)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise BadRequest(f"the demo is subscribed to with a name: {error}") from error
        return Decision(decided=True, info=payload(msgspec.json.encode(given) if given else b""))


class _Named(msgspec.Struct):
    name: str

    def __post_init__(self) -> None:
        self.name = self.name.strip()[:NAME_CHARACTERS_MAX]


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
