"""The methods that act on connections: those of a user, or one of them, on whichever node they are."""

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import msgspec

from gapless.broker.permissions import hide_system
from gapless.core.errors import BadRequest, GaplessError, LimitExceeded, NotAvailable, Unavailable
from gapless.core.stream import Position
from gapless.protocol.codes import Disconnect
from gapless.server.api.calls import encode
from gapless.server.api.requests import (
    DisconnectRequest,
    RefreshRequest,
    SubscribeRequest,
    UnsubscribeRequest,
    Whom,
)
from gapless.server.session import Session
from gapless.server.sessions import Sessions

__all__ = ["Connections"]

DONE = b"{}"

Answer = bytes | Coroutine[Any, Any, bytes]


class Connections:
    """What a backend may do to connections. That a user has none is no error: there is nothing to do.

    It is answered once all nodes that live have done it. A client that is here is nowhere else.
    """

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        elsewhere = sessions.elsewhere
        if elsewhere is not None:
            elsewhere.serve("subscribe", _decoded(SubscribeRequest, self._subscribe))
            elsewhere.serve("unsubscribe", _decoded(UnsubscribeRequest, self._unsubscribe))
            elsewhere.serve("disconnect", _decoded(DisconnectRequest, self._disconnect))
            elsewhere.serve("refresh", _decoded(RefreshRequest, self._refresh))

    async def subscribe(self, request: SubscribeRequest) -> bytes:
        """Subscribe them; answered once all are.

        Raises:
            UnknownChannel, BadRequest: there is no such namespace, or a field is malformed.
            LimitExceeded, Unavailable: one could not be subscribed; others are.
        """
        failed: GaplessError | None = None
        is_here = self._is_here(request)
        try:
            await self._subscribe(request)
        except (LimitExceeded, Unavailable) as error:
            failed = error
        if not is_here:
            await self._do_elsewhere("subscribe", request)
        if failed is not None:
            raise failed
        return DONE

    def unsubscribe(self, request: UnsubscribeRequest) -> Answer:
        """End their subscriptions to a channel, whoever asked for them."""
        is_here = self._is_here(request)
        self._unsubscribe(request)
        return DONE if is_here else self._do_elsewhere("unsubscribe", request)

    def disconnect(self, request: DisconnectRequest) -> Answer:
        """End them, but for those of the whitelist."""
        is_here = self._is_here(request)
        self._disconnect(request)
        return DONE if is_here else self._do_elsewhere("disconnect", request)

    def refresh(self, request: RefreshRequest) -> Answer:
        """Let them last until another time, or end them as expired."""
        is_here = self._is_here(request)
        self._refresh(request)
        return DONE if is_here else self._do_elsewhere("refresh", request)

    def _is_here(self, whom: Whom) -> bool:
        """Tell whether no other node has any of them."""
        elsewhere = self._sessions.elsewhere
        return elsewhere is None or elsewhere.is_alone or bool(whom.client and self._of(whom))

    async def _do_elsewhere(self, method: str, request: Whom) -> bytes:
        elsewhere = self._sessions.elsewhere
        if elsewhere is not None:
            await elsewhere.everywhere(method, _encoded(request))
        return DONE

    # Here ---------------------------------------------------------------------------------

    async def _subscribe(self, request: SubscribeRequest) -> None:
        hide_system(request.channel)
        self._sessions.broker.namespaces.of(request.channel)
        grant, since = request.grant(), request.recover_since
        position = Position(since.epoch, since.offset) if since is not None else None
        for session in self._of(request):
            work = session.subscribe_by_server(request.channel, grant, position)
            if work is not None:
                await work

    def _unsubscribe(self, request: UnsubscribeRequest) -> None:
        hide_system(request.channel)
        self._sessions.broker.namespaces.of(request.channel)
        for session in self._of(request):
            session.unsubscribe_by_server(request.channel)

    def _disconnect(self, request: DisconnectRequest) -> None:
        going, spared = request.disconnect, request.whitelist or ()
        for session in self._of(request):
            if session.info.client not in spared:
                session.disconnected(
                    Disconnect.FORCE_DISCONNECT if going is None else (going.code, going.reason)
                )

    def _refresh(self, request: RefreshRequest) -> None:
        for session in self._of(request):
            if request.expired:
                session.disconnected(Disconnect.EXPIRED)
            else:
                session.refreshed(request.expires_ms(), info=request.conn_info())

    def _of(self, whom: Whom) -> list[Session]:
        if whom.session:
            raise NotAvailable("there are no session ids here; name the client")
        if not whom.user and not whom.client:
            raise BadRequest("name the user, or the client")
        return self._sessions.of(whom.user, client=whom.client or "")


def _encoded(request: Whom) -> bytes:
    """Return a request as it came; what it did not name has no form in JSON."""
    named = {name: getattr(request, name) for name in request.__struct_fields__}
    return encode(
        {name: each for name, each in named.items() if not isinstance(each, msgspec.Raw) or bytes(each)}
    )


def _decoded(
    kind: type[Any], act: Callable[[Any], Awaitable[None] | None]
) -> Callable[[bytes], Coroutine[Any, Any, bytes]]:
    decode = msgspec.json.Decoder(kind).decode

    async def acted(body: bytes) -> bytes:
        work = act(decode(body))
        if work is not None:
            await work
        return DONE

    return acted
