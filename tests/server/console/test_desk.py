"""What sessions of the console call over the server API: within their role, by their name, and on record."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gapless.server.node import Node
from tests.program import merged
from tests.server.running import KEY, call, running
from tests.server.serving import on_a_loop

USERS = [
    {"name": "ann", "role": "operator", "password": "correct horse"},
    {"name": "bob", "role": "read_only", "password": "battery staple"},
]
CONSOLE = {"console": {"enabled": True, "users": USERS}}
SECRET = "nobody's business"


class Session:
    """Somebody who is logged in."""

    def __init__(self, node: Node, token: str) -> None:
        self.node = node
        self.token = token

    async def call(
        self, method: str, body: object = b"{}", *fields: str, key: str | None = None
    ) -> tuple[int, Any]:
        bearer = f"Authorization: Bearer {self.token}"
        return await call(self.node, f"/api/{method}", body, bearer, *fields, key=key)

    async def done(self, method: str, body: object = b"{}") -> Any:
        status, answer = await self.call(method, body)
        assert status == 200
        assert "result" in answer, answer
        return answer["result"]

    async def refused(self, method: str, body: object = b"{}") -> int:
        status, answer = await self.call(method, body)
        assert status in (200, 401, 403, 404)
        code: int = answer["error"]["code"]
        return code

    async def recorded(self) -> list[dict[str, Any]]:
        """What stands in the audit stream, the oldest first, but for logins."""
        told = await self.done("stream/audit")
        return [each for each in reversed(told["records"]) if not each["what"].startswith("login")]


@asynccontextmanager
async def sessions(config: dict[str, Any] | None = None) -> AsyncIterator[tuple[Session, Session]]:
    """A node, with an operator and somebody who only looks."""
    async with running(merged(CONSOLE, config or {})) as node:
        yield await log_in(node, USERS[0]), await log_in(node, USERS[1])


async def log_in(node: Node, user: dict[str, str]) -> Session:
    said = {"name": user["name"], "password": user["password"]}
    status, told = await call(node, "/console/login", said, key=None)
    assert status == 200
    return Session(node, told["token"])


@on_a_loop
async def test_an_operator_acts_and_whoever_only_looks_does_not() -> None:
    async with sessions() as (ann, bob):
        publication = {"channel": "chat:1", "data": 1}
        assert await bob.refused("publish", publication) == 103
        assert (await ann.done("publish", publication))["offset"] == 1
        for session in (ann, bob):
            history = await session.done("history", {"channel": "chat:1", "limit": 10})
            assert [each["data"] for each in history["publications"]] == [1]


@pytest.mark.parametrize(
    ("method", "body"),
    [
        ("publish", {"channel": "chat:1", "data": 1}),
        ("broadcast", {"channels": ["chat:1"], "data": 1}),
        ("history_remove", {"channel": "chat:1"}),
        ("disconnect", {"user": "x"}),
        ("block", {"user": "x"}),
        ("queue/declare", {"queue": "mail"}),
        ("queue/pause", {"queue": "mail"}),
        ("queue/purge", {"queue": "mail", "state": "dead"}),
        ("stream/declare", {"stream": "orders"}),
        ("rpc", {"method": "x", "params": {}}),
    ],
)
@on_a_loop
async def test_whoever_only_looks_changes_nothing(method: str, body: object) -> None:
    async with sessions() as (ann, bob):
        assert await bob.refused(method, body) == 103
        assert await ann.recorded() == []


@on_a_loop
async def test_a_refusal_is_told_by_the_status_in_transport_mode() -> None:
    async with sessions() as (_, bob):
        mode = "X-Centrifugo-Error-Mode: transport"
        assert (await bob.call("queue/pause", {"queue": "q"}, mode))[0] == 403
        assert (await bob.call("publish", {"channel": "a", "data": 1}, mode))[0] == 403
        assert (await bob.call("info", b"{}", mode))[0] == 200


@pytest.mark.parametrize("path", ["batch", "", "store/check", "store/backup", "store/erase"])
@on_a_loop
async def test_some_things_need_the_key_whoever_is_logged_in(path: str) -> None:
    async with sessions() as (ann, _):
        body = {"method": "batch", "params": {"commands": []}} if not path else {}
        target = f"/api/{path}" if path else "/api"
        bearer = f"Authorization: Bearer {ann.token}"
        status, answer = await call(ann.node, target, body, bearer, key=None)
        assert (status in (200, 403), answer["error"]["code"]) == (True, 103)


@on_a_loop
async def test_old_clients_methods_are_called_within_the_role_too() -> None:
    async with sessions() as (ann, bob):
        body = {"method": "publish", "params": {"channel": "chat:1", "data": 1}}
        for session, part in ((bob, "error"), (ann, "result")):
            bearer = f"Authorization: Bearer {session.token}"
            answer = (await call(session.node, "/api", body, bearer, key=None))[1]
            assert part in answer


@on_a_loop
async def test_a_token_restricts_whatever_else_would_open_the_door() -> None:
    async with sessions({"http_api": {"insecure": True}}) as (_, bob):
        publication = {"channel": "chat:1", "data": 1}
        assert (await bob.call("publish", publication, key=KEY))[1]["error"]["code"] == 103
        assert await bob.refused("queue/declare", {"queue": "q"}) == 103
        assert (await call(bob.node, "/api/publish", publication, key=None))[0] == 200
        assert await Session(bob.node, "console.x").refused("info") == 101


@pytest.mark.parametrize("method", ["info", "publish", "queue/list", "stream/replay", "store/check"])
@on_a_loop
async def test_what_is_no_session_is_told_so(method: str) -> None:
    async with sessions() as (ann, _):
        for token in ("console.x", ann.token[:-3] + "abc"):
            status, answer = await Session(ann.node, token).call(method)
            assert (status, answer["error"]["code"]) == (401, 101)
            assert "log in to the console again" in answer["error"]["message"]


@on_a_loop
async def test_without_a_console_its_tokens_are_none() -> None:
    async with sessions() as (ann, _), running({"http_api": {"insecure": True}}) as other:
        status, answer = await Session(other, ann.token).call("info")
        assert (status, answer["error"]["code"]) == (401, 101)
        assert "there is none here" in answer["error"]["message"]


@on_a_loop
async def test_a_user_that_is_blocked_is_out_at_once() -> None:
    async with sessions() as (ann, bob):
        await ann.done("block", {"user": "console:bob"})
        assert await bob.refused("info") == 103
        await ann.done("unblock", {"user": "console:bob"})
        assert "nodes" in await bob.done("info")


@on_a_loop
async def test_a_replay_streams_to_who_is_logged_in() -> None:
    async with sessions() as (ann, bob):
        await ann.done("publish", {"channel": "chat:1", "data": 1})
        status, lines = await bob.call("stream/replay", {"source": "chat:1"})
        assert status == 200
        assert [json.loads(line)["data"] for line in lines.splitlines()] == [1]


# On record ------------------------------------------------------------------------------------


@on_a_loop
async def test_acts_that_the_broker_records_have_the_name_of_who_acted() -> None:
    async with sessions() as (ann, _):
        await ann.done("queue/declare", {"queue": "mail"})
        await ann.done("queue/pause", {"queue": "mail"})
        await call(ann.node, "/api/queue/resume", {"queue": "mail"})
        told = [(each["what"], each["who"], each["name"]) for each in await ann.recorded()]
        assert told == [
            ("declare", "console:ann", "mail"),
            ("pause", "console:ann", "mail"),
            ("resume", "api", "mail"),
        ]


@pytest.mark.parametrize(
    ("method", "body", "name", "details"),
    [
        ("publish", {"channel": "chat:1", "data": SECRET, "tags": {"t": SECRET}}, "chat:1", {}),
        (
            "broadcast",
            {"channels": ["chat:1", "chat:2"], "data": SECRET},
            "chat:1, chat:2",
            {"channels": 2},
        ),
        (
            "subscribe",
            {"channel": "chat:1", "user": "u", "info": SECRET, "data": SECRET},
            "chat:1",
            {"user": "u"},
        ),
        ("unsubscribe", {"channel": "chat:1", "user": "u"}, "chat:1", {"user": "u"}),
        ("disconnect", {"user": "u", "client": "c"}, "u", {"client": "c"}),
        ("refresh", {"user": "u", "info": SECRET}, "u", {}),
        ("revoke", {"token_id": "t1"}, "t1", {}),
        ("block", {"user": "u"}, "u", {}),
        ("unblock", {"user": "u"}, "u", {}),
        ("history_remove", {"channel": "chat:1"}, "chat:1", {}),
    ],
)
@on_a_loop
async def test_other_acts_are_recorded_without_what_they_carry(
    method: str, body: dict[str, Any], name: str, details: dict[str, Any]
) -> None:
    async with sessions() as (ann, _):
        await ann.done(method, body)
        (told,) = await ann.recorded()
        assert (told["what"], told["who"], told["name"]) == (method, "console:ann", name)
        assert told.get("details", {}) == details
        assert SECRET not in json.dumps(told)


@on_a_loop
async def test_jobs_and_what_is_appended_are_recorded_by_where_they_go() -> None:
    async with sessions() as (ann, _):
        await ann.done("queue/declare", {"queue": "mail"})
        await ann.done("queue/enqueue", {"jobs": [{"queue": "mail", "data": SECRET}] * 12})
        await ann.done("stream/declare", {"stream": "orders"})
        await ann.done("stream/append", {"stream": "orders", "messages": [{"data": SECRET}]})
        _, enqueued, _, appended = await ann.recorded()
        assert (enqueued["what"], enqueued["name"]) == ("queue/enqueue", "mail")
        assert enqueued["details"] == {"jobs": 12}
        assert (appended["what"], appended["name"]) == ("stream/append", "orders")
        assert SECRET not in json.dumps(await ann.recorded())


@on_a_loop
async def test_what_was_refused_is_recorded_as_that() -> None:
    async with sessions() as (ann, _):
        assert await ann.refused("publish", {"channel": "nope:1", "data": 1}) == 102
        assert await ann.refused("rpc", {"method": "m", "params": {"password": SECRET}}) == 104
        (published, called) = await ann.recorded()
        assert (published["name"], published["details"]) == ("nope:1", {"error": "unknown_channel"})
        assert (called["name"], called["details"]) == ("m", {"error": "method_not_found"})


@on_a_loop
async def test_what_is_no_call_is_not_recorded_and_looking_neither() -> None:
    async with sessions() as (ann, _):
        assert await ann.refused("nope") == 104
        assert (await ann.call("publish", b"{"))[0] == 400
        await ann.done("info")
        await ann.done("queue/list")
        assert await ann.recorded() == []


@on_a_loop
async def test_a_long_name_is_cut() -> None:
    async with sessions() as (ann, _):
        await ann.done("disconnect", {"user": "u" * 10_000})
        (told,) = await ann.recorded()
        assert told["name"] == "u" * 255
