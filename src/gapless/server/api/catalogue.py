"""The methods that look and act, by name, beside those that publish (`methods.Api`)."""

from collections.abc import Callable, Coroutine
from typing import Any

from gapless.broker.verbs import Verbs
from gapless.protocol import hooks
from gapless.server.api import requests
from gapless.server.api.calling import Rpc
from gapless.server.api.calls import Answering, encode
from gapless.server.api.connections import Connections
from gapless.server.api.explaining import Explaining
from gapless.server.api.info import Node
from gapless.server.api.looking import Looking
from gapless.server.api.present import Present
from gapless.server.api.revoking import Revoke
from gapless.server.api.settings import Settings
from gapless.server.api.stories import Recalling
from gapless.server.api.trying import Trying
from gapless.server.api.verbs import verb_methods
from gapless.server.config import Effective
from gapless.server.revoking import Revoking
from gapless.server.sessions import Sessions

__all__ = ["every_method"]


def every_method(
    sessions: Sessions,
    revoking: Revoking,
    nodes: Callable[[], list[Node]],
    effective: Callable[[], Effective],
    verbs: Verbs | None = None,
) -> dict[str, tuple[type[Any], Answering]]:
    """Return each method with the type of its request. `nodes` tells how the nodes are, this one first.

    `effective` is what the node runs with now. `verbs` are those of queues and streams, if it has them.
    """
    looking = Looking(sessions.broker, nodes, sessions.elsewhere)
    connections = Connections(sessions)
    revoke = Revoke(revoking, sessions.clock)
    settings = Settings(sessions.broker, nodes, effective)
    trying = Trying(sessions, effective)
    return {
        "subscribe": (requests.SubscribeRequest, connections.subscribe),
        "unsubscribe": (requests.UnsubscribeRequest, connections.unsubscribe),
        "disconnect": (requests.DisconnectRequest, connections.disconnect),
        "refresh": (requests.RefreshRequest, connections.refresh),
        "revoke": (requests.RevokeRequest, revoke.revoke),
        "block": (requests.BlockRequest, revoke.block),
        "unblock": (requests.UnblockRequest, revoke.unblock),
        "revocations": (requests.RevocationsRequest, revoke.revocations),
        "presence": (requests.PresenceRequest, looking.presence),
        "presence_stats": (requests.PresenceStatsRequest, looking.presence_stats),
        "history": (requests.HistoryRequest, looking.history),
        "history_remove": (requests.HistoryRemoveRequest, looking.history_remove),
        "channels": (requests.ChannelsRequest, looking.channels),
        "connection/list": (requests.ConnectionsRequest, Present(sessions).connections),
        "connection/stories": (requests.StoriesRequest, Recalling(sessions).stories),
        "info": (requests.InfoRequest, looking.info),
        "rpc": (requests.RpcRequest, Rpc(sessions).rpc),
        "config": (requests.ConfigRequest, settings.config),
        "channel_options": (requests.ChannelOptionsRequest, settings.channel_options),
        "explain": (requests.ExplainRequest, Explaining(sessions, effective).explain),
        "token/make": (requests.TokenMakeRequest, trying.make),
        "token/check": (requests.TokenCheckRequest, trying.check),
        "hooks/take": (hooks.TakeRequest, _encoded(sessions.workers.take)),
        "hooks/answer": (hooks.AnswerRequest, _encoded(sessions.workers.answer)),
        **(verb_methods(verbs) if verbs is not None else {}),
    }


def _encoded(method: Callable[[Any], Coroutine[Any, Any, Any]]) -> Answering:
    async def answer(request: Any) -> bytes:
        return encode(await method(request))

    return answer
