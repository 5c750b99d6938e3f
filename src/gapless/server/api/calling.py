"""The method rpc: what extends the server are the methods that an application declares (`@gl.rpc`).

In Centrifugo they are functions in Go that are built in; the proxy that clients' calls go to is not asked.
"""

from typing import Final

from gapless.core.errors import BadRequest, MethodNotFound, PermissionDenied
from gapless.protocol.hooks import Calling, Decision, Refusal
from gapless.protocol.messages import payload
from gapless.protocol.meta import is_json
from gapless.server.api.answers import Called
from gapless.server.api.calls import encode
from gapless.server.api.requests import RpcRequest
from gapless.server.sessions import Sessions

__all__ = ["Rpc"]

TRANSPORT: Final = "api"  # whoever holds the key; no user, no client
NULL: Final = payload(b"null")


class Rpc:
    """Calls methods of the node's applications and workers, as clients do."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def rpc(self, request: RpcRequest) -> bytes:
        """Return what the method answers.

        Raises:
            BadRequest: no method is named.
            MethodNotFound: there is no such method.
            PermissionDenied: the method says no, perhaps with a number of its own.
            Unavailable: it failed, is late, or no worker is there.
        """
        method, hooks = request.method, self._sessions.hooks
        if not method:
            raise BadRequest("name a method")
        if hooks is None or method.startswith("gapless.") or not hooks.has("rpc", method):
            raise MethodNotFound(f"there is no method {method!r}")
        asked = Calling(transport=TRANSPORT, method=method, data=payload(bytes(request.params)))
        decision = await hooks.ask(asked)
        _check(decision)
        return encode(_told(decision.body()))


def _check(decision: Decision) -> None:
    if decision.refusal is not None:
        raise _refused(decision.refusal)
    if decision.ending is not None:
        raise PermissionDenied("permission denied")


def _refused(refusal: Refusal) -> PermissionDenied:
    """Return the error of a method, which may have a number of its own."""
    error = PermissionDenied(refusal.message or "permission denied")
    vars(error).update(number=refusal.code, temporary=refusal.temporary)
    return error


def _told(data: bytes) -> Called:
    if data and not is_json(data):
        return Called(data=NULL, b64data=data)
    return Called(data=payload(data) if data else NULL)
