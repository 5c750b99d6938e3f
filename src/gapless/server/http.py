"""HTTP/1.1 on one connection: hot routes are answered from the parser's callbacks, all else by an ASGI app.

llhttp, strict, refuses what smuggling lives on: bare LF, folded lines, a second Content-Length, or one
beside Transfer-Encoding. `request` checks the rest of a head. A refused request is answered in its turn, then
the connection ends. Responses keep the order of their requests.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Any, Final, cast

import httptools
from aiofastnet import Transport
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT, FlowControl
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from gapless.core.errors import BadRequest
from gapless.core.limits import HEAD_BYTES_MAX, HEAD_FIELDS_MAX
from gapless.ports import Timer
from gapless.server.api.calls import refusal_body
from gapless.server.limiting import RETRY
from gapless.server.request import (
    JSON,
    NO_HEADERS,
    STATUS_LINES,
    TEXT,
    Refused,
    Request,
    check_size,
    read_head,
)
from gapless.server.site import NO_ROUTE, READ_BYTES, Site, is_below

__all__ = ["HttpConnection"]

_BETWEEN, _HEAD, _BODY, _OVER = range(
    4
)  # what of a request the next byte belongs to, and what a timer waits for
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_HOP: Final = (b"connection", b"upgrade", b"http2-settings")

log: Final = logging.getLogger("gapless.http")


_Exchange = Request | RequestResponseCycle


class HttpConnection(asyncio.BufferedProtocol):
    """One connection until it ends, or until an upgrade takes it over."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._transport: Transport = None  # type: ignore[assignment] # set by connection_made
        self._flow: FlowControl = None  # type: ignore[assignment] # set by connection_made
        self._parser: httptools.HttpRequestParser | None = None  # most connections never need it
        self._deaf = False  # what comes is dropped
        self._timer: Timer | None = None
        self._timed = _HEAD
        self._quiet = False  # nothing was asked since the timer of an idle connection began
        self._client: tuple[str, int] | None = None

        self._phase = _BETWEEN
        self._target = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._received_bytes = 0  # of the request that is arriving, by reads after that in which it began
        self._read_bytes = 0  # of the latest read
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._streams = False  # the body goes on as it comes, however long it is
        self._arriving: _Exchange | None = None  # it gets the body that is arriving
        self._upgrading: Request | None = None

        self._current: _Exchange | None = None
        self._waiting: deque[_Exchange] = deque()
        self._starting = False
        self._completed: Request | None = None  # the last hot request of this read
        self._opened: Request | None = None  # the request for a WebSocket that this read was, or ended with
        self._refusal: Refused | None = None
        self._ending = False

    def _new_parser(self) -> httptools.HttpRequestParser:
        parser = httptools.HttpRequestParser(self)
        # What follows a request that said `Connection: close` is dropped instead of spoiling its response.
        parser.set_dangerous_leniencies(lenient_data_after_close=True)
        return parser

    # The transport's calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for a first request."""
        self._transport = cast(Transport, transport)
        self._flow = FlowControl(self._transport)
        peer = transport.get_extra_info("peername")
        self._client = (peer[0], peer[1]) if isinstance(peer, tuple) else None
        self._site.connections.add(self)
        if self._site.draining:
            self._end()
            return
        self._wait(_HEAD, self._site.limits.head_ms, self._late)

    def is_buffered_protocol(self) -> bool:
        """Tell aiofastnet that data goes to `get_buffer`."""
        return True

    def get_buffer(self, sizehint: int) -> memoryview:
        """Lend the buffer that all connections share."""
        return self._site.buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Parse what was read; everything else follows from the parser's callbacks."""
        if self._deaf:
            return
        data = self._site.buffer[:nbytes]
        begins = self._phase is _BETWEEN
        if begins and self._recognise(bytes(data)):
            return
        if self._parser is None:
            self._parser = self._new_parser()
        self._received_bytes += nbytes
        self._read_bytes = nbytes
        self._completed = self._opened = None
        self._feed(self._parser, data)
        if begins:
            self._remember(bytes(data))

    def _recognise(self, read: bytes) -> bool:
        heads = self._site.heads
        if (request := heads.recognise(read)) is not None:
            self._take(request)
        elif self._parser is None and (request := heads.recognise_upgrade(read)) is not None:
            self._upgrading = request
            self._upgrade(b"")
        return request is not None

    def _remember(self, read: bytes) -> None:
        if self._completed is not None:
            self._site.heads.remember(read, self._completed)
        elif self._opened is not None:
            self._site.heads.remember_upgrade(read, self._opened)

    def _take(self, request: Request) -> None:
        self._quiet = False
        if self._timed is not _BETWEEN:
            self._wait(_BETWEEN, self._site.limits.idle_ms, self._rest)
        self._admit(request)

    def _feed(self, parser: httptools.HttpRequestParser, data: memoryview) -> None:
        try:
            parser.feed_data(data)
        except httptools.HttpParserUpgrade as pause:
            self._upgrade(bytes(data[pause.args[0] :]))
        except httptools.HttpParserCallbackError as error:
            if self._refusal is None:
                log.error("a request could not be taken", exc_info=error.__context__)
            self._refuse(self._refusal or Refused(500, "Internal Server Error"))
        except httptools.HttpParserError as error:
            self._refuse(Refused(400, str(error)))
        else:
            if self._phase is not _BETWEEN:
                self._watch()
            elif self._timed is not _BETWEEN:
                self._wait(_BETWEEN, self._site.limits.idle_ms, self._rest)

    def eof_received(self) -> None:
        """Let the transport close: a peer that has left takes no response."""

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the app, and let go."""
        self._ending = True
        for exchange in (self._current, *self._waiting):
            if isinstance(exchange, RequestResponseCycle):
                exchange.disconnected = True
                exchange.message_event.set()
            elif exchange is not None and exchange.left is not None:
                exchange.left()
        self._flow.resume_writing()
        self._let_go()

    def pause_writing(self) -> None:
        """Take no more requests from a peer that does not take its responses."""
        self._flow.pause_writing()
        self._flow.pause_reading()

    def resume_writing(self) -> None:
        """Go on."""
        self._flow.resume_writing()
        if not self._waiting:
            self._flow.resume_reading()

    # The parser's calls.

    def on_message_begin(self) -> None:
        """Begin a head."""
        self._phase = _HEAD
        self._target = b""
        self._headers = []

    def on_url(self, url: bytes) -> None:
        """Take a piece of the target."""
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a field of the head; those after a chunked body are not for the app."""
        headers = self._headers
        if len(headers) >= HEAD_FIELDS_MAX:
            raise self._refused(431, f"the head may have {HEAD_FIELDS_MAX} fields")
        headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Judge the head, then start the app, or wait for the body of a hot request."""
        parser, site = cast(httptools.HttpRequestParser, self._parser), self._site
        self._phase = _BODY
        method = parser.get_method()
        try:
            if self._received_bytes + self._read_bytes > HEAD_BYTES_MAX:
                check_size(self._target, self._headers)
            request = read_head(method, self._target, parser.get_http_version(), self._headers)
            self._streams = request.path in site.streamed
            if request.body_bytes > site.limits.body_bytes_max and not self._streams:
                raise Refused(413, site.limits.too_large())
        except Refused as refusal:
            self._refusal = refusal
            raise
        self._headers = []
        if parser.should_upgrade():
            self._upgrading = request
            return
        request.keep_alive = request.version != "1.0" and parser.should_keep_alive()
        self._quiet = False
        request.route = site.find(method, request.path)
        if request.route is not None:
            self._arriving = request
            if request.expects_continue and self._current is None:
                self._transport.write(_CONTINUE)
        else:
            self._arriving = self._cycle(request)
            self._admit(self._arriving)

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        self._body_bytes += len(body)
        if self._body_bytes > self._site.limits.body_bytes_max and not self._streams:
            raise self._refused(413, self._site.limits.too_large())
        arriving = self._arriving
        if isinstance(arriving, Request):
            self._body.append(body)
        elif arriving is not None and not arriving.response_complete:
            arriving.body += body
            if len(arriving.body) > HIGH_WATER_LIMIT:
                self._flow.pause_reading()
            arriving.message_event.set()

    def on_message_complete(self) -> None:
        """The request is whole: a hot one takes its turn."""
        if self._upgrading is not None:
            return
        arriving, self._arriving = self._arriving, None
        self._phase = _BETWEEN
        self._received_bytes = 0
        if self._timed is not _BETWEEN:
            self._timed = _OVER
        if isinstance(arriving, Request):
            if self._body_bytes:
                arriving.body = b"".join(self._body)
                self._body.clear()
            self._body_bytes = 0
            self._completed = arriving
            self._admit(arriving)
        elif arriving is not None:
            self._body_bytes = 0
            arriving.more_body = False
            arriving.message_event.set()

    def _refused(self, status: int, reason: str) -> Refused:
        self._refusal = Refused(status, reason)
        return self._refusal

    # Requests and responses, in order.

    def _cycle(self, request: Request) -> RequestResponseCycle:
        transport = self._transport
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": request.version,
            "server": transport.get_extra_info("sockname")[:2],
            "client": self._client,
            "scheme": "https" if transport.get_extra_info("ssl_object") else "http",
            "root_path": "",
            "method": request.method.decode("ascii"),
            "path": request.decoded_path(),
            "raw_path": request.path,
            "query_string": request.query,
            "headers": request.headers,
            "state": {},
        }
        return RequestResponseCycle(
            scope=cast(Any, scope),
            transport=transport,
            flow=self._flow,
            logger=log,
            access_logger=log,
            access_log=False,
            default_headers=self._site.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=request.expects_continue,
            keep_alive=request.keep_alive and not self._site.draining,
            on_response=self._answered,
        )

    def _admit(self, exchange: _Exchange) -> None:
        if self._ending:
            return
        if self._current is None and not self._waiting:
            self._start(exchange)
        else:
            self._waiting.append(exchange)
            self._flow.pause_reading()

    def _start(self, exchange: _Exchange) -> None:
        self._current = exchange
        if isinstance(exchange, Request):
            exchange.address = self._client[0] if self._client else ""
            exchange.answer = self._respond
            assert exchange.route is not None
            lockout = self._site.lockout
            try:
                if lockout is not None and lockout.keeps_out(exchange.address, exchange.headers):
                    exchange.respond(429, b"Too Many Requests", TEXT + RETRY)
                else:
                    exchange.route.run(exchange)
            except Exception:
                log.exception("the handler of %s failed", exchange.path.decode())
                exchange.keep_alive = False
                if exchange.answer is not None:
                    exchange.respond(500, b"Internal Server Error", TEXT)
        else:
            task = asyncio.get_running_loop().create_task(exchange.run_asgi(self._site.app))
            self._site.tasks.add(task)
            task.add_done_callback(self._site.tasks.discard)

    def _respond(self, request: Request, status: int, body: bytes, headers: bytes) -> None:
        if self._ending:
            return
        assert request.route is not None
        self._site.count(request.route.name, status)
        if status == 401 and self._site.lockout is not None:
            self._site.lockout.unauthorized(request.address, request.headers)
        last = not request.keep_alive or self._site.draining
        response = self._encode(status, body, headers, last=last)
        self._transport.write(response if request.method != b"HEAD" else response[: -len(body) or None])
        if last:
            self._transport.close()
        self._answered()

    def _encode(self, status: int, body: bytes, headers: bytes, *, last: bool) -> bytes:
        return b"%b%b%b%bcontent-length: %d\r\n\r\n%b" % (
            STATUS_LINES[status],
            self._site.date,
            headers,
            b"connection: close\r\n" if last else NO_HEADERS,
            len(body),
            body,
        )

    def _answered(self) -> None:
        self._current = None
        if self._transport.is_closing():
            self._end()
        elif self._waiting:
            self._start_waiting()
        elif self._refusal is not None:
            self._answer_refusal(self._refusal)
        elif self._site.draining and self._phase is _BETWEEN:
            self._end()
        elif self._flow.read_paused and not self._flow.write_paused:
            self._flow.resume_reading()

    def _start_waiting(self) -> None:
        if self._starting:
            return
        self._starting = True  # hot requests are often answered before `_start` returns
        while self._current is None and self._waiting and not self._ending:
            self._start(self._waiting.popleft())
        self._starting = False

    # Refusing, waiting, ending.

    def _peer(self) -> dict[str, str]:
        return {"address": self._client[0] if self._client else ""}

    def _refuse(self, refusal: Refused) -> None:
        """Answer what is not a request, once its turn has come, and take nothing more."""
        log.debug("request refused", extra={**self._peer(), "status": refusal.status, "reason": str(refusal)})
        self._refusal = refusal
        self._drop_parser()
        self._wait(_OVER, self._site.limits.idle_ms, self._transport.abort)
        arriving, self._arriving = self._arriving, None
        if isinstance(arriving, RequestResponseCycle) and not arriving.response_complete:
            arriving.disconnected = True  # its body will never be whole
            arriving.message_event.set()
            if arriving is not self._current:
                self._waiting.remove(arriving)
            elif arriving.response_started:
                self._end()
                return
            else:
                self._current = None
        if self._current is None and not self._waiting and not self._ending:
            self._answer_refusal(refusal)

    def _answer_refusal(self, refusal: Refused) -> None:
        self._drop_parser()
        self._site.count(NO_ROUTE, refusal.status)
        body, kind = refusal.reason.encode(), TEXT
        path = self._target.partition(b"?")[0].decode("latin-1")
        if self._site.api_prefix is not None and is_below(path, self._site.api_prefix):
            body, kind = refusal_body(BadRequest(refusal.reason)), JSON
        response = self._encode(refusal.status, body, refusal.headers + kind, last=True)
        self._transport.write(response)
        if not self._transport.can_write_eof():
            self._end()
            return
        # Closing while bytes are on their way here resets the connection, and the peer may lose the answer.
        self._ending = True
        self._flow.resume_reading()
        self._transport.write_eof()
        self._wait(_OVER, self._site.limits.close_ms, self._transport.abort)

    def _upgrade(self, rest: bytes) -> None:
        request, self._upgrading = cast(Request, self._upgrading), None
        if (request.header(b"upgrade") or b"").lower() != b"websocket":
            self._ignore_upgrade(request, rest)
        elif self._current is not None or self._waiting:
            self._refuse(Refused(400, "an upgrade waits for the responses before it"))
        else:
            self._hand_over(request, rest)

    def _ignore_upgrade(self, request: Request, rest: bytes) -> None:
        """Serve the request as if it offered no other protocol (RFC 9110, 7.8); Java offers h2c."""
        self._parser = self._new_parser()
        target = request.path + b"?" + request.query if request.query else request.path
        lines = [b"%b %b HTTP/%b" % (request.method, target, request.version.encode())]
        lines += [b"%b: %b" % field for field in request.headers if field[0] not in _HOP]
        self._feed(self._parser, memoryview(b"\r\n".join(lines) + b"\r\n\r\n" + rest))

    def _hand_over(self, request: Request, rest: bytes) -> None:
        upgrade = self._site.upgrades.get(request.path)
        try:
            if upgrade is None:
                raise Refused(404, "no WebSocket here")
            if self._site.draining:  # nobody would part with it: the sessions are told to leave only once
                raise Refused(503, "this node stops")
            if request.body_bytes or request.chunked:
                raise Refused(400, "an upgrade has no body")
            request.address = self._client[0] if self._client else ""
            upgrade(request, self._transport, rest)
        except Refused as refusal:
            self._refuse(refusal)
        else:
            self._opened = request
            self._site.count(request.path, 101)
            self._let_go()

    def _watch(self) -> None:
        """Bound the bytes and the time of a request that has not arrived whole."""
        limits = self._site.limits
        if self._phase is _HEAD:
            if self._received_bytes > HEAD_BYTES_MAX:
                self._refuse(Refused(431, f"the head may have {HEAD_BYTES_MAX} bytes"))
            elif self._timed is not _HEAD:
                self._wait(_HEAD, limits.head_ms, self._late)
        elif self._streams:
            self._wait(_BODY, limits.body_ms, self._late)
        elif self._received_bytes > HEAD_BYTES_MAX + 2 * limits.body_bytes_max + READ_BYTES:
            self._refuse(Refused(413, "more chunks than body"))
        elif self._timed is not _BODY:
            self._wait(_BODY, limits.body_ms, self._late)

    def _wait(self, what: int, delay_ms: int, callback: Callable[[], object]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timed = what
        self._timer = self._site.clock.after(delay_ms, callback)

    def _late(self) -> None:
        if self._phase is _BETWEEN:
            self._end()
        else:
            self._refuse(Refused(408, "the request took too long"))

    def _rest(self) -> None:
        """End a connection on which nothing was asked for a while. This way a request sets no timer."""
        if self._quiet:
            self._end()
        else:
            self._quiet = self._current is None
            self._wait(_BETWEEN, self._site.limits.idle_ms, self._rest)

    def drain(self) -> None:
        """End the connection as soon as it owes no response; the site is `draining`.

        A request whose head is not there yet is not begun: who sent it may send it elsewhere.
        """
        for exchange in (self._current, *self._waiting):
            if exchange is not None:
                exchange.keep_alive = False
        if self._current is None and self._phase in (_BETWEEN, _HEAD):
            self._end()

    def abort(self) -> None:
        """End the connection now."""
        self._transport.abort()

    def _end(self) -> None:
        """Close once what was written is taken, but do not wait for ever."""
        self._ending = True
        self._transport.close()
        self._wait(_OVER, self._site.limits.idle_ms, self._transport.abort)

    def _let_go(self) -> None:
        self._site.left(self)
        self._drop_parser()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _drop_parser(self) -> None:
        """Take nothing more; the parser holds the callbacks, and so this."""
        self._deaf = True
        self._parser = None
