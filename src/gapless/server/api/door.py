"""Where the server API is reached over HTTP: who may call, and how an outcome is answered."""

import asyncio
import hmac
import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Final
from urllib.parse import parse_qs

from gapless.broker.verbs import WAITING
from gapless.core.errors import (
    BadRequest,
    GaplessError,
    LimitExceeded,
    MethodNotFound,
    PermissionDenied,
    Unauthorized,
)
from gapless.core.limits import API_ANSWER_BYTES_MAX
from gapless.server.api.calls import Outcome, Work, error_body, outcome_of, refusal_body
from gapless.server.api.methods import Api
from gapless.server.api.requests import LegacyCommand, legacy_commands
from gapless.server.config.model import ErrorMode, HttpApi
from gapless.server.console.desk import Desk
from gapless.server.console.passes import PREFIX
from gapless.server.origin import Origins, is_local
from gapless.server.request import TEXT, Request
from gapless.server.site import Handler

__all__ = ["Door"]

# Answered straight from the parser's callbacks, as the verbs of queues and streams are; every method is
# reached through `answer` too.
HOT: Final = ("publish", "broadcast", "batch")

BEARER: Final = b"bearer "
CONSOLE: Final = PREFIX.encode()

# Web pages that may call an API which asks for no key: those of its own origin, if that is local. The browser
# of somebody who develops would carry out the calls of any page.
PAGES: Final = Origins()

log: Final = logging.getLogger("gapless.api")

Headers = Iterable[tuple[bytes, bytes]]  # names in lower case
Answer = tuple[int, bytes]


