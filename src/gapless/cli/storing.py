"""`gapless store`."""

from typing import Any

import click
import msgspec

from gapless.backends import offline
from gapless.cli.calling import Server, as_json, at_server
from gapless.cli.caring import at, done_at, done_with, store_option
from gapless.core.errors import StoreDamaged

__all__ = ["store"]


@click.group()
def store() -> None:
    """Look after the store."""


@store.command()
@store_option
@at_server
@as_json
def check(server: Server, store: str | None, as_json: bool) -> None:
    """Read every message and hold it against its checksum; look for messages that are missing.

    When no process has the store open, SQLite's own structure is checked too. The exit code is 1 when
    anything is wrong.
    """
    if store is not None:
        slices = offline(store).check()
        checked = done_with(store, slices, lambda care, told: care.check(told), "checking", "rows")
        found: dict[str, Any] = checked._asdict()
    else:
        found = done_at(server, "check", "checking", "rows")["result"]
    if as_json:
        click.echo(msgspec.json.encode(found))
    else:
        for finding in found["findings"]:
            click.echo(finding)
        click.echo(
            f"{found['messages']:,} messages in {found['streams']:,} streams, {found['wrong']:,} wrong"
        )
    if found["wrong"]:
        raise StoreDamaged(f"{at(server, store)} is damaged: restore a backup")


@store.command()
@store_option
@at_server
@as_json
def compact(server: Server, store: str | None, as_json: bool) -> None:
    """Give unused room back to the file system.

    The store is written anew beside the present one, and needs room for that. While a server does it, appends
    and reads wait: about five seconds for each gigabyte. What its queue has no room for gets error 111.
    """
    if store is not None:
        slices = offline(store).compact()
        compacted = done_with(store, slices, lambda care, told: care.compact(told), "compacting", "files")
        given: dict[str, Any] = compacted._asdict()
    else:
        given = done_at(server, "compact", "compacting", "files")["result"]
    if as_json:
        click.echo(msgspec.json.encode(given))
    else:
        click.echo(
            f"{at(server, store)}: {given['bytes_before']:,} bytes before, {given['bytes_after']:,} now"
        )


@store.command()
@click.argument("url", metavar="STORE")
@click.option("--yes", is_flag=True, help="Do not ask.")
@as_json
def adopt(url: str, yes: bool, as_json: bool) -> None:
    """Vouch for STORE (sqlite:path.db), which was moved here without its witness.

    A store without the file <name>.witness may lack messages that were acknowledged, so all readers would be
    told that they missed some. Adopt it only if it is the newest state there is: the server was stopped, then
    the file was copied, and nothing was appended elsewhere since.
    """
    if not yes:
        question = (
            f"Is {url} complete: nothing that was acknowledged is missing, nothing was appended elsewhere?"
        )
        click.confirm(question, abort=True, err=True)
    epoch, seq = offline(url).adopt()
    if as_json:
        click.echo(msgspec.json.encode({"epoch": epoch, "seq": seq}))
    else:
        click.echo(
            f"{url} is adopted as it is, with {seq:,} messages ever appended: readers keep their positions"
        )


@store.command()
@click.argument("channel")
@click.argument("offset", type=click.IntRange(min=1))
@at_server
@as_json
def erase(server: Server, channel: str, offset: int, as_json: bool) -> None:
    """Remove the message at OFFSET of CHANNEL for good. Its offset stays: those around it keep theirs."""
    told = server.call("store/erase", {"channel": channel, "offset": offset})
    if as_json:
        click.echo(msgspec.json.encode(told))
    else:
        click.echo("erased" if told["erased"] else "there is no such message (any more)")
