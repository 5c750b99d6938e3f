"""What a token says, once its signature holds: the claims of RFC 7519, and Centrifugo's."""

import base64
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Raw, Struct
from msgspec.structs import replace

from gapless.core.depth import too_deep
from gapless.core.errors import TokenExpired, Unauthorized
from gapless.core.limits import JSON_DEPTH_MAX
from gapless.protocol.messages import NO_PAYLOAD, Payload, payload

__all__ = [
    "Claims",
    "ConnectionBody",
    "Grant",
    "Override",
    "Overrides",
    "Seconds",
    "StandardBody",
    "SubscriptionBody",
    "SubscriptionClaims",
    "connection_claims",
    "granted_payload",
    "subscription_claims",
    "user_of",
]

NO_SUBSCRIPTIONS: Final[Mapping[str, "Grant"]] = MappingProxyType({})
NO_RIGHTS: Final[Mapping[str, Sequence[str]]] = MappingProxyType({})

SECONDS_MAX: Final = 2**53 / 1000  # in milliseconds still exact
Seconds = Annotated[float, Meta(ge=0, le=SECONDS_MAX)]  # since the Unix epoch


class Override(Struct, frozen=True):
    """What a subscription has instead of what its channel's namespace says; None leaves that alone."""

    presence: bool | None = None
    join_leave: bool | None = None
    force_push_join_leave: bool | None = None
    force_positioning: bool | None = None
    force_recovery: bool | None = None


class Grant(Struct, frozen=True):
    """A subscription that the user's backend granted. `expires_ms` 0 is never.

    Where a subscription token grants it, `token_id` (jti) and `issued_ms` (iat) are what revocation knows
    that token by, empty and 0 if it says neither; None: there is no such token. A `renewable` one has its
    time from a hook, which the server asks for more of it.
    """

    info: Payload = NO_PAYLOAD  # `chan_info`, which others see
    data: Payload = NO_PAYLOAD  # told to the client with the subscription
    override: Override = Override()
    expires_ms: int = 0
    token_id: str = ""
    issued_ms: int | None = None
    renewable: bool = False


class Claims(Struct, frozen=True):
    """What a valid connection token says. `expires_ms` 0 is never; an empty user is anonymous.

    `subscriptions` are the channels that the server subscribes the connection to. `queues` and `streams` are
    rights by name or pattern, for the verbs (ours; see `broker.rights`). `token_id` (jti) and
    `issued_ms` (iat, not checked against the time) are what revocation knows a token by; empty and 0: none.
    The token itself opens something until `exp_ms`, 0: for ever.

    Where a hook had its say (`by_hook`), `data` is told to the client, and a `renewable` connection has its
    time from it.

    Who `watches` looks on from the console: at every channel, also the system's, unseen by others. No token
    of a backend's says so.
    """

    user: str
    expires_ms: int = 0
    info: Payload = NO_PAYLOAD
    meta: Payload = NO_PAYLOAD  # for the user's backend alone
    subscriptions: Mapping[str, Grant] = NO_SUBSCRIPTIONS
    queues: Mapping[str, Sequence[str]] = NO_RIGHTS
    streams: Mapping[str, Sequence[str]] = NO_RIGHTS
    token_id: str = ""
    issued_ms: int = 0
    exp_ms: int = 0
    data: Payload = NO_PAYLOAD
    by_hook: bool = False
    renewable: bool = False
    watches: bool = False


class SubscriptionClaims(Struct, frozen=True):
    """What a valid subscription token says: that `user` may follow `channel`.

    `client`, where it is not empty, is the only connection that may (an old claim of Centrifugo's).
    The token itself opens something until `exp_ms`, 0: for ever.
    """

    user: str
    channel: str
    grant: Grant
    client: str = ""
    exp_ms: int = 0


# As they stand in a token ---------------------------------------------------------------------
# Unknown claims are ignored, and of a claim that stands twice the last counts (RFC 7519, section 4).


class _Value(Struct):
    value: bool = False


class Overrides(Struct):
    """An `Override` as Centrifugo writes it: `{"presence": {"value": true}}`."""

    presence: _Value | None = None
    join_leave: _Value | None = None
    force_push_join_leave: _Value | None = None
    force_positioning: _Value | None = None
    force_recovery: _Value | None = None

    def override(self) -> Override:
        """Return what it means."""
        given = {name: getattr(self, name) for name in self.__struct_fields__}
        return Override(**{name: None if value is None else value.value for name, value in given.items()})


class _Granted(Struct):
    info: Raw = Raw()
    b64info: str | None = None
    data: Raw = Raw()
    b64data: str | None = None
    override: Overrides | None = None


