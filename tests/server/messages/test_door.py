"""The messages API over a socket: who may read, what is told, and what is refused."""

import asyncio
import json
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

import jwt
import pytest

from gapless.broker.revocations import Kind, Revocation
from gapless.core.cursor import cursor, position
from gapless.core.errors import Unavailable
from gapless.core.stream import Position
from gapless.server.node import Node
from tests.program import merged
from tests.server.raw_socket import RawSocket, Response
from tests.server.running import KEY, call, running
from tests.server.serving import on_a_loop

SECRET = "a secret of enough characters, and some"
PAGE = "https://app.example"
NAMESPACES = [
    {"name": "chat", "history_size": 100, "history_ttl": "10m", "allow_history_for_client": True},
    {"name": "sub", "history_size": 100, "history_ttl": "10m", "allow_history_for_subscriber": True},
    {
        "name": "open",
        "history_size": 100,
        "history_ttl": "10m",
        "allow_history_for_subscriber": True,
        "allow_history_for_anonymous": True,
        "allow_subscribe_for_client": True,
        "allow_subscribe_for_anonymous": True,
    },
    {
        "name": "limited",
        "history_size": 100,
        "history_ttl": "10m",
        "allow_user_limited_channels": True,
        "allow_history_for_subscriber": True,
    },
    {"name": "closed", "history_size": 100, "history_ttl": "10m"},
    {"name": "bare", "allow_history_for_client": True},
]
CONFIG = {
    "client": {"token": {"hmac_secret_key": SECRET}, "allowed_origins": [PAGE]},
    "channel": {"namespaces": NAMESPACES},
    "messages": {"aliases": {"/rooms/{id}/messages": "chat:{id}"}},
}
BY_KEY = f"X-API-Key: {KEY}"


def node(*more: Mapping[str, Any]) -> AbstractAsyncContextManager[Node]:
    return running(merged(CONFIG, *more))


def token(user: str = "anna", **claims: Any) -> str:
    return jwt.encode({"sub": user, **claims}, SECRET, "HS256")


def bearer(user: str = "anna", **claims: Any) -> str:
    return f"Authorization: Bearer {token(user, **claims)}"


async def ask(node: Node, target: str, *fields: str, method: str = "GET") -> Response:
    socket = await RawSocket.connect(node.port)
    try:
        lines = [f"{method} {target} HTTP/1.1", "Host: here", *fields, "Connection: close", "", ""]
        socket.send("\r\n".join(lines).encode())
        (response,) = await socket.responses()
    finally:
        socket.leave()
    return response


async def told(node: Node, target: str, *fields: str) -> Any:
    response = await ask(node, target, *(fields or (BY_KEY,)))
    assert response.status == 200, response
    return json.loads(response.body)


async def fill(node: Node, channel: str, count: int) -> None:
    for number in range(1, count + 1):
        status, answer = await call(node, "/api/publish", {"channel": channel, "data": number})
        assert (status, set(answer)) == (200, {"result"})


def path(channel: str, query: str = "") -> str:
    return f"/api/channels/{channel}/messages{query and '?'}{query}"


def offsets(answer: Any) -> list[int]:
    return [item["offset"] for item in answer["items"]]


# Pages ----------------------------------------------------------------------------------------


@on_a_loop
async def test_a_page_has_its_items_its_bounds_and_where_the_channel_stands() -> None:
    async with node() as served:
        await fill(served, "chat:1", 2)
        entry = {"channel": "chat:1", "b64data": "/wA=", "tags": {"a": "b"}}
        await call(served, "/api/publish", entry)
        answer = await told(served, path("chat:1", "size=2"))
        epoch = answer["epoch"]
        times = [item.pop("time") for item in answer["items"]]
        assert times == sorted(times, reverse=True)
        third, second = (cursor("chat:1", Position(epoch, offset)) for offset in (3, 2))
        assert answer == {
            "items": [
                {
                    "cursor": third,
                    "offset": 3,
                    "data": None,
                    "b64data": "/wA=",
                    "tags": {"a": "b"},
                    "publisher": None,
                },
                {"cursor": second, "offset": 2, "data": 2, "tags": {}, "publisher": None},
            ],
            "before_cursor": second,
            "after_cursor": third,
            "has_before": True,
            "has_after": False,
            "head": 3,
            "oldest": 1,
            "epoch": epoch,
        }


