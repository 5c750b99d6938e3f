"""`gapless version`."""

import click
import msgspec

from gapless import __version__
from gapless.cli.calling import as_json

__all__ = ["version"]


@click.command()
@as_json
def version(as_json: bool) -> None:
    """Print the version."""
    click.echo(msgspec.json.encode({"version": __version__}) if as_json else f"gapless {__version__}")
