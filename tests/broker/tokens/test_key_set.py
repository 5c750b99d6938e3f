"""Keys of a JWKS endpoint: when they are fetched, what is believed of an answer, and what when none comes."""

import asyncio
import json
import logging
from collections.abc import Callable
from typing import Any

import pytest

from gapless.broker.tokens import KeySet, Trust, Verifier
from gapless.core.errors import Unauthorized, Unavailable
from gapless.core.limits import JWKS_ABSENT_MS, JWKS_ASKED_MAX, JWKS_FRESH_MS, JWKS_KEYS_MAX, JWKS_RETRY_MS
from tests.broker.tokens.signing import KINDS, NOW_MS, SECRET, jwk, pem, private, segment, signed
from tests.conversation import HandClock
from tests.server.serving import on_a_loop

Token = Callable[..., str]


def token(
    kid: str | None = "a", kind: str = "RSA", which: int = 0, algorithm: str = "", **header: Any
) -> str:
    named = {} if kid is None else {"kid": kid}
    key = private(kind, which)
    return signed({"sub": "ann"}, key, algorithm or KINDS[kind][0], **named, **header)


class Issuer:
    """An endpoint's stand-in, and a verifier that trusts it alone."""

    def __init__(self, *keys: dict[str, Any], **trust: Any) -> None:
        self.clock = HandClock()
        self.fetches = 0
        self.answer: bytes | Exception = b""
        self.gate: asyncio.Future[None] | None = None
        self.serve(*keys)
        self.key_set = KeySet(self.fetch, self.clock, place="https://issuer.example/keys")
        self.verifier = Verifier(Trust(key_set=self.key_set, **trust))

    def serve(self, *keys: object) -> None:
        self.answer = json.dumps({"keys": keys}).encode()

    async def fetch(self) -> bytes:
        self.fetches += 1
        if self.gate is not None:
            await self.gate
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def user(self, text: str) -> str:
        """Hold a token against the keys as a session does."""
        ready = self.verifier.ready(text)
        if ready is not None:
            await ready
        return self.verifier.connection(text, self.clock.now_ms()).user

    async def refusal(self, text: str) -> type[Exception]:
        with pytest.raises((Unauthorized, Unavailable)) as caught:
            await self.user(text)
        return caught.type


# Which keys -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "secret"])
@on_a_loop
async def test_each_kind_of_key_checks_its_own_algorithms(kind: str) -> None:
    issuer = Issuer(jwk(kind, "a"))
    for other, algorithms in KINDS.items():
        for algorithm in algorithms:
            text = token("a", other, algorithm=algorithm)
            if other == kind:
                assert await issuer.user(text) == "ann"
            else:
                assert await issuer.refusal(text) is Unauthorized


@on_a_loop
async def test_a_key_that_names_its_algorithm_checks_no_other() -> None:
    issuer = Issuer(jwk("RSA", "a", alg="RS384"), jwk("RSA", "b"))
    assert await issuer.user(token("a", algorithm="RS384")) == "ann"
    for algorithm in ("RS256", "RS512"):
        assert await issuer.refusal(token("a", algorithm=algorithm)) is Unauthorized
        assert await issuer.user(token("b", algorithm=algorithm)) == "ann"


@pytest.mark.parametrize("leave_out", ["use", "alg", "key_ops"])
@on_a_loop
async def test_what_a_key_may_say_of_itself_may_be_left_out(leave_out: str) -> None:
    key = jwk("P-256", "a", alg="ES256", key_ops=["verify"])
    del key[leave_out]
    assert await Issuer(key).user(token("a", "P-256")) == "ann"


PASSED_OVER: list[object] = [
    {"kty": "oct", "kid": "a", "k": "c2VjcmV0", "use": "sig", "alg": "HS256"},
    jwk("RSA", "a", use="enc"),
    jwk("RSA", "a", key_ops=["sign"]),
    jwk("RSA", "a", key_ops=[]),
    jwk("RSA", "a", alg="RSA-OAEP"),
    jwk("RSA", "a", alg="HS256"),
    jwk("RSA", "a", alg="none"),
    jwk("RSA", "a", alg="ES256"),
    jwk("RSA", "a", alg=""),
    jwk("RSA", "a", kty="rsa"),
    jwk("RSA", "a", kty="EC"),
    jwk("RSA", "a", n=""),
    jwk("RSA", "a", n="AQAB"),
    jwk("RSA", "a", n="A" * 200_000),
    jwk("RSA", "a", e=segment(b"\x80" + bytes(30) + b"\x01")),
    jwk("RSA", "a", n=7),
    jwk("P-256", "a", crv="P-384"),
    jwk("P-256", "a", x="A" * 43),
    jwk("P-256", "a", x="é"),
    jwk("secp256k1", "a"),
    jwk("Ed25519", "a", x="AA"),
    jwk("Ed448", "a"),
    {"kid": "a"},
    {"kty": "RSA", "kid": ["a"]},
    "a",
    None,
    [],
]


