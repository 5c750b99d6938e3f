"""The methods for those who try things out: tokens are made, and held against what the node trusts."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from gapless.broker.tokens import Claims, SubscriptionClaims
from gapless.broker.tokens.parts import decoded, split
from gapless.core.errors import (
    BadRequest,
    ConfigError,
    NotAvailable,
    PermissionDenied,
    TokenExpired,
    UsageError,
)
from gapless.core.limits import TOKEN_BYTES_MAX
from gapless.server import signing
from gapless.server.api.answers import TokenChecked, TokenMade
from gapless.server.api.calls import encode
from gapless.server.api.requests import TokenCheckRequest, TokenMakeRequest
from gapless.server.config import Effective
from gapless.server.config.model import Token
from gapless.server.console.passes import PREFIX
from gapless.server.sessions import Sessions

__all__ = ["Trying", "connected"]

SECONDS_SHOWN_MAX = 253_402_300_799  # the end of the year 9999


class Trying:
    """Makes and checks tokens of clients, never those of the console."""

    def __init__(self, sessions: Sessions, effective: Callable[[], Effective]) -> None:
        self._sessions = sessions
        self._effective = effective

    def _keys(self, *, subscription: bool) -> tuple[str, Token]:
        return signing.section_for(self._effective().config.client, subscription=subscription)

    # Make ---------------------------------------------------------------------------------

    def make(self, request: TokenMakeRequest) -> bytes:
        """Return a token.

        Raises:
            NotAvailable: there is no secret to sign it with.
            BadRequest: the claims are none, or too many.
        """
        section, keys = self._keys(subscription=request.channel is not None)
        secret = _secret(section, keys)
        issued_s = self._sessions.clock.now_ms() // 1000
        claims = {
            **signing.standard(
                request.user, issued_s, lifetime_s=request.expires_in_s, channel=request.channel
            ),
            **signing.expected(keys, request.user),
            **({"info": msgspec.json.decode(request.info)} if bytes(request.info) else {}),
            **request.claims,
        }
        try:
            token = signing.sign(claims, secret)
        except ConfigError as error:
            raise NotAvailable(f"{section}.hmac_secret_key: {error}") from error
        if len(token) > TOKEN_BYTES_MAX:
            raise BadRequest(
                f"a token has up to {TOKEN_BYTES_MAX} bytes, and this one would have {len(token)}"
            )
        return encode(TokenMade(token, claims, _expires_ms(claims)))

    # Check --------------------------------------------------------------------------------

    async def check(self, request: TokenCheckRequest) -> bytes:
        """Return whether a connection, or a subscription, would be granted.

        Raises:
            NotAvailable: no key is configured that it could be held against.
            Unavailable: its key cannot be fetched now.
        """
        subscription = request.channel is not None
        if request.token.startswith(PREFIX):
            return encode(TokenChecked(False, "a token of the console is for the console alone"))
        section, keys = self._keys(subscription=subscription)
        if not signing.has_key(keys):
            raise NotAvailable(
                f"{section}: no key is configured, so no token is accepted: see hmac_secret_key"
            )
        claims = _read(request.token)
        fetched = self._sessions.tokens.ready(request.token, subscription=subscription)
        if fetched is not None:
            await fetched
        try:
            reason = self._accepted(request)
        except UsageError as error:
            now_ms = self._sessions.clock.now_ms()
            why = _why_not_now(claims, now_ms) if isinstance(error, TokenExpired) else ""
            return encode(TokenChecked(False, why or str(error), _told(claims), _expires_ms(claims)))
        return encode(TokenChecked(True, reason, _told(claims), _expires_ms(claims)))

    def _accepted(self, request: TokenCheckRequest) -> str:
        if request.channel is None:
            return self._connects(request.token)
        return self._subscribes(request.token, request.channel)

    def _connects(self, token: str) -> str:
        said = connected(self._sessions, token)
        return f"it connects user {said.user!r}" if said.user else "it connects somebody anonymous"

    def _subscribes(self, token: str, channel: str) -> str:
        sessions, now_ms = self._sessions, self._sessions.clock.now_ms()
        said: SubscriptionClaims = sessions.tokens.subscription(token, now_ms)
        sessions.revocations.check(said.user, said.grant.token_id, said.grant.issued_ms or 0, now_ms)
        if said.channel != channel:
            raise BadRequest(f"it is for channel {said.channel!r}")
        only = f" with client id {said.client!r}" if said.client else ""
        return f"it subscribes user {said.user!r}{only} to channel {channel!r}"


def connected(sessions: Sessions, token: str) -> Claims:
    """Return what a connection token says with which one may connect now.

    Raises:
        UsageError: one may not.
        Unavailable: its key cannot be fetched now.
    """
    now_ms = sessions.clock.now_ms()
    said = sessions.tokens.connection(token, now_ms)
    sessions.revocations.check(said.user, said.token_id, said.issued_ms, now_ms)
    if not said.user and sessions.options.disallow_anonymous_connection_tokens:
        raise PermissionDenied("it names no user: see client.disallow_anonymous_connection_tokens")
    return said


def _secret(section: str, keys: Token) -> str:
    """Return what signs a token that is believed."""
    if keys.jwks_public_endpoint:
        raise NotAvailable(
            f"{section}.jwks_public_endpoint is set, so its keys alone count: who holds them signs tokens"
        )
    if not keys.hmac_secret_key:
        raise NotAvailable(
            f"{section}.hmac_secret_key is not configured; set it, and tokens are made with it"
        )
    return keys.hmac_secret_key


def _read(token: str) -> dict[str, Any]:
    """Return what a token says, believed or not; nothing if that cannot be read."""
    try:
        said = msgspec.json.decode(decoded(split(token).payload))
    except (UsageError, ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def _told(claims: dict[str, Any]) -> dict[str, Any] | UnsetType:
    return claims or UNSET


def _seconds(claims: dict[str, Any], name: str) -> float:
    said = claims.get(name)
    return said if isinstance(said, int | float) and 0 < said <= SECONDS_SHOWN_MAX else 0


def _expires_ms(claims: dict[str, Any]) -> int | UnsetType:
    return int((_seconds(claims, "expire_at") or _seconds(claims, "exp")) * 1000) or UNSET


def _why_not_now(claims: dict[str, Any], now_ms: int) -> str:
    """Say since when, or until when, a token is not good; nothing if that cannot be told."""
    for name, why in (("exp", "it expired"), ("expire_at", "what it grants ended (expire_at)")):
        if 0 < _seconds(claims, name) * 1000 <= now_ms:
            return f"{why} at {_moment(_seconds(claims, name))}"
    begins_s = _seconds(claims, "nbf")
    return f"it is good only from {_moment(begins_s)} on (nbf)" if begins_s * 1000 > now_ms else ""


def _moment(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"
