"""How commands reach a running server: its URL, its key, and one call."""

import http.client
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import SplitResult, quote, urlencode, urlsplit

import click
import msgspec

from gapless.core.errors import ConfigError, GaplessError, Unauthorized, Unavailable, UsageError

__all__ = ["Server", "as_json", "at_server", "parted", "refusal", "trusted"]

ANSWER_SECONDS_MAX: Final = 30
PART_BYTES: Final = 1024 * 1024


def as_json(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the option that says to print JSON; it takes `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


def at_server(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that say where the server is; it takes a `server`."""

    @wraps(command)
    def run(url: str, key: str, ca_file: Path | None, **given: Any) -> None:
        command(server=Server(url, key, ca_file), **given)

    for option in (
        click.option("--ca-file", type=click.Path(path_type=Path), help="Whom to trust over https, in PEM."),
        click.option("--key", default="", envvar="GAPLESS_HTTP_API__KEY", help="The API key."),
        click.option("--url", default="http://127.0.0.1:8000", show_default=True, help="The server."),
    ):
        run = option(run)
    return run


def parted(url: str, *schemes: str) -> SplitResult:
    """Take a server's URL apart; it has one of `schemes`, and no password, which would be shown in errors."""
    parts = urlsplit(url)
    if "@" in parts.netloc:
        raise click.BadParameter("a URL with a name or password in it is not used", param_hint="--url")
    if parts.scheme not in schemes or not parts.netloc:
        wanted = " or ".join(f"{scheme}://" for scheme in schemes[::2])
        raise click.BadParameter(f"{url!r} is no {wanted} URL", param_hint="--url")
    return parts


def trusted(ca_file: Path | None) -> ssl.SSLContext:
    """Return whom to trust over TLS: the machine's authorities, or those of `ca_file`.

    Raises:
        ConfigError: the file holds no certificate.
    """
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        raise ConfigError(f"--ca-file: {ca_file} holds no certificate in PEM: {error}") from error


class Server(NamedTuple):
    """A running server. What a client may see too, its `token` opens in place of the key."""

    url: str
    key: str = ""
    ca_file: Path | None = None
    token: str = ""

    def call(self, method: str, request: dict[str, Any]) -> dict[str, Any]:
        """Call a method of the server API.

        Raises:
            GaplessError: the server cannot be reached, or refuses.
        """
        status, body = self._exchange("POST", f"/{method}", msgspec.json.encode(request))
        answer = self._read(status, body)
        if "error" in answer:
            raise refusal(answer["error"])
        result: dict[str, Any] = answer.get("result", answer)
        return result

    def messages(self, channel: str, **query: str | int) -> dict[str, Any]:
        """Read a page of the messages API.

        Raises:
            GaplessError: the server cannot be reached, or refuses.
        """
        path = f"/channels/{quote(channel, safe='')}/messages?{urlencode(query)}"
        status, body = self._exchange("GET", path, b"")
        answer = self._read(status, body)
        if status != http.client.OK:
            raise refusal(answer)
        return answer

    def download(self, path: str, take: Callable[[bytes, int], object]) -> None:
        """Read what is at `path` below the API; `take` gets each part, and how many bytes it is in all.

        Raises:
            GaplessError: the server cannot be reached, or refuses.
        """
        with self._reached() as (connection, prefix):
            connection.request("GET", prefix + path, None, self._credentials())
            response = connection.getresponse()
            if response.status != http.client.OK:
                raise refusal(self._read(response.status, response.read())["error"])
            while part := response.read(PART_BYTES):
                take(part, int(response.headers["content-length"]))

    def upload(self, path: str, parts: Iterator[bytes], size: int) -> dict[str, Any]:
        """Send a body of `size` bytes to `path` below the API. Raises as `call`."""
        with self._reached() as (connection, prefix):
            fields = {**self._credentials(), "Content-Length": str(size)}
            connection.request("POST", prefix + path, parts, fields)
            response = connection.getresponse()
            answer = self._read(response.status, response.read())
        if "error" in answer:
            raise refusal(answer["error"])
        result: dict[str, Any] = answer["result"]
        return result

    def _exchange(self, verb: str, path: str, body: bytes) -> tuple[int, bytes]:
        with self._reached() as (connection, prefix):
            connection.request(verb, prefix + path, body or None, self._credentials())
            response = connection.getresponse()
            return response.status, response.read()

    @contextmanager
    def _reached(self) -> Iterator[tuple[http.client.HTTPConnection, str]]:
        parts = parted(self.url, "http", "https")
        connection = self._connection(parts.scheme, parts.netloc)
        try:
            yield connection, parts.path.rstrip("/") or "/api"
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "strerror", None) or error
            raise Unavailable(f"{self.url} does not answer: {reason}") from error
        finally:
            connection.close()

    def _credentials(self) -> dict[str, str]:
        key = {"X-API-Key": self.key} if self.key else {}
        return {**key, "Authorization": f"Bearer {self.token}"} if self.token else key

    def _connection(self, scheme: str, address: str) -> http.client.HTTPConnection:
        if scheme == "http":
            return http.client.HTTPConnection(address, timeout=ANSWER_SECONDS_MAX)
        context = trusted(self.ca_file)
        return http.client.HTTPSConnection(address, timeout=ANSWER_SECONDS_MAX, context=context)

    def _read(self, status: int, body: bytes) -> dict[str, Any]:
        if status == Unauthorized.http_status:
            raise Unauthorized("the API key is missing or wrong: give it with --key or GAPLESS_HTTP_API__KEY")
        try:
            return msgspec.json.decode(body, type=dict[str, Any])
        except msgspec.DecodeError as error:
            raise GaplessError(f"{self.url} answers {status}, and not as gapless does") from error


def refusal(told: dict[str, Any]) -> GaplessError:
    """Return the error that a server told."""
    kind = Unavailable if told.get("temporary") else UsageError
    return kind(f"{told.get('message')} ({told.get('code')})")
