"""One HTTP request to a server, and what its answer means."""

import ssl
from collections.abc import AsyncGenerator
from typing import Final
from urllib.parse import SplitResult, quote, urlsplit

import aiohttp
import msgspec
from msgspec import Struct

from gapless.core.errors import (
    BadRequest,
    ConfigError,
    GaplessError,
    MethodNotFound,
    OutcomeUnknown,
    PositionTrimmed,
    TimelineGone,
    Unauthorized,
    Unavailable,
)
from gapless.core.limits import CONNECT_MS
from gapless.protocol.payloads import Failure

__all__ = ["ANSWER_MS", "Posting"]

ANSWER_MS: Final = 30_000
CONNECTIONS_MAX: Final = 64
WAITING_MAX: Final = 4_096  # calls that wait have connections of their own: they hold up nothing else
KEPT_S: Final = 30  # less than a server keeps a connection without a request
API: Final = "/api"
WEBSOCKET: Final = "/connection/websocket"
# What answers that are not gapless's say: a proxy, or something else at that address.
STATUSES: Final[dict[int, type[GaplessError]]] = {
    400: BadRequest,
    401: Unauthorized,
    404: MethodNotFound,
    413: BadRequest,
    429: Unavailable,
}


class _Step(Struct):
    """What became of one command of a batch."""

    error: Failure | None = None


class _Reply(_Step):
    """An answer of the server API; `replies` are a batch's."""

    result: msgspec.Raw = msgspec.Raw(b"{}")
    replies: list[_Step] = []


class _Refusal(Failure, frozen=True):
    """An error of the messages API."""

    head: int = 0
    oldest: int = 0
    epoch: str = ""


class Posting:
    """A server's URL, and the connections to it.

    Raises:
        ConfigError: it is no http:// or https:// URL, or has a name or password in it.
    """

    def __init__(self, url: str, *, api_key: str, tls: ssl.SSLContext | None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not _is_place(parts) or "@" in parts.netloc:
            raise ConfigError(f"{url!r} is no http:// or https:// URL of a server, without name and password")
        path = parts.path.rstrip("/")
        self._api = f"{parts.scheme}://{parts.netloc}{path or API}"
        self.websocket = f"ws{parts.scheme[4:]}://{parts.netloc}{path.removesuffix(API)}{WEBSOCKET}"
        self.tls = tls
        self.has_key = bool(api_key)
        self._headers = {"X-Centrifugo-Error-Mode": "default"} | ({"X-API-Key": api_key} if api_key else {})
        self._session: aiohttp.ClientSession | None = None
        self._waiting: aiohttp.ClientSession | None = None

    def open(self) -> None:
        """Begin, on the running loop."""
        self._session = self._connecting(CONNECTIONS_MAX)
        self._waiting = self._connecting(WAITING_MAX)

    def _connecting(self, connections_max: int) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            limit=connections_max, keepalive_timeout=KEPT_S, ssl=self.tls if self.tls is not None else True
        )
        return aiohttp.ClientSession(
            connector=connector,
            headers=self._headers,
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def close(self) -> None:
        """Close the connections."""
        for session in (self._session, self._waiting):
            if session is not None:
                await session.close()

    async def post(self, method: str, body: bytes, *, wait_ms: int = 0) -> bytes:
        """Call a method of the server API, and return its result as JSON. It may wait for `wait_ms`.

        Raises:
            GaplessError: as the server says; Unavailable if it was not reached, OutcomeUnknown if it was and
                the answer was lost.
        """
        status, answer = await self._exchange("POST", f"/{method}", body, wait_ms)
        reply = _read(status, answer)
        if reply.error is not None:
            raise reply.error.error()
        return bytes(reply.result)

    async def batch(self, body: bytes) -> list[GaplessError | None]:
        """Have the commands of a batch carried out; return for each why it was refused, if it was.

        Raises as `post`.
        """
        status, answer = await self._exchange("POST", "/batch", body, 0)
        reply = _read(status, answer)
        if reply.error is not None:
            raise reply.error.error()
        return [None if step.error is None else step.error.error() for step in reply.replies]

    async def lines(self, method: str, body: bytes, *, pause_ms: int) -> AsyncGenerator[list[bytes], None]:
        """Call a method that answers line by line, with pauses of up to `pause_ms`; yield what came together.

        Raises:
            GaplessError: as the server says; Unavailable if it was not reached, or the answer broke off.
        """
        assert self._waiting is not None
        limits = aiohttp.ClientTimeout(
            total=None, sock_connect=CONNECT_MS / 1000, sock_read=(ANSWER_MS + pause_ms) / 1000
        )
        try:
            async with self._waiting.post(f"{self._api}/{method}", data=body, timeout=limits) as response:
                if response.status != 200:
                    reply = _read(response.status, await response.read())
                    raise reply.error.error() if reply.error is not None else _foreign(response.status)
                rest = b""
                async for part in response.content.iter_any():
                    *whole, rest = (rest + part).split(b"\n")
                    if whole:
                        yield whole
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            reason = str(error) or type(error).__name__
            raise Unavailable(f"{self._api}: the answer broke off: {reason}") from error

    async def page(self, channel: str, query: bytes, token: str) -> bytes:
        """Return a page of the messages API as JSON; a `token` opens it too. Raises as `post`."""
        path = f"/channels/{quote(channel, safe='')}/messages?{query.decode()}"
        status, answer = await self._exchange("GET", path, b"", 0, token)
        if status == 200:
            return answer
        try:
            refusal = msgspec.json.decode(answer, type=_Refusal)
        except msgspec.MsgspecError:
            reply = _read(status, answer)
            raise reply.error.error() if reply.error is not None else _foreign(status) from None
        error = refusal.error()
        if isinstance(error, TimelineGone):
            error.epoch, error.offset = refusal.epoch, refusal.head
        elif isinstance(error, PositionTrimmed):
            error.epoch, error.offset = refusal.epoch, refusal.oldest - 1
        raise error

    async def _exchange(
        self, verb: str, path: str, body: bytes, wait_ms: int, token: str = ""
    ) -> tuple[int, bytes]:
        session = self._waiting if wait_ms else self._session
        assert session is not None
        limits = aiohttp.ClientTimeout(total=(ANSWER_MS + wait_ms) / 1000, sock_connect=CONNECT_MS / 1000)
        headers = {"Authorization": f"Bearer {token}"} if token else None
        try:
            async with session.request(
                verb, self._api + path, data=body or None, headers=headers, timeout=limits
            ) as response:
                return response.status, await response.read()
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise Unavailable(f"{self._api} does not answer: {error}") from error
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            reason = str(error) or type(error).__name__
            raise OutcomeUnknown(f"{self._api}: the answer was lost: {reason}") from error


def _is_place(parts: SplitResult) -> bool:
    """Tell whether a URL has a host, and a port that can be one if any."""
    try:
        return bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _read(status: int, answer: bytes) -> _Reply:
    try:
        return msgspec.json.decode(answer, type=_Reply)
    except msgspec.MsgspecError:
        raise _foreign(status) from None


def _foreign(status: int) -> GaplessError:
    """Return what an answer means that is not of gapless; whether anything was done, nobody knows."""
    return STATUSES.get(status, OutcomeUnknown)(f"the server answers {status}, and not as gapless does")
