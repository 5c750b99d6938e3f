"""Heads of hot requests that were parsed before: a backend sends the same one again and again.

A read that is exactly one request, with a head that is byte for byte one that the parser has judged, is
that request: what the parser would say of it is known. Everything else goes to the parser.
"""

from typing import Final

from gapless.core.limits import HEADS_REMEMBERED_MAX
from gapless.server.request import Request

__all__ = ["Heads"]

_END: Final = b"\r\n\r\n"


class Heads:
    """The heads that a site remembers, with the requests they open."""

    def __init__(self) -> None:
        self._known: dict[bytes, Request] = {}

    def recognise(self, read: bytes) -> Request | None:
        """Return the request that `read` is, if its head is known and its body whole."""
        body_at = read.find(_END) + len(_END)
        known = self._known.get(read[:body_at])
        if known is None or known.body_bytes != len(read) - body_at:
            return None
        return known.again(read[body_at:])

    def remember(self, read: bytes, request: Request) -> None:
        """Remember the head of `request`, which was all of `read`."""
        plain = request.keep_alive and not request.chunked and not request.expects_continue
        body_at = read.find(_END) + len(_END)
        if not plain or len(read) - body_at != request.body_bytes:
            return
        if len(self._known) >= HEADS_REMEMBERED_MAX:
            self._known.clear()
        self._known[read[:body_at]] = request.again(b"")
