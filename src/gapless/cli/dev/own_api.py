"""The server API of the node itself, called over HTTP as by any backend."""

import ssl
from typing import TYPE_CHECKING, Any

import msgspec

from gapless.server.node import Node

if TYPE_CHECKING:
    from gapless.library.posting import Posting

__all__ = ["OwnApi", "own_url"]


def own_url(node: Node) -> str:
    """Return where this machine reaches the API of a node that listens."""
    server = node.config.http_server
    host = server.address or "127.0.0.1"
    at = f"[{host}]" if ":" in host else host
    scheme = "https" if server.tls.enabled else "http"
    return f"{scheme}://{at}:{node.port}{node.config.http_api.handler_prefix}"


class OwnApi:
    """Calls the API; connected to when it is first called."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._posting: Posting | None = None

    async def post(self, method: str, request: Any) -> None:
        """Call a method. Raises GaplessError: it did not do it, or may not have."""
        if self._posting is None:
            self._posting = self._connected()
        await self._posting.post(method, msgspec.json.encode(request))

    async def close(self) -> None:
        """Let go of the connection."""
        if self._posting is not None:
            await self._posting.close()

    def _connected(self) -> "Posting":
        from gapless.library.posting import Posting  # which brings a client of HTTP along

        tls = None
        if self._node.config.http_server.tls.enabled:
            tls = ssl.create_default_context()
            tls.check_hostname = False  # whose certificate it is, the node knows: its own
            tls.verify_mode = ssl.CERT_NONE
        posting = Posting(own_url(self._node), api_key=self._node.config.http_api.key, tls=tls)
        posting.open()
        return posting
