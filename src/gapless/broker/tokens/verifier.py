"""Holds tokens against keys, and their claims against what is expected of them."""

import re
from collections.abc import Awaitable
from typing import Any, Final, TypeVar

import msgspec
from msgspec import Struct

from gapless.broker.tokens.claims import (
    Claims,
    ConnectionBody,
    StandardBody,
    SubscriptionBody,
    SubscriptionClaims,
    connection_claims,
    subscription_claims,
    user_of,
)
from gapless.broker.tokens.key_set import KeySet
from gapless.broker.tokens.parts import Parts, decoded, split
from gapless.broker.tokens.signatures import PUBLIC, Checks, from_pem, from_secret
from gapless.core.errors import ConfigError, Unauthorized

__all__ = ["Trust", "Verifier"]

CLAIM_NAME: Final = re.compile("[a-zA-Z_]+")  # as Centrifugo's

_Body = TypeVar("_Body", bound=StandardBody)


class Trust(Struct, frozen=True, kw_only=True):
    """Whose tokens are believed: the keys, one per family of algorithms, and what is asked of the claims.

    Public keys are PEM. With a `key_set` it alone counts. The previous secret is good until its time,
    0: for ever. `audience` and `issuer` are compared whole, or have to match their regular expression whole;
    empty, nothing is asked. `user_id_claim` is the claim that names the user, if not `sub`. `section` is the
    part of a configuration that errors are to name.
    """

    section: str = "token"
    hmac_secret_key: str = ""
    hmac_previous_secret_key: str = ""
    hmac_previous_secret_key_valid_until_ms: int = 0
    rsa_public_key: str = ""
    ecdsa_public_key: str = ""
    ed25519_public_key: str = ""
    key_set: KeySet | None = None
    audience: str = ""
    audience_regex: str = ""
    issuer: str = ""
    issuer_regex: str = ""
    user_id_claim: str = ""


class Verifier:
    """Holds tokens against what is trusted; subscription tokens against `subscription`, if that is given.

    Without a key every token is refused.

    Raises:
        ConfigError: a key, a regular expression or a claim's name is none; says which, and what would do.
    """

    def __init__(self, trust: Trust, subscription: Trust | None = None) -> None:
        self._connection, self._subscription = _judges(trust, subscription)

    def replace(self, trust: Trust, subscription: Trust | None = None) -> None:
        """Trust others from now on.

        Raises:
            ConfigError: as at the start; nothing has changed then.
        """
        judges = _judges(trust, subscription)
        before = self._key_sets()
        self._connection, self._subscription = judges
        for key_set in before - self._key_sets():
            key_set.close()

    def close(self) -> None:
        """Give up what is being fetched."""
        for key_set in self._key_sets():
            key_set.close()

    def _key_sets(self) -> set[KeySet]:
        sets = (self._connection.trust.key_set, self._subscription.trust.key_set)
        return {key_set for key_set in sets if key_set is not None}

    def ready(self, token: str, *, subscription: bool = False) -> Awaitable[None] | None:
        """Return a fetch of keys to wait for before a token is held against them; None when there is none.

        It ends in bounded time, and raises nothing: what came of it, the token's check tells.
        """
        return (self._subscription if subscription else self._connection).ready(token)

    def connection(self, token: str, now_ms: int) -> Claims:
        """Return what a connection token says.

        Raises:
            Unauthorized: it is malformed, wrongly signed, not meant for us, or not a connection token.
            TokenExpired: it is not valid any more, or not yet.
            Unavailable: its key cannot be fetched now.
        """
        body, user = self._connection.opened(token, _CONNECTION, now_ms)
        return connection_claims(body, user, now_ms)

    def subscription(self, token: str, now_ms: int) -> SubscriptionClaims:
        """Return what a subscription token says. Whether it is this user's and for this channel is not asked.

        Raises:
            Unauthorized: it is malformed, wrongly signed, not meant for us, or not a subscription token.
            TokenExpired: it is not valid any more, or not yet.
            Unavailable: its key cannot be fetched now.
        """
        body, user = self._subscription.opened(token, _SUBSCRIPTION, now_ms)
        return subscription_claims(body, user, now_ms)


_CONNECTION: Final = msgspec.json.Decoder(ConnectionBody)
_SUBSCRIPTION: Final = msgspec.json.Decoder(SubscriptionBody)


