"""The method that tells whether somebody may do something in a channel, by what decides over a connection."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, Final, NamedTuple

from msgspec import UNSET

from gapless.broker import permissions
from gapless.broker.feeds import STREAMS
from gapless.broker.tokens import Claims
from gapless.core.errors import BadRequest, GaplessError, PermissionDenied, UsageError
from gapless.protocol.messages import ClientInfo
from gapless.server.api.answers import Explanation
from gapless.server.api.calls import encode
from gapless.server.api.deciding import LIMITED, Deciding
from gapless.server.api.requests import Act, ExplainRequest
from gapless.server.api.trying import connected
from gapless.server.commands import rights
from gapless.server.config import Effective
from gapless.server.console.passes import PREFIX
from gapless.server.sessions import Sessions

__all__ = ["Explaining"]

ANYTHING: Final = b"{}"  # a payload that every format but binary takes
INSECURE: Final = "client.insecure"


class _Somebody(NamedTuple):
    """Who would be connected; see `rights.Who`."""

    node: Sessions
    claims: Claims
    info: ClientInfo
    subscriptions: Mapping[str, Any]

    def subscribed(self, channel: str) -> "_Somebody":
        return self._replace(subscriptions={channel: None})


class _Refused(Exception):
    """Why not, and which option says so."""

    def __init__(self, reason: str, option: str) -> None:
        super().__init__(reason)
        self.option = option


@contextmanager
def _blaming(option: str | Callable[[GaplessError], str], said: str = "") -> Iterator[None]:
    """Turn a refusal within into one that names an option, and begins with what is `said`."""
    try:
        yield
    except UsageError as error:
        raise _Refused(f"{said}{error}", option if isinstance(option, str) else option(error)) from error


class Explaining:
    """Asks on behalf of somebody, and does nothing; `effective` is what the node runs with now."""

    def __init__(self, sessions: Sessions, effective: Callable[[], Effective]) -> None:
        self._sessions = sessions
        self._deciding = Deciding(sessions.broker, effective)

    async def explain(self, request: ExplainRequest) -> bytes:
        """Return whether it would be allowed, and why.

        Raises:
            BadRequest: the token is another user's, or the console's.
            Unavailable: keys of tokens cannot be fetched now, or the store does not answer.
        """
        try:
            explanation = await self._explain(await self._who(request), request)
        except _Refused as refused:
            explanation = Explanation(False, str(refused), refused.option or UNSET)
        return encode(explanation)

    async def _who(self, request: ExplainRequest) -> _Somebody:
        sessions = self._sessions
        if request.token:
            await self._ready(request.token, subscription=False)
            with _blaming(partial(self._deciding.of_keys, subscription=False), "the connection token: "):
                claims = connected(sessions, request.token)
            if request.user and request.user != claims.user:
                raise BadRequest(f"the token is of user {claims.user!r}, not of {request.user!r}")
        else:
            claims = Claims(request.user)
            with _blaming(""):
                sessions.revocations.check_user(claims.user, sessions.clock.now_ms())
        return _Somebody(sessions, claims, ClientInfo(user=claims.user), {})

    async def _ready(self, token: str, *, subscription: bool) -> None:
        if token.startswith(PREFIX):
            raise BadRequest("a token of the console is for the console alone")
        fetched = self._sessions.tokens.ready(token, subscription=subscription)
        if fetched is not None:
            await fetched

    async def _explain(self, who: _Somebody, request: ExplainRequest) -> Explanation:
        self._check_name(request.channel)
        match request.act:
            case Act.SUBSCRIBE:
                return await self._subscribe(who, request)
            case Act.PUBLISH:
                return await self._publish(who, request)
            case Act.HISTORY | Act.PRESENCE:
                return await self._look(who, request)

    def _check_name(self, channel: str) -> None:
        with _blaming(partial(self._deciding.of_name, channel)):
            self._sessions.broker.namespaces.of(channel)
        with _blaming(""):
            permissions.refuse_system(channel)

    # Subscribe ----------------------------------------------------------------------------

    async def _subscribe(self, who: _Somebody, request: ExplainRequest) -> Explanation:
        """Go the way of `commands.subscribing.subscribe`."""
        channel, node = request.channel, self._sessions
        option = self._deciding.of_subscribing(channel, who.info.user)
        if channel in who.claims.subscriptions:
            return Explanation(True, "the connection token subscribes it (its claim subs or channels)")
        if channel == node.options.personal_channel(who.info.user):
            return Explanation(True, "it is the user's own channel, which it is subscribed to at connect")
        hooks = rights.hooked(who, channel)
        if request.subscription_token:
            await self._present(who, request)
        elif hooks is not None and not node.options.insecure:
            with _blaming(option):
                permissions.limited_to(node.broker.namespaces, channel, who.info.user)
        if hooks is not None:
            return Explanation(None, "the hook subscribe decides")
        if not request.subscription_token:
            with _blaming(option):
                rights.follow(who, channel)
        await self._check_room(channel)
        if request.subscription_token:
            return Explanation(True, "the subscription token grants it")
        return self._allowed(option)

    async def _present(self, who: _Somebody, request: ExplainRequest) -> None:
        token = request.subscription_token
        await self._ready(token, subscription=True)
        with _blaming(partial(self._deciding.of_keys, subscription=True), "the subscription token: "):
            claims = self._sessions.tokens.subscription(token, self._sessions.clock.now_ms())
            if not rights.is_meant(who, request.channel, claims):
                raise PermissionDenied("it is for another channel, user or connection")
            rights.check_holds(who, claims.grant)

    async def _check_room(self, channel: str) -> None:
        broker = self._sessions.broker
        if broker.namespaces.of(channel).namespace.name == STREAMS:
            with _blaming(""):
                await broker.check_kept(channel)
        with _blaming(self._deciding.of_namespace(channel, "subscribers_max")):
            broker.check_room(channel)

    # Everything else ----------------------------------------------------------------------

    async def _publish(self, who: _Somebody, request: ExplainRequest) -> Explanation:
        """Go the way of `commands.publishing.publish`."""
        hooks, channel = self._sessions.hooks, request.channel
        if hooks is not None and hooks.has("publish", channel):
            return Explanation(None, "the hook publish decides")
        explanation = await self._with_right(who, request, rights.check)
        with _blaming(""):
            self._sessions.broker.entry(channel, ANYTHING)
        return explanation

    async def _look(self, who: _Somebody, request: ExplainRequest) -> Explanation:
        """Go the way of `commands.looking`."""
        broker, channel = self._sessions.broker, request.channel
        if request.act is Act.HISTORY:
            with _blaming(self._deciding.of_namespace(channel, "history_size")):
                await broker.check_kept(channel)
        else:
            with _blaming(self._deciding.of_namespace(channel, "presence")):
                broker.presence_now(channel)
        return await self._with_right(who, request, rights.check_looking)

    async def _with_right(
        self, who: _Somebody, request: ExplainRequest, check: Callable[[rights.Who, str, str], object]
    ) -> Explanation:
        """Ask as who is not subscribed, and then as who is, if it may subscribe."""
        channel, verb = request.channel, request.act.value
        option = self._deciding.of_verb(channel, verb, who.info.user)
        try:
            check(who, channel, verb)
        except UsageError as error:
            plain = str(error)
            with _blaming(option):
                check(who.subscribed(channel), channel, verb)
        else:
            return self._allowed(option)
        try:
            subscribes = await self._subscribe(who, request)
        except _Refused as refused:
            if str(refused) == plain:
                raise
            reason = f"only who is subscribed may, and this user cannot subscribe: {refused}"
            raise _Refused(reason, refused.option) from refused
        return Explanation(
            subscribes.allowed,
            f"only who is subscribed may; about that: {subscribes.reason}",
            option or UNSET,
        )

    def _allowed(self, option: str) -> Explanation:
        if self._sessions.options.insecure:
            return Explanation(True, f"{INSECURE} is on, and lets everybody do everything", INSECURE)
        if option.endswith(LIMITED):
            return Explanation(True, "the channel is limited to its users, and this is one of them", option)
        return Explanation(True, f"{option} allows it" if option else "it may", option or UNSET)
