"""The methods that act on connections: those of a user, or one of them."""

from gapless.broker.permissions import hide_system
from gapless.core.errors import BadRequest, NotAvailable
from gapless.core.stream import Position
from gapless.protocol.codes import Disconnect
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


class Connections:
    """What a backend may do to connections. That a user has none is no error: there is nothing to do."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def subscribe(self, request: SubscribeRequest) -> bytes:
        """Subscribe them; answered once all are.

        Raises:
            UnknownChannel, BadRequest: there is no such namespace, or a field is malformed.
            LimitExceeded, Unavailable: one could not be subscribed; those before it are.
        """
        hide_system(request.channel)
        self._sessions.broker.namespaces.of(request.channel)
        grant, since = request.grant(), request.recover_since
        position = Position(since.epoch, since.offset) if since is not None else None
        for session in self._of(request):
            work = session.subscribe_by_server(request.channel, grant, position)
            if work is not None:
                await work
        return DONE

    def unsubscribe(self, request: UnsubscribeRequest) -> bytes:
        """End their subscriptions to a channel, whoever asked for them."""
        hide_system(request.channel)
        self._sessions.broker.namespaces.of(request.channel)
        for session in self._of(request):
            session.unsubscribe_by_server(request.channel)
        return DONE

    def disconnect(self, request: DisconnectRequest) -> bytes:
        """End them, but for those of the whitelist."""
        going, spared = request.disconnect, request.whitelist or ()
        for session in self._of(request):
            if session.info.client not in spared:
                session.disconnected(
                    Disconnect.FORCE_DISCONNECT if going is None else (going.code, going.reason)
                )
        return DONE

    def refresh(self, request: RefreshRequest) -> bytes:
        """Let them last until another time, or end them as expired."""
        for session in self._of(request):
            if request.expired:
                session.disconnected(Disconnect.EXPIRED)
            else:
                session.refreshed(request.expires_ms(), info=request.conn_info())
        return DONE

    def _of(self, whom: Whom) -> list[Session]:
        if whom.session:
            raise NotAvailable("there are no session ids here; name the client")
        if not whom.user and not whom.client:
            raise BadRequest("name the user, or the client")
        return self._sessions.of(whom.user, client=whom.client or "")
