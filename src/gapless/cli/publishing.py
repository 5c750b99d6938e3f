"""`gapless publish`."""

import http.client
from typing import Any
from urllib.parse import urlsplit

import click
import msgspec

from gapless.core.errors import GaplessError, Unauthorized, Unavailable, UsageError
from gapless.protocol.meta import is_json

__all__ = ["publish"]

ANSWER_SECONDS_MAX = 30


@click.command()
@click.argument("channel")
@click.argument("data")
@click.option("--url", default="http://127.0.0.1:8000", show_default=True, help="The server.")
@click.option("--key", default="", envvar="GAPLESS_HTTP_API__KEY", help="The API key.")
@click.option("--idempotency-key", help="Makes a repeat within 24 hours the same message.")
@click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON.")
def publish(channel: str, data: str, url: str, key: str, idempotency_key: str | None, as_json: bool) -> None:
    """Publish DATA to CHANNEL, and print the message's position.

    DATA is JSON; what is not JSON is sent as a text.
    """
    encoded = data.encode()
    request: dict[str, Any] = {
        "channel": channel,
        "data": msgspec.Raw(encoded if is_json(encoded) else msgspec.json.encode(data)),
    }
    if idempotency_key is not None:
        request["idempotency_key"] = idempotency_key
    result = call(url, "publish", request, key)
    if as_json:
        click.echo(msgspec.json.encode(result))
    elif "offset" in result:
        click.echo(f"{result['epoch']}:{result['offset']}")
    else:
        click.echo("published; the channel keeps no history", err=True)


def call(url: str, method: str, request: dict[str, Any], key: str) -> dict[str, Any]:
    """Call a method of the server API at `url`.

    Raises:
        GaplessError: the server cannot be reached, or refuses.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise click.BadParameter(f"{url!r} is no http:// URL", param_hint="--url")
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.netloc, timeout=ANSWER_SECONDS_MAX)
    try:
        path = f"{parts.path.rstrip('/') or '/api'}/{method}"
        connection.request("POST", path, msgspec.json.encode(request), {"X-API-Key": key})
        response = connection.getresponse()
        body = response.read()
    except (OSError, http.client.HTTPException) as error:
        raise Unavailable(f"{url} does not answer: {getattr(error, 'strerror', None) or error}") from error
    finally:
        connection.close()
    return _result(url, response.status, body)


def _result(url: str, status: int, body: bytes) -> dict[str, Any]:
    if status == Unauthorized.http_status:
        raise Unauthorized("the API key is missing or wrong: give it with --key or GAPLESS_HTTP_API__KEY")
    try:
        answer = msgspec.json.decode(body, type=dict[str, dict[str, Any]])
    except msgspec.DecodeError as error:
        raise GaplessError(f"{url} answers {status}, and not as gapless does") from error
    if "error" in answer:
        told = answer["error"]
        kind = Unavailable if told.get("temporary") else UsageError
        raise kind(f"{told.get('message')} ({told.get('code')})")
    return answer["result"]