@on_a_loop
async def test_newest_come_first_unless_after_is_asked_for() -> None:
    async with node() as served:
        await fill(served, "chat:1", 7)
        newest = await told(served, path("chat:1", "size=3"))
        assert offsets(newest) == [7, 6, 5]
        older = await told(served, path("chat:1", f"size=3&before={newest['before_cursor']}"))
        assert offsets(older) == [4, 3, 2]
        assert (older["has_before"], older["has_after"]) == (True, True)
        newer = await told(served, path("chat:1", f"size=5&after={older['after_cursor']}"))
        assert offsets(newer) == [5, 6, 7]
        assert not newer["has_after"]
        middle = await told(served, path("chat:1", f"size=3&around={older['after_cursor']}"))
        assert offsets(middle) == [5, 4, 3]
        await fill(served, "chat:1", 1)
        assert offsets(await told(served, path("chat:1", f"after={newer['after_cursor']}"))) == [8]
        assert offsets(await told(served, path("chat:1", "size=2"))) == [8, 7]


@on_a_loop
async def test_a_time_stands_for_the_position_at_it() -> None:
    async with node() as served:
        await fill(served, "chat:1", 5)
        for name, found in (("before", []), ("after", [1, 2]), ("at", [1])):
            assert offsets(await told(served, path("chat:1", f"{name}=2001-01-01T00:00:00Z&size=2"))) == found
        for name, found in (("before", [5, 4]), ("after", []), ("at", [5, 4])):
            assert offsets(await told(served, path("chat:1", f"{name}=9000000000000&size=2"))) == found


@on_a_loop
async def test_a_clients_publication_names_its_publisher() -> None:
    async with node() as served:
        outcome = asyncio.get_running_loop().create_future()
        meta = b'{"info":{"user":"bea","client":"c","conn_info":{"name":"Bea"}},"tags":{"x":"y"}}'
        served.sessions.broker.publish("chat:1", b'"hi"', outcome.set_result, meta=meta)
        await outcome
        [item] = (await told(served, path("chat:1")))["items"]
        assert item["publisher"] == {"user": "bea", "client": "c", "conn_info": {"name": "Bea"}}
        assert (item["data"], item["tags"]) == ("hi", {"x": "y"})


@on_a_loop
async def test_an_alias_leads_to_its_channel() -> None:
    async with node() as served:
        await fill(served, "chat:7", 2)
        answer = await told(served, "/rooms/7/messages?size=1", bearer())
        assert offsets(answer) == [2]
        assert position("chat:7", answer["before_cursor"]).offset == 2
        assert (await ask(served, "/rooms/closed%3A7/messages", bearer())).status == 400
        assert (await ask(served, "/rooms/7%23bea/messages", bearer())).status == 400


@on_a_loop
async def test_an_erased_message_is_missing_and_no_gap() -> None:
    async with node() as served:
        await fill(served, "chat:1", 4)
        await told(served, path("chat:1"))
        assert await served.sessions.broker.removing.erase("chat:1", 3)
        answer = await told(served, path("chat:1", "size=2"))
        assert (offsets(answer), answer["has_before"]) == ([4, 2], True)


@on_a_loop
async def test_requests_on_one_connection_are_answered_in_order() -> None:
    async with node() as served:
        await fill(served, "chat:1", 3)
        socket = await RawSocket.connect(served.port)
        for size in (1, 2, 3):
            target = path("chat:1", f"size={size}")
            socket.send(f"GET {target} HTTP/1.1\r\nHost: here\r\n{BY_KEY}\r\n\r\n".encode())
        for size in (1, 2, 3):
            assert len(json.loads((await socket.response()).body)["items"]) == size
        socket.leave()


