"""`GET /health` of a worker: 200 while all of it is well, else 503; and `GET /live`, `GET /metrics`."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from aiohttp import web

from gapless.core.errors import ConfigError

__all__ = ["serving_health"]


@asynccontextmanager
async def serving_health(
    health: Callable[[], dict[str, Any]],
    address: str,
    port: int,
    scrape: Callable[[], tuple[bytes, str]] | None = None,
) -> AsyncIterator[int]:
    """Serve them, and return at which port. `scrape` returns the metrics and their content type.

    Raises:
        ConfigError: nobody can listen there.
    """

    async def answer(request: web.Request) -> web.Response:
        told = health()
        return web.Response(
            body=msgspec.json.encode(told),
            status=200 if told["well"] else 503,
            content_type="application/json",
        )

    async def live(request: web.Request) -> web.Response:
        return web.json_response({"live": True})  # who can say so is

    async def metrics(request: web.Request) -> web.Response:
        if scrape is None:
            raise web.HTTPNotFound
        body, content_type = scrape()
        return web.Response(body=body, headers={"Content-Type": content_type})

    app = web.Application()
    app.router.add_get("/health", answer)
    app.router.add_get("/live", live)
    app.router.add_get("/metrics", metrics)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, address, port)
        try:
            await site.start()
        except OSError as error:
            raise ConfigError(f"port {port} for health and metrics: {error.strerror}") from error
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()
