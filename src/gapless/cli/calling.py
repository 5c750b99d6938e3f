"""How commands reach a running server: its URL, its key, and one call."""

import http.client
import os
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import SplitResult, quote, urlencode, urlsplit

import click
import msgspec
from click.core import ParameterSource

from gapless.core.errors import ConfigError, GaplessError, Unauthorized, Unavailable, UsageError
from gapless.protocol.payloads import Failure

if TYPE_CHECKING:
    from gapless.server.config import Config

__all__ = [
    "FILE",
    "Server",
    "as_json",
    "at_api",
    "at_server",
    "configured_at",
    "parted",
    "refusal",
    "trusted",
]

Command = Callable[..., None]

FILE: Final = "sqlite:"
STORES: Final = (FILE, "redis:", "rediss:", "redis+", "gapless+")
ANSWER_SECONDS_MAX: Final = 30
PART_BYTES: Final = 1024 * 1024


def as_json(command: Command) -> Command:
    """Give a command the option that says to print JSON; it takes `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


def _reached_by(*key_options: str, stores: bool = False) -> Callable[[Command], Command]:
    """Return what gives a command the options that say where the server is; it takes a `server`.

    With `stores` that may be a store instead, which is asked in this process.
    """
    what = "The server; or a store, such as sqlite:FILE, which is asked here." if stores else "The server."

    def decorate(command: Command) -> Command:
        @wraps(command)
        def run(url: str, api_key: str, ca_file: Path | None, server_file: Path | None, **given: Any) -> None:
            if stores and url.startswith(STORES):
                from gapless.cli.nearby import nearby

                with nearby(url, server_file) as server:
                    command(server=server, **given)
                return
            server = Server(url, api_key, ca_file)
            command(server=server if server_file is None else _of_file(server_file, server), **given)

        path = click.Path(path_type=Path)
        for option in (
            click.option("--config", "-c", "server_file", type=path, help="Read URL and key from its file."),
            click.option("--ca-file", type=path, help="Whom to trust over https, in PEM."),
            click.option(
                *key_options, "api_key", default="", envvar="GAPLESS_HTTP_API__KEY", help="The API key."
            ),
            click.option("--url", default="http://127.0.0.1:8000", show_default=True, help=what),
        ):
            run = option(run)
        return run

    return decorate


at_server = _reached_by("--api-key", "--key")
at_api = _reached_by("--api-key", stores=True)
"""As `at_server`, for queues and streams: a key is that of a job or message, a store may be asked."""


def _of_file(file: Path, given: "Server") -> "Server":
    """Return the server that a configuration file is of; what is said on the command line goes before it."""
    from gapless.server.config import from_all, read

    found = configured_at(read(from_all(file, os.environ, ())))
    ctx = click.get_current_context()
    said = {name for name in ("url", "api_key") if ctx.get_parameter_source(name) != ParameterSource.DEFAULT}
    return given._replace(
        url=given.url if "url" in said else found.url, key=given.key if "api_key" in said else found.key
    )


def configured_at(config: "Config") -> "Server":
    """Return the server that a configuration is of, as it is reached on its own machine."""
    server = config.http_server
    host = "127.0.0.1" if server.address in ("", "0.0.0.0", "::") else server.address
    where = f"[{host}]" if ":" in host else host
    scheme = "https" if server.tls.enabled else "http"
    return Server(f"{scheme}://{where}:{server.port}{config.http_api.handler_prefix}", config.http_api.key)


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

    def ask(self, verb: str, request: Any, answer: type[Any]) -> Any:
        """Call a verb of queues or streams; return its answer, of the type `answer`. Raises as `call`."""
        status, body = self._exchange("POST", f"/{verb}", msgspec.json.encode(request))
        told = self._read(status, body, kind=dict[str, msgspec.Raw])
        if "error" in told:
            raise refusal(msgspec.json.decode(told["error"]))
        return msgspec.json.decode(told["result"], type=answer)

    def lines(self, path: str, request: Any, *, pause_ms: int = 0) -> Iterator[bytes]:
        """Yield the lines of an answer, which may pause for so long. Raises as `call`."""
        with self._reached(pause_ms) as (connection, prefix):
            connection.request("POST", prefix + path, msgspec.json.encode(request), self._credentials())
            response = connection.getresponse()
            if response.status != http.client.OK:
                raise refusal(self._read(response.status, response.read())["error"])
            rest = b""
            while part := response.read1(PART_BYTES):
                *whole, rest = (rest + part).split(b"\n")
                yield from whole

    def messages(self, channel: str, **query: str | int) -> dict[str, Any]:
        """Read a page of the messages API.

        Raises:
            GaplessError: the server cannot be reached, or refuses.
        """
        path = f"/channels/{quote(channel, safe='')}/messages?{urlencode(query)}"
        status, body = self._exchange("GET", path, b"")
        answer: dict[str, Any] = self._read(status, body)
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
    def _reached(self, pause_ms: int = 0) -> Iterator[tuple[http.client.HTTPConnection, str]]:
        parts = parted(self.url, "http", "https")
        connection = self._connection(parts.scheme, parts.netloc, pause_ms)
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

    def _connection(self, scheme: str, address: str, pause_ms: int) -> http.client.HTTPConnection:
        most = ANSWER_SECONDS_MAX + pause_ms / 1000
        if scheme == "http":
            return http.client.HTTPConnection(address, timeout=most)
        context = trusted(self.ca_file)
        return http.client.HTTPSConnection(address, timeout=most, context=context)

    def _read(self, status: int, body: bytes, kind: Any = dict[str, Any]) -> Any:
        if status == Unauthorized.http_status:
            raise Unauthorized(
                "the API key is missing or wrong: give it with --api-key or GAPLESS_HTTP_API__KEY"
            )
        try:
            return msgspec.json.decode(body, type=kind)
        except msgspec.DecodeError as error:
            raise GaplessError(f"{self.url} answers {status}, and not as gapless does") from error


def refusal(told: dict[str, Any]) -> GaplessError:
    """Return the error that a server told."""
    temporary = bool(told.get("temporary"))
    said = f"{told.get('message')} ({told.get('code')})"
    error = Failure(told.get("code", 0), said, told.get("reason", ""), temporary).error()
    if type(error) is GaplessError:  # of another version
        return (Unavailable if temporary else UsageError)(said)
    return error
