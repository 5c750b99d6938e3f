"""What a token may say, and what that means."""

import base64
import json
from typing import Any

import pytest

from gapless.broker.tokens import Claims, Grant, Override, SubscriptionClaims, Trust, Verifier
from gapless.core.errors import GaplessError, TokenExpired, Unauthorized
from tests.broker.tokens.signing import NOW_MS, NOW_SECONDS, SECRET, signed

DEEP = b"[" * 129 + b"]" * 129


def connection(claims: object, *, user_id_claim: str = "") -> Claims:
    trust = Trust(hmac_secret_key=SECRET, user_id_claim=user_id_claim)
    return Verifier(trust).connection(signed(claims), NOW_MS)


def subscription(claims: object) -> SubscriptionClaims:
    return Verifier(Trust(hmac_secret_key=SECRET)).subscription(signed(claims), NOW_MS)


def refusal(claims: object) -> type[GaplessError]:
    with pytest.raises(GaplessError) as caught:
        connection(claims)
    return type(caught.value)


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


# Who ------------------------------------------------------------------------------------------


def test_a_valid_token_says_who_and_until_when() -> None:
    claims = connection({"sub": "ann", "exp": NOW_SECONDS + 60, "info": {"age": 7}})
    assert (claims.user, claims.expires_ms) == ("ann", NOW_MS + 60_000)
    assert json.loads(bytes(claims.info)) == {"age": 7}


@pytest.mark.parametrize(
    ("sub", "user"), [("7", "7"), (7, "7"), ("", ""), (None, ""), (-1, "-1"), (2**62, str(2**62))]
)
def test_a_user_may_be_a_text_or_a_number(sub: object, user: str) -> None:
    assert connection({"sub": sub}).user == user
    assert subscription({"sub": sub, "channel": "news"}).user == user


@pytest.mark.parametrize("sub", [True, 7.5, ["ann"], {"id": 7}])
def test_a_user_is_nothing_else(sub: object) -> None:
    assert refusal({"sub": sub}) is Unauthorized


def test_another_claim_may_name_the_user() -> None:
    assert connection({"uid": "ann", "sub": "bob"}, user_id_claim="uid").user == "ann"
    assert connection({"uid": 7}, user_id_claim="uid").user == "7"
    assert connection({"sub": "bob"}, user_id_claim="uid").user == "", "never the other one"
    with pytest.raises(Unauthorized):
        connection({"uid": ["ann"]}, user_id_claim="uid")


def test_a_token_without_claims_is_anonymous_and_never_expires() -> None:
    assert connection({}) == Claims("")


def test_of_a_claim_that_stands_twice_the_last_counts() -> None:
    assert connection(b'{"sub":"ann","sub":"bob"}').user == "bob"
    with pytest.raises(TokenExpired):
        connection(f'{{"exp":{NOW_SECONDS + 1},"exp":{NOW_SECONDS}}}'.encode())


def test_a_token_is_known_by_its_id_and_when_it_was_issued() -> None:
    claims = connection({"jti": "t-1", "iat": NOW_SECONDS - 1.5})
    assert (claims.token_id, claims.issued_ms) == ("t-1", NOW_MS - 1_500)
    grant = subscription({"channel": "news", "jti": 7, "iat": NOW_SECONDS}).grant
    assert (grant.token_id, grant.issued_ms) == ("7", NOW_MS)


@pytest.mark.parametrize("iat", [NOW_SECONDS + 10**6, -5, 0, 1e300, None])
def test_when_a_token_was_issued_is_not_judged(iat: object) -> None:
    assert connection({"sub": "ann", "iat": iat}).user == "ann"


def test_claims_may_be_null() -> None:
    names = (
        "sub",
        "exp",
        "nbf",
        "iat",
        "jti",
        "iss",
        "aud",
        "expire_at",
        "channel",
        "info",
        "b64info",
        "meta",
    )
    assert connection(dict.fromkeys((*names, "channels", "subs"))) == Claims("")


# How long -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": NOW_SECONDS},
        {"exp": 1},
        {"exp": 0},
        {"nbf": NOW_SECONDS + 1},
        {"exp": NOW_SECONDS, "expire_at": 0},
        {"exp": NOW_SECONDS, "expire_at": NOW_SECONDS + 60},
        {"exp": NOW_SECONDS + 60, "expire_at": NOW_SECONDS},
        {"expire_at": 1},
    ],
)
def test_a_token_outside_its_time_is_expired(claims: dict[str, Any]) -> None:
    assert refusal(claims) is TokenExpired
    with pytest.raises(TokenExpired):
        subscription({"channel": "news", **claims})


def test_a_token_is_good_until_the_last_moment() -> None:
    assert connection({"exp": NOW_SECONDS + 0.001, "nbf": NOW_SECONDS}).expires_ms == NOW_MS + 1


@pytest.mark.parametrize(
    ("claims", "expires_ms"),
    [
        ({"exp": NOW_SECONDS + 1}, NOW_MS + 1_000),
        ({"exp": NOW_SECONDS + 1, "expire_at": 0}, 0),
        ({"exp": NOW_SECONDS + 1, "expire_at": NOW_SECONDS + 9}, NOW_MS + 9_000),
        ({"expire_at": NOW_SECONDS + 9}, NOW_MS + 9_000),
    ],
)
def test_expire_at_is_the_end_of_what_is_granted_and_exp_the_tokens(
    claims: dict[str, Any], expires_ms: int
) -> None:
    assert connection(claims).expires_ms == expires_ms
    assert subscription({"channel": "news", **claims}).grant.expires_ms == expires_ms


