"""The options that say what is configured, of each command that wants to know."""

import os
from collections.abc import Callable, Sequence
from functools import partial, wraps
from pathlib import Path
from typing import Any, Final

import click

from gapless.server.config import Source, from_all

__all__ = ["Sources", "configured", "lenient", "override"]

Sources = Callable[[], Sequence[Source]]
"""Reads what is configured: the file, the environment, the flags; anew each time."""

override: Final = click.option(
    "--set", "assignments", multiple=True, metavar="KEY=VALUE", help="Override one key."
)
lenient: Final = click.option(
    "--lenient", is_flag=True, help="Warn about keys that gapless does not have, instead of refusing."
)


def configured(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options --config and --set; it takes `sources`."""

    @wraps(command)
    def run(file: Path | None, assignments: tuple[str, ...], **given: Any) -> None:
        command(sources=partial(from_all, file, os.environ, assignments), **given)

    path = click.Path(path_type=Path)
    return click.option("--config", "-c", "file", type=path, help="A TOML or JSON file.")(override(run))
