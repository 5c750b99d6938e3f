"""`gapless stream`: the groups that read streams: groups, lag, seek, drop-group."""

from typing import Final

import click
from msgspec.structs import replace

from gapless.cli.asking import confirm, yes_option
from gapless.cli.calling import Server, as_json, at_api
from gapless.cli.places import Place, place, told
from gapless.cli.printing import ago, document, table, when
from gapless.cli.verbs import ask
from gapless.core.errors import UsageError
from gapless.core.stream import Position
from gapless.protocol.groups import (
    DropGroupRequest,
    GroupsRequest,
    LagRequest,
    SeekRequest,
    SoughtPartition,
)
from gapless.protocol.messages import StreamPosition
from gapless.protocol.reading import Edge

__all__ = ["drop_group", "groups", "lag", "seek"]

NOWHERE: Final = "-"


def _told(position: StreamPosition | None) -> str:
    return NOWHERE if position is None else told(Position(position.epoch, position.offset))


@click.command()
@click.argument("source", default="")
@at_api
@as_json
def groups(server: Server, source: str, as_json: bool) -> None:
    """List the groups that read a stream, or all; who is in them, and which partitions each member holds.

    Example: gapless stream groups orders
    """
    found = ask(server, GroupsRequest(source=source)).groups
    if as_json:
        document(found)
        return
    rows = [
        (
            each.source,
            each.group,
            member.member if member is not None else NOWHERE,
            ",".join(map(str, member.partitions)) if member is not None else "",
            when(member.session_until_ms) if member is not None else "",
        )
        for each in found
        for member in each.members or [None]
    ]
    table(("source", "group", "member", "partitions", "session until"), rows)


@click.command()
@click.argument("source")
@click.argument("group")
@at_api
@as_json
def lag(server: Server, source: str, group: str, as_json: bool) -> None:
    """Print how far a group is behind: messages, and for how long the oldest of them has waited.

    Example: gapless stream lag orders billing
    """
    answer = ask(server, LagRequest(source=source, group=group))
    if as_json:
        document(answer)
        return
    rows = [
        (
            each.partition,
            each.lag,
            ago(each.lag_ms),
            _told(each.position),
            each.last,
            each.member,
            "lost: what it did not read is gone" if each.lost else "",
        )
        for each in answer.partitions
    ]
    table(("partition", "lag", "for", "position", "last", "member", ""), rows)
    click.echo(f"{answer.lag:,} messages in all")


@click.command()
@click.argument("source")
@click.argument("group")
@click.option(
    "--to",
    "to",
    type=place,
    metavar="PLACE",
    required=True,
    help='Go on there: earliest, latest, an offset, a time, or "10m ago".',
)
@click.option(
    "--partition", "partitions", type=click.IntRange(0), multiple=True, help="Only this one; may be repeated."
)
@click.option("--dry-run", is_flag=True, help="Only print what it would do.")
@yes_option
@at_api
@as_json
def seek(
    server: Server,
    source: str,
    group: str,
    to: Place,
    partitions: tuple[int, ...],
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Let a group go on elsewhere, while its members run. Asks first, after it has printed what it would do.

    Example: gapless stream seek orders billing --to 2026-01-31T12:00Z --dry-run
    """
    request = _request(source, group, to, partitions)
    if dry_run or not yes:
        planned = ask(server, replace(request, dry_run=True)).partitions
        _print_sought(planned, as_json=as_json and dry_run, err=not dry_run)
        if dry_run:
            return
        moved = sum(each.skipped for each in planned), sum(each.again for each in planned)
        question = f"Let group {group!r} skip {moved[0]:,} messages and get {moved[1]:,} again?"
        if to.at_ms is not None and all(each.at_end for each in planned):
            question = f"Nothing came since then, so that is the end. {question}"
        confirm(question, yes=yes)
    _print_sought(ask(server, request).partitions, as_json=as_json, err=False)


def _request(source: str, group: str, to: Place, partitions: tuple[int, ...]) -> SeekRequest:
    request = SeekRequest(source=source, group=group, partitions=list(partitions) or None)
    if to.after is not None:
        if len(partitions) != 1:
            raise click.UsageError("a position is of one partition: name it with --partition")
        request.positions = {partitions[0]: StreamPosition(to.after.offset, to.after.epoch)}
        request.partitions = None
    request.to = Edge(to.edge) if to.edge is not None else None
    request.offset, request.at_ms = to.offset, to.at_ms
    return request


def _print_sought(sought: list[SoughtPartition], *, as_json: bool, err: bool) -> None:
    if as_json:
        document(sought)
        return
    rows = [
        (
            each.partition,
            _told(each.before),
            _told(each.position),
            each.skipped,
            each.again,
            "the end" if each.at_end else "",
        )
        for each in sought
    ]
    table(("partition", "from", "to", "skips", "gets again", ""), rows, err=err)


@click.command("drop-group")
@click.argument("source")
@click.argument("group")
@yes_option
@at_api
@as_json
def drop_group(server: Server, source: str, group: str, yes: bool, as_json: bool) -> None:
    """Forget a group: where it stood, and who is in it. Asks first.

    Example: gapless stream drop-group orders billing --yes
    """
    confirm(f"Forget group {group!r} of {source!r}, and where it stood?", yes=yes)
    if not ask(server, DropGroupRequest(source=source, group=group)).found:
        raise UsageError(f"{source!r} has no group {group!r}: see gapless stream groups")
    if as_json:
        document({"source": source, "group": group, "found": True})
    else:
        click.echo(f"group {group!r} of {source!r} is forgotten")
