"""Asking before something is done that cannot be undone."""

import sys
from typing import Final

import click

from gapless.core.errors import UsageError

__all__ = ["confirm", "yes_option"]

yes_option: Final = click.option("--yes", is_flag=True, help="Do not ask.")


def confirm(question: str, *, yes: bool) -> None:
    """Go on only if somebody at the terminal says so, or has said `yes` before.

    Raises:
        UsageError: there is no terminal to ask at.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError(f"{question} There is no terminal to ask at: say --yes")
    click.confirm(question, abort=True, err=True)
