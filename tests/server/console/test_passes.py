"""A token of the console holds as long as the secret behind it, and no other token is one."""

import base64
import json
from typing import Any

import jwt
import pytest

from gapless.broker.revocations import Kind, Revocation, Revocations
from gapless.broker.tokens.parts import encoded
from gapless.core.errors import PermissionDenied, TokenExpired, Unauthorized
from gapless.server.config import Config, Source, read
from gapless.server.config.model import Role
from gapless.server.console import passes as passes_module
from gapless.server.console.passes import STRETCHED, ConsoleTokens, How, Passes
from gapless.server.console.passwords import Cost, Hash, hash_of
from tests.conversation import HandClock, PlainTokens, T

ANN = {"name": "ann", "role": "operator", "password": "correct horse"}
BOB = {"name": "bob", "password": str(hash_of("battery staple", b"salt", Cost(16, 1, 1)))}
HOUR_MS = 3600 * 1000
DEEP = encoded(b'{"nested":' + b"[" * 5_000).decode()


def configured(*users: dict[str, Any], key: str = "", **console: Any) -> Config:
    tree = {
        "console": {"enabled": True, "users": list(users or (ANN, BOB)), **console},
        "http_api": {"key": key},
    }
    return read([Source(name="test", tree=tree)])


def passes(config: Config | None = None, clock: HandClock | None = None, shared: str = "shared") -> Passes:
    return Passes(config or configured(), clock or HandClock(), shared, Revocations())


def token_of(config: Config, how: How = How.PASSWORD, name: str = "ann", shared: str = "shared") -> str:
    return passes(config, shared=shared).issue(how, name)[0]


def body_of(token: str) -> dict[str, Any]:
    payload = token.split(".")[2]
    body: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return body


# What holds -----------------------------------------------------------------------------------


def test_a_token_says_who_logged_in_and_until_when() -> None:
    made = passes()
    token, issued = made.issue(How.PASSWORD, "ann")
    assert made.read(token) == issued
    assert (issued.who, issued.role, issued.issued_ms) == ("console:ann", Role.OPERATOR, T)
    assert issued.expires_ms == T + 12 * HOUR_MS
    assert passes().issue(How.PASSWORD, "bob")[1].role is Role.READ_ONLY


def test_a_token_is_a_jwt_behind_a_word() -> None:
    token = token_of(configured())
    word, _, rest = token.partition(".")
    assert word == "console"
    said = jwt.decode(rest, options={"verify_signature": False})
    assert (said["sub"], said["how"]) == ("ann", "password")


def test_no_secret_is_in_a_token() -> None:
    token = token_of(configured(key="the key of the API"))
    assert set(body_of(token)) == {"sub", "how", "iat", "exp"}


def test_all_nodes_of_a_configuration_take_it() -> None:
    token = token_of(configured(), shared="of one node")
    assert passes(shared="of another").read(token).name == "ann"


def test_its_time_is_the_configurations() -> None:
    clock = HandClock()
    made = passes(configured(session_ttl="1h"), clock)
    token, _ = made.issue(How.PASSWORD, "ann")
    clock.pass_ms(HOUR_MS - 1)
    made.read(token)
    clock.pass_ms(1)
    with pytest.raises(TokenExpired, match="log in to the console again"):
        made.read(token)


# What ends it ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "other",
    [
        configured({**ANN, "password": "another"}, BOB),
        configured({**ANN, "role": "read_only"}, BOB),
        configured(BOB),
        configured(ANN, BOB, key="a new key"),
        configured({**ANN, "name": "anna"}, BOB),
    ],
    ids=["password", "role", "gone", "key", "name"],
)
def test_a_session_ends_with_what_it_was_begun_with(other: Config) -> None:
    with pytest.raises(Unauthorized, match="the session has ended"):
        passes(other).read(token_of(configured()))


def test_another_users_password_leaves_a_session_alone() -> None:
    other = configured(ANN, {**BOB, "password": "another"})
    assert passes(other).read(token_of(configured())).name == "ann"


def test_whoever_holds_a_token_cannot_try_the_passwords_of_others_on_it() -> None:
    """What bob's token is signed with has nothing of ann's password in it."""
    ours = passes(configured(ANN, BOB)).issue(How.PASSWORD, "bob")[1]
    theirs = passes(configured({**ANN, "password": "another"}, BOB)).issue(How.PASSWORD, "bob")[1]
    assert ours.key_id == theirs.key_id


