"""What the console's page is told first, by whomever it is asked for: where everything is."""

from collections.abc import Callable
from typing import Final

import msgspec
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gapless import __version__
from gapless.server.config import Config
from gapless.server.console.files import SECURITY
from gapless.server.extension import Extension

__all__ = ["about_route"]


DEMO: Final = "/demo"
LAB: Final = "lab/"


class About(Struct):
    """The answer. Paths are the server's; the messages of a channel are at `<messages>/<channel>/messages`."""

    version: str
    login: bool
    dev: bool
    api: str
    websocket: str
    messages: str | None
    lab: bool
    demo: bool


def about_route(config: Callable[[], Config], extension: Extension) -> Route:
    """Return the route; `config` is what the node runs with now, with what `extension` adds."""
    demo = any(route.path.startswith(DEMO) for route in extension.routes())
    lab = any(method.startswith(LAB) for method in extension.methods())

    async def answer(request: Request) -> Response:
        body = msgspec.json.encode(_about(config(), demo=demo, lab=lab))
        return Response(body, 200, {**SECURITY, "cache-control": "no-store"}, media_type="application/json")

    return Route(f"{config().console.handler_prefix}/about.json", answer)


def _about(config: Config, *, demo: bool, lab: bool) -> About:
    api = config.http_api.handler_prefix
    return About(
        version=__version__,
        login=not config.console.insecure,
        dev=demo or lab,
        api=api,
        websocket=config.websocket.handler_prefix,
        messages=f"{api}/channels" if config.messages.enabled else None,
        lab=lab,
        demo=demo,
    )