@pytest.mark.parametrize("entry", PASSED_OVER, ids=range(len(PASSED_OVER)))
@on_a_loop
async def test_what_is_no_public_key_for_tokens_is_passed_over(entry: object) -> None:
    issuer = Issuer()
    issuer.serve(entry, jwk("RSA", "good"))
    for text in (token("a"), token("a", "P-256"), token("a", "Ed25519")):
        assert await issuer.refusal(text) is Unauthorized
    assert await issuer.user(token("good")) == "ann"
    with pytest.raises(Unauthorized):
        issuer.key_set.checks("a")


@on_a_loop
async def test_a_symmetric_key_is_never_taken_from_a_jwks() -> None:
    issuer = Issuer({"kty": "oct", "kid": "a", "k": "YSBzZWNyZXQgb2YgdGhlIGJhY2tlbmQncw"}, jwk("RSA", "b"))
    for kid in ("a", "b", None):
        assert await issuer.refusal(signed({"sub": "ann"}, SECRET, kid=kid or "")) is Unauthorized
    assert issuer.fetches == 0, "nor asked for"


@on_a_loop
async def test_a_published_key_is_no_secret() -> None:
    issuer = Issuer(jwk("RSA", "a"))
    assert await issuer.user(token("a")) == "ann"
    for secret in (pem("RSA"), jwk("RSA", "a")["n"], json.dumps(jwk("RSA", "a")), ""):
        for algorithm in KINDS["secret"]:
            assert await issuer.refusal(signed({"sub": "ann"}, secret, algorithm, kid="a")) is Unauthorized


@on_a_loop
async def test_of_a_private_key_only_the_public_half_is_read() -> None:
    issuer = Issuer(jwk("RSA", "a", d="AQAB", p="AQAB"))
    assert await issuer.user(token("a")) == "ann"


@on_a_loop
async def test_one_key_does_not_answer_for_another() -> None:
    issuer = Issuer(jwk("RSA", "a"), jwk("RSA", "b", 1), jwk("RSA", "a", 2))
    assert await issuer.user(token("a")) == "ann"
    assert await issuer.user(token("b", which=1)) == "ann"
    issuer.clock.pass_ms(JWKS_RETRY_MS)
    for text in (token("a", which=1), token("b"), token("a", which=2), token("A")):
        assert await issuer.refusal(text) is Unauthorized


@on_a_loop
async def test_the_same_key_id_at_another_endpoint_is_another_key() -> None:
    ours, theirs = Issuer(jwk("RSA", "a")), Issuer(jwk("RSA", "a", 1))
    both = Verifier(Trust(key_set=ours.key_set), Trust(key_set=theirs.key_set))
    assert await ours.user(token("a")) == "ann"
    assert await theirs.user(token("a", which=1)) == "ann"
    claims = {"sub": "ann", "channel": "news"}
    assert both.subscription(signed(claims, private("RSA", 1), "RS256", kid="a"), NOW_MS).user == "ann"
    with pytest.raises(Unauthorized):
        both.subscription(signed(claims, private("RSA"), "RS256", kid="a"), NOW_MS)
    with pytest.raises(Unauthorized):
        both.connection(token("a", which=1), NOW_MS)


@on_a_loop
async def test_a_token_has_to_name_its_key() -> None:
    issuer = Issuer(jwk("RSA", "a"), jwk("RSA", ""))
    for text in (token(None), token("")):
        assert await issuer.refusal(text) is Unauthorized
    assert issuer.fetches == 0


@on_a_loop
async def test_with_a_jwks_configured_keys_do_not_count() -> None:
    issuer = Issuer(
        jwk("RSA", "a"), hmac_secret_key=SECRET, hmac_previous_secret_key="old", rsa_public_key=pem("RSA", 1)
    )
    for text in (
        signed({"sub": "ann"}),
        signed({"sub": "ann"}, kid="a"),
        signed({"sub": "ann"}, "old", kid="a"),
        token("a", which=1),
    ):
        assert await issuer.refusal(text) is Unauthorized


