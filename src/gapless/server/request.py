"""One HTTP request: its head checked as RFC 9110 and 9112 ask, its answer encoded."""

import re
from collections.abc import Callable
from http import HTTPStatus
from typing import Final, NamedTuple
from urllib.parse import unquote

from gapless.core.limits import HEAD_BYTES_MAX, TARGET_BYTES_MAX

__all__ = [
    "JSON",
    "NO_HEADERS",
    "STATUS_LINES",
    "TEXT",
    "Refused",
    "Request",
    "Route",
    "check_size",
    "read_head",
]

JSON: Final = b"content-type: application/json\r\n"
TEXT: Final = b"content-type: text/plain; charset=utf-8\r\n"
NO_HEADERS: Final = b""

STATUS_LINES: Final = {
    status.value: b"HTTP/1.1 %d %b\r\n" % (status.value, status.phrase.encode()) for status in HTTPStatus
}
_CHECKED: Final = frozenset((b"host", b"content-length", b"transfer-encoding", b"expect"))
_HOST: Final = re.compile(rb"[\w.~!$&'()*+;=%:\[\]-]*")
_LINE_BYTES: Final = len(b": \r\n")


class Refused(Exception):
    """A request that is answered with `status` and the end of the connection. `headers` are whole lines."""

    def __init__(self, status: int, reason: str, headers: bytes = NO_HEADERS) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.headers = headers


class Route(NamedTuple):
    """What answers a hot request, and the name under which it is counted."""

    name: bytes
    run: "Callable[[Request], None]"


class Request:
    """A request whose head is sound.

    `path` and `query` are as sent, still percent-encoded; the names in `headers` are in lower case; `address`
    is the peer's IP address. Only requests to hot routes have a `route`, `body_bytes`, which is the announced
    length of the body, and `body`, the body once it is whole. `left` is called if the peer goes away
    before the answer, by whom it is set.
    """

    __slots__ = (
        "address",
        "answer",
        "body",
        "body_bytes",
        "chunked",
        "expects_continue",
        "headers",
        "keep_alive",
        "left",
        "method",
        "path",
        "query",
        "route",
        "version",
    )

    def __init__(
        self, method: bytes, target: bytes, version: str, headers: list[tuple[bytes, bytes]]
    ) -> None:
        self.method = method
        self.path, _, self.query = target.partition(b"?")
        self.version = version
        self.headers = headers
        self.address = ""
        self.body = b""
        self.body_bytes = 0
        self.chunked = False
        self.expects_continue = False
        self.keep_alive = False
        self.route: Route | None = None
        self.answer: Callable[[Request, int, bytes, bytes], None] | None = None
        self.left: Callable[[], object] | None = None

    def again(self, body: bytes) -> "Request":
        """Return a request with the same head, and another body."""
        same = Request.__new__(Request)
        same.method = self.method
        same.path = self.path
        same.query = self.query
        same.version = self.version
        same.headers = self.headers
        same.address = ""
        same.body = body
        same.body_bytes = self.body_bytes
        same.chunked = self.chunked
        same.expects_continue = self.expects_continue
        same.keep_alive = self.keep_alive
        same.route = self.route
        same.answer = None
        same.left = None
        return same

    def header(self, name: bytes) -> bytes | None:
        """Return a field's value, repeated ones joined by a comma; `name` is in lower case."""
        values = [value for field, value in self.headers if field == name]
        return b", ".join(values) if values else None

    def decoded_path(self) -> str:
        """Return the path without percent-encoding."""
        return unquote(self.path.decode("ascii"))

    def respond(self, status: int, body: bytes, headers: bytes = JSON) -> None:
        """Answer, now or later, but once. `headers` are whole lines. Harmless when the connection is gone."""
        answer = self.answer
        assert answer is not None, "a request is answered once"
        self.answer = None
        answer(self, status, body, headers)


def read_head(method: bytes, target: bytes, version: str, headers: list[tuple[bytes, bytes]]) -> Request:
    """Check what the parser leaves open; raise `Refused`."""
    if version not in ("1.1", "1.0"):
        raise Refused(505, "HTTP/1.1 and HTTP/1.0 are spoken here")
    if method == b"CONNECT":
        raise Refused(405, "no tunnels here")
    if len(target) > TARGET_BYTES_MAX:
        raise Refused(414, f"the target may have {TARGET_BYTES_MAX} bytes")
    if target[:1] != b"/":
        target = _origin_form(method, target)
    request = Request(method, target, version, headers)
    hosts = 0
    for name, value in headers:
        if name in _CHECKED:
            hosts += name == b"host"
            _check(request, name, value)
    if hosts > 1 or (not hosts and version == "1.1"):
        raise Refused(400, "exactly one Host is needed")
    return request


def check_size(target: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    """Hold a head to its limit of bytes; raise `Refused`."""
    head_bytes = len(target) + sum(len(name) + len(value) + _LINE_BYTES for name, value in headers)
    if head_bytes > HEAD_BYTES_MAX:
        raise Refused(431, f"the head may have {HEAD_BYTES_MAX} bytes")


def _check(request: Request, name: bytes, value: bytes) -> None:
    if name == b"content-length":
        request.body_bytes = int(value)
    elif name == b"host":
        if not _HOST.fullmatch(value):
            raise Refused(400, "malformed Host")
    elif name == b"transfer-encoding":
        if value.lower() != b"chunked" or request.version == "1.0":
            raise Refused(501, "chunked is the only transfer coding here, and needs HTTP/1.1")
        request.chunked = True
    elif value.lower() != b"100-continue":
        raise Refused(417, "the only expectation met here is 100-continue")
    else:
        request.expects_continue = request.version == "1.1"


def _origin_form(method: bytes, target: bytes) -> bytes:
    """Reduce the other forms of a target (RFC 9112, 3.2) to a path and a query."""
    if target == b"*" and method == b"OPTIONS":
        return target
    scheme, _, rest = target.partition(b"://")
    if scheme.lower() not in (b"http", b"https"):
        raise Refused(400, "malformed target")
    authority, slash, path = rest.partition(b"/")
    if b"?" in authority:
        raise Refused(400, "malformed target")
    return slash + path or b"/"
