"""The console of a node: its pages, what they are told first, and the way in."""

from collections.abc import Iterable
from typing import Final

from starlette.routing import Route

from gapless.broker.broker import Broker
from gapless.ports import Clock
from gapless.server.addresses import Addresses
from gapless.server.config import Config
from gapless.server.console.about import about_route
from gapless.server.console.files import Pages
from gapless.server.console.login import Login
from gapless.server.console.passes import Passes

__all__ = ["Console"]

PAGES: Final = "console"
# What only `gapless dev` has.
DEMO: Final = "/demo"
LAB: Final = "lab/"


class Console:
    """What is served at `console.handler_prefix`."""

    def __init__(
        self, config: Config, passes: Passes, clock: Clock, addresses: Addresses, broker: Broker
    ) -> None:
        self._config = config
        self._login = Login(config, passes, clock, addresses, broker)

    def follow(self, config: Config) -> None:
        """Go by another configuration from now on."""
        self._config = config
        self._login.follow(config)

    def routes(self, others: Iterable[Route], methods: Iterable[str]) -> list[Route]:
        """Return all of it. The page is told whether a demo is among `others`, a lab among `methods`."""
        demo = any(route.path.startswith(DEMO) for route in others)
        lab = any(method.startswith(LAB) for method in methods)
        prefix = self._config.console.handler_prefix
        return [
            about_route(lambda: self._config, self._login.free, demo=demo, lab=lab),
            *self._login.routes(prefix, local=lab),
            *Pages(PAGES).routes(prefix),
        ]