# When they are fetched --------------------------------------------------------------------------


@on_a_loop
async def test_tokens_that_come_together_share_one_fetch() -> None:
    issuer = Issuer(jwk("RSA", "a"), jwk("P-256", "b"))
    issuer.gate = asyncio.get_running_loop().create_future()
    texts = [token("a"), token("b", "P-256")] * 50
    waiting = [asyncio.create_task(issuer.user(text)) for text in texts]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    waiting[0].cancel()
    issuer.gate.set_result(None)
    users = await asyncio.gather(*waiting, return_exceptions=True)
    assert users[1:] == ["ann"] * 99, "who goes away takes nothing from the others"
    assert issuer.fetches == 1


@on_a_loop
async def test_a_known_key_is_not_fetched_again_for_an_hour() -> None:
    issuer = Issuer(jwk("RSA", "a"))
    assert await issuer.user(token("a")) == "ann"
    issuer.clock.pass_ms(JWKS_FRESH_MS - 1)
    assert issuer.verifier.ready(token("a")) is None
    issuer.clock.pass_ms(1)
    assert await issuer.user(token("a")) == "ann"
    assert issuer.fetches == 2


@on_a_loop
async def test_a_key_that_was_withdrawn_is_refused_within_the_hour() -> None:
    issuer = Issuer(jwk("RSA", "a"))
    assert await issuer.user(token("a")) == "ann"
    issuer.serve(jwk("RSA", "b", 1))
    issuer.clock.pass_ms(JWKS_FRESH_MS)
    assert await issuer.refusal(token("a")) is Unauthorized
    assert await issuer.user(token("b", which=1)) == "ann"


@on_a_loop
async def test_a_new_key_is_found_when_a_token_names_it() -> None:
    issuer = Issuer(jwk("RSA", "a"))
    assert await issuer.user(token("a")) == "ann"
    issuer.serve(jwk("RSA", "a"), jwk("RSA", "b", 1))
    issuer.clock.pass_ms(JWKS_RETRY_MS)
    assert await issuer.user(token("b", which=1)) == "ann"
    assert await issuer.user(token("a")) == "ann"
    assert issuer.fetches == 2


@on_a_loop
async def test_an_unknown_key_is_not_asked_for_again_at_once() -> None:
    issuer = Issuer(jwk("RSA", "a"))
    assert await issuer.refusal(token("b")) is Unauthorized
    issuer.clock.pass_ms(JWKS_ABSENT_MS - 1)
    assert await issuer.refusal(token("b")) is Unauthorized
    assert issuer.fetches == 1
    issuer.serve(jwk("RSA", "b"))
    issuer.clock.pass_ms(1)
    assert await issuer.user(token("b")) == "ann"
    assert issuer.fetches == 2


@on_a_loop
async def test_made_up_key_ids_cause_one_fetch_in_a_while_and_end_nobody() -> None:
    issuer = Issuer(jwk("RSA", "a"))
    assert await issuer.refusal(token("b0")) is Unauthorized
    for n in range(1, 50):
        assert await issuer.refusal(token(f"b{n}")) is Unavailable, "it may be a new one: come back"
    assert issuer.fetches == 1
    assert await issuer.user(token("a")) == "ann"
    issuer.clock.pass_ms(JWKS_RETRY_MS)
    assert await issuer.refusal(token("b1")) is Unauthorized
    assert issuer.fetches == 2


@on_a_loop
async def test_made_up_key_ids_take_a_bounded_memory() -> None:
    issuer = Issuer(jwk("RSA", "a"))
    issuer.gate = asyncio.get_running_loop().create_future()
    ready = [issuer.key_set.ready(f"b{n}") for n in range(JWKS_ASKED_MAX + 1)]
    issuer.gate.set_result(None)
    await asyncio.gather(*(waiting for waiting in ready if waiting is not None))
    with pytest.raises(Unauthorized):
        issuer.key_set.checks(f"b{JWKS_ASKED_MAX - 1}")
    with pytest.raises(Unavailable):
        issuer.key_set.checks(f"b{JWKS_ASKED_MAX}")
    issuer.clock.pass_ms(JWKS_RETRY_MS)
    assert await issuer.refusal(token(f"b{JWKS_ASKED_MAX}")) is Unauthorized
    with pytest.raises(Unavailable):
        issuer.key_set.checks("b0")


