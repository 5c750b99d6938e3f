"""Where people who scroll read a channel over HTTP: what is asked, who may, and how an outcome is told."""

import asyncio
import logging
import re
from typing import Final

import msgspec

from gapless.broker.newest import Scroll
from gapless.broker.scrolling import Scrolling
from gapless.core.cursor import cursor
from gapless.core.errors import (
    BadRequest,
    GaplessError,
    MethodNotFound,
    NotAvailable,
    PermissionDenied,
    PositionTrimmed,
    TimelineGone,
    Unauthorized,
)
from gapless.core.stream import Position
from gapless.server.api.calls import error_body
from gapless.server.messages.items import answer
from gapless.server.messages.paths import Paths
from gapless.server.messages.query import PARAMETERS, Question, read
from gapless.server.messages.visitors import SUBSCRIPTION_TOKEN, Fields, Visitors
from gapless.server.origin import Origins
from gapless.server.request import JSON, TEXT, Request, Route

__all__ = ["MessagesDoor"]

_NAME: Final = b"/channels/{channel}/messages"
# What is said may be one user's alone, and is different with every origin.
_ALWAYS: Final = JSON + b"vary: Origin\r\ncache-control: no-store\r\nx-content-type-options: nosniff\r\n"
_ALLOW: Final = b"allow: GET, HEAD, OPTIONS\r\n"
_CHALLENGE: Final = b"www-authenticate: Bearer\r\n"
_RETRY: Final = b"retry-after: 1\r\naccess-control-expose-headers: Retry-After\r\n"
# What a page's script may send (Fetch, 3.3), and for how many seconds a browser need not ask again.
_PREFLIGHT: Final = (
    b"access-control-allow-methods: GET, HEAD\r\naccess-control-allow-headers: Authorization, %b\r\n"
    b"access-control-max-age: 600\r\n" % SUBSCRIPTION_TOKEN
)

log: Final = logging.getLogger("gapless.messages")
_encode: Final = msgspec.json.Encoder().encode


class MessagesDoor:
    """The messages API."""

    def __init__(self, scrolling: Scrolling, visitors: Visitors, origins: Origins, paths: Paths) -> None:
        self._paths = paths
        self._scrolling = scrolling
        self._visitors = visitors
        self._origins = origins
        self._tasks: set[asyncio.Task[None]] = set()

    def routes(self) -> dict[re.Pattern[bytes], Route]:
        """Return what is answered, and by what."""
        return {self._paths.pattern: Route(_NAME, self.serve)}

    def forget_tokens(self) -> None:
        """Hear that other tokens are trusted from now on than before."""
        self._visitors.forget()

    def serve(self, request: Request) -> None:
        """Answer, now or once the store has."""
        fields = dict(request.headers)
        origin, headers = fields.get(b"origin"), _ALWAYS
        if origin is not None:
            if not self._origins.allow(origin.decode("latin-1"), fields.get(b"host", b"").decode("latin-1")):
                _refuse(request, PermissionDenied("this origin is not allowed"), headers)
                return
            headers += b"access-control-allow-origin: %b\r\n" % origin
        if request.method == b"OPTIONS":
            request.respond(200, b"", headers + _ALLOW + (_PREFLIGHT if origin is not None else b""))
        elif request.method in (b"GET", b"HEAD"):
            task = asyncio.get_running_loop().create_task(self._answer(request, fields, headers))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        else:
            error = MethodNotFound("messages are read with GET")
            request.respond(405, error_body(error), headers + _ALLOW)

    async def _answer(self, request: Request, fields: Fields, headers: bytes) -> None:
        """See to it that the request is answered: a connection waits for its responses for ever."""
        channel = ""
        try:
            channel = self._paths.channel(request.path)
            await self._visitors.check(channel, fields, request.query)
            question = self._question(channel, request.query)
            scroll = await self._scroll(channel, question)
            newest_first = question.where != "after"
            request.respond(200, answer(channel, scroll, newest_first=newest_first), headers)
        except _BadQuery as error:
            _refuse(request, error.reason, headers, parameters=PARAMETERS)
        except (PositionTrimmed, TimelineGone) as error:
            _refuse(request, error, headers, **_bound(channel, error))
        except GaplessError as error:
            _refuse(request, error, headers)
        except Exception:
            log.exception("messages of %r could not be told", channel)
            if request.answer is not None:
                request.respond(500, b"Internal Server Error", TEXT)

    def _question(self, channel: str, query: bytes) -> Question:
        try:
            return read(channel, query)
        except BadRequest as error:
            raise _BadQuery(error) from error

    async def _scroll(self, channel: str, question: Question) -> Scroll:
        where, point, size = question
        if point is None:
            return await self._scrolling.newest(channel, size)
        if where == "before":
            return await self._scrolling.before(channel, point, size)
        if where == "after":
            return await self._scrolling.after(channel, point, size)
        return await self._scrolling.around(channel, point, size)


class _BadQuery(Exception):
    def __init__(self, reason: BadRequest) -> None:
        super().__init__(reason)
        self.reason = reason


def _bound(channel: str, error: PositionTrimmed | TimelineGone) -> dict[str, object]:
    """Name the end of what is kept from which to go on, and its cursor."""
    at = cursor(channel, Position(error.epoch, error.offset))
    if isinstance(error, TimelineGone):
        return {"head": error.offset, "head_cursor": at, "epoch": error.epoch}
    return {"oldest": error.offset + 1, "oldest_cursor": at, "epoch": error.epoch}


def _refuse(request: Request, error: GaplessError, headers: bytes, **more: object) -> None:
    body = error_body(error)
    if more:
        body = body[:-1] + b"," + _encode(more)[1:]
    if isinstance(error, Unauthorized):
        headers += _CHALLENGE
    elif error.temporary:
        headers += _RETRY
    request.respond(403 if isinstance(error, NotAvailable) else error.http_status, body, headers)
