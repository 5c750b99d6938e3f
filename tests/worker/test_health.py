"""`GET /health` and `GET /metrics` of a worker."""

from typing import Any

import aiohttp
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from gapless.worker.health import serving_health
from gapless.worker.metrics import CONTENT_TYPE, HandlerMetrics
from tests.server.serving import on_a_loop


async def get(port: int, path: str) -> tuple[int, str, str]:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}{path}") as response,
    ):
        return response.status, response.headers["content-type"], await response.text()


@on_a_loop
async def test_health_is_200_only_while_all_is_well() -> None:
    told: dict[str, Any] = {"well": True, "running": 0}
    async with serving_health(lambda: told, "127.0.0.1", 0) as port:
        assert (await get(port, "/health"))[0] == 200
        told["well"] = False
        assert (await get(port, "/health"))[0] == 503
        assert (await get(port, "/live"))[0] == 200, "a new start heals nothing"


@on_a_loop
async def test_metrics_are_there_only_where_they_are_asked_for() -> None:
    metrics = HandlerMetrics(CollectorRegistry(), lambda: 0)

    def scrape() -> tuple[bytes, str]:
        return metrics.scrape(), CONTENT_TYPE

    async with serving_health(lambda: {"well": True}, "127.0.0.1", 0) as port:
        assert (await get(port, "/metrics"))[0] == 404
    async with serving_health(lambda: {"well": True}, "127.0.0.1", 0, scrape) as port:
        status, content_type, body = await get(port, "/metrics")
    assert (status, content_type) == (200, CONTENT_TYPE)
    assert {family.name for family in text_string_to_metric_families(body)} == {
        "gapless_handler_seconds",
        "gapless_handler_deliveries",
        "gapless_handler_in_flight",
        "gapless_handler_lag_messages",
        "gapless_handler_lag_seconds",
    }