@pytest.mark.parametrize("exp", ["soon", -1, 10**30, [], True, b'{"exp":NaN}', b'{"exp":1e999}'])
def test_a_time_is_a_number_of_seconds(exp: object) -> None:
    assert refusal(exp if isinstance(exp, bytes) else {"exp": exp}) is Unauthorized


# What is shown --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["info", "meta"])
def test_what_is_shown_is_what_everybody_can_read(name: str) -> None:
    for data in (b'"\xff"', DEEP, b"{"):
        assert refusal(f'{{"sub":"u","{name}":'.encode() + data + b"}") is Unauthorized


@pytest.mark.parametrize(
    "claims",
    [{"b64info": encoded(b'{"a":1}')}, {"info": {"a": 1}}, {"info": 1, "b64info": encoded(b'{"a":1}')}],
)
def test_info_may_come_as_base64(claims: dict[str, Any]) -> None:
    assert json.loads(bytes(connection(claims).info)) == {"a": 1}


@pytest.mark.parametrize(
    "wrong", ["no base64!", encoded(b"\xff"), encoded(b'"\xff"'), encoded(b"{"), encoded(DEEP), "e30", 7]
)
def test_base64_holds_json(wrong: object) -> None:
    assert refusal({"b64info": wrong}) is Unauthorized
    for name in ("b64info", "b64data"):
        assert refusal({"subs": {"news": {name: wrong}}}) is Unauthorized


def test_meta_is_for_the_backend_alone() -> None:
    claims = connection({"meta": {"plan": "free"}})
    assert json.loads(bytes(claims.meta)) == {"plan": "free"}
    assert bytes(claims.info) == b""


# Subscriptions --------------------------------------------------------------------------------


def test_channels_are_subscribed_to_as_their_namespaces_say() -> None:
    assert connection({"channels": ["news", "chat:1"]}).subscriptions == {"news": Grant(), "chat:1": Grant()}


def test_subs_say_how_each_channel_is_subscribed_to() -> None:
    override = {
        "presence": {"value": True},
        "join_leave": {"value": False},
        "force_recovery": {},
        "force_positioning": None,
    }
    subs = {
        "news": {"info": {"a": 1}, "data": [2], "override": override},
        "chat:1": {"b64info": encoded(b"3"), "b64data": encoded(b"4"), "override": None},
        "plain": {},
        "null": None,
    }
    granted = connection({"subs": subs}).subscriptions
    assert [bytes(granted["news"].info), bytes(granted["news"].data)] == [b'{"a": 1}', b"[2]"]
    assert granted["news"].override == Override(presence=True, join_leave=False, force_recovery=False)
    assert [bytes(granted["chat:1"].info), bytes(granted["chat:1"].data)] == [b"3", b"4"]
    assert granted["plain"] == granted["null"] == Grant()


def test_every_override_reaches_the_option_of_its_name() -> None:
    for name in Override.__struct_fields__:
        granted = connection({"subs": {"news": {"override": {name: {"value": True}}}}}).subscriptions["news"]
        assert granted.override == Override(**{name: True})


def test_with_subs_channels_do_not_count() -> None:
    assert set(connection({"subs": {"news": {}}, "channels": ["chat"]}).subscriptions) == {"news"}


@pytest.mark.parametrize(
    "claims",
    [
        {"channels": "news"},
        {"channels": [7]},
        {"subs": ["news"]},
        {"subs": {"news": 7}},
        {"subs": {"news": {"override": {"presence": True}}}},
        {"subs": {"news": {"override": {"presence": {"value": 1}}}}},
    ],
)
def test_subscriptions_have_their_shape(claims: object) -> None:
    assert refusal(claims) is Unauthorized


def test_a_subscription_token_says_who_may_follow_what() -> None:
    claims = subscription(
        {
            "sub": "ann",
            "channel": "news",
            "info": {"a": 1},
            "data": 2,
            "override": {"force_recovery": {"value": True}},
            "exp": NOW_SECONDS + 5,
            "client": "c-1",
        }
    )
    assert (claims.user, claims.channel, claims.client) == ("ann", "news", "c-1")
    assert [bytes(claims.grant.info), bytes(claims.grant.data)] == [b'{"a": 1}', b"2"]
    assert claims.grant.override == Override(force_recovery=True)
    assert claims.grant.expires_ms == NOW_MS + 5_000


def test_a_token_for_one_purpose_does_not_serve_the_other() -> None:
    assert refusal({"sub": "ann", "channel": "news"}) is Unauthorized
    for claims in ({"sub": "ann"}, {"sub": "ann", "channel": ""}, {"sub": "ann", "channels": ["news"]}):
        with pytest.raises(Unauthorized):
            subscription(claims)


@pytest.mark.parametrize("claims", [["ann"], b"ann", b"", b"null", b"7", b"[" * 10_000, b"{}{}", b"\xff\xfe"])
def test_claims_are_one_json_object(claims: object) -> None:
    assert refusal(claims) is Unauthorized