def test_what_cannot_be_signed_with_a_published_key_waits_for_nothing() -> None:
    issuer = Issuer(jwk("RSA", "a"))
    for text in ("", "a.b.c", token("a", crit=["exp"]), token("a", alg="none"), signed({}, kid="a")):
        assert issuer.verifier.ready(text) is None
    assert Verifier(Trust(hmac_secret_key=SECRET)).ready(token("a")) is None


@on_a_loop
async def test_each_kind_of_token_waits_for_its_own_keys() -> None:
    issuer = Issuer(jwk("RSA", "a"))
    verifier = Verifier(Trust(hmac_secret_key=SECRET), Trust(key_set=issuer.key_set))
    text = signed({"sub": "ann", "channel": "news"}, private("RSA"), "RS256", kid="a")
    assert verifier.ready(text) is None
    ready = verifier.ready(text, subscription=True)
    assert ready is not None
    await ready
    assert verifier.subscription(text, NOW_MS).channel == "news"


# When the endpoint fails ------------------------------------------------------------------------


@on_a_loop
async def test_an_endpoint_that_cannot_be_reached_makes_clients_come_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    issuer = Issuer(jwk("RSA", "a"))
    served, issuer.answer = issuer.answer, Unavailable("no answer: Connection refused")
    for _ in range(10):
        assert await issuer.refusal(token("a")) is Unavailable
    assert issuer.fetches == 1, "one attempt in a while"
    assert [record.message for record in caplog.records] == [
        "keys of tokens: https://issuer.example/keys: no answer: Connection refused; 0 known keys stay in use"
    ]
    issuer.answer = served
    issuer.clock.pass_ms(JWKS_RETRY_MS)
    assert await issuer.user(token("a")) == "ann"


@on_a_loop
async def test_known_keys_stay_in_use_while_the_endpoint_cannot_be_reached() -> None:
    issuer = Issuer(jwk("RSA", "a"))
    assert await issuer.user(token("a")) == "ann"
    issuer.answer = Unavailable("gone")
    issuer.clock.pass_ms(10 * JWKS_FRESH_MS)
    assert await issuer.user(token("a")) == "ann"
    assert await issuer.refusal(token("b")) is Unavailable
    assert issuer.fetches == 2


HOSTILE = {
    "nothing": b"",
    "html": b"<!doctype html><title>Login</title>",
    "not an object": b"[]",
    "no keys": b"{}",
    "keys that are none": b'{"keys":"a"}',
    "an empty set": b'{"keys":[]}',
    "unusable keys alone": json.dumps({"keys": [jwk("RSA", "a", use="enc")]}).encode(),
    "keys without a name": json.dumps({"keys": [jwk("RSA", "")]}).encode(),
    "too many keys": json.dumps({"keys": [jwk("RSA", str(n)) for n in range(JWKS_KEYS_MAX + 1)]}).encode(),
    "a deep nest": b'{"keys":' + b"[" * 100_000,
    "no text": b"\xff\xfe\x00",
    "one key, bare": json.dumps(jwk("RSA", "a")).encode(),
}


@pytest.mark.parametrize("answer", HOSTILE.values(), ids=HOSTILE)
@on_a_loop
async def test_an_answer_that_is_no_key_set_changes_nothing(
    answer: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    issuer = Issuer(jwk("RSA", "a"))
    assert await issuer.user(token("a")) == "ann"
    issuer.answer = answer
    issuer.clock.pass_ms(JWKS_FRESH_MS)
    caplog.set_level(logging.WARNING)
    assert await issuer.user(token("a")) == "ann"
    assert await issuer.refusal(token("b")) is Unavailable
    assert len(caplog.records) == 1
    assert len(caplog.records[0].message) < 200


@on_a_loop
async def test_what_is_fetched_when_the_node_stops_is_given_up() -> None:
    issuer = Issuer(jwk("RSA", "a"))
    issuer.gate = asyncio.get_running_loop().create_future()
    waiting = asyncio.create_task(issuer.refusal(token("a")))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    issuer.verifier.close()
    assert await waiting is Unavailable
    assert issuer.gate.cancelled()


@on_a_loop
async def test_keys_that_are_not_trusted_any_more_are_given_up() -> None:
    issuer = Issuer(jwk("RSA", "a"))
    issuer.gate = asyncio.get_running_loop().create_future()
    waiting = asyncio.create_task(issuer.refusal(token("a")))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    issuer.verifier.replace(Trust(key_set=issuer.key_set))
    assert not issuer.gate.done(), "it is still trusted"
    issuer.verifier.replace(Trust(hmac_secret_key=SECRET))
    assert await waiting is Unauthorized
    assert issuer.gate.cancelled()
