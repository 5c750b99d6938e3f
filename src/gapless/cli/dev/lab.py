"""The failure lab: what can be made to fail in a node of `gapless dev`, to see the promises hold."""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct
from starlette.routing import Route

from gapless.core.errors import BadRequest
from gapless.server.api.calls import Answering
from gapless.server.extension import Extension
from gapless.server.node import Node
from gapless.server.websocket import WebSocket

__all__ = ["Lab"]

DONE = b"{}"


class CutRequest(Struct, forbid_unknown_fields=True):
    """Whose connections are cut: one client's, or all of a user."""

    client: str = ""
    user: str = ""


class Lab(Extension):
    """Adds `lab/*` to the server API of a node, and `routes` to what it serves."""

    def __init__(self, routes: Sequence[Route] = ()) -> None:
        self._routes = routes

    def attach(self, node: Node) -> None:
        """See `Extension.attach`."""
        self._node = node

    def routes(self) -> Sequence[Route]:
        """See `Extension.routes`."""
        return self._routes

    def methods(self) -> Mapping[str, tuple[type[Any], Answering]]:
        """See `Extension.methods`."""
        return {"lab/cut": (CutRequest, self._cut)}

    def _cut(self, request: CutRequest) -> bytes:
        """End connections as a lost network does."""
        if not request.client and not request.user:
            raise BadRequest("name the client, or the user")
        for session in self._node.sessions.of(request.user, client=request.client):
            if isinstance(session.socket, WebSocket):
                session.socket.cut()
        return DONE
