"""What a backend may revoke, over HTTP."""

import time
from typing import Any

import pytest

from gapless.server.node import Node
from tests.broker.tokens.signing import SECRET, signed
from tests.server.running import call, running
from tests.server.serving import on_a_loop

TOKENS = {"client": {"token": {"hmac_secret_key": SECRET}}}


async def told(node: Node, method: str, **request: Any) -> Any:
    status, answer = await call(node, f"/api/{method}", request)
    assert status == 200
    return answer["result"] if "result" in answer else answer["error"]["code"]


@on_a_loop
async def test_what_was_decided_is_listed_in_pages() -> None:
    async with running() as node:
        for method, request in (
            ("block", {"user": "bob", "expire_at": 9_000_000_000}),
            ("block", {"user": "ann"}),
            ("revoke", {"user": "ann", "issued_before": 1_000}),
            ("revoke", {"token_id": "t-1", "expire_at": 9_000_000_000}),
            ("block", {"user": "eve"}),
            ("unblock", {"user": "eve"}),
        ):
            assert await told(node, method, **request) == {}
        page = await told(node, "revocations", limit=2)
        rest = await told(node, "revocations", after=page["next"])
        assert "next" not in rest
        listed = page["revocations"] + rest["revocations"]
        for each in listed:
            assert abs(each.pop("at") - time.time()) < 60
        assert listed == [
            {"kind": "block", "user": "ann"},
            {"kind": "block", "user": "bob", "expire_at": 9_000_000_000},
            {"kind": "token", "token_id": "t-1", "expire_at": 9_000_000_000},
            {"kind": "user", "user": "ann", "issued_before": 1_000},
        ]


@pytest.mark.parametrize(
    ("method", "request_"),
    [
        ("revoke", {}),
        ("revoke", {"user": "ann", "token_id": "t"}),
        ("revoke", {"token_id": "t", "issued_before": 1}),
        ("revoke", {"user": "a" * 257}),
        ("revoke", {"token_id": "ä" * 129}),
        ("block", {}),
        ("block", {"user": ""}),
        ("unblock", {}),
    ],
)
@on_a_loop
async def test_a_decision_names_whom_it_is_about(method: str, request_: dict[str, Any]) -> None:
    async with running() as node:
        assert await told(node, method, **request_) == 107
        assert await told(node, "revocations") == {"revocations": []}


@pytest.mark.parametrize(
    ("method", "request_"),
    [
        ("block", {"user": 7}),
        ("block", {"user": "ann", "expire_at": "soon"}),
        ("block", {"user": "ann", "expire_at": -1}),
        ("revocations", {"limit": -1}),
    ],
)
@on_a_loop
async def test_a_malformed_decision_is_refused(method: str, request_: dict[str, Any]) -> None:
    async with running() as node:
        status, _ = await call(node, f"/api/{method}", request_)
        assert status == 400


@pytest.mark.parametrize("method", ["block_user", "unblock_user", "revoke_token", "invalidate_user_tokens"])
@on_a_loop
async def test_methods_of_the_paid_edition_are_not_found(method: str) -> None:
    async with running() as node:
        assert (await call(node, f"/api/{method}", {"user": "ann"}))[0] == 404


@on_a_loop
async def test_who_scrolls_with_a_token_is_held_against_it_on_every_page() -> None:
    namespaces = [
        {
            "name": "chat",
            "history_size": 10,
            "history_ttl": "10m",
            "allow_subscribe_for_client": True,
            "allow_history_for_client": True,
        }
    ]
    async with running({**TOKENS, "channel": {"namespaces": namespaces}}) as node:
        one = signed({"sub": "ann", "jti": "1"})
        other = signed({"sub": "ann", "jti": "2"})

        async def status(token: str) -> int:
            target, field = "/api/channels/chat:1/messages", f"Authorization: Bearer {token}"
            return (await call(node, target, b"", field, key=None, method="GET"))[0]

        assert [await status(token) for token in (one, other)] == [200, 200]
        await told(node, "revoke", token_id="1")
        assert [await status(token) for token in (one, other)] == [401, 200]
        await told(node, "block", user="ann")
        assert await status(other) == 403
        await told(node, "unblock", user="ann")
        assert [await status(token) for token in (one, other)] == [401, 200]


@pytest.mark.parametrize("channel", ["gapless.revocations", "gapless.revocations:1"])
@on_a_loop
async def test_no_call_reaches_the_systems_own_stream(channel: str) -> None:
    async with running({"client": {"insecure": True}}) as node:
        await told(node, "block", user="ann")
        calls: list[tuple[str, dict[str, Any]]] = [
            ("publish", {"channel": channel, "data": 1}),
            ("subscribe", {"channel": channel, "user": "ann"}),
            ("unsubscribe", {"channel": channel, "user": "ann"}),
            ("history", {"channel": channel, "limit": 10}),
            ("history_remove", {"channel": channel}),
            ("presence", {"channel": channel}),
            ("presence_stats", {"channel": channel}),
        ]
        for method, request in calls:
            assert await told(node, method, **request) == 102, method
        broadcast = await told(node, "broadcast", channels=[channel], data=1)
        assert broadcast["responses"][0]["error"]["code"] == 102
        assert await told(node, "channels") == {"channels": {}}
        status, _ = await call(node, f"/api/channels/{channel}/messages", b"", method="GET")
        assert status == 404