class Door:
    """The API behind its key. Sessions of the console call at the `desk`, if there is one."""

    def __init__(self, api: Api, options: HttpApi, desk: Desk | None = None) -> None:
        self._api = api
        self._desk = desk
        self._prefix = options.handler_prefix
        self._tasks: set[asyncio.Task[None]] = set()
        self.errors: Counter[int] = Counter()  # by code
        self.open_to(options)

    def open_to(self, options: HttpApi) -> None:
        """Let in from now on who presents this key."""
        self._key = options.key.encode()
        self._insecure = options.insecure
        self._transport_mode = options.error_mode is ErrorMode.TRANSPORT

    def hot(self) -> dict[tuple[str, str], Handler]:
        """Return the routes that are answered without an ASGI app."""
        verbs = [method for method in self._api.methods if "/" in method]
        return {
            ("POST", f"{self._prefix}/{method}"): partial(self._serve, method) for method in (*HOT, *verbs)
        }

    @property
    def methods(self) -> Iterable[str]:
        """Return the names of all methods."""
        return self._api.methods

    async def answer(self, method: str, headers: Headers, query: bytes, body: bytes) -> Answer:
        """Carry out one call; return the status and the body."""
        permitted, transport_mode, session = self._read(headers, query)
        if not permitted and not session:
            return self._refusal(self._unauthorized())
        return await self._called(method, body, session, transport_mode=transport_mode)

    async def _called(self, method: str, body: bytes, session: bytes, *, transport_mode: bool) -> Answer:
        try:
            outcome = await self._outcome(method, body, session)
        except (Unauthorized, PermissionDenied, BadRequest, MethodNotFound) as error:
            return self._refusal(error)
        return self._answer(method, transport_mode, outcome)

    async def answer_legacy(self, headers: Headers, query: bytes, body: bytes) -> Answer:
        """Carry out calls that name their method in the body: JSON objects, one after the other.

        Each is answered on a line of its own. An error is always told in the body. What comes after
        API_ANSWER_BYTES_MAX of answers is refused.
        """
        permitted, _, session = self._read(headers, query)
        if not permitted and not session:
            return self._refusal(self._unauthorized())
        try:
            if session:
                self._at_desk().known(session)
            commands = legacy_commands(body)
        except (Unauthorized, PermissionDenied, BadRequest) as error:
            return self._refusal(error)
        answers, size_bytes = [], 0
        for command in commands:
            refused = size_bytes >= API_ANSWER_BYTES_MAX
            answers.append(await self._legacy(command, session, refused=refused))
            size_bytes += len(answers[-1])
        return 200, b"\n".join(answers)

    async def _legacy(self, command: LegacyCommand, session: bytes, *, refused: bool) -> bytes:
        told = b'"id":%d,' % command.id if command.id else b""
        method = command.method.lower()
        try:
            if refused:
                raise LimitExceeded(f"an answer has up to {API_ANSWER_BYTES_MAX} bytes")
            outcome = await self._outcome(method, bytes(command.params), session)
        except (Unauthorized, PermissionDenied, BadRequest, MethodNotFound, LimitExceeded) as error:
            outcome = error
        return b"{%b%b" % (told, self._in_body(method, outcome)[1:])

    async def _outcome(self, method: str, body: bytes, session: bytes) -> Outcome:
        if session:
            return await self._at_desk().call(self._api, session, method, body)
        return await outcome_of(partial(self._api.call, method, body))

    def _at_desk(self) -> Desk:
        if self._desk is None:
            raise Unauthorized("this is a token of a console, and there is none here")
        return self._desk

    def permits(self, headers: Headers, query: bytes) -> bool:
        """Tell whether a caller may call everything; a session of the console may not."""
        return self._read(headers, query)[0]

    def check(self, headers: Headers, query: bytes, method: str) -> None:
        """Refuse who may not call a method that is answered elsewhere.

        Raises:
            Unauthorized: the key or token is missing or wrong.
            PermissionDenied: a session may not do this.
        """
        permitted, _, session = self._read(headers, query)
        if session:
            self._at_desk().known(session, method)
        elif not permitted:
            raise self._unauthorized()

    def _unauthorized(self) -> Unauthorized:
        if self._insecure:
            return Unauthorized(
                "a web page of another origin, or of a public name, may not call an API without a key"
            )
        return Unauthorized("the API key is missing or wrong")

    def _serve(self, method: str, request: Request) -> None:
        permitted, transport_mode, session = self._read(request.headers, request.query)
        if not permitted:
            if session:
                called = self._respond(method, request, session, transport_mode=transport_mode)
                self._begin(method, called, request)
            else:
                request.respond(*self._refusal(self._unauthorized()))
            return

        def told(outcome: Outcome) -> None:
            request.respond(*self._answer(method, transport_mode, outcome))

        try:
            work = self._api.call(method, request.body, told)
        except (BadRequest, MethodNotFound) as error:
            request.respond(*self._refusal(error))
            return
        if work is not None:
            self._begin(method, work, request)

    async def _respond(self, method: str, request: Request, session: bytes, *, transport_mode: bool) -> None:
        request.respond(*await self._called(method, request.body, session, transport_mode=transport_mode))

    def _begin(self, method: str, work: Work, request: Request) -> None:
        task = asyncio.get_running_loop().create_task(_finish(work, request))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if method in WAITING or method == "hooks/take":
            request.left = task.cancel

    def _read(self, headers: Headers, query: bytes) -> tuple[bool, bool, bytes]:
        """Return whether the caller may call everything, and whether errors are to be told in transport mode.

        Who brings a token of the console is no more than that, whatever else would open the door; last comes
        that token.
        """
        key, transport_mode, from_page, session = b"", self._transport_mode, False, b""
        for name, value in headers:
            if name == b"x-api-key":
                key = value
            elif name == b"origin":
                from_page = True
            elif name == b"authorization":
                key, session = _presented(value, key, session)
            elif name == b"x-centrifugo-error-mode":
                transport_mode = value == b"transport"
        if session:
            return False, transport_mode, session
        if self._insecure:
            return not (from_page and _is_foreign_page(dict(headers))), transport_mode, b""
        if not key and query:
            key = parse_qs(query.decode("latin-1")).get("api_key", [""])[0].encode()
        return bool(self._key) and hmac.compare_digest(key, self._key), transport_mode, b""

    def _answer(self, method: str, transport_mode: bool, outcome: Outcome) -> Answer:
        if transport_mode and isinstance(outcome, GaplessError):
            self._note(method, outcome)
            return outcome.http_status, error_body(outcome)
        return 200, self._in_body(method, outcome)

    def _in_body(self, method: str, outcome: Outcome) -> bytes:
        if isinstance(outcome, GaplessError):
            self._note(method, outcome)
            return b'{"error":%b}' % error_body(outcome)
        return outcome if method == "batch" else b'{"result":%b}' % outcome

    def _refusal(self, error: GaplessError) -> Answer:
        """Answer what is no call at all; that is told by the status in either mode."""
        log.info("API call refused", extra={"code": error.number, "reason": str(error)})
        self.errors[error.number] += 1
        return error.http_status, refusal_body(error)

    def _note(self, method: str, error: GaplessError) -> None:
        log.debug("API call failed", extra={"method": method, "code": error.number, "reason": str(error)})
        self.errors[error.number] += 1


def _presented(value: bytes, key: bytes, session: bytes) -> tuple[bytes, bytes]:
    """Return the key and the token of the console, with what an Authorization field says in their place."""
    kind, shown = value[:7].lower(), value[7:].strip()
    if kind == b"apikey " and not key:
        return shown, session
    return key, shown if kind == BEARER and shown.startswith(CONSOLE) else session


def _is_foreign_page(fields: Mapping[bytes, bytes]) -> bool:
    origin, host = (fields.get(name, b"").decode("latin-1") for name in (b"origin", b"host"))
    return not (PAGES.allow(origin, host) and is_local(host))


async def _finish(work: Work, request: Request) -> None:
    """See to it that the request is answered: a connection waits for its responses for ever."""
    try:
        await work
    except Exception:
        log.exception("a call of %s failed", request.path.decode())
        if request.answer is not None:
            request.respond(500, b"Internal Server Error", TEXT)