@on_a_loop
async def test_a_head_request_is_told_everything_but_the_body() -> None:
    async with node() as served:
        await fill(served, "chat:1", 3)
        body = (await ask(served, path("chat:1"), BY_KEY)).body
        socket = await RawSocket.connect(served.port)
        head = f"HEAD {path('chat:1')} HTTP/1.1\r\nHost: here\r\n{BY_KEY}\r\nConnection: close\r\n\r\n"
        socket.send(head.encode())
        answer = await socket.rest()
        socket.leave()
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert answer.endswith(b"content-length: %d\r\n\r\n" % len(body))


# Errors ---------------------------------------------------------------------------------------


@on_a_loop
async def test_what_is_asked_wrongly_is_told_with_the_parameters_there_are() -> None:
    async with node() as served:
        foreign = cursor("chat:2", Position("0123456789abcdef", 1))
        for query in ("limit=3", "before=AQAA", "at=noon", "size=0", "before=1&after=2", f"after={foreign}"):
            response = await ask(served, path("chat:1", query), BY_KEY)
            answer = json.loads(response.body)
            assert (response.status, answer["code"], answer["reason"]) == (400, 107, "bad_request")
            assert not answer["temporary"]
            assert answer["parameters"] == ["before", "after", "around", "at", "size"]


@on_a_loop
async def test_a_timeline_that_is_gone_is_told_with_the_head() -> None:
    async with node() as served:
        await fill(served, "chat:1", 3)
        other_store = cursor("chat:1", Position("0123456789abcdef", 1))
        for name in ("before", "after", "around"):
            response = await ask(served, path("chat:1", f"{name}={other_store}"), BY_KEY)
            answer = json.loads(response.body)
            assert (response.status, answer["reason"], answer["head"]) == (409, "timeline_gone", 3)
            assert position("chat:1", answer["head_cursor"]) == (answer["epoch"], 3)


@on_a_loop
async def test_a_cursor_older_than_what_is_kept_is_told_the_oldest() -> None:
    async with node() as served:
        await fill(served, "chat:1", 5)
        first = (await told(served, path("chat:1", "after=0&size=1")))["items"][0]["cursor"]
        await served.sessions.broker.store.trim("chat:1", 3)
        for name in ("after", "around"):
            response = await ask(served, path("chat:1", f"{name}={first}"), BY_KEY)
            answer = json.loads(response.body)
            assert (response.status, answer["reason"], answer["oldest"]) == (410, "position_trimmed", 4)
            assert offsets(await told(served, path("chat:1", f"after={answer['oldest_cursor']}"))) == [4, 5]
        empty = await told(served, path("chat:1", f"before={first}"))
        assert (empty["items"], empty["has_before"], empty["has_after"]) == ([], False, True)


@on_a_loop
async def test_a_store_that_cannot_serve_now_says_when_to_come_back() -> None:
    async with node() as served:

        async def read(*args: Any, **options: Any) -> Any:
            raise Unavailable("busy")

        served.sessions.broker.store.read = read  # type: ignore[method-assign]
        response = await ask(served, path("chat:1"), BY_KEY)
        assert (response.status, response.headers["retry-after"]) == (503, "1")
        assert json.loads(response.body)["temporary"]


@on_a_loop
async def test_a_read_that_fails_is_answered_all_the_same(caplog: pytest.LogCaptureFixture) -> None:
    async with node() as served:

        async def read(*args: Any, **options: Any) -> Any:
            raise RuntimeError("a bug")

        served.sessions.broker.store.read = read  # type: ignore[method-assign]
        assert (await ask(served, path("chat:1"), BY_KEY)).status == 500
    assert "could not be told" in caplog.text


