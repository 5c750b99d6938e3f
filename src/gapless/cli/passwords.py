"""`gapless console-password`."""

import sys
from random import SystemRandom
from typing import Final

import click

from gapless.core.errors import BadRequest
from gapless.server.console.passwords import SALT_BYTES, hash_of

__all__ = ["console_password"]

CHARACTERS_MIN: Final = 8


@click.command("console-password")
def console_password() -> None:
    """Print a hash of a password, for console.users: one that a file may hold without telling it.

    The password is asked for twice without being shown, or else is the first line of standard input.
    """
    click.echo(str(hash_of(_asked(), SystemRandom().randbytes(SALT_BYTES))))


def _asked() -> str:
    if sys.stdin.isatty():
        password: str = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    else:
        password = sys.stdin.readline().rstrip("\r\n")
    if len(password) < CHARACTERS_MIN:
        raise BadRequest(f"a password has at least {CHARACTERS_MIN} characters")
    return password
