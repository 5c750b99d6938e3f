"""Whose tokens a node believes, read from its configuration."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from gapless.broker.tokens import KeySet, Trust, Verifier
from gapless.core.errors import ConfigError
from gapless.ports import Clock
from gapless.server.config.model import Client, Token
from gapless.server.jwks import Endpoint, checked_url

__all__ = ["Trusts", "mistakes"]

# What is judged together; each of these may be wrong by itself.
_JUDGED: Final = (
    ("hmac_secret_key",),
    ("hmac_previous_secret_key",),
    ("rsa_public_key",),
    ("ecdsa_public_key",),
    ("ed25519_public_key",),
    ("audience", "audience_regex"),
    ("issuer", "issuer_regex"),
    ("user_id_claim",),
)

log: Final = logging.getLogger("gapless.tokens")


class Trusts:
    """Reads one configuration after the other; the keys of a JWKS endpoint that stays are kept."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._key_sets: dict[str, KeySet] = {}  # by URL

    def read(self, client: Client) -> tuple[Trust, Trust | None]:
        """Return what `Verifier` and `Verifier.replace` take.

        Raises:
            ConfigError: a file cannot be read, or the URL of a JWKS is none; names the option.
        """
        key_sets: dict[str, KeySet] = {}
        connection, subscription = self._trust(client.token, "client.token", key_sets), None
        if client.subscription_token.enabled:
            subscription = self._trust(client.subscription_token, "client.subscription_token", key_sets)
        self._key_sets = key_sets
        return connection, subscription

    def _trust(self, token: Token, section: str, key_sets: dict[str, KeySet]) -> Trust:
        try:
            key_set = self._key_set(token, section, key_sets) if token.jwks_public_endpoint else None
            return _trust(token, section, key_set)
        except ConfigError as error:
            raise ConfigError(f"{section}.{error}") from error

    def _key_set(self, token: Token, section: str, key_sets: dict[str, KeySet]) -> KeySet:
        url = token.jwks_public_endpoint
        endpoint = Endpoint(url, self._clock, insecure=token.insecure_skip_jwks_endpoint_safety_check)
        if (
            token.hmac_secret_key
            or token.rsa_public_key
            or token.ecdsa_public_key
            or token.ed25519_public_key
        ):
            log.warning("%s: jwks_public_endpoint is set, so its keys alone count", section)
        if url not in key_sets:
            known = self._key_sets.get(url)
            key_sets[url] = known or KeySet(endpoint.fetch, self._clock, place=endpoint.place)
        return key_sets[url]


def mistakes(token: Token, section: str) -> Iterator[str]:
    """Say what of a section of keys cannot be used; reads files, and fetches nothing."""
    try:
        if token.jwks_public_endpoint:
            checked_url(token.jwks_public_endpoint, insecure=token.insecure_skip_jwks_endpoint_safety_check)
    except ConfigError as error:
        yield f"{section}.{error}"
    for names in _JUDGED:
        alone = replace(Token(), **{name: getattr(token, name) for name in names})
        try:
            trust = _trust(alone, section)
        except ConfigError as error:
            yield f"{section}.{error}"
            continue
        try:
            Verifier(trust)
        except ConfigError as error:
            yield str(error)


def _trust(token: Token, section: str, key_set: KeySet | None = None) -> Trust:
    return Trust(
        section=section,
        hmac_secret_key=token.hmac_secret_key,
        hmac_previous_secret_key=token.hmac_previous_secret_key,
        hmac_previous_secret_key_valid_until_ms=token.hmac_previous_secret_key_valid_until * 1000,
        rsa_public_key=_pem("rsa_public_key", token.rsa_public_key),
        ecdsa_public_key=_pem("ecdsa_public_key", token.ecdsa_public_key),
        ed25519_public_key=_pem("ed25519_public_key", token.ed25519_public_key),
        key_set=key_set,
        audience=token.audience,
        audience_regex=token.audience_regex,
        issuer=token.issuer,
        issuer_regex=token.issuer_regex,
        user_id_claim=token.user_id_claim,
    )


def _pem(field: str, value: str) -> str:
    """Return PEM, which stands in the configuration or in the file that it names."""
    if not value or "-----BEGIN" in value:
        return value
    try:
        return Path(value).read_text()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise ConfigError(f"{field} must be PEM or the path of a PEM file: {reason}") from error
