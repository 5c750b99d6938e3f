"""Which key checks which algorithm, whom a token must be meant for, and what a configuration must say."""

import json
from typing import Any

import pytest

from gapless.broker.tokens import Trust, Verifier
from gapless.core.errors import ConfigError, Unauthorized
from tests.broker.tokens.signing import (
    ALGORITHMS,
    HS,
    KINDS,
    NOW_MS,
    NOW_SECONDS,
    OPTIONS,
    RS,
    SECRET,
    pem,
    private,
    private_pem,
    segment,
    signed,
)


def trust(*kinds: str, **more: Any) -> Trust:
    options: dict[str, Any] = {OPTIONS[kind]: pem(kind) for kind in kinds}
    return Trust(**options, **more)


def accepts(verifier: Verifier, token: str, now_ms: int = NOW_MS) -> bool:
    try:
        return verifier.connection(token, now_ms).user == "ann"
    except Unauthorized:
        return False


# Keys and algorithms --------------------------------------------------------------------------


@pytest.mark.parametrize("held", KINDS)
@pytest.mark.parametrize(("kind", "algorithm"), ALGORITHMS)
def test_a_key_checks_its_own_family_of_algorithms_alone(held: str, kind: str, algorithm: str) -> None:
    token = signed({"sub": "ann"}, private(kind), algorithm)
    assert accepts(Verifier(trust(held)), token) == (kind == held)


@pytest.mark.parametrize(("kind", "algorithm"), ALGORITHMS)
def test_keys_of_all_families_stand_side_by_side(kind: str, algorithm: str) -> None:
    curve = kind if kind.startswith("P-") else "P-256"
    verifier = Verifier(trust("secret", "RSA", curve, "Ed25519"))
    assert accepts(verifier, signed({"sub": "ann"}, private(kind), algorithm))
    assert not accepts(verifier, signed({"sub": "ann"}, private(kind, 1), algorithm)), "another's key"


@pytest.mark.parametrize(("kind", "algorithm"), ALGORITHMS)
def test_a_changed_token_is_refused(kind: str, algorithm: str) -> None:
    header, _, signature = signed({"sub": "bob"}, private(kind), algorithm).split(".")
    verifier = Verifier(trust(kind))
    assert not accepts(verifier, f"{header}.{segment({'sub': 'ann'})}.{signature}")
    for wrong in (
        "",
        "AA",
        signature[:-4],
        signature + "AAAA",
        signature[4:],
        "!" + signature[1:],
        "A" * 15_000,
    ):
        assert not accepts(verifier, f"{header}.{segment({'sub': 'ann'})}.{wrong}")


def test_without_a_key_every_token_is_refused() -> None:
    assert not accepts(Verifier(Trust()), signed({"sub": "ann"}, ""))
    assert not accepts(Verifier(Trust()), signed({"sub": "ann"}))


# Confusion of algorithms (RFC 8725, section 2.1) ------------------------------------------------


@pytest.mark.parametrize("algorithm", HS)
@pytest.mark.parametrize("kind", ["RSA", "P-256", "P-384", "P-521", "Ed25519"])
def test_a_public_key_is_no_secret(kind: str, algorithm: str) -> None:
    public = pem(kind)
    for secret in (public, public.strip(), public.replace("\n", "\r\n"), ""):
        for verifier in (Verifier(trust(kind)), Verifier(trust(kind, "secret"))):
            assert not accepts(verifier, signed({"sub": "ann"}, secret, algorithm))
            assert not accepts(verifier, signed({"sub": "ann"}, secret, algorithm, alg=KINDS[kind][0]))


@pytest.mark.parametrize(("kind", "algorithm"), ALGORITHMS)
def test_a_header_cannot_choose_another_algorithm_for_the_signature(kind: str, algorithm: str) -> None:
    everything = Verifier(trust("secret", "RSA", "P-256", "Ed25519"))
    for other in {name for _, name in ALGORITHMS} - {algorithm}:
        assert not accepts(everything, signed({"sub": "ann"}, private(kind), algorithm, alg=other))


@pytest.mark.parametrize(
    "algorithm", ["none", "None", "NONE", "nOnE", "none ", "", " ", "null", None, 0, False, [], ["none"], {}]
)
def test_a_token_without_signature_is_refused_however_it_is_spelled(algorithm: object) -> None:
    everything = Verifier(trust("secret", "RSA", "P-256", "Ed25519"))
    token = signed({"sub": "ann"}, alg=algorithm)
    content = token.rpartition(".")[0]
    for attempt in (token, f"{content}.", content, f"{content}..", f"{content}.AA"):
        assert not accepts(everything, attempt)


