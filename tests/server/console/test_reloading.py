"""Another configuration holds at once for who is logged in to the console already."""

import json
from typing import Any

import pytest

from gapless.server.config import Config, Source, read
from gapless.server.node import Node
from tests.program import merged
from tests.server.raw_socket import TEXT, RawSocket, frame
from tests.server.running import CONFIG, call, running
from tests.server.serving import on_a_loop

ANN = {"name": "ann", "role": "operator", "password": "correct horse"}
BOB = {"name": "bob", "role": "operator", "password": "battery staple"}


def tree(*users: dict[str, str], **sections: Any) -> dict[str, Any]:
    return merged(CONFIG, {"console": {"enabled": True, "users": list(users)}}, sections)


def configured(*users: dict[str, str], **sections: Any) -> Config:
    return read([Source(name="test", tree=tree(*users, **sections))])


async def token(node: Node, user: dict[str, str]) -> str:
    said = {"name": user["name"], "password": user["password"]}
    told = (await call(node, "/console/login", said, key=None))[1]
    return str(told["token"])


async def connected(node: Node, bearer: str) -> RawSocket:
    socket = await RawSocket.websocket(node.port, "/connection/websocket")
    socket.send(frame(TEXT, json.dumps({"id": 1, "connect": {"token": bearer}}).encode()))
    _, told = await socket.receive()
    assert "connect" in json.loads(told)
    return socket


async def ended(socket: RawSocket) -> tuple[int, str]:
    told = await socket.closed()
    socket.leave()
    return told


async def status(node: Node, bearer: str) -> int:
    return (await call(node, "/api/info", b"{}", f"Authorization: Bearer {bearer}", key=None))[0]


@on_a_loop
async def test_who_has_another_password_now_is_out_and_the_others_stay() -> None:
    async with running(tree(ANN, BOB)) as node:
        ann, bob = await token(node, ANN), await token(node, BOB)
        anns, bobs = await connected(node, ann), await connected(node, bob)
        now = {**ANN, "password": "something else"}
        node.reload(configured(now, BOB))
        assert await ended(anns) == (3500, "invalid token")
        assert (await status(node, ann), await status(node, bob)) == (401, 200)
        bobs.send(frame(TEXT, b'{"id": 2, "subscribe": {"channel": "chat:1"}}'))
        assert "subscribe" in json.loads((await bobs.receive())[1])
        assert await status(node, await token(node, now)) == 200
        bobs.leave()


@pytest.mark.parametrize(
    "now",
    [
        configured(),
        configured({**ANN, "role": "read_only"}),
        configured(ANN, http_api={"key": "another"}),
    ],
    ids=["gone", "role", "key"],
)
@on_a_loop
async def test_who_is_gone_or_has_another_role_is_out(now: Config) -> None:
    async with running(tree(ANN)) as node:
        ann = await token(node, ANN)
        socket = await connected(node, ann)
        node.reload(now)
        assert (await ended(socket))[0] == 3500
        assert await status(node, ann) == 401


@on_a_loop
async def test_a_console_that_is_made_secure_parts_with_everybody() -> None:
    async with running(tree(console={"insecure": True})) as node:
        bearer = (await call(node, "/console/login", {}, key=None))[1]["token"]
        assert (await call(node, "/console/about.json", b"", method="GET", key=None))[1]["login"] is False
        socket = await connected(node, bearer)
        node.reload(configured(ANN))
        assert (await ended(socket))[0] == 3500
        assert await status(node, bearer) == 401
        assert (await call(node, "/console/about.json", b"", method="GET", key=None))[1]["login"] is True
        assert (await call(node, "/console/login", {}, key=None))[0] == 401


@on_a_loop
async def test_what_changes_elsewhere_leaves_sessions_alone() -> None:
    async with running(tree(ANN)) as node:
        ann = await token(node, ANN)
        socket = await connected(node, ann)
        node.reload(configured(ANN, client={"insecure": True}, console={"session_ttl": "1h"}))
        assert await status(node, ann) == 200
        socket.send(frame(TEXT, b'{"id": 2, "subscribe": {"channel": "gapless.audit"}}'))
        assert "subscribe" in json.loads((await socket.receive())[1])
        socket.leave()


@on_a_loop
async def test_the_console_itself_comes_and_goes_with_a_restart_only(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with running() as node:
        node.reload(configured(ANN))
        assert "console.enabled" in caplog.text
        assert (await call(node, "/console/", b"", method="GET", key=None))[0] == 404
    async with running(tree(ANN)) as node:
        node.reload(configured(ANN, console={"enabled": False, "handler_prefix": "/ops"}))
        assert (await call(node, "/console/", b"", method="GET", key=None))[0] == 200
