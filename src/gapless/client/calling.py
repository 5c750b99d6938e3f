"""Methods called over a connection, by the right of its token: rpc, answered in any order."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from itertools import count
from typing import Final

from msgspec import Struct
from picows import WSError

from gapless.client.connection import Connection, Watcher
from gapless.client.following import Event
from gapless.core.errors import (
    BadRequest,
    GaplessError,
    JobStarted,
    KeyConflict,
    LeaseLost,
    LimitExceeded,
    MethodNotFound,
    NotAvailable,
    OutcomeUnknown,
    PermissionDenied,
    PositionConflict,
    PositionLost,
    TokenExpired,
    TooManyRequests,
    Unauthorized,
    Unavailable,
    UnknownChannel,
    UnknownJob,
    UnknownQueue,
    UnknownStream,
)
from gapless.core.limits import MESSAGE_BYTES_MAX
from gapless.ports import Clock
from gapless.protocol import messages
from gapless.protocol.codec import codec
from gapless.protocol.messages import Command, ConnectRequest, Reply, RpcRequest, payload

__all__ = ["Calling", "End"]

_CODEC: Final = codec(binary=False)
_ERRORS: Final = {
    error.number: error
    for error in (
        BadRequest,
        Unauthorized,
        TokenExpired,
        PermissionDenied,
        UnknownChannel,
        UnknownQueue,
        UnknownStream,
        UnknownJob,
        MethodNotFound,
        NotAvailable,
        LimitExceeded,
        PositionLost,
        PositionConflict,
        KeyConflict,
        LeaseLost,
        JobStarted,
        TooManyRequests,
        OutcomeUnknown,
    )
}
_PONG: Final = Command()
_CONNECT: Final = 1
# Of SESSION_COMMANDS_MAX: each may be given up, which is said beside it, and more are still read then.
_WAITING_PER_LINE_MAX: Final = 24
_LINES_MAX: Final = 32
_END_MS: Final = 5_000
_IGNORED: Final = Watcher(
    deliver=lambda event: None, connected=lambda: None, lost=lambda reason, wait_ms: None
)


class End(Struct, frozen=True):
    """What is said to end a call that is given up, and who is told the answer to that, if there is one."""

    data: bytes
    told: Callable[[bytes], object]


class Calling:
    """Connections to the server at a WebSocket URL: opened by the first call, and anew when they were lost.

    Calls that wait hold up others behind them, and so have connections of their own. `token` returns the
    connection token, each time that one is opened; so it is when that has expired.
    """

    def __init__(
        self, url: str, token: Callable[[], Awaitable[str]], clock: Clock, tls: ssl.SSLContext | None
    ) -> None:
        self._url = url
        self._token = token
        self._clock = clock
        self._tls = tls
        self._prompt: list[_Line] = []  # one, for all that does not wait
        self._waiting: list[_Line] = []
        self._ending: set[asyncio.Future[bytes]] = set()
        self._running: set[asyncio.Task[None]] = set()

    async def call(
        self, method: str, data: bytes, within_ms: int, *, waits: bool = False, end: End | None = None
    ) -> bytes:
        """Call a method with JSON, and return what it returns, as JSON. `end` is for who is cancelled.

        Raises:
            GaplessError: as the server says; Unavailable if it was not reached, OutcomeUnknown if it was and
                the answer was lost. BadRequest: it is more than a client may send at once. TooManyRequests:
                as many wait as there are places for.
        """
        line = self._found(waits)
        answer = line.expect()
        try:
            await asyncio.shield(line.ready)
            self._ask(line, answer, method, data, within_ms)
        except BaseException:
            answer.cancel()
            raise
        try:
            return await asyncio.shield(answer)
        except asyncio.CancelledError:
            if end is not None and not line.over:
                self._end(line, method, end)
            raise

    def _ask(
        self, line: "_Line", answer: "asyncio.Future[bytes]", method: str, data: bytes, within_ms: int
    ) -> None:
        line.ask(answer, method, data)
        timer = self._clock.after(within_ms, partial(_lose, answer, "it did not come in time"))
        answer.add_done_callback(lambda answer: timer.cancel())

    def _end(self, line: "_Line", method: str, end: End) -> None:
        """End a call where it was made: another connection may lead to another server."""

        def told(answer: "asyncio.Future[bytes]") -> None:
            self._ending.discard(answer)
            if answer.exception() is None:
                end.told(answer.result())

        answer = line.expect()
        self._ask(line, answer, method, end.data, _END_MS)
        self._ending.add(answer)
        answer.add_done_callback(told)

    async def finish(self) -> None:
        """Wait until what was given up is ended."""
        while self._ending:
            await asyncio.wait(self._ending)

    async def close(self) -> None:
        """End the connections."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    def _found(self, waits: bool) -> "_Line":
        """Return a connection with a place, or open one."""
        now_ms = self._clock.now_ms()
        lines = self._waiting if waits else self._prompt
        lines[:] = [line for line in lines if not line.over and not 0 < line.until_ms <= now_ms]
        for line in lines:
            if not waits or len(line.expected) < _WAITING_PER_LINE_MAX:
                return line
        if len(lines) >= _LINES_MAX:
            raise TooManyRequests(f"{_LINES_MAX * _WAITING_PER_LINE_MAX} calls wait already")
        lines.append(_Line(self._clock))
        task = asyncio.get_running_loop().create_task(self._run(lines[-1]))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return lines[-1]

    async def _run(self, line: "_Line") -> None:
        error: Exception = Unavailable(f"the connection to {self._url} ended")
        try:
            line.token = await self._token()
            connection = Connection(line, _IGNORED, self._clock)
            line.say = connection.say
            await connection.run(self._url, self._tls)
        except (OSError, WSError, TimeoutError) as reason:
            error = Unavailable(f"{self._url} does not answer: {reason}")
        except Exception as reason:
            error = reason
        finally:
            line.end(error)


