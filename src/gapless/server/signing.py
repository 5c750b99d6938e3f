"""Makes tokens for those who try things out; who signs them for clients is their backend."""

import warnings
from collections.abc import Mapping
from typing import Any

from gapless.core.errors import BadRequest, ConfigError
from gapless.server.config.model import Client, Token

__all__ = ["expected", "has_key", "section_for", "sign", "standard"]

Claims = dict[str, Any]


def section_for(client: Client, *, subscription: bool) -> tuple[str, Token]:
    """Return the section whose keys count for such tokens, and its path."""
    if subscription and client.subscription_token.enabled:
        return "client.subscription_token", client.subscription_token
    return "client.token", client.token


def has_key(token: Token) -> bool:
    """Tell whether any token could be believed."""
    public = token.rsa_public_key or token.ecdsa_public_key or token.ed25519_public_key
    return bool(token.jwks_public_endpoint or token.hmac_secret_key or public)


def standard(user: str, issued_s: int, *, lifetime_s: int, channel: str | None = None) -> Claims:
    """Return the claims of a user's token; `lifetime_s` 0 is for ever, a `channel` is what it opens."""
    claims: Claims = {"sub": user, "iat": issued_s}
    if channel is not None:
        claims["channel"] = channel
    if lifetime_s:
        claims["exp"] = issued_s + lifetime_s
    return claims


def expected(token: Token, user: str) -> Claims:
    """Return the claims that are asked for besides, as far as a configuration says them."""
    wanted = {"aud": token.audience, "iss": token.issuer, token.user_id_claim: user}
    return {name: value for name, value in wanted.items() if name and value}


def sign(claims: Mapping[str, Any], key: str, algorithm: str = "HS256") -> str:
    """Sign claims.

    Raises:
        ConfigError: the key does not sign so. BadRequest: a claim is none.
    """
    import jwt
    from jwt.warnings import InsecureKeyLengthWarning

    warnings.filterwarnings("ignore", category=InsecureKeyLengthWarning)  # `gapless doctor` tells of it
    try:
        return jwt.encode(dict(claims), key, algorithm)
    except TypeError as error:
        raise BadRequest(f"the claims cannot be signed: {error}") from error
    except (jwt.PyJWTError, ValueError, NotImplementedError) as error:
        raise ConfigError(f"the key does not sign with {algorithm}: {error}") from error
