"""`gapless config`."""

from typing import Final

import click
import msgspec

from gapless.backends import store_clock
from gapless.cli.configured import Sources, configured, lenient
from gapless.server.checking import checked
from gapless.server.config import Reading, examine
from gapless.server.config.showing import Line, lines

__all__ = ["config"]

# A longer value pushes its origin to the right, not those of all others.
VALUE_CHARACTERS: Final = 40


@click.command()
@configured
@lenient
@click.option("--default", "defaults", is_flag=True, help="Show what holds when nothing is configured.")
@click.option(
    "--check", is_flag=True, help="Print only what `serve` would refuse, also in files that are named."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line: key, value, origin.")
def config(sources: Sources, lenient: bool, defaults: bool, check: bool, as_json: bool) -> None:
    """Show each key with its value and where it was set; `serve` with these options would have them too.

    Secrets are not shown. What has no effect is told on standard error. Mistakes end with code 2.
    """
    found = examine([] if defaults else sources(), lenient=lenient)
    for remark in found.remarks:
        click.echo(f"Warning: {remark}", err=True)
    if check:
        checked(found, store_clock()())
    else:
        _show(found, as_json=as_json)


def _show(found: Reading, *, as_json: bool) -> None:
    shown = list(lines(found.checked(), found.origins))
    if as_json:
        for line in shown:
            click.echo(msgspec.json.encode(line))
        return
    rows = [(line.key, _value(line), line.origin) for line in shown]
    wide = [max(len(row[column]) for row in rows) for column in range(2)]
    for key, value, origin in rows:
        click.echo(f"{key:<{wide[0]}}  {value:<{min(wide[1], VALUE_CHARACTERS)}}  {origin}")


def _value(line: Line) -> str:
    return msgspec.json.encode(line.value).decode()
