"""`gapless queue schedules`: recurring jobs."""

import click

from gapless.cli.asking import confirm, yes_option
from gapless.cli.calling import Server, as_json, at_api
from gapless.cli.enqueueing import header_option
from gapless.cli.loading import payload
from gapless.cli.places import duration
from gapless.cli.printing import document, table, when
from gapless.cli.verbs import ask
from gapless.core.durations import spelled
from gapless.core.errors import UsageError
from gapless.protocol.schedules import Missed, ScheduleRequest, SchedulesRequest, UnscheduleRequest

__all__ = ["schedules"]


@click.group()
def schedules() -> None:
    """Look after recurring jobs."""


@schedules.command()
@at_api
@as_json
def ls(server: Server, as_json: bool) -> None:
    """List the recurring jobs, and when they fire.

    Example: gapless queue schedules ls
    """
    found = ask(server, SchedulesRequest()).schedules
    if as_json:
        document(found)
        return
    rows = [
        (
            each.name,
            each.queue,
            each.cron or f"every {spelled(each.every_ms)}",
            each.time_zone,
            when(each.last_ms),
            when(each.next_ms),
        )
        for each in found
    ]
    table(("name", "queue", "fires", "time zone", "last", "next"), rows)


@schedules.command()
@click.argument("name")
@click.argument("queue")
@click.argument("data")
@click.option(
    "--cron", default="", metavar="EXPRESSION", help="When: five fields, or six with seconds first."
)
@click.option("--every", "every_ms", type=duration, default="0", help="How often, in place of --cron.")
@click.option("--time-zone", default="UTC", show_default=True, help="Of the cron expression.")
@click.option(
    "--missed",
    type=click.Choice([each.value for each in Missed]),
    default="one",
    show_default=True,
    help="What becomes of ticks that passed while no server ran.",
)
@click.option("--key", help="Jobs of one key are done one after the other.")
@click.option("--priority", type=int, default=0, show_default=True, help="9 is most urgent.")
@click.option(
    "--expires", "expires_ms", type=duration, default="0", help="Bury a job that nobody claims for so long."
)
@header_option
@at_api
@as_json
def add(server: Server, data: str, missed: str, as_json: bool, **given: object) -> None:
    """Enqueue DATA into QUEUE again and again; one of the same NAME is replaced.

    Example: gapless queue schedules add nightly reports '{}' --cron '0 3 * * *'
    """
    request = ScheduleRequest(data=payload(data.encode()), missed=Missed(missed), **given)  # type: ignore[arg-type]
    if bool(request.cron) is bool(request.every_ms):
        raise click.UsageError("give --cron or --every")
    answer = ask(server, request)
    if as_json:
        document(answer)
    else:
        click.echo(f"{request.name!r} fires next at {when(answer.next_ms)}")


@schedules.command()
@click.argument("name")
@yes_option
@at_api
@as_json
def remove(server: Server, name: str, yes: bool, as_json: bool) -> None:
    """Forget a recurring job; jobs that it enqueued stay. Asks first.

    Example: gapless queue schedules remove nightly --yes
    """
    confirm(f"Forget the recurring job {name!r}?", yes=yes)
    if not ask(server, UnscheduleRequest(name=name)).found:
        raise UsageError(f"there is no recurring job {name!r}: see gapless queue schedules ls")
    if as_json:
        document({"name": name, "found": True})
    else:
        click.echo(f"{name!r} is forgotten")
