"""`gapless version`."""

import click

from gapless import __version__

__all__ = ["version"]


@click.command()
def version() -> None:
    """Print the version."""
    click.echo(f"gapless {__version__}")
