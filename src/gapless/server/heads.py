"""Heads that were parsed before: a backend sends the same one again and again, and so do WebSocket clients.

A read that is exactly one request, with a head that is byte for byte one that the parser has judged, is
that request: what the parser would say of it is known. So is a head that opens a WebSocket and differs
from one that did so only in the 24 characters of its key. Everything else goes to the parser.
"""

import re
from typing import Final

from gapless.core.limits import HEADS_REMEMBERED_MAX
from gapless.server.request import Request

__all__ = ["Heads"]

_END: Final = b"\r\n\r\n"
_KEY_NAME: Final = b"sec-websocket-key"
_KEY: Final = re.compile(rb"\r\n(?i:sec-websocket-key): ([A-Za-z0-9+/]{22}==)\r\n")


class Heads:
    """The heads that a site remembers, with the requests they open."""

    def __init__(self) -> None:
        self._known: dict[bytes, Request] = {}
        self._opening: dict[tuple[bytes, bytes], Request] = {}  # by what stands before and behind the key

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

    def recognise_upgrade(self, read: bytes) -> Request | None:
        """Return the request for a WebSocket that `read` is, if but for its key it is known."""
        key = _KEY.search(read)
        known = key and self._opening.get((read[: key.start(1)], read[key.end(1) :]))
        if key is None or known is None:
            return None
        request = known.again(b"")
        request.headers = [
            (name, key[1] if name == _KEY_NAME else content) for name, content in known.headers
        ]
        return request

    def remember_upgrade(self, read: bytes, request: Request) -> None:
        """Remember the head of `request`, which opened a WebSocket and was all of `read`."""
        key = _KEY.search(read)
        if key is None or read.find(_END) + len(_END) != len(read):
            return
        if len(self._opening) >= HEADS_REMEMBERED_MAX:
            self._opening.clear()
        self._opening[read[: key.start(1)], read[key.end(1) :]] = request.again(b"")
