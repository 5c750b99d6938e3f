"""What the console's page is told first, by whomever it is asked for: where everything is."""

from collections.abc import Callable

import msgspec
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gapless import __version__
from gapless.server.config import Config
from gapless.server.console.files import SECURITY
from gapless.server.console.login import LoggedIn

__all__ = ["about_route"]


class About(Struct):
    """The answer. Paths are the server's; messages of a channel are at `<messages>/<channel>/messages`.

    Where nobody has to log in, it holds the `session`, so that a page begins with one answer less.
    """

    version: str
    login: bool
    dev: bool
    api: str
    websocket: str
    messages: str | None
    lab: bool
    demo: bool
    session: LoggedIn | None


def about_route(
    config: Callable[[], Config], free: Callable[[Request], LoggedIn | None], *, demo: bool, lab: bool
) -> Route:
    """Return the route; `config` is what the node runs with now, `free` lets in who need not log in.

    Only `gapless dev` has a demo and a lab.
    """

    async def answer(request: Request) -> Response:
        body = msgspec.json.encode(_about(config(), free(request), demo=demo, lab=lab))
        fields = {**SECURITY, "cache-control": "no-store"}
        return Response(body, 200, fields, media_type="application/json")

    return Route(f"{config().console.handler_prefix}/about.json", answer)


def _about(config: Config, session: LoggedIn | None, *, demo: bool, lab: bool) -> About:
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
        session=session,
    )
