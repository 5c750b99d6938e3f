"""A configuration that is read again holds at once, for those who are there already too."""

import asyncio
import json
import logging
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jwt
import pytest

from gapless.core.errors import ConfigError
from gapless.server.config import Config, Source, read
from gapless.server.node import Node
from gapless.server.reloading import changes, reloaded
from tests.certificates import certificate
from tests.program import merged
from tests.server.raw_socket import TEXT, RawSocket, frame, upgrade
from tests.server.running import CONFIG, call, running
from tests.server.serving import on_a_loop

OLD = "the old secret of at least thirty-two bytes"
NEW = "the new secret of at least thirty-two bytes"
OPEN = {"history_size": 10, "history_ttl": "10m", "force_recovery": True, "allow_subscribe_for_client": True}


def namespace(name: str, **options: Any) -> dict[str, Any]:
    return {"name": name, **OPEN, **options}


def configured(*namespaces: Mapping[str, Any], secret: str = OLD, **sections: Any) -> Config:
    tree = merged(
        CONFIG,
        {"client": {"token": {"hmac_secret_key": secret}}, "channel": {"namespaces": list(namespaces)}},
        sections,
    )
    return read([Source(name="test", tree=tree)])


def started(*namespaces: Mapping[str, Any]) -> dict[str, Any]:
    return {"client": {"token": {"hmac_secret_key": OLD}}, "channel": {"namespaces": list(namespaces)}}


class Client:
    """A connected user, and what it is told."""

    def __init__(self, socket: RawSocket) -> None:
        self._socket = socket
        self._told: list[dict[str, Any]] = []
        self._number = 1

    @classmethod
    async def connect(cls, node: Node, secret: str = OLD, **request: Any) -> "Client":
        client = cls(await RawSocket.websocket(node.port, "/connection/websocket"))
        token = jwt.encode({"sub": "ann"}, secret, "HS256")
        connect = {"id": 1, "connect": {"token": token, **request}}
        client._socket.send(frame(TEXT, json.dumps(connect).encode()))
        assert "connect" in await client.told()
        return client

    async def told(self) -> dict[str, Any]:
        while not self._told:
            _, payload = await self._socket.receive()
            self._told += [json.loads(line) for line in payload.splitlines()]
        return self._told.pop(0)

    async def ask(self, **command: Any) -> dict[str, Any]:
        self._number += 1
        self._socket.send(frame(TEXT, json.dumps({"id": self._number, **command}).encode()))
        return await self.told()

    async def subscribe(self, channel: str, **options: Any) -> dict[str, Any]:
        return await self.ask(subscribe={"channel": channel, **options})

    def leave(self) -> None:
        self._socket.leave()


@on_a_loop
async def test_who_lost_the_right_to_a_channel_is_unsubscribed_and_the_others_stay() -> None:
    async with running(started(namespace("open"), namespace("shut"))) as node:
        client = await Client.connect(node)
        await client.subscribe("open:1")
        await client.subscribe("shut:1")
        node.reload(configured(namespace("open"), namespace("shut", allow_subscribe_for_client=False)))
        assert (await client.told())["push"] == {
            "channel": "shut:1",
            "unsubscribe": {"code": 2000, "reason": "server unsubscribe"},
        }
        assert (await client.subscribe("shut:1"))["error"]["code"] == 103
        await call(node, "/api/publish", {"channel": "open:1", "data": 1})
        assert (await client.told())["push"]["channel"] == "open:1"
        assert node.info().num_subs == 1
        client.leave()


@on_a_loop
async def test_what_a_client_took_up_with_its_connect_it_keeps_no_longer_than_it_may() -> None:
    async with running(started(namespace("open"), namespace("shut"))) as node:
        client = await Client.connect(node, subs={"open:1": {}, "shut:1": {}})
        node.reload(configured(namespace("open"), namespace("shut", allow_subscribe_for_client=False)))
        push = (await client.told())["push"]
        assert (push["channel"], push["unsubscribe"]["code"]) == ("shut:1", 2000)
        await call(node, "/api/publish", {"channel": "open:1", "data": 1})
        assert (await client.told())["push"]["channel"] == "open:1"
        client.leave()


@on_a_loop
async def test_a_namespace_that_is_gone_takes_its_subscriptions_along() -> None:
    async with running(started(namespace("open"), namespace("gone"))) as node:
        client = await Client.connect(node)
        await client.subscribe("gone:1")
        node.reload(configured(namespace("open")))
        assert (await client.told())["push"]["unsubscribe"]["code"] == 2000
        assert (await client.subscribe("gone:1"))["error"]["code"] == 102
        assert (await call(node, "/health", method="GET"))[0] == 200
        client.leave()


@on_a_loop
async def test_a_subscription_that_was_granted_by_token_stays() -> None:
    async with running(started(namespace("open"))) as node:
        client = await Client.connect(node)
        token = jwt.encode({"sub": "ann", "channel": "open:1"}, OLD, "HS256")
        assert "subscribe" in await client.subscribe("open:1", token=token)
        node.reload(configured(namespace("open", allow_subscribe_for_client=False)))
        await call(node, "/api/publish", {"channel": "open:1", "data": 1})
        assert "pub" in (await client.told())["push"]
        client.leave()


@on_a_loop
async def test_how_much_is_kept_changes_with_the_next_publication() -> None:
    async with running(started(namespace("open"))) as node:
        client = await Client.connect(node)
        await client.subscribe("open:1")
        for number in range(10):
            await call(node, "/api/publish", {"channel": "open:1", "data": number})
            await client.told()
        node.reload(configured(namespace("open", history_size=3)))
        await call(node, "/api/publish", {"channel": "open:1", "data": 10})
        assert (await client.told())["push"]["pub"]["offset"] == 11
        _, answer = await call(node, "/api/history", {"channel": "open:1", "limit": -1})
        assert [each["data"] for each in answer["result"]["publications"]] == [8, 9, 10]
        other = await Client.connect(node)
        since = {"recover": True, "epoch": answer["result"]["epoch"], "offset": 9}
        recovered = (await other.subscribe("open:1", **since))["subscribe"]
        assert recovered["recovered"]
        assert len(recovered["publications"]) == 2
        for each in (client, other):
            each.leave()


