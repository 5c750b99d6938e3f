"""Who may call the server API, and how its errors are told."""

import asyncio
import json
from typing import Any

import pytest
from msgspec.structs import replace

from gapless.server.api import Api, Door
from gapless.server.api.requests import HistoryRequest
from gapless.server.config.model import HttpApi
from gapless.server.node import Node
from gapless.server.request import Request
from tests.conversation import OPEN, Stage, play, rest
from tests.server.raw_socket import RawSocket
from tests.server.running import KEY, call, running
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
async def test_an_insecure_api_is_not_for_the_pages_of_others() -> None:
    """Whoever runs it to develop visits other pages too, and a browser carries out what they post."""
    async with running({"http_api": {"insecure": True}}) as node:
        for target in ("/api/publish", "/api/info", "/api", "/api/store/check"):
            status, answer = await call(node, target, PUBLISH, "Origin: https://there.example", key=None)
            assert (status, answer["error"]["code"]) == (401, 101)
            assert "another origin" in answer["error"]["message"]
            status, _ = await call(node, target, PUBLISH, "Origin: http://here", key=None)
            assert status != 401
    async with running() as node:
        assert (await call(node, "/api/publish", PUBLISH, "Origin: https://there.example"))[0] == 200


@on_a_loop
async def test_an_insecure_api_is_not_for_a_page_whose_name_was_led_here() -> None:
    async with running({"http_api": {"insecure": True}}) as node:
        for host, status in (("evil.example:8000", 401), ("127.0.0.1:8000", 200), ("laptop.local", 200)):
            page = f"Host: {host}", f"Origin: http://{host}"
            assert (await call(node, "/api/info", {}, *page, key=None))[0] == status
        assert (await call(node, "/api/info", {}, "Host: evil.example", key=None))[0] == 200  # a backend


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
        door = Door(Api(stage.broker, {}), HttpApi(insecure=True))
        call = asyncio.create_task(door.answer("publish", [], b"", b'{"channel":"a","data":1}'))
        await asyncio.sleep(0)
        call.cancel()
        await rest()
        assert failures == []

    play(scene, without=KEPT)


def test_a_hot_call_that_fails_is_answered_all_the_same() -> None:
    def fail(request: Any) -> bytes:
        raise ZeroDivisionError

    async def scene(stage: Stage) -> None:
        answers: list[int] = []
        request = Request(b"POST", b"/api/batch", "1.1", [])
        request.body = b'{"commands":[{"history":{"channel":"a","limit":1}}]}'
        request.answer = lambda _, status, body, headers: answers.append(status)
        api = Api(stage.broker, {"history": (HistoryRequest, fail)})
        Door(api, HttpApi(insecure=True)).hot()["POST", "/api/batch"](request)
        await rest()
        assert answers == [500]

    play(scene, without=KEPT)


# Legacy ---------------------------------------------------------------------------------------


@on_a_loop
async def test_old_clients_name_the_method_in_the_body_of_one_call_or_several() -> None:
    async with running() as node:
        one = {"method": "publish", "params": {"channel": "chat:1", "data": 1}}
        status, answer = await call(node, "/api", one)
        assert (status, answer["result"]["offset"]) == (200, 1)
        several = [
            {"id": 1, "method": "PUBLISH", "params": {"channel": "chat:1", "data": 2}},
            {"id": 2, "method": "unheard_of", "params": {}},
            {"method": "history", "params": {"channel": "chat:1", "limit": 9}},
            {"method": "publish", "params": {"channel": "unknown:1", "data": 2}},
        ]
        body = "\n".join(map(json.dumps, several)).encode()
        replies = await lines(node, body)
        assert replies[0]["id"] == 1
        assert replies[0]["result"]["offset"] == 2
        assert (replies[1]["id"], replies[1]["error"]["code"]) == (2, 104)
        assert [item["data"] for item in replies[2]["result"]["publications"]] == [1, 2]
        assert replies[3]["error"]["code"] == 102


async def lines(node: Node, body: bytes) -> list[Any]:
    socket = await RawSocket.connect(node.port)
    try:
        head = f"POST /api HTTP/1.1\r\nHost: here\r\nX-API-Key: {KEY}\r\nConnection: close\r\n"
        socket.send(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        (response,) = await socket.responses()
    finally:
        socket.leave()
    return [json.loads(line) for line in response.body.splitlines()]


@pytest.mark.parametrize("body", [b"", b" ", b"[]", b"{", b'{"method":1}', b"\xff", b'{"method":"info"}\n{'])
def test_what_is_no_legacy_call_is_refused(body: bytes) -> None:
    @on_a_loop
    async def test() -> None:
        async with running() as node:
            status, answer = await call(node, "/api", body)
            assert (status, answer["error"]["code"]) == (400, 107)

    test()


@on_a_loop
async def test_an_old_client_needs_the_key_too() -> None:
    async with running() as node:
        assert (await call(node, "/api", {"method": "info"}, key="wrong"))[0] == 401
