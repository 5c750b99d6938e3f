"""Whose tokens a node believes is what its configuration says."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from gapless.broker.tokens import Verifier
from gapless.core.errors import ConfigError, Unauthorized
from gapless.server.config import Source, read
from gapless.server.config.model import Client
from gapless.server.tokens import Trusts
from tests.broker.tokens.signing import NOW_MS, NOW_SECONDS, SECRET, jwk, pem, private, signed
from tests.server.raw_socket import TEXT, RawSocket, frame
from tests.server.running import running
from tests.server.serving import HandClock, on_a_loop
from tests.server.test_jwks import Server, listening


def client(**sections: Any) -> Client:
    return read([Source(name="test", tree={"client": sections})]).client


def verifier(**sections: Any) -> Verifier:
    return Verifier(*Trusts(HandClock()).read(client(**sections)))


def test_every_option_of_a_token_counts() -> None:
    options = {
        "hmac_secret_key": SECRET,
        "hmac_previous_secret_key": "old",
        "hmac_previous_secret_key_valid_until": NOW_SECONDS,
        "rsa_public_key": pem("RSA"),
        "ecdsa_public_key": pem("P-384"),
        "ed25519_public_key": pem("Ed25519"),
        "audience": "chat",
        "issuer_regex": "a+",
        "user_id_claim": "uid",
    }
    held = verifier(token=options)
    claims = {"uid": 7, "aud": "chat", "iss": "aa"}
    good = [
        signed(claims),
        signed(claims, "old", "HS512"),
        signed(claims, private("RSA"), "RS256"),
        signed(claims, private("P-384"), "ES384"),
        signed(claims, private("Ed25519"), "EdDSA"),
    ]
    assert [held.connection(token, NOW_MS).user for token in good] == ["7"] * 5
    for token in (signed({**claims, "aud": "x"}), signed({**claims, "iss": "b"})):
        with pytest.raises(Unauthorized):
            held.connection(token, NOW_MS)
    with pytest.raises(Unauthorized):
        held.connection(good[1], NOW_MS + 1)


def test_a_key_may_stand_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "rsa.pem"
    path.write_text(pem("RSA"))
    held = verifier(token={"rsa_public_key": str(path)})
    assert held.connection(signed({"sub": "ann"}, private("RSA"), "RS256"), NOW_MS).user == "ann"


@pytest.mark.parametrize("enabled", [False, True])
def test_subscription_tokens_have_their_own_keys_where_that_is_enabled(enabled: bool) -> None:
    held = verifier(
        token={"hmac_secret_key": SECRET},
        subscription_token={"enabled": enabled, "hmac_secret_key": "own"},
    )
    good, bad = (SECRET, "own")[enabled], (SECRET, "own")[not enabled]
    claims = {"sub": "ann", "channel": "news"}
    assert held.subscription(signed(claims, good), NOW_MS).user == "ann"
    with pytest.raises(Unauthorized):
        held.subscription(signed(claims, bad), NOW_MS)
    with pytest.raises(Unauthorized):
        held.connection(signed({"sub": "ann"}, "own"), NOW_MS)


@pytest.mark.parametrize(
    ("token", "told"),
    [
        ({"rsa_public_key": "/no/such/file.pem"}, "rsa_public_key must be PEM or the path of a PEM file"),
        ({"rsa_public_key": "MIIB" * 5_000}, "rsa_public_key must be PEM or the path of a PEM file"),
        ({"ecdsa_public_key": pem("RSA")}, "ecdsa_public_key must be a key of type EC"),
        ({"audience_regex": "("}, "audience_regex '(' is no regular expression"),
        ({"jwks_public_endpoint": "http://example.com/"}, "jwks_public_endpoint must begin with https://"),
        ({"jwks_public_endpoint": "https://{{iss}}.com/"}, "jwks_public_endpoint must be one URL"),
    ],
)
def test_a_mistake_is_told_with_its_place(token: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        verifier(token=token)
    assert str(caught.value).startswith(f"client.token.{told}")
    with pytest.raises(ConfigError) as caught:
        verifier(subscription_token={**token, "enabled": True})
    assert str(caught.value).startswith(f"client.subscription_token.{told}")
    assert len(str(caught.value)) < 500


@on_a_loop
async def test_a_node_does_not_start_with_a_key_that_is_none() -> None:
    with pytest.raises(ConfigError, match=r"client\.token\.rsa_public_key"):
        async with running({"client": {"token": {"rsa_public_key": pem("P-256")}}}):
            raise AssertionError("it started")


def test_keys_beside_a_jwks_are_said_not_to_count(caplog: pytest.LogCaptureFixture) -> None:
    verifier(token={"jwks_public_endpoint": "https://issuer.example/keys", "hmac_secret_key": SECRET})
    assert [record.message for record in caplog.records] == [
        "client.token: jwks_public_endpoint is set, so its keys alone count"
    ]


def key_server() -> Server:
    body = json.dumps({"keys": [jwk("RSA", "a")]})
    return Server(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())


@on_a_loop
async def test_what_was_fetched_outlives_a_reload_that_keeps_the_endpoint() -> None:
    server, clock = key_server(), HandClock()
    token = signed({"sub": "ann"}, private("RSA"), "RS256", kid="a")
    async with listening(server) as url:
        options = {"jwks_public_endpoint": url, "insecure_skip_jwks_endpoint_safety_check": True}
        trusts = Trusts(clock)
        held = Verifier(*trusts.read(client(token=options, subscription_token={**options, "enabled": True})))
        ready = held.ready(token)
        assert ready is not None
        await ready
        assert held.connection(token, NOW_MS).user == "ann"
        assert held.ready(token, subscription=True) is None, "one endpoint, one set of keys"
        held.replace(*trusts.read(client(token={**options, "issuer": ""})))
        assert held.ready(token) is None
        held.replace(*trusts.read(client(token={**options, "jwks_public_endpoint": f"{url}&other"})))
        ready = held.ready(token)
        assert ready is not None
        await ready
    assert len(server.heads) == 2


@on_a_loop
async def test_clients_connect_with_keys_that_are_fetched_for_the_first_of_them() -> None:
    server = key_server()
    token = signed({"sub": "ann"}, private("RSA"), "RS256", kid="a")
    async with listening(server) as url:
        options = {"jwks_public_endpoint": url, "insecure_skip_jwks_endpoint_safety_check": True}
        async with running({"client": {"token": options}}) as node:
            replies = await asyncio.gather(*(connected(node.port, token) for _ in range(10)))
            assert all("connect" in reply for reply in replies)
            unknown = signed({"sub": "ann"}, private("RSA"), "RS256", kid="b")
            reply = await connected(node.port, unknown)
            assert (reply["error"]["code"], reply["error"]["temporary"]) == (100, True)
    assert len(server.heads) == 1


@on_a_loop
async def test_a_subscription_token_may_be_for_one_connection_alone() -> None:
    async with running({"client": {"token": {"hmac_secret_key": SECRET}}}) as node:
        socket = await RawSocket.websocket(node.port, "/connection/websocket")
        client_id = (await asked(socket, connect={"token": signed({"sub": "ann"})}))["connect"]["client"]
        for channel, bound in (("chat:1", client_id), ("chat:2", "")):
            token = signed({"sub": "ann", "channel": channel, "client": bound})
            assert "subscribe" in await asked(socket, subscribe={"channel": channel, "token": token})
        token = signed({"sub": "ann", "channel": "chat:3", "client": "another"})
        socket.send(
            frame(TEXT, json.dumps({"id": 2, "subscribe": {"channel": "chat:3", "token": token}}).encode())
        )
        assert await socket.closed() == (3500, "invalid token")
        socket.leave()


async def asked(socket: RawSocket, **command: Any) -> dict[str, Any]:
    """Send a command; return the reply."""
    socket.send(frame(TEXT, json.dumps({"id": 1, **command}).encode()))
    opcode, payload = await socket.receive()
    assert opcode == TEXT, payload
    reply: dict[str, Any] = json.loads(payload)
    return reply


async def connected(port: int, token: str) -> dict[str, Any]:
    """Connect with a token; return the reply."""
    socket = await RawSocket.websocket(port, "/connection/websocket")
    reply = await asked(socket, connect={"token": token})
    socket.leave()
    return reply
