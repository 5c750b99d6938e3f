"""`gapless queue push`."""

from collections.abc import Callable
from functools import wraps
from typing import Any, Final

import click
from msgspec.structs import replace

from gapless.cli.calling import Server, as_json, at_api
from gapless.cli.loading import STDIN, load, opened, payload, skip_option
from gapless.cli.places import duration, time
from gapless.cli.printing import document
from gapless.cli.verbs import ask
from gapless.core.limits import PRIORITY_MAX
from gapless.protocol.queues import EnqueueRequest, NewJob

__all__ = ["header_option", "numbered", "push", "source_of"]

Command = Callable[..., None]
FIELDS: Final = (
    "key", "delay_ms", "at_ms", "priority", "expires_ms", "message_id", "unique", "unique_ms", "headers"
)  # fmt: skip


def _headers(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for each in value:
        name, equals, text = each.partition("=")
        if not name or not equals:
            raise click.BadParameter(f"{each!r} is no header; write NAME=VALUE", ctx, param)
        found[name] = text
    return found


header_option = click.option(
    "--header",
    "headers",
    multiple=True,
    callback=_headers,
    metavar="NAME=VALUE",
    help="A header; may be repeated.",
)


def source_of(data: str | None, file: str | None) -> str | None:
    """Return the file whose lines are meant, or None for a single payload. Raises click.UsageError."""
    if (data is None) is (file is None):
        raise click.UsageError("give DATA, or --file FILE")
    return file if data is None else STDIN if data == STDIN else None


def numbered(prefix: str | None, number: int) -> str | None:
    """Return the message id of a line, if its load has a name."""
    return None if prefix is None else f"{prefix}-{number}"


def _job_options(command: Command) -> Command:
    """Give a command the options of a job; it takes `new`, in which the payload is missing."""

    @wraps(command)
    def run(queue: str, at_ms: int | None, **given: Any) -> None:
        given["at_ms"] = at_ms or 0
        command(new=NewJob(queue=queue, **{name: given.pop(name) for name in FIELDS}), **given)

    for option in (
        header_option,
        click.option(
            "--unique-for",
            "unique_ms",
            type=duration,
            default="0",
            help="How long --unique holds at most; 0: until it is done.",
        ),
        click.option(
            "--unique", help="A name: as long as a job of that name is not done, this is the same job."
        ),
        click.option(
            "--message-id", help="Makes a repeat the same job; lines of a file get their number added."
        ),
        click.option(
            "--expires",
            "expires_ms",
            type=duration,
            default="0",
            help="Bury it if nobody claims it for so long.",
        ),
        click.option(
            "--priority",
            type=click.IntRange(0, PRIORITY_MAX),
            default=0,
            show_default=True,
            help="9 is most urgent.",
        ),
        click.option("--at", "at_ms", type=time, default=None, help="When it is due."),
        click.option("--delay", "delay_ms", type=duration, default="0", help="When it is due, from now."),
        click.option("--key", help="Jobs of one key are done one after the other."),
    ):
        run = option(run)
    return run


@click.command()
@click.argument("queue")
@click.argument("data", required=False)
@click.option("--file", "-f", type=click.Path(dir_okay=False), help="Each line of this file is a job.")
@_job_options
@skip_option
@at_api
@as_json
def push(server: Server, new: NewJob, data: str | None, file: str | None, skip: int, as_json: bool) -> None:
    """Enqueue DATA, and print the job's id.

    DATA is JSON; what is not JSON is sent as a text. With - each line of standard input is a job, with --file
    each of a file; with --message-id such a load can be repeated, and what is there already is not doubled.

    Example: gapless queue push mails '{"to": "ann"}' --key ann --delay 10m
    """
    lines = source_of(data, file)
    if lines is None:
        assert data is not None
        new.data = payload(data.encode())
        (item,) = ask(server, EnqueueRequest(jobs=[new])).jobs
        if as_json:
            document(item.result)
        else:
            click.echo(item.result.id)
            if not item.result.fresh:
                click.echo("it was there already", err=True)
        return
    _load(server, new, lines, skip, as_json=as_json)


def _load(server: Server, new: NewJob, file: str, skip: int, *, as_json: bool) -> None:
    fresh = 0

    def send(batch: list[bytes], before: int) -> None:
        nonlocal fresh
        jobs = [
            replace(new, data=payload(line), message_id=numbered(new.message_id, number))
            for number, line in enumerate(batch, start=before + 1)
        ]
        fresh += sum(item.result.fresh for item in ask(server, EnqueueRequest(jobs=jobs)).jobs)

    with opened(file) as lines:
        count = load(lines, "enqueueing", "jobs", send, skip=skip) - skip
    if as_json:
        document({"jobs": count, "fresh": fresh})
    else:
        known = f"; {count - fresh:,} of them were there already" if fresh < count else ""
        click.echo(f"enqueued {count:,} jobs{known}")
