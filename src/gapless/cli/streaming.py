"""`gapless stream`: streams, as they are and how they are kept."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import click
import msgspec
from msgspec.structs import replace

from gapless.cli.appending import append, import_
from gapless.cli.asking import confirm, yes_option
from gapless.cli.calling import Server, as_json, at_api
from gapless.cli.exporting import export, partition_option, read, replay
from gapless.cli.following import tail
from gapless.cli.grouping import drop_group, groups, lag, seek
from gapless.cli.places import duration, since_ms
from gapless.cli.printing import document, table, when
from gapless.cli.verbs import ask, every_stream
from gapless.core.durations import spelled
from gapless.core.errors import UsageError
from gapless.core.limits import PAGE_MESSAGES_MAX, PARTITIONS_MAX
from gapless.protocol.settings import FullStreamSettings, StreamSettings, said
from gapless.protocol.streams import (
    AuditRecord,
    AuditRequest,
    CompactRequest,
    DeclareStreamRequest,
    DropStreamRequest,
    StreamStatus,
    TrimRequest,
)

__all__ = ["stream"]

Command = Callable[..., None]


@click.group()
def stream() -> None:
    """Look after streams, and the groups that read them."""


for _command in (append, import_, read, tail, export, replay, groups, lag, seek, drop_group):
    stream.add_command(_command)


@stream.command()
@at_api
@as_json
def ls(server: Server, as_json: bool) -> None:
    """List the streams, and how much they keep.

    Example: gapless stream ls
    """
    found = list(every_stream(server))
    if as_json:
        document(found)
        return
    rows = [(each.stream, len(each.partitions), _kept(each), _settings(each.options)) for each in found]
    table(("stream", "partitions", "messages", "kept"), rows)


def _kept(status: StreamStatus) -> int:
    return sum(max(0, each.last + 1 - each.oldest) for each in status.partitions)


def _settings(settings: FullStreamSettings) -> str:
    told = [f"{settings.retention_messages:,} messages"] if settings.retention_messages else []
    told += [spelled(settings.retention_ms)] if settings.retention_ms else []
    told += [f"{settings.retention_bytes:,} bytes"] if settings.retention_bytes else []
    told += [name for name in ("keyed", "compact", "audit") if getattr(settings, name)]
    return ", ".join(told)


def _settings_options(command: Command) -> Command:
    """Give a command the options of a stream; it takes `settings`."""

    @wraps(command)
    def run(**given: Any) -> None:
        options = {name: given.pop(name) for name in StreamSettings.__struct_fields__}
        settings = StreamSettings(**{name: value for name, value in options.items() if value is not None})
        command(settings=settings, **given)

    count = click.IntRange(0)
    for option in (
        click.option("--audit/--no-audit", default=None, help="Record every append and commit too."),
        click.option(
            "--compact/--no-compact",
            default=None,
            help="Keep the last message of each key only; needs --keyed.",
        ),
        click.option("--keyed/--not-keyed", default=None, help="Keep an index by the messages' keys."),
        click.option("--keep-bytes", "retention_bytes", type=count, help="How much of a partition; 0: all."),
        click.option("--keep-for", "retention_ms", type=duration, help="For how long; 0: for good."),
        click.option("--keep", "retention_messages", type=count, help="How many of a partition; 0: all."),
        click.option(
            "--partitions",
            type=click.IntRange(1, PARTITIONS_MAX),
            show_default="1",
            help="How many; that never changes.",
        ),
    ):
        run = option(run)
    return run


@stream.command()
@click.argument("stream", metavar="STREAM")
@_settings_options
@click.option("--replace", "replaced", is_flag=True, help="Let a stream that is there be kept otherwise.")
@at_api
@as_json
def create(server: Server, stream: str, settings: StreamSettings, replaced: bool, as_json: bool) -> None:
    """Make a stream.

    One that is there stays as it is, but for the options that are given: if they are others, that is an error
    without --replace. What a rule of the configuration says, holds.

    Example: gapless stream create orders --partitions 8 --keep-for 30d --keyed
    """
    there = _status(server, stream)
    asked = said(settings, StreamSettings)
    if there is not None and replace(there.options, **asked) != there.options and not replaced:
        raise UsageError(f"stream {stream!r} is there with other options: --replace lets it have these")
    answer = ask(server, DeclareStreamRequest(stream=stream, options=settings))
    if as_json:
        document({"stream": stream, "fresh": answer.fresh})
    else:
        click.echo(f"stream {stream!r} {'is made' if answer.fresh else 'was there; it is kept as said now'}")


def _status(server: Server, stream: str) -> StreamStatus | None:
    return next((each for each in every_stream(server) if each.stream == stream), None)


@stream.command()
@click.argument("stream", metavar="STREAM")
@yes_option
@at_api
@as_json
def drop(server: Server, stream: str, yes: bool, as_json: bool) -> None:
    """Remove a stream with all its messages, and the groups that read it. Asks first.

    Example: gapless stream drop orders --yes
    """
    request = DropStreamRequest(stream=stream)
    there = _status(server, stream)
    if there is not None:
        confirm(f"Remove stream {stream!r} with its {_kept(there):,} messages, and its groups?", yes=yes)
    ask(server, request)
    if as_json:
        document({"stream": stream})
    else:
        click.echo(f"stream {stream!r} is gone")


@stream.command()
@click.argument("source")
@click.option("--before", callback=since_ms, metavar="TIME", help='What is older: "30d ago", 30d, or a time.')
@click.option("--through", type=click.IntRange(1), metavar="OFFSET", help="Everything up to this message.")
@partition_option
@yes_option
@at_api
@as_json
def trim(
    server: Server,
    source: str,
    before: int | None,
    through: int | None,
    partition: int | None,
    yes: bool,
    as_json: bool,
) -> None:
    """Drop the oldest messages of a stream for good. Asks first.

    Example: gapless stream trim orders --before 30d --yes
    """
    if (before is None) is (through is None):
        raise click.UsageError("give --before TIME, or --through OFFSET")
    what = f"older than {when(before)}" if before is not None else f"up to offset {through:,}"
    confirm(f"Drop the messages of {source!r} {what} for good?", yes=yes)
    request = TrimRequest(stream=source, partition=partition, offset=through, before_ms=before)
    partitions = ask(server, request).partitions
    if as_json:
        document(partitions)
    else:
        table(
            ("partition", "oldest", "last"), [(each.partition, each.oldest, each.last) for each in partitions]
        )


@stream.command()
@click.argument("stream", metavar="STREAM")
@partition_option
@yes_option
@at_api
@as_json
def compact(server: Server, stream: str, partition: int | None, yes: bool, as_json: bool) -> None:
    """Erase messages that later ones of the same key have replaced. Asks first.

    Example: gapless stream compact prices --yes
    """
    confirm(f"Erase all but the last message of each key of {stream!r}?", yes=yes)
    answer = ask(server, CompactRequest(stream=stream, partition=partition))
    if as_json:
        document({"stream": stream, "erased": answer.erased})
    else:
        click.echo(f"{answer.erased:,} messages of {stream!r} are erased")


@stream.command()
@click.argument("name", default="")
@click.option("--what", default="", help="Only this deed, such as seek, trim or redrive.")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="How many records.")
@at_api
@as_json
def audit(server: Server, name: str, what: str, limit: int, as_json: bool) -> None:
    """Print what was done to streams, groups and queues, or to the one of this NAME; the newest first.

    Example: gapless stream audit orders --what seek
    """
    request = AuditRequest(name=name, what=what, limit=min(limit, PAGE_MESSAGES_MAX))
    found: list[AuditRecord] = []
    while len(found) < limit:
        page = ask(server, request)
        found += page.records
        if not page.next:
            break
        request = replace(request, before=page.next)
    if as_json:
        document(found[:limit])
        return
    rows = [
        (when(each.at_ms), each.what, each.who, each.name, msgspec.json.encode(each.details).decode())
        for each in found[:limit]
    ]
    table(("at", "what", "who", "name", "details"), rows)
