"""`gapless history`, `gapless channels` and `gapless info`."""

from collections.abc import Iterator
from typing import Any, Final

import click
import msgspec

from gapless.cli.calling import Server, as_json, at_server
from gapless.cli.places import position, since_ms, told
from gapless.cli.printing import printable
from gapless.cli.progress import Tell, progress
from gapless.core.stream import Position

__all__ = ["at_time", "channels", "history", "info"]

PAGE_MESSAGES: Final = 1_000
PAGE_CHANNELS: Final = 1_000


# History --------------------------------------------------------------------------------------


@click.command()
@click.argument("channel")
@at_server
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="How many messages.")
@click.option("--all", "whole", is_flag=True, help="All that is kept, however much.")
@click.option("--after", callback=position, metavar="EPOCH:OFFSET", help="Those that follow this position.")
@click.option(
    "--since", callback=since_ms, metavar="TIME", help="Those since then: 10m, or 2026-01-31T12:00Z."
)
@as_json
def history(
    channel: str,
    server: Server,
    limit: int,
    whole: bool,
    after: Position | None,
    since: int | None,
    as_json: bool,
) -> None:
    """Print what CHANNEL keeps, the oldest first: the newest --limit, or those after a place."""
    if after is not None and since is not None:
        raise click.UsageError("give --after or --since, not both")
    if since is not None:
        after = at_time(server, channel, since)
    if after is None and not whole:
        found = iter(_newest(server, channel, limit))
    else:
        found = _forward(server, channel, after, None if whole else limit)
    for publication in found:
        click.echo(_line(publication, as_json=as_json))


def at_time(server: Server, channel: str, since_ms: int) -> Position:
    """Return the position just before the first message that was stored then or later."""
    page = server.messages(channel, after=since_ms, size=1)
    items = page["items"]
    return Position(page["epoch"], items[0]["offset"] - 1 if items else page["head"])


def _newest(server: Server, channel: str, limit: int) -> list[dict[str, Any]]:
    newest: list[dict[str, Any]] = []
    since: dict[str, Any] | None = None
    with progress("reading", "messages") as tell:
        while len(newest) < limit:
            request = {"channel": channel, "limit": min(limit - len(newest), PAGE_MESSAGES), "reverse": True}
            page = server.call("history", request if since is None else {**request, "since": since})
            newest += _with_epoch(page)
            tell(len(newest), limit)
            if not page["publications"]:
                break
            since = {"epoch": page["epoch"], "offset": page["publications"][-1]["offset"]}
    return newest[::-1]


def _forward(
    server: Server, channel: str, after: Position | None, limit: int | None
) -> Iterator[dict[str, Any]]:
    with progress("reading", "messages") as tell:
        count, total = 0, limit
        while limit is None or count < limit:
            page = _page(server, channel, after, PAGE_MESSAGES if limit is None else limit - count)
            publications = _with_epoch(page)
            if not publications:
                return
            yield from publications
            count += len(publications)
            after = Position(page["epoch"], publications[-1]["offset"])
            _tell(tell, count, total, page["offset"] - after.offset)


def _tell(tell: Tell, count: int, limit: int | None, left: int) -> None:
    tell(count, min(limit or count + left, count + left))


def _page(server: Server, channel: str, after: Position | None, limit: int) -> dict[str, Any]:
    request: dict[str, Any] = {"channel": channel, "limit": min(limit, PAGE_MESSAGES)}
    if after is not None:
        request["since"] = {"epoch": after.epoch, "offset": after.offset}
    return server.call("history", request)


def _with_epoch(page: dict[str, Any]) -> list[dict[str, Any]]:
    return [{**publication, "epoch": page["epoch"]} for publication in page["publications"]]


def _line(publication: dict[str, Any], *, as_json: bool) -> bytes:
    if not as_json:
        return msgspec.json.encode(publication["data"])
    rest = {name: value for name, value in publication.items() if name not in ("epoch", "offset")}
    place = told(Position(publication["epoch"], publication["offset"]))
    return msgspec.json.encode({"position": place, **rest})


# Channels and nodes ---------------------------------------------------------------------------


@click.command()
@at_server
@click.option("--pattern", default="", help="A glob, such as 'chat:*'.")
@as_json
def channels(server: Server, pattern: str, as_json: bool) -> None:
    """Print the channels that somebody follows, and how many do."""
    after = ""
    while True:
        page = server.call("channels", {"pattern": pattern, "limit": PAGE_CHANNELS, "after": after})
        for name, followed in page["channels"].items():
            line = (
                msgspec.json.encode({"channel": name, **followed})
                if as_json
                else f"{followed['num_clients']:>8}  {printable(name)}"
            )
            click.echo(line)
        if "next" not in page:
            return
        after = page["next"]


@click.command()
@at_server
@as_json
def info(server: Server, as_json: bool) -> None:
    """Print how the nodes are."""
    nodes = server.call("info", {})["nodes"]
    if as_json:
        click.echo(msgspec.json.encode(nodes))
        return
    for node in nodes:
        store = node.pop("store")
        statistics = store.pop("statistics")
        click.secho(node.pop("name"), bold=True)
        for name, value in (*node.items(), *store.items(), *statistics.items()):
            click.echo(f"  {name:<18} {value}")
