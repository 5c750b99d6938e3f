"""Who tries things out makes tokens that the node accepts, and is told why it does not accept another."""

from typing import Any

import jwt
import pytest

from gapless.server.node import Node
from tests.program import merged
from tests.server.running import call, running
from tests.server.serving import on_a_loop

SECRET = "a secret of at least thirty-two bytes"
OTHER = "quite another secret of thirty-two bytes"
KEYS = {"client": {"token": {"hmac_secret_key": SECRET}}}
BOTH = merged(KEYS, {"client": {"subscription_token": {"enabled": True, "hmac_secret_key": OTHER}}})


async def made(node: Node, **request: Any) -> dict[str, Any]:
    answer: dict[str, Any] = (await call(node, "/api/token/make", request))[1]
    return answer.get("result") or answer


async def checked(node: Node, token: str, **request: Any) -> dict[str, Any]:
    answer: dict[str, Any] = (await call(node, "/api/token/check", {"token": token, **request}))[1]
    return answer.get("result") or answer


def signed(secret: str = SECRET, **claims: Any) -> str:
    return jwt.encode(claims, secret, "HS256")


@on_a_loop
async def test_a_token_that_was_made_is_accepted() -> None:
    async with running(KEYS) as node:
        made_one = await made(node, user="ann", expires_in_s=60, info={"name": "Ann"}, claims={"jti": "7"})
        claims = made_one["claims"]
        assert (claims["sub"], claims["info"], claims["jti"]) == ("ann", {"name": "Ann"}, "7")
        assert claims["exp"] == claims["iat"] + 60 == made_one["expires_ms"] / 1000
        told = await checked(node, made_one["token"])
        assert told["valid"] is True
        assert told["reason"] == "it connects user 'ann'"
        assert (told["claims"], told["expires_ms"]) == (claims, made_one["expires_ms"])
        assert (await checked(node, (await made(node))["token"]))[
            "reason"
        ] == "it connects somebody anonymous"


@on_a_loop
async def test_a_token_for_ever_does_not_expire() -> None:
    async with running(KEYS) as node:
        told = await made(node, user="ann", expires_in_s=0)
        assert "expires_ms" not in told
        assert "exp" not in told["claims"]
        assert "expires_ms" not in await checked(node, told["token"])


@pytest.mark.parametrize("config", [KEYS, BOTH])
def test_a_subscription_token_is_for_its_channel_and_with_the_keys_of_such_tokens(config: Any) -> None:
    @on_a_loop
    async def test() -> None:
        async with running(config) as node:
            token = (await made(node, user="ann", channel="$vip"))["token"]
            assert (await checked(node, token, channel="$vip"))["valid"] is True
            told = await checked(node, token, channel="news")
            assert (told["valid"], told["reason"]) == (False, "it is for channel '$vip'")
            assert (await checked(node, token))["valid"] is False

    test()


@on_a_loop
async def test_a_token_has_what_the_configuration_asks_for() -> None:
    asks = {"audience": "chat", "issuer": "us", "user_id_claim": "uid"}
    async with running(merged(KEYS, {"client": {"token": asks}})) as node:
        told = await made(node, user="ann")
        assert (told["claims"]["aud"], told["claims"]["iss"], told["claims"]["uid"]) == ("chat", "us", "ann")
        assert (await checked(node, told["token"]))["reason"] == "it connects user 'ann'"
        wrong = await made(node, user="ann", claims={"iss": "them"})
        assert (await checked(node, wrong["token"]))["reason"] == "the token is of another issuer"
        wrong = await made(node, user="ann", claims={"aud": "them"})
        assert (await checked(node, wrong["token"]))["reason"] == "the token is meant for another audience"


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        (signed(sub="ann", exp=1_600_000_000), "it expired at 2020-09-13 12:26:40 UTC"),
        (
            signed(sub="ann", nbf=4_000_000_000),
            "it is good only from 2096-10-02 07:06:40 UTC on (nbf)",
        ),
        (
            signed(sub="ann", expire_at=1_600_000_000),
            "what it grants ended (expire_at) at 2020-09-13 12:26:40 UTC",
        ),
        (signed(OTHER, sub="ann"), "no key for 'HS256' holds the token's signature"),
        (signed(sub="ann", channel="x"), "a subscription token does not open a connection"),
        ("no token", "the token's header is not base64url of JSON"),
        ("", "the token's header is not base64url of JSON"),
        ("console.a.b.c", "a token of the console is for the console alone"),
    ],
)
def test_why_a_token_is_not_accepted_is_told_in_words(token: str, reason: str) -> None:
    @on_a_loop
    async def test() -> None:
        async with running(KEYS) as node:
            told = await checked(node, token)
            assert told["valid"] is False
            assert told["reason"].startswith(reason)

    test()


@on_a_loop
async def test_what_a_token_says_is_told_although_nobody_believes_it() -> None:
    async with running(KEYS) as node:
        assert (await checked(node, signed(OTHER, sub="eve")))["claims"] == {"sub": "eve"}
        assert "claims" not in await checked(node, "no token")
        assert "claims" not in await checked(node, "console.x.y.z")


@on_a_loop
async def test_a_token_that_was_revoked_is_not_accepted() -> None:
    async with running(KEYS) as node:
        token = (await made(node, user="ann", claims={"jti": "7"}))["token"]
        assert (await checked(node, token))["valid"] is True
        await call(node, "/api/revoke", {"token_id": "7"})
        assert (await checked(node, token))["reason"] == "the token is revoked"
        await call(node, "/api/block", {"user": "bob"})
        token = (await made(node, user="bob", channel="news"))["token"]
        assert (await checked(node, token, channel="news"))["reason"] == "the user is blocked"


@on_a_loop
async def test_without_a_secret_no_token_is_made_and_none_is_checked() -> None:
    async with running() as node:
        refused = (await made(node, user="ann"))["error"]
        assert refused["code"] == 108
        assert refused["message"].startswith("client.token.hmac_secret_key is not configured")
        refused = (await checked(node, signed(sub="ann")))["error"]
        assert refused["message"].startswith("client.token: no key is configured")
    own = {"client": {"subscription_token": {"enabled": True}, **KEYS["client"]}}
    async with running(own) as node:
        refused = (await made(node, user="ann", channel="news"))["error"]
        assert refused["message"].startswith("client.subscription_token.hmac_secret_key is not configured")


@on_a_loop
async def test_no_token_is_made_where_only_keys_of_a_jwks_count() -> None:
    jwks = {"client": {"token": {"hmac_secret_key": SECRET, "jwks_public_endpoint": "https://id.test/keys"}}}
    async with running(jwks) as node:
        assert "its keys alone count" in (await made(node, user="ann"))["error"]["message"]


@on_a_loop
async def test_no_answer_holds_a_secret() -> None:
    async with running(BOTH) as node:
        token = (await made(node, user="ann"))["token"]
        answers = [await made(node, user="ann"), await checked(node, token), await checked(node, "x")]
        assert not any(secret in str(answers) for secret in (SECRET, OTHER))


@on_a_loop
async def test_a_token_that_nobody_would_read_is_not_made() -> None:
    async with running(KEYS) as node:
        refused = (await made(node, user="ann", info="x" * 20_000))["error"]
        assert "a token has up to" in refused["message"]
