"""How a token is taken apart, and what is refused before anything in it is believed."""

import json
from typing import Any

import pytest

from gapless.broker.tokens import Trust, Verifier
from gapless.broker.tokens.parts import decoded, encoded, split
from gapless.core.errors import Unauthorized
from gapless.core.limits import TOKEN_BYTES_MAX, TOKEN_HEADER_BYTES_MAX
from tests.broker.tokens.signing import NOW_MS, SECRET, segment, signature, signed

TOKEN = signed({"sub": "ann"})
HEADER, CLAIMS, SIGNATURE = TOKEN.split(".")


def with_header(header: bytes) -> str:
    """A token of any header, truly signed."""
    content = f"{segment(header)}.{CLAIMS}"
    return f"{content}.{signature(content, SECRET, 'HS256')}"


def refused(token: str) -> bool:
    verifier = Verifier(Trust(hmac_secret_key=SECRET))
    for hold in (verifier.connection, verifier.subscription):
        with pytest.raises(Unauthorized):
            hold(token, NOW_MS)
    return verifier.ready(token) is None


@pytest.mark.parametrize(
    "token",
    [
        "",
        "a",
        ".",
        "..",
        "...",
        "a.b.c",
        "é.é.é",
        "\x00",
        "\ud800.a.b",
        HEADER,
        f"{HEADER}.{CLAIMS}",
        f"{HEADER}.{CLAIMS}.",
        f".{CLAIMS}.{SIGNATURE}",
        f"{HEADER}..{SIGNATURE}",
        f"{TOKEN}.",
        f"{TOKEN}.{SIGNATURE}",
        f".{TOKEN}",
        f" {TOKEN}",
        f"{TOKEN}\n",
        f"{TOKEN}=",
        f"{TOKEN}A",
        TOKEN[:-1],
        TOKEN[:-2],
        TOKEN.lower(),
        f"{HEADER}=.{CLAIMS}.{SIGNATURE}",
        f"{CLAIMS}.{HEADER}.{SIGNATURE}",
        f"Bearer {TOKEN}",
        f'{{"payload":"{CLAIMS}","protected":"{HEADER}","signature":"{SIGNATURE}"}}',
    ],
)
def test_a_malformed_token_is_refused(token: str) -> None:
    assert refused(token)


def test_another_last_character_of_the_same_bits_is_another_signature() -> None:
    twin = next(
        SIGNATURE[:-1] + last
        for last in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        if last != SIGNATURE[-1] and decoded((SIGNATURE[:-1] + last).encode()) == decoded(SIGNATURE.encode())
    )
    assert refused(f"{HEADER}.{CLAIMS}.{twin}")


def test_a_huge_token_is_refused_before_it_is_read() -> None:
    assert refused(signed({"sub": "a" * TOKEN_BYTES_MAX}))
    assert refused("a" * 100_000_000)
    assert refused("." * TOKEN_BYTES_MAX)


def test_a_huge_header_is_refused() -> None:
    assert refused(signed({"sub": "ann"}, note="a" * TOKEN_HEADER_BYTES_MAX))


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"null",
        b'"HS256"',
        b'["HS256"]',
        b"HS256",
        b'{"alg":"HS256"',
        b'{"alg":"HS256"}{}',
        b'{"alg":"HS256","alg":"HS256"}',
        b'{"alg":"none","alg":"HS256"}',
        b'{"alg":"HS256","alg":"none"}',
        b'{"alg":"HS256","jwk":1,"jwk":2}',
        b'{"alg":"HS256","more":{"a":1,"a":2}}',
        b'{"alg":"HS256","more":NaN}',
        b'{"alg":["HS256"]}',
        b'{"alg":256}',
        b'{"alg":"HS256","kid":7}',
        b'{"alg":"HS256","kid":null}',
        b'{"alg":"HS256","typ":7}',
        b'{"alg":"HS256","typ":"logout+jwt"}',
        b'{"alg":"HS256","typ":"JWE"}',
        b'\xef\xbb\xbf{"alg":"HS256"}',
        b'{"alg":"HS256","a":"\xff"}',
        '{"alg":"HS256"}'.encode("utf-16"),
        b"[" * 1_500,
    ],
)
def test_a_header_that_readers_could_differ_on_is_refused(header: bytes) -> None:
    assert refused(with_header(header))


@pytest.mark.parametrize(
    "more",
    [
        {"crit": ["exp"]},
        {"crit": []},
        {"crit": None},
        {"b64": False},
        {"b64": True},
        {"zip": "DEF"},
        {"jku": "https://example.com/keys"},
        {"jku": None},
        {"x5u": "https://example.com/certificate"},
        {"x5c": ["MIIB"]},
        {"jwk": {"kty": "oct", "k": "AAAA"}},
    ],
)
def test_a_header_brings_no_key_and_no_rule(more: dict[str, Any]) -> None:
    assert refused(signed({"sub": "ann"}, **more))


@pytest.mark.parametrize("kind", ["JWT", "jwt", "at+jwt", "application/jwt", "application/at+JWT"])
def test_the_types_of_tokens_that_open_something(kind: str) -> None:
    assert split(signed({}, typ=kind)).header == ("HS256", "")


def test_a_header_may_leave_out_its_type_and_say_more() -> None:
    assert split(with_header(b'{"alg":"HS256","kid":"k","x5t":"a","cty":"JWT"}')).header == ("HS256", "k")


@pytest.mark.parametrize("data", [bytes([n]) * size for n in (0, 0xFB, 0xFF) for size in range(5)])
def test_base64url_is_read_as_it_is_written(data: bytes) -> None:
    assert decoded(encoded(data)) == data
    assert encoded(data).decode() == segment(data)


@pytest.mark.parametrize(
    "text",
    [
        b"a",
        b"abcde",
        b"ab=",
        b"ab==",
        b"a+bc",
        b"a/bc",
        b"ab c",
        b"ab\nc",
        b"ab.c",
        b"a!bc",
        b"abcd++++",
        b"abcd====",
        b"ab==abcd",
        b"\n\n\n\nabcd",
    ],
)
def test_base64url_is_nothing_else(text: bytes) -> None:
    with pytest.raises(ValueError):
        decoded(text)


def test_what_is_signed_are_the_characters() -> None:
    spaced = with_header(json.dumps({"alg": "HS256"}, indent=2).encode())
    assert Verifier(Trust(hmac_secret_key=SECRET)).connection(spaced, NOW_MS).user == "ann"
