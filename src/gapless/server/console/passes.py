"""Tokens of the console: who logged in and as what, for the server API, the client protocol and messages.

A token is `console.` and a JWT (RFC 7519, HS256). Its key comes of the secret that somebody logged in with,
so all nodes of one configuration accept it, and it ends with that secret.
"""

import hashlib
import hmac
from collections.abc import Awaitable
from enum import StrEnum
from functools import lru_cache
from typing import Final

import msgspec
from msgspec import Struct

from gapless.broker.revocations import Revocations
from gapless.broker.tokens import Claims, SubscriptionClaims
from gapless.broker.tokens.parts import decoded, encoded
from gapless.core.errors import TokenExpired, Unauthorized
from gapless.core.limits import TOKEN_BYTES_MAX
from gapless.ports import Clock
from gapless.server.config import Config
from gapless.server.config.model import ConsoleUser, Role
from gapless.server.console.passwords import Cost, Hash, hash_of
from gapless.server.sessions import Tokens

__all__ = ["PREFIX", "ConsoleTokens", "How", "Pass", "Passes"]

PREFIX: Final = "console."
LABEL: Final = "gapless console"
HEADER: Final = encoded(b'{"alg":"HS256","typ":"JWT"}')
# A token is signed with what comes of secrets: who holds one must not find these by trying words.
STRETCHED: Final = Cost(2**14, 8, 1)
AGAIN: Final = "log in to the console again"


class How(StrEnum):
    """What somebody showed to be let in."""

    PASSWORD = "password"
    KEY = "key"
    NOTHING = "nothing"


NAMES: Final = {How.KEY: "key", How.NOTHING: "anybody"}


class Pass(Struct, frozen=True):
    """Who logged in. `key_id` tells the key of its token from others, and nothing of it."""

    how: How
    name: str
    role: Role
    issued_ms: int
    expires_ms: int
    key_id: str

    @property
    def who(self) -> str:
        """Return who that is: to the client protocol, and in the audit stream."""
        return f"console:{self.name}"


class _Body(Struct):
    sub: str
    how: How
    iat: float
    exp: float


class _Key(Struct, frozen=True):
    secret: bytes
    role: Role

    @property
    def id(self) -> str:
        return hashlib.sha256(self.secret).hexdigest()[:32]


_decode: Final = msgspec.json.Decoder(_Body).decode


class Passes:
    """Makes tokens, and holds them against the configuration.

    `shared` is known to all processes of this server: it signs where the configuration has no secret at all.
    """

    def __init__(self, config: Config, clock: Clock, shared: str, revocations: Revocations) -> None:
        self._clock = clock
        self._shared = shared
        self._revocations = revocations
        self.follow(config)

    def follow(self, config: Config) -> None:
        """Go by another configuration from now on."""
        console, api_key = config.console, config.http_api.key
        self._ttl_ms = console.session_ttl_ms
        self._keys = {(How.PASSWORD, user.name): _users_key(user, api_key) for user in console.users}
        if api_key:
            self._keys[How.KEY, NAMES[How.KEY]] = _key("key", Role.OPERATOR, api_key)
        if console.insecure:
            known = [user.password for user in console.users]
            secrets = [api_key, config.client.token.hmac_secret_key, *known]
            secret = _stretched(NAMES[How.NOTHING], *secrets) if any(secrets) else self._shared
            self._keys[How.NOTHING, NAMES[How.NOTHING]] = _key("nothing", Role.OPERATOR, secret)

    def issue(self, how: How, name: str = "") -> tuple[str, Pass]:
        """Return a token for somebody who may come in, and what it says. Only users have names."""
        now_ms, name = self._clock.now_ms(), NAMES.get(how, name)
        key = self._keys[how, name]
        issued = Pass(how, name, key.role, now_ms, now_ms + self._ttl_ms, key.id)
        body = _Body(name, how, now_ms / 1000, issued.expires_ms / 1000)
        content = HEADER + b"." + encoded(msgspec.json.encode(body))
        return PREFIX + (content + b"." + encoded(_signature(key, content))).decode(), issued

    def read(self, token: str) -> Pass:
        """Return what a token says.

        Raises:
            Unauthorized: it is none, or what it was signed with does not hold any more.
            TokenExpired: its time is over.
            PermissionDenied: this user is blocked.
        """
        found = self._read(token)
        now_ms = self._clock.now_ms()
        if found.expires_ms <= now_ms:
            raise TokenExpired(f"the session has expired: {AGAIN}")
        self._revocations.check(found.who, found.key_id, found.issued_ms, now_ms)
        return found

    def _read(self, token: str) -> Pass:
        try:
            if not token.startswith(PREFIX) or len(token) > TOKEN_BYTES_MAX:
                raise ValueError
            content, _, signature = token.removeprefix(PREFIX).encode("ascii").rpartition(b".")
            header, _, payload = content.partition(b".")
            body = _decode(decoded(payload))
            signed = decoded(signature)
        except (ValueError, RecursionError, msgspec.DecodeError) as error:
            raise Unauthorized(f"this is no token of the console: {AGAIN}") from error
        key = self._keys.get((body.how, body.sub))
        if key is None or header != HEADER or not hmac.compare_digest(signed, _signature(key, content)):
            raise Unauthorized(f"the session has ended, as its password, role or key is another: {AGAIN}")
        issued_ms, expires_ms = round(body.iat * 1000), round(body.exp * 1000)
        return Pass(body.how, body.sub, key.role, issued_ms, expires_ms, key.id)

    def holds(self, claims: Claims) -> bool:
        """Tell whether what a connection was opened with would still be accepted, but for its time."""
        return any(key.id == claims.token_id for key in self._keys.values())


class ConsoleTokens:
    """Takes tokens of the console, and leaves all others to `others`: `server.sessions.Tokens`."""

    def __init__(self, passes: Passes, others: Tokens) -> None:
        self._passes = passes
        self._others = others

    def ready(self, token: str, *, subscription: bool = False) -> Awaitable[None] | None:
        """See `Tokens.ready`."""
        if token.startswith(PREFIX):
            return None
        return self._others.ready(token, subscription=subscription)

    def connection(self, token: str, now_ms: int) -> Claims:
        """See `Tokens.connection`."""
        if not token.startswith(PREFIX):
            return self._others.connection(token, now_ms)
        found = self._passes.read(token)
        return Claims(
            user=found.who,
            expires_ms=found.expires_ms,
            token_id=found.key_id,
            issued_ms=found.issued_ms,
            exp_ms=found.expires_ms,
            watches=True,
        )

    def subscription(self, token: str, now_ms: int) -> SubscriptionClaims:
        """See `Tokens.subscription`."""
        return self._others.subscription(token, now_ms)


def _users_key(user: ConsoleUser, api_key: str) -> _Key:
    is_hash = Hash.read(user.password) is not None
    secret = [user.password, api_key] if is_hash else _stretched(user.name, user.password, api_key)
    return _key("password", user.role, [user.name, user.role.value, secret])


@lru_cache(maxsize=64)
def _stretched(name: str, *secrets: str) -> str:
    """Return what comes of secrets; to try one of them takes as long as to make it."""
    salt = hashlib.sha256(f"{LABEL}:{name}".encode()).digest()
    return hash_of(msgspec.json.encode(secrets).decode(), salt, STRETCHED).digest.hex()


def _key(how: str, role: Role, secret: object) -> _Key:
    made_of = msgspec.json.encode([LABEL, how, secret])
    return _Key(hmac.digest(LABEL.encode(), made_of, "sha256"), role)


def _signature(key: _Key, content: bytes) -> bytes:
    return hmac.digest(key.secret, content, "sha256")
