"""What each command of the client protocol does. A handler answers at once, or returns the work that will."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from gapless.protocol.codes import Disconnect
from gapless.protocol.messages import (
    ConnectRequest,
    HistoryRequest,
    PingRequest,
    PingResult,
    PresenceRequest,
    PresenceStatsRequest,
    PublishRequest,
    RefreshRequest,
    Reply,
    RpcRequest,
    SendRequest,
    SubRefreshRequest,
    SubscribeRequest,
    UnsubscribeRequest,
)
from gapless.server.commands.calling import rpc
from gapless.server.commands.connecting import connect, refresh
from gapless.server.commands.looking import history, presence, presence_stats
from gapless.server.commands.publishing import publish
from gapless.server.commands.subscribing import sub_refresh, subscribe, unsubscribe
from gapless.server.session import Session, Work

__all__ = ["HANDLERS", "Handler"]

Handler = Callable[[Session, int, Any], Work | None]


def ping(session: Session, id: int, request: PingRequest) -> None:
    """Answer."""
    session.send(Reply(id, ping=PingResult()))


def send(session: Session, id: int, request: SendRequest) -> None:
    """Part with the client: nobody here would take its message, and it expects no answer."""
    session.disconnected(Disconnect.NOT_AVAILABLE)


HANDLERS: Final[Mapping[type[Any], Handler]] = {
    ConnectRequest: connect,
    SubscribeRequest: subscribe,
    UnsubscribeRequest: unsubscribe,
    PublishRequest: publish,
    PresenceRequest: presence,
    PresenceStatsRequest: presence_stats,
    HistoryRequest: history,
    PingRequest: ping,
    SendRequest: send,
    RpcRequest: rpc,
    RefreshRequest: refresh,
    SubRefreshRequest: sub_refresh,
}
