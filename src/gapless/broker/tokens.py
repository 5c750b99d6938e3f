"""Connection tokens: who a client is, signed by the user's backend (RFC 7519; claims as Centrifugo's)."""

import base64
import warnings
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

from gapless.core.depth import too_deep
from gapless.core.errors import NotAvailable, TokenExpired, Unauthorized
from gapless.core.limits import JSON_DEPTH_MAX, TOKEN_BYTES_MAX
from gapless.protocol.messages import NO_PAYLOAD, Payload, payload

__all__ = ["Claims", "Grant", "Override", "SubscriptionClaims", "Verifier"]

ALGORITHMS: Final = ["HS256"]
# Header parameters that bring a key along, or rules of the sender's choice.
REFUSED_PARAMETERS: Final = ("crit", "jku", "jwk", "x5c", "x5u")

NO_SUBSCRIPTIONS: Final[Mapping[str, "Grant"]] = MappingProxyType({})

Seconds = Annotated[float, Meta(ge=0, le=2**53 / 1000)]  # since the Unix epoch; in milliseconds still exact


class Override(Struct, frozen=True):
    """What a subscription has instead of what its channel's namespace says; None leaves that alone."""

    presence: bool | None = None
    join_leave: bool | None = None
    force_push_join_leave: bool | None = None
    force_positioning: bool | None = None
    force_recovery: bool | None = None


class Grant(Struct, frozen=True):
    """A subscription that the user's backend granted. `expires_ms` 0 is never."""

    info: Payload = NO_PAYLOAD  # `chan_info`, which others see
    data: Payload = NO_PAYLOAD  # told to the client with the subscription
    override: Override = Override()
    expires_ms: int = 0


class Claims(Struct, frozen=True):
    """What a valid connection token says. `expires_ms` 0 is never; an empty user is anonymous.

    `subscriptions` are the channels that the server subscribes the connection to. `token_id` (jti) and
    `issued_ms` (iat, not checked against the time) are what revocation knows a token by; empty and 0: none.
    """

    user: str
    expires_ms: int = 0
    info: Payload = NO_PAYLOAD
    meta: Payload = NO_PAYLOAD  # for the user's backend alone
    subscriptions: Mapping[str, Grant] = NO_SUBSCRIPTIONS
    token_id: str = ""
    issued_ms: int = 0


class SubscriptionClaims(Struct, frozen=True):
    """What a valid subscription token says: that `user` may follow `channel`."""

    user: str
    channel: str
    grant: Grant
    token_id: str = ""
    issued_ms: int = 0


class _Body(Struct):
    """The claims as they stand in the token; others are ignored."""

    sub: str | int = ""
    exp: Seconds = 0
    nbf: Seconds = 0
    expire_at: Seconds | None = None
    info: msgspec.Raw = msgspec.Raw()
    b64info: str = ""
    channel: str = ""
    channels: list[str] = []
    subs: dict[str, msgspec.Raw] = {}


class Verifier:
    """Holds tokens against the configured keys. Without a key every token is refused."""

    def __init__(self, *, hmac_secret_key: str) -> None:
        self._key = hmac_secret_key
        self._signatures: Any = None  # PyJWT's, made for the first token: its import is slow
        self._decoder = msgspec.json.Decoder(_Body)

    def connection(self, token: str, now_ms: int) -> Claims:
        """Return what a connection token says.

        Raises:
            Unauthorized: it is malformed, wrongly signed, or not a connection token.
            TokenExpired: it is not valid any more, or not yet.
            NotAvailable: it asks for server-side subscriptions.
        """
        body = self._verified(token)
        if body.channel:
            raise Unauthorized("a subscription token does not open a connection")
        if 0 < body.exp * 1000 <= now_ms or body.nbf * 1000 > now_ms:
            raise TokenExpired("the token is not valid now")
        if body.channels or body.subs:
            raise NotAvailable("server-side subscriptions (claims channels, subs) are not available")
        expires_at = body.exp if body.expire_at is None else body.expire_at
        return Claims(str(body.sub), int(expires_at * 1000), _info(body))

    def _verified(self, token: str) -> _Body:
        if not self._key:
            raise Unauthorized("no token key is configured")
        if len(token) > TOKEN_BYTES_MAX:
            raise Unauthorized(f"a token has up to {TOKEN_BYTES_MAX} bytes")
        import jwt

        self._signatures = self._signatures or _signatures()
        try:
            token_parts = self._signatures.decode_complete(token, self._key, algorithms=ALGORITHMS)
            token_parts["payload"].decode()  # `info` goes out as it is
            body = self._decoder.decode(token_parts["payload"])
        except (jwt.PyJWTError, ValueError, RecursionError) as error:
            raise Unauthorized(f"the token is not valid: {error}") from error
        for name in REFUSED_PARAMETERS:
            if name in token_parts["header"]:
                raise Unauthorized(f"the token's header may not have {name!r}")
        return body


def _signatures() -> Any:
    import jwt
    from jwt.warnings import InsecureKeyLengthWarning

    warnings.filterwarnings("ignore", category=InsecureKeyLengthWarning)  # the key is the user's choice
    return jwt.PyJWS(algorithms=ALGORITHMS)


def _info(body: _Body) -> Payload:
    info = bytes(body.info)
    if body.b64info:
        try:
            info = base64.b64decode(body.b64info, validate=True)
            msgspec.json.decode(info)  # it travels as JSON
        except (ValueError, RecursionError) as error:
            raise Unauthorized("b64info does not hold JSON") from error
    if too_deep(info, JSON_DEPTH_MAX):
        raise Unauthorized(f"info is nested up to {JSON_DEPTH_MAX} deep")
    return payload(info)
