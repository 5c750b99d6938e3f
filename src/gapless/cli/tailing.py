"""`gapless tail`."""

import asyncio
import os
import signal
import ssl
import sys
from pathlib import Path
from random import SystemRandom
from urllib.parse import urlsplit

import click
import msgspec
import uvloop

from gapless.cli.calling import Server, parted, trusted
from gapless.cli.looking import at_time
from gapless.cli.places import position, since_ms, told
from gapless.client.connection import Watcher, follow
from gapless.client.following import Arrived, Event, Following
from gapless.core.stream import Position
from gapless.server.clock import LoopClock

__all__ = ["tail"]

ENDPOINT = "/connection/websocket"


@click.command()
@click.argument("channel")
@click.option("--url", default="http://127.0.0.1:8000", show_default=True, help="The server.")
@click.option("--token", default="", help="A connection token.")
@click.option("--after", callback=position, metavar="EPOCH:OFFSET", help="Begin there instead of now.")
@click.option(
    "--since", callback=since_ms, metavar="TIME", help='Begin then: "10m ago", 10m, or 2026-01-31T12:00Z.'
)
@click.option("--key", default="", envvar="GAPLESS_HTTP_API__KEY", help="The API key, for --since.")
@click.option("--ca-file", type=click.Path(path_type=Path), help="Whom to trust over https, in PEM.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, with position and tags.")
def tail(
    channel: str,
    url: str,
    token: str,
    after: Position | None,
    since: int | None,
    key: str,
    ca_file: Path | None,
    as_json: bool,
) -> None:
    """Follow CHANNEL: print each message on a line, once and in order, also across reconnects.

    What cannot be told is said on standard error; so is, at the end, where to go on.
    """
    if since is not None:
        if after is not None:
            raise click.UsageError("give --after or --since, not both")
        after = at_time(Server(api_url(url), key, ca_file, token), channel, since)
    following = Following(channel, since=after, token=token)
    watcher = Watcher(deliver=json_line if as_json else plain_line, connected=lambda: None, lost=tell_loss)
    uvloop.run(_tail(websocket_url(url), following, watcher, trusted(ca_file) if ca_file else None))
    if following.position is not None:
        click.echo(f"to go on: --after {told(following.position)}", err=True)


async def _tail(url: str, following: Following, watcher: Watcher, tls: ssl.SSLContext | None) -> None:
    loop = asyncio.get_running_loop()
    task = loop.create_task(
        follow(url, following, watcher, clock=LoopClock(), random=SystemRandom(), tls=tls)
    )
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        pass


def websocket_url(url: str) -> str:
    """Return where the server at `url` takes WebSockets: at its own path if it has one."""
    parts = parted(url, "http", "https", "ws", "wss")
    scheme = {"http": "ws", "https": "wss"}.get(parts.scheme, parts.scheme)
    return parts._replace(scheme=scheme, path=parts.path.rstrip("/") or ENDPOINT).geturl()


def api_url(url: str) -> str:
    """Return where the server at `url` is asked: at its usual path when that of its WebSockets was given."""
    parts = urlsplit(url)
    scheme = {"ws": "http", "wss": "https"}.get(parts.scheme, parts.scheme)
    return parts._replace(scheme=scheme, path="").geturl()


def plain_line(event: Event) -> None:
    """Print the payload alone."""
    if isinstance(event, Arrived):
        print_line(event.data)
    else:
        after = f" after {told(event.after)}" if event.after is not None else ""
        click.echo(f"messages{after} may have been missed: the server cannot tell them", err=True)


def json_line(event: Event) -> None:
    """Print all that is known of a message, or of a gap."""
    if isinstance(event, Arrived):
        line: dict[str, object] = {"data": msgspec.Raw(event.data)}
        line |= {"position": told(event.position)} if event.position is not None else {}
        line |= {"tags": event.tags} if event.tags else {}
    else:
        line = {"missed": True}
        line |= {"after": told(event.after)} if event.after is not None else {}
        line |= {"position": told(event.at)} if event.at is not None else {}
    print_line(msgspec.json.encode(line))


def print_line(line: bytes) -> None:
    """Print, or end when nobody reads any more."""
    try:
        sys.stdout.buffer.write(line + b"\n")
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python fails once more at exit
        signal.raise_signal(signal.SIGTERM)


def tell_loss(reason: str, wait_ms: int) -> None:
    """Say that the connection was lost."""
    click.echo(f"{reason}; trying again in {wait_ms / 1000:.1f} s", err=True)