@pytest.mark.parametrize(
    "guess",
    [
        configured({**ANN, "password": "a guess"}),
        configured(ANN, key="a guess"),
        configured(BOB, key="a guess", insecure=True),
    ],
    ids=["password", "key", "insecure"],
)
def test_to_try_a_secret_on_a_token_is_slow(guess: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    costs = []

    def counted(password: str, salt: bytes, cost: Cost) -> Hash:
        costs.append(cost)
        return hash_of(password, salt, cost)

    monkeypatch.setattr(passes_module, "hash_of", counted)
    passes(guess)
    assert costs == [STRETCHED]


def test_two_users_of_one_password_have_keys_of_their_own() -> None:
    made = passes(configured(ANN, {**ANN, "name": "eve"}))
    assert made.issue(How.PASSWORD, "ann")[1].key_id != made.issue(How.PASSWORD, "eve")[1].key_id


def test_the_key_of_the_api_opens_as_long_as_it_is_the_key() -> None:
    token = token_of(configured(key="k"), How.KEY)
    held = passes(configured(key="k")).read(token)
    assert (held.who, held.role) == ("console:key", Role.OPERATOR)
    for other in (configured(key="j"), configured()):
        with pytest.raises(Unauthorized):
            passes(other).read(token)


def test_who_came_in_freely_stays_only_where_that_is_allowed() -> None:
    token = token_of(configured(insecure=True), How.NOTHING)
    assert passes(configured(insecure=True)).read(token).who == "console:anybody"
    with pytest.raises(Unauthorized):
        passes(configured()).read(token)


def test_where_there_is_no_secret_processes_need_a_common_one() -> None:
    config = read([Source(name="test", tree={"console": {"enabled": True, "insecure": True}})])
    token = token_of(config, How.NOTHING, shared="one")
    assert passes(config, shared="one").read(token)
    with pytest.raises(Unauthorized):
        passes(config, shared="two").read(token)


def test_where_there_is_one_nobody_can_make_a_token_without_it() -> None:
    """A proxy may ask who comes to the console, and let everybody to the API."""
    for secret in ({"http_api": {"key": "k"}}, {"client": {"token": {"hmac_secret_key": "s" * 32}}}):
        tree = {"console": {"enabled": True, "insecure": True}, **secret}
        config = read([Source(name="test", tree=tree)])
        plain = read([Source(name="test", tree={"console": {"enabled": True, "insecure": True}})])
        with pytest.raises(Unauthorized):
            passes(config).read(token_of(plain, How.NOTHING))
        assert passes(config, shared="another").read(token_of(config, How.NOTHING))


def test_a_user_may_be_blocked_and_sessions_revoked() -> None:
    made = passes()
    token, _ = made.issue(How.PASSWORD, "ann")
    made._revocations.take([Revocation(Kind.BLOCK, "console:ann", at_ms=T)])
    with pytest.raises(PermissionDenied):
        made.read(token)
    made = passes()
    made._revocations.take([Revocation(Kind.USER, "console:ann", at_ms=T, issued_before_ms=T + 1)])
    with pytest.raises(Unauthorized):
        made.read(token)


def test_a_configuration_that_is_read_again_holds_at_once() -> None:
    made = passes()
    token, _ = made.issue(How.PASSWORD, "ann")
    claims = ConsoleTokens(made, PlainTokens()).connection(token, T)
    assert made.holds(claims)
    made.follow(configured({**ANN, "password": "another"}))
    assert not made.holds(claims)
    with pytest.raises(Unauthorized):
        made.read(token)


# What is none ---------------------------------------------------------------------------------


def tampered(token: str, **other: Any) -> str:
    word, header, _, signature = token.split(".")
    body = {**body_of(token), **other}
    payload = base64.urlsafe_b64encode(json.dumps(body).encode()).rstrip(b"=").decode()
    return ".".join((word, header, payload, signature))


@pytest.mark.parametrize("other", [{"sub": "bob"}, {"exp": 2**40}, {"how": "key"}, {"iat": 1}])
def test_what_a_token_says_cannot_be_changed(other: dict[str, Any]) -> None:
    config = configured(ANN, BOB, key="k")
    with pytest.raises(Unauthorized):
        passes(config).read(tampered(token_of(config), **other))


@pytest.mark.parametrize(
    "text",
    [
        "console.",
        "console.x",
        "console.a.b.c",
        "console.é.b.c",
        "console." + "a" * 20_000,
        "console.." * 3,
        "",
        "x",
        "console.eyJhbGciOiJub25lIn0.e30.",
        f"console.a.{DEEP}.c",
    ],
)
def test_what_is_no_token_is_refused(text: str) -> None:
    with pytest.raises(Unauthorized, match="log in"):
        passes().read(text)


@pytest.mark.parametrize(("algorithm", "key"), [("HS384", "k" * 64), ("HS512", "k" * 64), ("none", "")])
def test_only_one_algorithm_counts(algorithm: str, key: str) -> None:
    forged = jwt.encode({"sub": "ann", "how": "password", "iat": 0, "exp": 2**40}, key, algorithm)
    with pytest.raises(Unauthorized):
        passes().read(f"console.{forged}")


# Beside other tokens --------------------------------------------------------------------------


def test_a_token_of_the_console_opens_a_connection_that_watches() -> None:
    tokens = ConsoleTokens(passes(), PlainTokens())
    claims = tokens.connection(token_of(configured()), T)
    assert (claims.user, claims.watches, claims.expires_ms) == ("console:ann", True, T + 12 * HOUR_MS)
    assert [*claims.subscriptions, *claims.queues, *claims.streams] == []
    assert tokens.ready(token_of(configured())) is None


def test_other_tokens_are_the_verifiers() -> None:
    tokens = ConsoleTokens(passes(), PlainTokens())
    claims = tokens.connection("console:ann", T)
    assert (claims.user, claims.watches) == ("console:ann", False)
    assert tokens.subscription('{"user": "ann", "channel": "a", "until_ms": 0}', T).channel == "a"


def test_a_token_of_the_console_is_none_for_a_subscription() -> None:
    tokens = ConsoleTokens(passes(), PlainTokens())
    said = tokens.subscription(token_of(configured()), T)
    assert said.channel == ""
