"""Who may call the server API, and how its errors are told."""

import asyncio
from typing import Any

import pytest
from msgspec.structs import replace

from gapless.server.api import Api, Door
from gapless.server.config.model import HttpApi
from gapless.server.request import Request
from tests.conversation import OPEN, Stage, play, rest
from tests.server.running import call, running
from tests.server.serving import on_a_loop

KEPT = replace(OPEN, history_size=100, history_ttl_ms=600_000)
PUBLISH = {"channel": "chat:1", "data": 1}
UNKNOWN = {"channel": "unknown:1", "data": 1}


@pytest.mark.parametrize("method", ["publish", "info"])
@pytest.mark.parametrize(
    ("query", "field", "status"),
    [
        ("", "X-API-Key: key", 200),
        ("", "Authorization: apikey key", 200),
        ("", "authorization: ApiKey  key", 200),
        ("?api_key=key", "A: b", 200),
        ("?a=b&api_key=k%65y", "A: b", 200),
        ("", "A: b", 401),
        ("", "X-API-Key: kex", 401),
        ("", "X-API-Key: ", 401),
        ("", "Authorization: Bearer key", 401),
        ("", "Authorization: key", 401),
        ("?api_key=", "A: b", 401),
        ("?api_key=%ff", "A: b", 401),
    ],
)
def test_the_key_comes_in_a_header_or_in_the_query(method: str, query: str, field: str, status: int) -> None:
    @on_a_loop
    async def test() -> None:
        async with running() as node:
            assert (await call(node, f"/api/{method}{query}", PUBLISH, field, key=None))[0] == status

    test()


@on_a_loop
async def test_without_a_configured_key_nobody_may_call() -> None:
    async with running({"http_api": {"key": ""}}) as node:
        for key in (None, "", "key"):
            assert (await call(node, "/api/publish", PUBLISH, key=key))[0] == 401


@on_a_loop
async def test_an_insecure_api_asks_for_no_key() -> None:
    async with running({"http_api": {"insecure": True}}) as node:
        assert (await call(node, "/api/publish", PUBLISH, key=None))[0] == 200
        assert (await call(node, "/api/info", key=None))[0] == 200


@on_a_loop
async def test_a_disabled_api_is_not_there() -> None:
    async with running({"http_api": {"disabled": True}}) as node:
        for method in ("publish", "info"):
            assert (await call(node, f"/api/{method}", PUBLISH))[0] == 404


@on_a_loop
async def test_the_api_can_stand_elsewhere() -> None:
    async with running({"http_api": {"handler_prefix": "/my/api"}}) as node:
        assert (await call(node, "/my/api/publish", PUBLISH))[0] == 200
        assert (await call(node, "/my/api/info"))[0] == 200
        assert (await call(node, "/api/publish", PUBLISH))[0] == 404


@pytest.mark.parametrize("method", ["publish", "history"])
def test_errors_come_with_200_unless_transport_mode_is_asked_for(method: str) -> None:
    @on_a_loop
    async def test() -> None:
        async with running() as node:
            status, answer = await call(node, f"/api/{method}", UNKNOWN)
            assert (status, answer["error"]["code"]) == (200, 102)
            mode = "X-Centrifugo-Error-Mode: transport"
            status, answer = await call(node, f"/api/{method}", UNKNOWN, mode)
            assert (status, answer["code"], answer["reason"]) == (404, 102, "unknown_channel")
            assert not answer["temporary"]

    test()


@on_a_loop
async def test_transport_mode_can_be_the_nodes() -> None:
    async with running({"http_api": {"error_mode": "transport"}}) as node:
        assert (await call(node, "/api/publish", UNKNOWN))[0] == 404
        assert (await call(node, "/api/publish", PUBLISH))[0] == 200


def test_a_call_that_is_given_up_leaves_the_commit_alone() -> None:
    async def scene(stage: Stage) -> None:
        failures: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))
        door = Door(Api(stage.broker, list), HttpApi(insecure=True))
        call = asyncio.create_task(door.answer("publish", [], b"", b'{"channel":"a","data":1}'))
        await asyncio.sleep(0)
        call.cancel()
        await rest()
        assert failures == []

    play(scene, without=KEPT)


def test_a_hot_call_that_fails_is_answered_all_the_same() -> None:
    async def scene(stage: Stage) -> None:
        stage.broker.publish("a", b"1", lambda _: None, meta=b'{"info":{"conn_info":' + b"[" * 3_000)
        await rest()
        answers: list[int] = []
        request = Request(b"POST", b"/api/batch", "1.1", [])
        request.body = b'{"commands":[{"history":{"channel":"a","limit":1}}]}'
        request.answer = lambda _, status, body, headers: answers.append(status)
        Door(Api(stage.broker, list), HttpApi(insecure=True)).hot()["POST", "/api/batch"](request)
        await rest()
        assert answers == [500]

    play(scene, without=KEPT)
