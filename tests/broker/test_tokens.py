"""What a connection token must be, and what it may not."""

import base64
import hmac
import json
from typing import Any

import pytest

from gapless.broker.tokens import Verifier
from gapless.core.errors import GaplessError, NotAvailable, TokenExpired, Unauthorized
from gapless.core.limits import TOKEN_BYTES_MAX

KEY = "a secret of the backend's"
NOW_MS = 1_700_000_000_000
NOW_SECONDS = NOW_MS // 1000


def segment(part: object) -> str:
    data = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def signed(claims: object, *, key: str = KEY, **header: Any) -> str:
    """A token made by hand, so that it may be wrong in any way."""
    content = f"{segment({'alg': 'HS256', 'typ': 'JWT', **header})}.{segment(claims)}"
    return f"{content}.{segment(hmac.digest(key.encode(), content.encode(), 'sha256'))}"


@pytest.fixture
def verifier() -> Verifier:
    return Verifier(hmac_secret_key=KEY)


def refusal(verifier: Verifier, token: str) -> GaplessError:
    with pytest.raises(GaplessError) as caught:
        verifier.connection(token, NOW_MS)
    return caught.value


def test_a_valid_token_says_who_and_until_when(verifier: Verifier) -> None:
    claims = verifier.connection(signed({"sub": "ann", "exp": NOW_SECONDS + 60, "info": {"age": 7}}), NOW_MS)
    assert claims.user == "ann"
    assert claims.expires_ms == NOW_MS + 60_000
    assert json.loads(bytes(claims.info)) == {"age": 7}


@pytest.mark.parametrize(("sub", "user"), [("7", "7"), (7, "7"), ("", "")])
def test_a_user_may_be_a_text_or_a_number(verifier: Verifier, sub: object, user: str) -> None:
    assert verifier.connection(signed({"sub": sub}), NOW_MS).user == user


def test_a_token_without_a_user_is_anonymous_and_never_expires(verifier: Verifier) -> None:
    claims = verifier.connection(signed({}), NOW_MS)
    assert (claims.user, claims.expires_ms, bytes(claims.info)) == ("", 0, b"")


def test_expire_at_is_the_connections_end_and_exp_the_tokens(verifier: Verifier) -> None:
    assert verifier.connection(signed({"exp": NOW_SECONDS + 1, "expire_at": 0}), NOW_MS).expires_ms == 0
    assert (
        verifier.connection(signed({"exp": NOW_SECONDS + 1, "expire_at": NOW_SECONDS + 9}), NOW_MS).expires_ms
        == NOW_MS + 9_000
    )


@pytest.mark.parametrize("claims", [{"exp": NOW_SECONDS}, {"exp": 1}, {"nbf": NOW_SECONDS + 1}])
def test_a_token_outside_its_time_is_expired(verifier: Verifier, claims: object) -> None:
    assert type(refusal(verifier, signed(claims))) is TokenExpired


def test_a_token_is_good_until_the_last_moment(verifier: Verifier) -> None:
    claims = {"exp": NOW_SECONDS + 0.001, "nbf": NOW_SECONDS}
    assert verifier.connection(signed(claims), NOW_MS).expires_ms == NOW_MS + 1


def test_info_is_what_every_subscriber_can_read(verifier: Verifier) -> None:
    for info in (b'"\xff"', b"[" * 129 + b"]" * 129):
        assert type(refusal(verifier, signed(b'{"sub":"u","info":' + info + b"}"))) is Unauthorized
    deep = base64.b64encode(b"[" * 129 + b"]" * 129).decode()
    assert type(refusal(verifier, signed({"b64info": deep}))) is Unauthorized


def test_info_may_come_as_base64_and_must_hold_json(verifier: Verifier) -> None:
    encoded = base64.b64encode(b'{"a":1}').decode()
    assert bytes(verifier.connection(signed({"b64info": encoded}), NOW_MS).info) == b'{"a":1}'
    for wrong in ("no base64!", base64.b64encode(b"\xff").decode()):
        assert type(refusal(verifier, signed({"b64info": wrong}))) is Unauthorized


@pytest.mark.parametrize(
    "token",
    [
        "",
        "a",
        "..",
        "a.b.c",
        "é.é.é",
        signed({"sub": "ann"}, key="another"),
        signed({"sub": "ann"})[:-2],
        signed({"sub": "ann"}) + "A",
        signed({"sub": "ann"}, alg="none"),
        signed({"sub": "ann"}, alg="none").rpartition(".")[0] + ".",
        signed({"sub": "ann"}, alg="HS512"),
        signed({"sub": "ann"}, alg="RS256"),
        signed({"sub": "ann"}, alg=None),
        signed({"sub": "ann"}, crit=["exp"]),
        signed({"sub": "ann"}, crit=[]),
        signed({"sub": "ann"}, jku="https://example.com/keys"),
        signed({"sub": "ann"}, x5u="https://example.com/cert"),
        signed({"sub": "ann"}, jwk={"kty": "oct", "k": "AAAA"}),
        signed({"sub": ["ann"]}),
        signed({"sub": True}),
        signed({"exp": "soon"}),
        signed({"exp": -1}),
        signed({"exp": 10**30}),
        signed({"sub": "ann", "channel": "news"}),
        signed(["ann"]),
        signed(b"ann"),
        signed(b"[" * 10_000),
        signed({"sub": "a" * TOKEN_BYTES_MAX}),
    ],
)
def test_what_is_no_connection_token_is_refused(verifier: Verifier, token: str) -> None:
    assert type(refusal(verifier, token)) is Unauthorized


@pytest.mark.parametrize("claims", [{"channels": ["news"]}, {"subs": {"news": {}}}])
def test_server_side_subscriptions_are_refused_aloud(verifier: Verifier, claims: object) -> None:
    assert type(refusal(verifier, signed(claims))) is NotAvailable


def test_without_a_key_no_token_is_accepted() -> None:
    verifier = Verifier(hmac_secret_key="")
    assert type(refusal(verifier, signed({"sub": "ann"}, key=""))) is Unauthorized