class StandardBody(Struct):
    """The claims that every token may have."""

    sub: str | int | None = None
    exp: Seconds | None = None
    nbf: Seconds | None = None
    iat: float | None = None
    jti: str | int | None = None
    iss: str | None = None
    aud: str | list[str] | None = None
    expire_at: Seconds | None = None
    channel: str | None = None


class ConnectionBody(StandardBody):
    """The claims of a connection token."""

    info: Raw = Raw()
    b64info: str | None = None
    meta: Raw = Raw()
    channels: list[str] | None = None
    subs: dict[str, _Granted | None] | None = None
    queues: dict[str, list[str]] | None = None
    streams: dict[str, list[str]] | None = None


class SubscriptionBody(StandardBody):
    """The claims of a subscription token."""

    info: Raw = Raw()
    b64info: str | None = None
    data: Raw = Raw()
    b64data: str | None = None
    override: Overrides | None = None
    client: str | None = None


# What they mean -------------------------------------------------------------------------------


def connection_claims(body: ConnectionBody, user: str, now_ms: int) -> Claims:
    """Return what a connection token says.

    Raises:
        Unauthorized: it is a subscription token, or one of its claims is not what it has to be.
        TokenExpired: it is not valid any more, or not yet.
    """
    if body.channel:
        raise Unauthorized("a subscription token does not open a connection")
    return Claims(
        user,
        expires_ms=_expires_ms(body, now_ms),
        info=granted_payload(body.info, body.b64info),
        meta=granted_payload(body.meta, None),
        subscriptions=_subscriptions(body) if body.subs or body.channels else NO_SUBSCRIPTIONS,
        queues=body.queues or NO_RIGHTS,
        streams=body.streams or NO_RIGHTS,
        token_id=_text(body.jti),
        issued_ms=_issued_ms(body),
        exp_ms=_exp_ms(body),
    )


def subscription_claims(body: SubscriptionBody, user: str, now_ms: int) -> SubscriptionClaims:
    """Return what a subscription token says.

    Raises:
        Unauthorized: it names no channel, or one of its claims is not what it has to be.
        TokenExpired: it is not valid any more, or not yet.
    """
    if not body.channel:
        raise Unauthorized("a subscription token needs the claim channel")
    return SubscriptionClaims(
        user,
        body.channel,
        grant=replace(
            _grant(body),
            expires_ms=_expires_ms(body, now_ms),
            token_id=_text(body.jti),
            issued_ms=_issued_ms(body),
        ),
        client=body.client or "",
        exp_ms=_exp_ms(body),
    )


def user_of(claim: str | int | None) -> str:
    """Return the user that a claim names, `""` for nobody."""
    return _text(claim)


def _text(claim: str | int | None) -> str:
    return "" if claim is None else str(claim)


def _expires_ms(body: StandardBody, now_ms: int) -> int:
    """Tell when what the token grants ends: at `expire_at` if it has that, else at `exp`; 0 is never."""
    if (body.exp is not None and body.exp * 1000 <= now_ms) or (body.nbf and body.nbf * 1000 > now_ms):
        raise TokenExpired("the token is not valid now")
    if body.expire_at is None:
        return _exp_ms(body)
    if 0 < body.expire_at * 1000 <= now_ms:
        raise TokenExpired("what the token grants is over (expire_at)")
    return int(body.expire_at * 1000)


def _exp_ms(body: StandardBody) -> int:
    return int((body.exp or 0) * 1000)


def _issued_ms(body: StandardBody) -> int:
    return int(body.iat * 1000) if body.iat is not None and 0 < body.iat <= SECONDS_MAX else 0


def _subscriptions(body: ConnectionBody) -> Mapping[str, Grant]:
    """Read `subs`, or `channels` where there are none; together, `channels` does not count."""
    if body.subs:
        return {channel: _grant(granted) for channel, granted in body.subs.items()}
    return dict.fromkeys(body.channels or (), Grant())


def _grant(granted: _Granted | SubscriptionBody | None) -> Grant:
    if granted is None:
        return Grant()
    return Grant(
        info=granted_payload(granted.info, granted.b64info),
        data=granted_payload(granted.data, granted.b64data),
        override=granted.override.override() if granted.override is not None else Override(),
    )


def granted_payload(plain: Raw, encoded: str | None) -> Payload:
    """Return what subscribers get as it is; it travels as JSON, whichever way it came.

    Raises:
        Unauthorized: it is not JSON, or nested too deep.
    """
    data = bytes(plain)
    if encoded:
        try:
            data = base64.b64decode(encoded, validate=True)
            msgspec.json.decode(data)
        except (ValueError, RecursionError) as error:
            raise Unauthorized("b64info and b64data hold base64 of JSON") from error
    if not data or data == b"null":
        return NO_PAYLOAD
    if too_deep(data, JSON_DEPTH_MAX):
        raise Unauthorized(f"info, data and meta are nested up to {JSON_DEPTH_MAX} deep")
    return payload(data)
