"""`gapless asyncapi`."""

import click
import msgspec

from gapless.worker.finding import find

__all__ = ["asyncapi"]


@click.command()
@click.argument("target", metavar="MODULE:GL")
@click.option("--title", default="", help="What the document is about.  [default: MODULE]")
@click.option("--version", default="0.0.0", show_default=True, help="The version of your program.")
def asyncapi(target: str, title: str, version: str) -> None:
    """Print what the functions declared at MODULE:GL receive, as an AsyncAPI 3.0 document in JSON."""
    document = find(target).asyncapi(title or target.partition(":")[0], version)
    click.echo(msgspec.json.format(msgspec.json.encode(document)).decode())