@pytest.mark.parametrize(
    "algorithm",
    ["hs256", "HS256 ", "HS1", "HS", "RS256\x00", "PS256", "ES256K", "Ed25519", "HMAC", "dir", "A128KW"],
)
def test_what_is_no_algorithm_of_ours_is_refused(algorithm: str) -> None:
    everything = Verifier(trust("secret", "RSA", "P-256", "Ed25519"))
    assert not accepts(everything, signed({"sub": "ann"}, alg=algorithm))


def test_a_header_without_algorithm_is_refused() -> None:
    content = f"{segment({'typ': 'JWT'})}.{segment({'sub': 'ann'})}"
    assert not accepts(Verifier(trust("secret")), f"{content}.{signed({}).rpartition('.')[2]}")


@pytest.mark.parametrize(("kind", "algorithm"), [("RSA", "RS256"), ("P-256", "ES256"), ("Ed25519", "EdDSA")])
@pytest.mark.parametrize("name", ["crit", "jku", "x5u", "jwk", "x5c", "b64"])
def test_no_family_takes_a_key_or_a_rule_from_the_header(kind: str, algorithm: str, name: str) -> None:
    assert not accepts(Verifier(trust(kind)), signed({"sub": "ann"}, private(kind), algorithm, **{name: []}))


def test_a_key_id_changes_nothing_where_keys_are_configured() -> None:
    for key_id in ("", "../../etc/passwd", "' OR 1=1", "x" * 500):
        assert accepts(Verifier(trust("secret")), signed({"sub": "ann"}, kid=key_id))


# Rotation of the secret -------------------------------------------------------------------------


def test_the_previous_secret_is_good_until_its_time() -> None:
    verifier = Verifier(
        Trust(
            hmac_secret_key=SECRET,
            hmac_previous_secret_key="old",
            hmac_previous_secret_key_valid_until_ms=NOW_MS,
        )
    )
    for algorithm in HS:
        token = signed({"sub": "ann"}, "old", algorithm)
        assert accepts(verifier, token, NOW_MS)
        assert not accepts(verifier, token, NOW_MS + 1)
        assert accepts(verifier, signed({"sub": "ann"}, SECRET, algorithm), NOW_MS + 1)
    assert not accepts(verifier, signed({"sub": "ann"}, "older"))


def test_the_previous_secret_may_be_good_for_ever_and_outlive_its_family() -> None:
    token = signed({"sub": "ann"}, "old")
    assert accepts(Verifier(Trust(hmac_secret_key=SECRET, hmac_previous_secret_key="old")), token)
    assert accepts(Verifier(trust("RSA", hmac_previous_secret_key="old")), token)
    assert not accepts(
        Verifier(trust("RSA", hmac_previous_secret_key="old")), signed({"sub": "ann"}, "old", alg="RS256")
    )


# Audience and issuer ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["aud", "iss"])
@pytest.mark.parametrize(
    ("claim", "accepted"),
    [
        ("chat", True),
        ("chat-evil", False),
        ("evil-chat", False),
        ("cha", False),
        ("c", False),
        ("", False),
        ("CHAT", False),
        ("chat\n", False),
        (None, False),
    ],
)
def test_whom_a_token_is_of_and_for_is_compared_whole(name: str, claim: object, accepted: bool) -> None:
    option = {"aud": "audience", "iss": "issuer"}[name]
    token = signed({"sub": "ann", name: claim})
    assert accepts(Verifier(trust("secret", **{option: "chat"})), token) == accepted
    assert accepts(Verifier(trust("secret", **{f"{option}_regex": "cha[t]"})), token) == accepted
    assert accepts(Verifier(trust("secret", **{f"{option}_regex": "^chat$|^$x"})), token) == accepted


@pytest.mark.parametrize(
    ("claim", "accepted"),
    [
        (["chat"], True),
        (["news", "chat"], True),
        (["news"], False),
        ([], False),
        (["chat-evil", "c", "hat"], False),
    ],
)
def test_one_of_several_audiences_is_enough(claim: list[str], accepted: bool) -> None:
    token = signed({"sub": "ann", "aud": claim})
    assert accepts(Verifier(trust("secret", audience="chat")), token) == accepted
    assert accepts(Verifier(trust("secret", audience_regex="ch(at|it)")), token) == accepted


def test_an_issuer_is_one_text() -> None:
    assert not accepts(Verifier(trust("secret", issuer="chat")), signed({"sub": "ann", "iss": ["chat"]}))


def test_whom_a_token_is_of_and_for_is_not_asked_unless_configured() -> None:
    assert accepts(Verifier(trust("secret")), signed({"sub": "ann", "aud": ["x"], "iss": "y"}))