# Who may read ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("channel", "fields", "status"),
    [
        ("chat:1", [BY_KEY], 200),
        ("chat:1", [f"Authorization: apikey {KEY}"], 200),
        ("closed:1", [BY_KEY], 200),
        ("$closed:1", [BY_KEY], 200),
        ("chat:1", ["X-API-Key: wrong"], 401),
        ("chat:1", [], 401),
        ("chat:1", ["Authorization: Bearer"], 401),
        ("chat:1", ["Authorization: Bearer x"], 401),
        ("chat:1", ["Authorization: Basic YTpi"], 401),
        ("chat:1", [bearer()], 200),
        ("chat:1", [bearer().replace("Bearer", "bearer")], 200),
        ("chat:1", [bearer(exp=1)], 401),
        ("chat:1", [bearer(exp=2**33, expire_at=1)], 401),
        ("chat:1", [bearer(channel="chat:1")], 401),
        ("chat:1", [bearer("")], 403),
        ("open:1", [bearer("")], 200),
        ("open:1", [bearer()], 200),
        ("sub:1", [bearer()], 403),
        ("sub:1", [bearer(channels=["sub:1"])], 200),
        ("sub:2", [bearer(channels=["sub:1"])], 403),
        ("limited:1%23anna", [bearer()], 200),
        ("limited:1%23bea", [bearer()], 403),
        ("limited:1%23bea", [bearer(channels=["limited:1#bea"])], 200),
        ("limited:1", [bearer()], 403),
        ("closed:1", [bearer()], 403),
        ("$chat:1", [bearer()], 403),
        ("bare:1", [bearer()], 403),
        ("bare:1", [BY_KEY], 403),
        ("none:1", [bearer()], 404),
        ("gapless.health:beat", [bearer()], 403),
        ("gapless.health:beat", [BY_KEY], 403),
        ("%ff", [bearer()], 400),
        ("a" * 300, [bearer()], 400),
    ],
)
def test_who_may_read_is_said_by_token_key_and_namespace(
    channel: str, fields: list[str], status: int
) -> None:
    @on_a_loop
    async def test() -> None:
        async with node() as served:
            for _ in range(2):  # the second time the token is known
                response = await ask(served, path(channel), *fields)
                assert response.status == status, response
                assert ("www-authenticate" in response.headers) is (status == 401)

    test()


@pytest.mark.parametrize(
    ("channel", "user", "claims", "status"),
    [
        ("sub:1", "anna", {"channel": "sub:1"}, 200),
        ("$sub:1", "anna", {"channel": "$sub:1"}, 200),
        ("sub:1", "bea", {"channel": "sub:1"}, 403),
        ("sub:1", "anna", {"channel": "sub:2"}, 403),
        ("sub:1", "anna", {"channel": "sub:1", "client": "c"}, 403),
        ("sub:1", "anna", {}, 403),
        ("sub:1", "anna", {"channel": "sub:1", "exp": 1}, 401),
        ("sub:1", "anna", {"channel": "sub:1", "exp": 2**33, "expire_at": 1}, 401),
        ("closed:1", "anna", {"channel": "closed:1"}, 403),
    ],
)
def test_a_subscription_token_opens_its_channel_to_its_user(
    channel: str, user: str, claims: dict[str, Any], status: int
) -> None:
    @on_a_loop
    async def test() -> None:
        async with node() as served:
            for _ in range(2):
                field = f"X-Gapless-Subscription-Token: {token(user, **claims)}"
                response = await ask(served, path(channel), bearer(), field)
                assert response.status == status, response

    test()


@on_a_loop
async def test_the_users_own_channel_is_open_to_it() -> None:
    personal = {"enabled": True, "personal_channel_namespace": "sub"}
    more = {"client": {"subscribe_to_user_personal_channel": personal}}
    namespaces = [{**space, "allow_user_limited_channels": True} for space in NAMESPACES]
    async with node(more, {"channel": {"namespaces": namespaces}}) as served:
        assert (await ask(served, path("sub:%23anna"), bearer())).status == 200
        assert (await ask(served, path("sub:%23anna"), bearer("bea"))).status == 403


@on_a_loop
async def test_who_may_connect_without_a_token_may_read_without_one() -> None:
    async with node({"client": {"allow_anonymous_connect_without_token": True}}) as served:
        assert (await ask(served, path("open:1"))).status == 200
        assert (await ask(served, path("chat:1"))).status == 403


@on_a_loop
async def test_a_token_for_nobody_can_be_refused() -> None:
    async with node({"client": {"disallow_anonymous_connection_tokens": True}}) as served:
        assert (await ask(served, path("open:1"), bearer(""))).status == 403


