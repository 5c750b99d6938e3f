"""An application beside a node, in its process: its lifespan, its hooks, and the verbs over its store."""

import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from random import Random
from typing import Final

from gapless.broker.scrolling import Scrolling
from gapless.core.errors import ConfigError, GaplessError
from gapless.library.gapless import Gapless
from gapless.library.hooking import Hooking
from gapless.library.local import Local
from gapless.server.api import Api
from gapless.server.hooks import Known, Runner
from gapless.server.messages.items import items
from gapless.server.node import Node

__all__ = ["application"]

log: Final = logging.getLogger("gapless.library")


class Within(Local):
    """The verbs over what a node has open."""

    def __init__(self, node: Node, random: Random) -> None:
        super().__init__(node.config, random)
        self._node = node

    async def open(self) -> None:
        """See `Transport.open`: the node has it open."""
        self._clock = self._node.clock
        self._broker = self._node.broker
        self._verbs = self._node.verbs
        self._api = Api(self._broker, {})
        self._scrolling = Scrolling(self._broker, items)

    async def close(self) -> None:
        """See `Transport.close`: the node closes it."""


@asynccontextmanager
async def application(gl: Gapless, random: Random, node: Node) -> AsyncIterator[list[tuple[Known, Runner]]]:
    """Run an application beside a node; give its hooks. Its store is the node's.

    Raises:
        ConfigError: its lifespan cannot begin, or it was used before.
    """
    gl.through(lambda: Within(node, random))
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(gl)
        try:
            context = await stack.enter_async_context(gl.running())
        except GaplessError:
            raise
        except Exception as error:
            raise ConfigError(f"the application's lifespan: {type(error).__name__}: {error}") from error
        hooking = Hooking(gl, context)
        told = [" ".join(place).rstrip() for place in hooking.catalogue.places()]
        if told:
            log.info("the application's hooks: %s", ", ".join(told))
        else:
            log.warning("the application declares no hooks; handlers of queues need a worker")
        yield [(Known(hooking.catalogue), hooking)]