@on_a_loop
async def test_where_history_begins_or_ends_clients_subscribe_again() -> None:
    plain = {"name": "open", "allow_subscribe_for_client": True}
    async with running(started(plain)) as node:
        client = await Client.connect(node)
        assert "recoverable" not in (await client.subscribe("open:1"))["subscribe"]
        for after, recoverable in ((namespace("open"), True), (plain, False), (namespace("open"), True)):
            node.reload(configured(after))
            assert (await client.told())["push"]["unsubscribe"]["code"] == 2500
            answer = (await client.subscribe("open:1"))["subscribe"]
            assert answer.get("recoverable", False) is recoverable
            await call(node, "/api/publish", {"channel": "open:1", "data": 1})
            assert ("offset" in (await client.told())["push"]["pub"]) is recoverable
        client.leave()


@on_a_loop
async def test_keys_and_origins_are_the_new_ones_at_once() -> None:
    async with running(started(namespace("open"))) as node:
        staying = await Client.connect(node)
        await staying.subscribe("open:1")
        origins = {"allowed_origins": ["https://good.example"], "token": {"hmac_secret_key": NEW}}
        node.reload(configured(namespace("open"), client=origins, http_api={"key": "another"}))
        assert (await call(node, "/api/info"))[0] == 401
        assert (await call(node, "/api/info", key="another"))[0] == 200
        (await Client.connect(node, NEW)).leave()
        socket = await RawSocket.websocket(node.port, "/connection/websocket")
        old = jwt.encode({"sub": "ann"}, OLD, "HS256")
        socket.send(frame(TEXT, json.dumps({"id": 1, "connect": {"token": old}}).encode()))
        assert (await socket.closed())[0] == 3500
        socket.leave()
        socket = await RawSocket.connect(node.port)
        socket.send(upgrade("/connection/websocket", "Origin: https://good.example"))
        assert (await socket.response()).status == 101
        socket.leave()
        assert "ping" in await staying.ask(ping={})
        staying.leave()


@on_a_loop
async def test_limits_hold_at_once() -> None:
    async with running(started(namespace("open"))) as node:
        client = await Client.connect(node)
        node.reload(configured(namespace("open"), limits={"user": {"commands_per_second": 1}}))
        answers = [await client.ask(ping={}) for _ in range(2)]
        assert [answer.get("error", {}).get("code", 0) for answer in answers] == [0, 111]
        node.reload(configured(namespace("open"), client={"connection_limit": 1}))
        assert "error" not in await client.ask(ping={})
        socket = await RawSocket.connect(node.port)
        socket.send(upgrade("/connection/websocket"))
        (response,) = await socket.responses()
        assert response.status == 503
        socket.leave()
        client.leave()


@on_a_loop
async def test_a_configuration_that_cannot_be_used_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async with running(started(namespace("open"))) as node:
        wrong = {"token": {"rsa_public_key": "/no/such/file.pem"}}
        with pytest.raises(ConfigError, match="rsa_public_key"):
            node.reload(configured(client=wrong))
        client = await Client.connect(node)
        assert "subscribe" in await client.subscribe("open:1")
        client.leave()


@on_a_loop
async def test_what_changed_is_told_and_secrets_are_not(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="gapless")
    async with running(started(namespace("open"))) as node:
        sections = {"http_server": {"port": 1}, "http_api": {"key": "another"}}
        node.reload(configured(namespace("open", history_size=3), secret=NEW, **sections))
    told = "\n".join(caplog.messages)
    assert "configuration changed: channel.namespaces[0].history_size (10 → 3)" in told
    assert "configuration changed: http_api.key (a secret → a secret)" in told
    assert "not changed before a restart: http_server.port (0 → 1)" in told
    assert not {secret for secret in (OLD, NEW, "another") if secret in told}


def test_what_needs_a_restart_stays_as_it_runs() -> None:
    running_now = configured(namespace("open"))
    asked = configured(namespace("other"), store={"url": "memory:other"}, log={"level": "debug"})
    now = reloaded(running_now, asked)
    assert [change.partition(" ")[0] for change in changes(now, asked)] == ["store.url"]
    assert now.log.level.value == "debug"


async def shown(node: Node) -> bytes:
    """Return the certificate that a new connection is shown."""
    anything = ssl.create_default_context()
    anything.check_hostname, anything.verify_mode = False, ssl.CERT_NONE
    _, writer = await asyncio.open_connection("127.0.0.1", node.port, ssl=anything)
    found = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.transport.abort()
    assert isinstance(found, bytes)
    return found


@on_a_loop
async def test_a_renewed_certificate_is_shown_to_who_connects_next(tmp_path: Path) -> None:
    first = certificate()
    first.write(tmp_path)
    files = {"cert_pem": str(first.cert_file(tmp_path)), "key_pem": str(first.key_file(tmp_path))}
    sections: dict[str, Any] = {"http_server": {"tls": {"enabled": True, **files}}}
    async with running(sections) as node:
        before = await shown(node)
        assert await shown(node) == before
        certificate().write(tmp_path)
        node.reload(configured(**sections))
        after = await shown(node)
        assert after != before
        first.cert_file(tmp_path).write_text("damaged")
        with pytest.raises(ConfigError, match="cert_pem"):
            node.reload(configured(**sections))
        assert await shown(node) == after