class _Line:
    """One connection, and the calls that wait for their answers. Implements `connection.Talk`.

    `expected` are their answers, from before the connection is there, and of calls that were given up too.
    """

    say: Callable[[bytes], object]

    def __init__(self, clock: Clock) -> None:
        self.ping_ms = 0
        self.token = ""
        self.until_ms = 0  # when the token expires; 0: never
        self.over = False
        self.expected: set[asyncio.Future[bytes]] = set()
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._clock = clock
        self._ids = count(_CONNECT + 1)
        self._calls: dict[int, asyncio.Future[bytes]] = {}

    def expect(self) -> "asyncio.Future[bytes]":
        """Return what will be an answer."""
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.expected.add(answer)
        answer.add_done_callback(self._answered)
        return answer

    def _answered(self, answer: "asyncio.Future[bytes]") -> None:
        self.expected.discard(answer)
        if not answer.cancelled():
            answer.exception()  # who has given the call up does not ask for it

    def ask(self, answer: "asyncio.Future[bytes]", method: str, data: bytes) -> None:
        """Send a call."""
        id = next(self._ids)
        written = _CODEC.pack([_CODEC.command(Command(id, rpc=RpcRequest(payload(data), method)))])
        if len(written) > MESSAGE_BYTES_MAX:
            raise BadRequest(
                f"a client may send {MESSAGE_BYTES_MAX} bytes at once, not {len(written)}: send less, or use"
                " an API key"
            )
        if self.over:
            raise Unavailable("the connection was lost")
        self._calls[id] = answer
        answer.add_done_callback(lambda answer: self._calls.pop(id, None))
        self.say(written)

    def end(self, error: Exception) -> None:
        """Tell those who wait that nothing more comes."""
        self.over = True
        if not self.ready.done():
            self.ready.set_exception(error)
            self.ready.exception()  # whoever was waiting for it may have been cancelled
        for answer in list(self._calls.values()):
            _lose(answer, str(error))

    # What the connection asks -------------------------------------------------------------

    def hello(self) -> bytes:
        """See `Talk.hello`."""
        connect = Command(_CONNECT, connect=ConnectRequest(token=self.token, name="gapless"))
        return _CODEC.pack([_CODEC.command(connect)])

    def take(self, data: bytes) -> tuple[list[Event], bytes]:
        """See `Talk.take`."""
        return [], _CODEC.pack(answers) if (answers := list(self._taken(data))) else b""

    def _taken(self, data: bytes) -> Iterator[bytes]:
        for reply in _CODEC.replies(data):
            if reply == Reply():
                yield _CODEC.command(_PONG)
            elif reply.id == _CONNECT:
                self._connected(reply)
            elif (answer := self._calls.get(reply.id)) is not None and not answer.done():
                _tell(answer, reply)

    def _connected(self, reply: Reply) -> None:
        if reply.error is not None or reply.connect is None:
            raise _refusal(reply.error or messages.Error(message="no answer to the connect"))
        self.ping_ms = reply.connect.ping * 1000
        if reply.connect.expires:
            self.until_ms = self._clock.now_ms() + reply.connect.ttl * 1000
        if not self.ready.done():
            self.ready.set_result(None)


def _tell(answer: "asyncio.Future[bytes]", reply: Reply) -> None:
    if reply.error is not None:
        answer.set_exception(_refusal(reply.error))
    else:
        answer.set_result(bytes(reply.rpc.data) if reply.rpc is not None else b"{}")


def _lose(answer: "asyncio.Future[bytes]", reason: str) -> None:
    if not answer.done():
        answer.set_exception(OutcomeUnknown(f"the answer was lost: {reason}"))


def _refusal(error: messages.Error) -> GaplessError:
    """Return the error that the server tells."""
    kind = Unavailable if error.temporary else GaplessError
    return _ERRORS.get(error.code, kind)(error.message or f"the server refuses ({error.code})")