class _Judge:
    """A `Trust`, made ready."""

    def __init__(self, trust: Trust) -> None:
        self.trust = trust
        try:
            self._checks = _static_checks(trust)
            self._previous = _secret("hmac_previous_secret_key", trust.hmac_previous_secret_key)
            self._audience = _expectation("audience", trust.audience, trust.audience_regex)
            self._issuer = _expectation("issuer", trust.issuer, trust.issuer_regex)
            self._user = _user_decoder(trust.user_id_claim) if trust.user_id_claim else None
        except ConfigError as error:
            raise ConfigError(f"{trust.section}.{error}") from error

    def ready(self, token: str) -> Awaitable[None] | None:
        if self.trust.key_set is None:
            return None
        try:
            header = split(token).header
        except Unauthorized:
            return None
        needs_key = header.key_id and header.algorithm in PUBLIC
        return self.trust.key_set.ready(header.key_id) if needs_key else None

    def opened(self, token: str, decoder: msgspec.json.Decoder[_Body], now_ms: int) -> tuple[_Body, str]:
        """Return a token's claims and its user, once its signature holds and the token is meant for us."""
        parts = split(token)
        if not self._signed(parts, now_ms):
            raise Unauthorized(f"no key for {parts.header.algorithm!r} holds the token's signature")
        try:
            claims = decoded(parts.payload)
            claims.decode()  # of what goes out as it is, only the nesting is looked at
            body = decoder.decode(claims)
            user = user_of(body.sub if self._user is None else self._user.decode(claims).user)
        except (ValueError, RecursionError) as error:
            raise Unauthorized(f"the token's claims are not what they have to be: {error}") from error
        audience = [body.aud] if isinstance(body.aud, str) else body.aud or []
        if self._audience is not None and not any(map(self._audience, audience)):
            raise Unauthorized("the token is meant for another audience")
        if self._issuer is not None and not self._issuer(body.iss or ""):
            raise Unauthorized("the token is of another issuer")
        return body, user

    def _signed(self, parts: Parts, now_ms: int) -> bool:
        check = self._checks_for(parts).get(parts.header.algorithm)
        if check is not None and check(parts.content, parts.signature):
            return True
        previous = self._previous.get(parts.header.algorithm)
        until_ms = self.trust.hmac_previous_secret_key_valid_until_ms
        if previous is None or 0 < until_ms < now_ms:
            return False
        return previous(parts.content, parts.signature)

    def _checks_for(self, parts: Parts) -> Checks:
        if self.trust.key_set is None:
            return self._checks
        if parts.header.algorithm not in PUBLIC or not parts.header.key_id:
            raise Unauthorized("a token has to name its key (kid) and an algorithm of public keys")
        return self.trust.key_set.checks(parts.header.key_id)


def _judges(trust: Trust, subscription: Trust | None) -> tuple[_Judge, _Judge]:
    judge = _Judge(trust)
    return judge, judge if subscription is None else _Judge(subscription)


def _static_checks(trust: Trust) -> Checks:
    checks = dict(_secret("hmac_secret_key", trust.hmac_secret_key))
    for field, pem, kind in (
        ("rsa_public_key", trust.rsa_public_key, "RSA"),
        ("ecdsa_public_key", trust.ecdsa_public_key, "EC"),
        ("ed25519_public_key", trust.ed25519_public_key, "OKP"),
    ):
        if not pem:
            continue
        try:
            found, added = from_pem(pem)
        except ValueError as error:
            raise ConfigError(f"{field} {error}") from error
        if found != kind:
            raise ConfigError(f"{field} must be a key of type {kind}, but this is one of type {found}")
        checks.update(added)
    return checks


def _secret(field: str, secret: str) -> Checks:
    try:
        return from_secret(secret) if secret else {}
    except ValueError as error:
        raise ConfigError(f"{field} {error}") from error


def _expectation(field: str, exact: str, pattern: str) -> Any:
    """Return a test of one text, None when nothing is expected."""
    if exact and pattern:
        raise ConfigError(f"{field} and {field}_regex cannot both be set")
    if exact:
        return exact.__eq__
    try:
        return re.compile(pattern).fullmatch if pattern else None
    except re.error as error:
        raise ConfigError(f"{field}_regex {pattern!r} is no regular expression: {error}") from error


def _user_decoder(claim: str) -> msgspec.json.Decoder[Any]:
    if not CLAIM_NAME.fullmatch(claim):
        raise ConfigError(f"user_id_claim must be of letters and underscores, but this is {claim!r}")
    named = msgspec.field(name=claim, default=None)
    return msgspec.json.Decoder(msgspec.defstruct("User", [("user", str | int | None, named)]))
