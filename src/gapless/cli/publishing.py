"""`gapless publish` and `gapless broadcast`."""

import sys
from typing import IO, Any

import click
import msgspec

from gapless.cli.calling import Server, as_json, at_server, refusal
from gapless.cli.loading import STDIN, batches, payload
from gapless.cli.progress import progress

__all__ = ["broadcast", "publish"]


@click.command()
@click.argument("channel")
@click.argument("data")
@at_server
@click.option(
    "--idempotency-key", help="Makes a repeat the same message, for as long as the server keeps keys."
)
@as_json
def publish(
    channel: str,
    data: str,
    server: Server,
    idempotency_key: str | None,
    as_json: bool,
) -> None:
    """Publish DATA to CHANNEL, and print the message's position.

    DATA is JSON; what is not JSON is sent as a text. With - each line of standard input is a message; its
    number makes the key, so that the same load can be repeated: --idempotency-key is put before it.
    """
    if data == STDIN:
        result = _load(server, channel, sys.stdin.buffer, idempotency_key)
        click.echo(msgspec.json.encode(result) if as_json else f"published {result['published']} messages")
        return
    request: dict[str, Any] = {"channel": channel, "data": payload(data.encode())}
    if idempotency_key is not None:
        request["idempotency_key"] = idempotency_key
    result = server.call("publish", request)
    if as_json:
        click.echo(msgspec.json.encode(result))
    elif "offset" in result:
        click.echo(f"{result['epoch']}:{result['offset']}")
    else:
        click.echo("published; the channel keeps no history", err=True)


@click.command()
@click.argument("channels", nargs=-1, required=True)
@click.argument("data")
@at_server
@click.option("--idempotency-key", help="Makes a repeat the same message in each channel.")
@as_json
def broadcast(
    channels: tuple[str, ...],
    data: str,
    server: Server,
    idempotency_key: str | None,
    as_json: bool,
) -> None:
    """Publish DATA to each of CHANNELS, and print for each its position, or why not."""
    request: dict[str, Any] = {"channels": channels, "data": payload(data.encode())}
    if idempotency_key is not None:
        request["idempotency_key"] = idempotency_key
    responses = server.call("broadcast", request)["responses"]
    for channel, response in zip(channels, responses, strict=True):
        if as_json:
            click.echo(msgspec.json.encode({"channel": channel, **response}))
        else:
            click.echo(f"{channel}\t{_told(response)}")
    failed = sum("error" in response for response in responses)
    if failed:
        raise click.ClickException(f"{failed} of {len(channels)} channels were not published to")


def _told(response: dict[str, Any]) -> str:
    if "error" in response:
        return str(refusal(response["error"]))
    result = response["result"]
    return f"{result['epoch']}:{result['offset']}" if "offset" in result else "published"


def _load(server: Server, channel: str, lines: IO[bytes], prefix: str | None) -> dict[str, int]:
    """Publish each line, so many to a request; what was not stored ends it, with the number of its line."""
    published = 0
    with progress("publishing", "messages") as tell:
        for batch in batches(line.rstrip(b"\r\n") for line in lines):
            commands = [
                {"publish": _command(channel, line, prefix, published + number)}
                for number, line in enumerate(batch, start=1)
            ]
            replies = server.call("batch", {"commands": commands})["replies"]
            for number, reply in enumerate(replies, start=1):
                if "error" in reply:
                    error = refusal(reply["error"])
                    raise type(error)(f"line {published + number}: {error}; those before it are published")
            published += len(batch)
            tell(published, None)
    return {"published": published}


def _command(channel: str, line: bytes, prefix: str | None, number: int) -> dict[str, Any]:
    command: dict[str, Any] = {"channel": channel, "data": payload(line)}
    return command if prefix is None else {**command, "idempotency_key": f"{prefix}-{number}"}
