"""Fetches a JWKS (RFC 7517): one GET, from one place, within bounds of size and time.

The place is the operator's alone: nothing of a token goes into it, and no redirect leads elsewhere.
"""

import asyncio
import re
import ssl
from typing import Final
from urllib.parse import SplitResult, urlsplit

import httptools

from gapless import __version__
from gapless.core.errors import ConfigError, Unavailable
from gapless.core.limits import JWKS_BYTES_MAX, JWKS_MS
from gapless.ports import Clock

__all__ = ["Endpoint", "checked_url"]

READ_BYTES: Final = 64 * 1024
OK: Final = 200

_URL: Final = re.compile(r"[!-\[\]-z|~]+")  # printable ASCII without braces and backslash


class Endpoint:
    """Where a JWKS is. Only https, unless `insecure`.

    Raises:
        ConfigError: the URL is not one to fetch keys from.
    """

    def __init__(self, url: str, clock: Clock, *, insecure: bool = False) -> None:
        self._url = checked_url(url, insecure=insecure)
        self._clock = clock
        self._tls = ssl.create_default_context() if self._url.scheme == "https" else None

    @property
    def place(self) -> str:
        """The URL as it may be logged: a query may hold a secret."""
        return f"{self._url.scheme}://{self._url.netloc}{self._url.path}"

    async def fetch(self) -> bytes:
        """Return the answer's body.

        Raises:
            Unavailable: there is none within 3 s; or it is a redirect, an error, or too large.
        """
        late = False

        def give_up() -> None:
            nonlocal late
            late = True
            exchange.cancel()

        exchange = asyncio.get_running_loop().create_task(self._exchange())
        timer = self._clock.after(JWKS_MS, give_up)
        try:
            return await exchange
        except asyncio.CancelledError:
            if late:
                raise Unavailable(f"no whole answer within {JWKS_MS} ms") from None
            raise
        except (OSError, UnicodeError) as error:  # the latter for a name that DNS could not hold
            raise Unavailable(f"no answer: {error}") from error
        finally:
            timer.cancel()

    async def _exchange(self) -> bytes:
        reader, writer = await asyncio.open_connection(
            self._url.hostname, self._url.port or (443 if self._tls else 80), ssl=self._tls
        )
        try:
            writer.write(self._request())
            answer = _Answer()
            while not answer.complete:
                data = await reader.read(READ_BYTES)
                if not data:
                    return answer.ended()
                answer.feed(data)
            return bytes(answer.body)
        finally:
            writer.transport.abort()  # a peer that does not close must not be waited for

    def _request(self) -> bytes:
        target = (self._url.path or "/") + (f"?{self._url.query}" if self._url.query else "")
        return (
            f"GET {target} HTTP/1.1\r\nHost: {self._url.netloc}\r\nUser-Agent: gapless/{__version__}\r\n"
            "Accept: application/json, application/jwk-set+json\r\nAccept-Encoding: identity\r\n"
            "Connection: close\r\n\r\n"
        ).encode()


class _Answer:
    """An HTTP response that is arriving; its callbacks are llhttp's."""

    def __init__(self) -> None:
        self.complete = False
        self.body = bytearray()
        self._received_bytes = 0
        self._head_over = False  # that of the answer itself, not of one that only precedes it (1xx)
        self._framed = False  # the head says where the body ends
        self._parser = httptools.HttpResponseParser(self)

    def feed(self, data: bytes) -> None:
        self._received_bytes += len(data)
        if self._received_bytes > JWKS_BYTES_MAX:
            raise Unavailable(f"the answer has more than {JWKS_BYTES_MAX} bytes")
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            raise Unavailable(f"the answer is not HTTP/1.1 as asked for: {error}") from error
        status = self._parser.get_status_code() if self._head_over else OK
        if status != OK:
            raise Unavailable(f"the answer is status {status}, not {OK}; redirects are not followed")

    def ended(self) -> bytes:
        """Return the body after the peer closed: without another mark, that is its end."""
        if not self._head_over or self._framed:
            raise Unavailable("the answer breaks off")
        return bytes(self.body)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._framed = self._framed or name.lower() in (b"content-length", b"transfer-encoding")

    def on_headers_complete(self) -> None:
        self._head_over = self._parser.get_status_code() >= OK

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.complete = self._head_over


def checked_url(url: str, *, insecure: bool) -> SplitResult:
    """Return the parts of a URL that keys may be fetched from; raises ConfigError if it is none."""
    if "{{" in url:
        raise ConfigError(
            "jwks_public_endpoint must be one URL: a placeholder would let tokens say where their keys are"
        )
    parts = _parts(url)
    if parts is None:
        raise ConfigError(
            f'jwks_public_endpoint must be a URL such as "https://example.com/keys", not {url!r}'
        )
    if parts.scheme == "http" and not insecure:
        raise ConfigError(
            "jwks_public_endpoint must begin with https://: whoever stands between could sign any token"
            " (insecure_skip_jwks_endpoint_safety_check takes http:// all the same)"
        )
    return parts


def _parts(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        port_open = parts.port != 0
    except ValueError:
        return None
    plain = parts.username is None and not parts.fragment and _URL.fullmatch(url)
    return parts if plain and port_open and parts.hostname and parts.scheme in ("https", "http") else None
