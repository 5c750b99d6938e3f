"""Everything that is served over HTTP and is not hot, as an ASGI app."""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gapless.core.errors import GaplessError
from gapless.server.api import Door
from gapless.server.config import Config
from gapless.server.health import Heartbeat

__all__ = ["build"]

JSON = "application/json"


def build(config: Config, door: Door, heartbeat: Heartbeat) -> Starlette:
    """Return the app of a node."""

    async def call(request: Request) -> Response:
        method, scope = request.path_params["method"], request.scope
        status, body = await door.answer(
            method, scope["headers"], scope["query_string"], await request.body()
        )
        return Response(body, status, media_type=JSON)

    async def health(request: Request) -> Response:
        try:
            await heartbeat.beat()
        except GaplessError as error:
            return Response(str(error), 503)
        return Response(b"{}", media_type=JSON)

    routes = []
    if not config.http_api.disabled:
        routes.append(Route(f"{config.http_api.handler_prefix}/{{method}}", call, methods=["POST"]))
    if config.health.enabled:
        routes.append(Route(config.health.handler_prefix, health))
    return Starlette(routes=routes)
