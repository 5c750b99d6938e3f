"""Who asks for messages, and whether they may read a channel."""

from collections.abc import Callable, Mapping
from typing import Final, Generic, TypeVar

from gapless.broker import permissions
from gapless.broker.tokens import Claims, SubscriptionClaims
from gapless.core.errors import PermissionDenied, TokenExpired, Unauthorized
from gapless.core.limits import TOKEN_REMEMBERED_BYTES_MAX, TOKENS_REMEMBERED_MAX, TOKENS_REMEMBERED_MS
from gapless.server.console.passes import PREFIX
from gapless.server.hooking import may_read
from gapless.server.sessions import Sessions

__all__ = ["SUBSCRIPTION_TOKEN", "Fields", "Visitors"]

SUBSCRIPTION_TOKEN: Final = b"x-gapless-subscription-token"

Fields = Mapping[bytes, bytes]  # names in lower case
Said = TypeVar("Said", bound=Claims | SubscriptionClaims)

_ANONYMOUS: Final = Claims(user="")


class _Remembered(Generic[Said]):
    """What tokens say whose signature was verified lately, so that a scroll does not verify it per page."""

    def __init__(self, verify: Callable[[str, int], Said]) -> None:
        self._verify = verify
        self._known: dict[str, tuple[Said, int]] = {}  # verified longest ago first

    def known(self, token: str, now_ms: int) -> Said | None:
        said, until_ms = self._known.get(token, (None, 0))
        return said if now_ms < until_ms else None

    def verified(self, token: str, now_ms: int) -> Said:
        said = self._verify(token, now_ms)
        if len(token) <= TOKEN_REMEMBERED_BYTES_MAX:
            self._known.pop(token, None)
            until_ms = now_ms + TOKENS_REMEMBERED_MS
            self._known[token] = said, min(until_ms, said.exp_ms or until_ms)
            if len(self._known) > TOKENS_REMEMBERED_MAX:
                del self._known[next(iter(self._known))]
        return said

    def forget(self) -> None:
        self._known.clear()


class Visitors:
    """Tells visitors by the tokens of `sessions`; `has_key` tells who presents the API key."""

    def __init__(self, sessions: Sessions, has_key: Callable[[Fields, bytes], bool]) -> None:
        self._sessions = sessions
        self._has_key = has_key
        self._connections = _Remembered(sessions.tokens.connection)
        self._subscriptions = _Remembered(sessions.tokens.subscription)

    def forget(self) -> None:
        """Hear that other tokens are trusted from now on than before."""
        self._connections.forget()
        self._subscriptions.forget()

    async def check(self, channel: str, fields: Fields, query: bytes) -> None:
        """See that a request may read the channel's history.

        Raises:
            Unauthorized, TokenExpired: there is no valid connection token, nor the API key.
            PermissionDenied: this user may not read it.
            UnknownChannel, BadRequest: there is no such namespace, or the name is malformed.
            Unavailable: the keys that tokens are signed with cannot be fetched now.
        """
        claims = await self._claims(fields, query)
        namespaces = self._sessions.broker.namespaces
        namespaces.of(channel)
        if claims is not None and claims.watches:
            return
        permissions.refuse_system(channel)
        if claims is None:
            return
        user = claims.user
        subscribed = await self._is_granted(channel, claims, fields)
        hooks = self._sessions.hooks
        if hooks is not None and hooks.has("subscribe", channel):
            subscribed = subscribed or permissions.limited_to(namespaces, channel, user)
            subscribed = await may_read(hooks, claims, channel, token=subscribed)
        if not subscribed:
            subscribed = permissions.subscribes(namespaces, channel, user)
        permissions.check(namespaces, channel, "history", user, subscribed=subscribed)

    async def _claims(self, fields: Fields, query: bytes) -> Claims | None:
        """Return who asks; None for one who may read everything."""
        options, authorization = self._sessions.options, fields.get(b"authorization", b"")
        is_bearer = authorization[:7].lower() == b"bearer "
        token = authorization[7:].strip().decode("latin-1") if is_bearer else ""
        if options.insecure and not token.startswith(PREFIX):
            return None
        if is_bearer:
            return await self._bearer(token)
        if self._has_key(fields, query):
            return None
        if options.allow_anonymous_connect_without_token:
            return _ANONYMOUS
        raise Unauthorized("a connection token (Authorization: Bearer …) or the API key is needed")

    async def _bearer(self, token: str) -> Claims:
        tokens, options = self._sessions.tokens, self._sessions.options
        claims = self._connections.known(token, self._now_ms())
        if claims is None:
            fetched = tokens.ready(token)
            if fetched is not None:
                await fetched
            claims = self._connections.verified(token, self._now_ms())
        if 0 < claims.expires_ms <= self._now_ms():
            raise TokenExpired("the connection token has expired")
        self._sessions.revocations.check(claims.user, claims.token_id, claims.issued_ms, self._now_ms())
        if not claims.user and options.disallow_anonymous_connection_tokens:
            raise PermissionDenied("a token has to name a user")
        return claims

    async def _is_granted(self, channel: str, claims: Claims, fields: Fields) -> bool:
        """Tell whether a token opens the channel to its user."""
        token = fields.get(SUBSCRIPTION_TOKEN)
        if token is not None:
            await self._check_subscription(channel, claims.user, token.decode("latin-1"))
            return True
        grant = claims.subscriptions.get(channel)
        if grant is not None:
            return not 0 < grant.expires_ms <= self._now_ms()
        return channel == self._sessions.options.personal_channel(claims.user)

    async def _check_subscription(self, channel: str, user: str, token: str) -> None:
        said = self._subscriptions.known(token, self._now_ms())
        try:
            if said is None:
                fetched = self._sessions.tokens.ready(token, subscription=True)
                if fetched is not None:
                    await fetched
                said = self._subscriptions.verified(token, self._now_ms())
            issued_ms = said.grant.issued_ms or 0
            self._sessions.revocations.check(said.user, said.grant.token_id, issued_ms, self._now_ms())
        except TokenExpired as error:
            raise TokenExpired(f"the subscription token: {error}") from error
        except Unauthorized as error:
            raise PermissionDenied(f"the subscription token: {error}") from error
        if 0 < said.grant.expires_ms <= self._now_ms():
            raise TokenExpired("the subscription token has expired")
        if said.channel != channel or said.user != user or said.client:
            raise PermissionDenied("the subscription token is for another channel, user or connection")

    def _now_ms(self) -> int:
        return self._sessions.clock.now_ms()