@on_a_loop
async def test_an_insecure_node_asks_for_nothing() -> None:
    async with node({"client": {"insecure": True}}) as served:
        assert (await ask(served, path("closed:1"))).status == 200
        assert (await ask(served, path("closed:1"), "Authorization: Bearer x")).status == 200
        assert (await ask(served, path("gapless.health:beat"))).status == 403


@on_a_loop
async def test_a_disabled_server_api_leaves_the_messages_but_not_its_key() -> None:
    async with node({"http_api": {"disabled": True}}) as served:
        assert (await ask(served, path("chat:1"), BY_KEY)).status == 401
        assert (await ask(served, path("chat:1"), bearer())).status == 200


@on_a_loop
async def test_disabled_messages_are_not_there() -> None:
    async with node({"messages": {"enabled": False}}) as served:
        assert (await ask(served, path("chat:1"), BY_KEY)).status == 404


@on_a_loop
async def test_keys_that_changed_are_asked_again() -> None:
    async with node() as served:
        assert (await ask(served, path("chat:1"), bearer())).status == 200
        served._tokens.replace(type(served._trusts.read(served._config.client)[0])())
        assert (await ask(served, path("chat:1"), bearer())).status == 200
        served._messages.forget_tokens()
        assert (await ask(served, path("chat:1"), bearer())).status == 401


@on_a_loop
async def test_what_is_revoked_is_refused_at_once_however_well_it_is_known() -> None:
    async with node() as served:
        mine = bearer(jti="a")
        opens = f"X-Gapless-Subscription-Token: {token(channel='sub:1', jti='b')}"
        assert (await ask(served, path("sub:1"), mine, opens)).status == 200
        _revoke(served, "b")
        assert (await ask(served, path("sub:1"), mine, opens)).status == 403
        assert (await ask(served, path("chat:1"), mine)).status == 200
        _revoke(served, "a")
        assert (await ask(served, path("chat:1"), mine)).status == 401


def _revoke(node: Node, token_id: str) -> None:
    node.sessions.revocations.take([Revocation(Kind.TOKEN, token_id)])


# Browsers -------------------------------------------------------------------------------------


@on_a_loop
async def test_a_page_of_an_allowed_origin_may_read_the_answer_and_the_errors() -> None:
    async with node() as served:
        for fields in ([bearer()], []):
            response = await ask(served, path("chat:1"), f"Origin: {PAGE}", *fields)
            assert response.headers["access-control-allow-origin"] == PAGE
            assert response.headers["vary"] == "Origin"
            assert "access-control-allow-credentials" not in response.headers
        own = await ask(served, path("chat:1"), "Origin: http://here", bearer())
        assert (own.status, own.headers["access-control-allow-origin"]) == (200, "http://here")


@on_a_loop
async def test_a_page_of_another_origin_is_refused() -> None:
    async with node() as served:
        for method in ("GET", "OPTIONS"):
            response = await ask(
                served, path("chat:1"), "Origin: https://evil.example", bearer(), method=method
            )
            assert response.status == 403
            assert not [name for name in response.headers if name.startswith("access-control")]
            assert response.headers["vary"] == "Origin"


@on_a_loop
async def test_a_browser_may_ask_first() -> None:
    async with node() as served:
        fields = [f"Origin: {PAGE}", "Access-Control-Request-Method: GET"]
        response = await ask(served, path("chat:1"), *fields, method="OPTIONS")
        assert (response.status, response.body) == (200, b"")
        assert response.headers["access-control-allow-methods"] == "GET, HEAD"
        allowed = response.headers["access-control-allow-headers"].lower()
        assert allowed == "authorization, x-gapless-subscription-token"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "TRACE"])
def test_messages_are_only_read(method: str) -> None:
    @on_a_loop
    async def test() -> None:
        async with node() as served:
            for target in (path("chat:1"), "/rooms/1/messages"):
                response = await ask(served, target, BY_KEY, method=method)
                assert (response.status, response.headers["allow"]) == (405, "GET, HEAD, OPTIONS")

    test()


@on_a_loop
async def test_a_channel_is_counted_under_one_name_whatever_it_is_called() -> None:
    async with node() as served:
        for number in range(3):
            await told(served, path(f"chat:{number}"))
        assert served._front._site.responses[b"/channels/{channel}/messages", 200] == 3