def test_a_claim_is_read_only_after_its_signature() -> None:
    verifier = Verifier(trust("secret", issuer_regex="(a+)+b", audience_regex="(a+)+b"))
    assert not accepts(verifier, signed({"sub": "ann", "iss": "a" * 5_000, "aud": "a" * 5_000}, "another"))


# Two kinds of token -----------------------------------------------------------------------------


def test_subscription_tokens_have_the_same_keys_unless_they_have_their_own() -> None:
    token = signed({"sub": "ann", "channel": "news"})
    assert Verifier(trust("secret")).subscription(token, NOW_MS).channel == "news"
    own = Verifier(trust("secret"), Trust(hmac_secret_key="subscriptions'", issuer="x"))
    with pytest.raises(Unauthorized):
        own.subscription(token, NOW_MS)
    claims = {"sub": "ann", "channel": "news", "iss": "x"}
    assert own.subscription(signed(claims, "subscriptions'"), NOW_MS).user == "ann"
    assert accepts(own, signed({"sub": "ann"}))
    assert not accepts(own, signed({"sub": "ann"}, "subscriptions'"))


def test_other_keys_hold_from_when_they_replace_the_first() -> None:
    verifier = Verifier(trust("secret"))
    old, new = signed({"sub": "ann"}), signed({"sub": "ann"}, "new")
    verifier.replace(Trust(hmac_secret_key="new"))
    assert (accepts(verifier, old), accepts(verifier, new)) == (False, True)
    with pytest.raises(ConfigError):
        verifier.replace(Trust(hmac_secret_key=SECRET, issuer_regex="("))
    assert (accepts(verifier, old), accepts(verifier, new)) == (False, True)


# What a configuration must say ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "named", "expected"),
    [
        ({"hmac_secret_key": pem("RSA")}, "hmac_secret_key", "key file"),
        ({"hmac_secret_key": "ssh-rsa AAAA"}, "hmac_secret_key", "key file"),
        ({"hmac_previous_secret_key": pem("P-256")}, "hmac_previous_secret_key", "key file"),
        ({"rsa_public_key": "no key"}, "rsa_public_key", "PEM"),
        ({"rsa_public_key": pem("RSA")[:100]}, "rsa_public_key", "PEM"),
        ({"rsa_public_key": private_pem("RSA")}, "rsa_public_key", "private"),
        ({"rsa_public_key": pem("RSA", bits=1024)}, "rsa_public_key", "2048"),
        ({"rsa_public_key": pem("P-256")}, "rsa_public_key", "type RSA"),
        ({"ecdsa_public_key": pem("RSA")}, "ecdsa_public_key", "type EC"),
        ({"ecdsa_public_key": pem("secp256k1")}, "ecdsa_public_key", "P-256"),
        ({"ed25519_public_key": pem("P-256")}, "ed25519_public_key", "type OKP"),
        ({"ed25519_public_key": pem("Ed448")}, "ed25519_public_key", "Ed25519"),
        ({"issuer_regex": "("}, "issuer_regex", "regular expression"),
        ({"audience_regex": "["}, "audience_regex", "regular expression"),
        ({"issuer": "a", "issuer_regex": "a"}, "issuer", "both"),
        ({"audience": "a", "audience_regex": "a"}, "audience", "both"),
        ({"user_id_claim": "a.b"}, "user_id_claim", "letters"),
        ({"user_id_claim": "uid2"}, "user_id_claim", "letters"),
    ],
)
def test_a_mistake_names_its_option_and_what_is_expected(
    options: dict[str, Any], named: str, expected: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        Verifier(Trust(), Trust(section="client.subscription_token", **options))
    assert str(caught.value).startswith(f"client.subscription_token.{named}")
    assert expected in str(caught.value)
    assert "BEGIN" not in str(caught.value), "a key is not told"


def test_a_certificate_holds_its_key(certificate: str) -> None:
    verifier = Verifier(Trust(rsa_public_key=certificate))
    assert accepts(verifier, signed({"sub": "ann"}, private("RSA"), RS[0]))


@pytest.fixture
def certificate() -> str:
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import Encoding

    name, issued = x509.Name([]), datetime(2026, 1, 1, tzinfo=UTC)
    builder = x509.CertificateBuilder(
        name, name, private("RSA").public_key(), 1, issued, issued + timedelta(1)
    )
    return builder.sign(private("RSA"), SHA256()).public_bytes(Encoding.PEM).decode()


def test_a_token_of_pyjwt_is_taken() -> None:
    import jwt

    token = jwt.encode({"sub": "ann", "exp": NOW_SECONDS + 5, "info": {"é": "ü"}}, "k" * 32)
    claims = Verifier(Trust(hmac_secret_key="k" * 32)).connection(token, NOW_MS)
    assert (claims.user, json.loads(bytes(claims.info))) == ("ann", {"é": "ü"})
