"""Everything that is served over HTTP and is not hot, as an ASGI app."""

from collections.abc import Callable, Sequence
from functools import partial
from http import HTTPStatus
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gapless.core.errors import BadRequest, GaplessError, MethodNotFound
from gapless.server.api import Door
from gapless.server.api.calls import refusal_body
from gapless.server.config import Config
from gapless.server.health import Heartbeat
from gapless.server.limiting import Lockout
from gapless.server.metrics import Sources
from gapless.server.site import NO_ROUTE, App, is_below

__all__ = ["Counted", "build"]

JSON = "application/json"
_TOO_MANY = Response("Too Many Requests", 429, {"retry-after": "1"})


class Counted:
    """An app whose responses are counted by route and status; `count` takes both. Some are kept out."""

    def __init__(self, app: App, count: Callable[[bytes, int], None], lockout: Lockout) -> None:
        self._app = app
        self._count = count
        self._lockout = lockout

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request."""
        peer, headers = (scope.get("client") or ("",))[0], scope.get("headers", ())

        async def counted(message: Any) -> None:
            if message["type"] == "http.response.start":
                route = scope.get("route")
                if message["status"] == 401:
                    self._lockout.unauthorized(peer, headers)
                self._count(route.path.encode() if route is not None else NO_ROUTE, message["status"])
            await send(message)

        app = _TOO_MANY if self._lockout.keeps_out(peer, headers) else self._app
        await app(scope, receive, counted)


def build(
    config: Config, door: Door, heartbeat: Heartbeat, sources: Sources, care: Sequence[Route]
) -> Starlette:
    """Return the app of a node; `care` are the routes that care for its store."""
    routes: list[Route] = []
    if not config.http_api.disabled:
        routes += care
        routes += _api(door, config.http_api.handler_prefix)
        routes.append(Route("/openapi.json", _openapi(config.http_api.handler_prefix)))
    if config.health.enabled:
        routes += _health(heartbeat, config.health.handler_prefix)
    if config.prometheus.enabled:
        from gapless.server.exposition import metrics_endpoint

        answer = metrics_endpoint(sources, config.prometheus.key)
        routes.append(Route(config.prometheus.handler_prefix, answer))
    if not config.websocket.disabled:
        routes.append(Route(config.websocket.handler_prefix, _upgrade_required))
    told = _told_as_json(config.http_api.handler_prefix) if not config.http_api.disabled else None
    return Starlette(routes=routes, exception_handlers={HTTPException: told} if told is not None else None)


def _told_as_json(prefix: str) -> Callable[[Request, Exception], Response]:
    """Return what answers a request that no route takes: below `prefix` as all errors of the API are told."""

    def answer(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        if not is_below(request.url.path, prefix):
            return Response(error.detail, error.status_code, error.headers, "text/plain")
        if error.status_code == HTTPStatus.NOT_FOUND:
            told: GaplessError = MethodNotFound(f"there is no method {request.url.path!r}")
        else:
            told = BadRequest(
                f"{request.method} is not answered here: {(error.headers or {}).get('Allow')} is"
            )
        return Response(refusal_body(told), error.status_code, error.headers, JSON)

    return answer


def _api(door: Door, prefix: str) -> list[Route]:
    async def call(family: str, request: Request) -> Response:
        method, scope = family + request.path_params["method"], request.scope
        status, body = await door.answer(
            method, scope["headers"], scope["query_string"], await request.body()
        )
        return Response(body, status, media_type=JSON)

    async def call_legacy(request: Request) -> Response:
        scope = request.scope
        status, body = await door.answer_legacy(scope["headers"], scope["query_string"], await request.body())
        return Response(body, status, media_type=JSON)

    return [
        *(
            Route(f"{prefix}/{family}{{method}}", partial(call, family), methods=["POST"])
            for family in ("", "queue/", "stream/", "hooks/", "token/")
        ),
        Route(prefix, call_legacy, methods=["POST"]),
    ]


def _openapi(prefix: str) -> Callable[[Request], Response]:
    def document(request: Request) -> Response:
        from gapless.server.openapi import openapi

        return Response(openapi(prefix), media_type=JSON)

    return document


def _health(heartbeat: Heartbeat, prefix: str) -> list[Route]:
    async def ready(request: Request) -> Response:
        try:
            await heartbeat.beat()
        except GaplessError as error:
            return Response(str(error), 503)
        return Response(b"{}", media_type=JSON)

    async def live(request: Request) -> Response:
        """Answer whenever the loop turns: a process that does not is to be restarted."""
        return Response(b"{}", media_type=JSON)

    return [Route(prefix, ready), Route(f"{prefix}/live", live)]


async def _upgrade_required(request: Request) -> Response:
    fields = {"upgrade": "websocket", "connection": "upgrade"}
    return Response("a WebSocket is opened here", 426, fields)
