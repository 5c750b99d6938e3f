"""The command line. Each command is imported when it is called."""

from importlib import import_module
from typing import Any, Final

import click

from gapless import __version__
from gapless.core.errors import GaplessError, UsageError

__all__ = ["main"]

COMMANDS: Final = {
    "asyncapi": ("describing", "Print what declared functions receive, as an AsyncAPI document."),
    "backup": ("backing_up", "Copy the store into one file, while the server runs or without it."),
    "bridge": ("bridging", "Let what others publish elsewhere, such as to Redis, flow into channels."),
    "broadcast": ("publishing", "Publish one message to several channels."),
    "channels": ("looking", "List the channels that somebody follows."),
    "config": ("configuring", "Show the configuration, and where each value comes from; find mistakes."),
    "console-password": ("passwords", "Make a hash of a password, for console.users."),
    "dev": ("serving", "Run with all defaults, insecure, for development."),
    "doctor": ("doctor", "Check store, disk, machine and configuration, and say what to do."),
    "history": ("looking", "Print what a channel keeps."),
    "info": ("looking", "Print how the nodes are."),
    "publish": ("publishing", "Publish one message to a channel, or each line of a file."),
    "queue": ("queueing", "Look after queues: push, peek, dead letters, redrive, stats."),
    "restore": ("backing_up", "Put a backup in the place of the store."),
    "serve": ("serving", "Run the server."),
    "store": ("storing", "Check, compact or adopt the store; erase a message."),
    "stream": ("streaming", "Look after streams: append, read, tail, groups, seek, export, import."),
    "tail": ("tailing", "Follow a channel, without a gap across reconnects."),
    "token": ("tokens", "Make and check tokens."),
    "worker": ("working", "Handle jobs and messages with declared functions."),
    "version": ("versioning", "Print the version."),
}


class Misuse(click.ClickException):
    """An error that is the user's."""

    exit_code = 2


class Commands(click.Group):
    """The commands, by name; only the one that is called is imported."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"gapless.cli.{COMMANDS[cmd_name][0]}")
        command: click.Command = getattr(module, cmd_name.replace("-", "_"))
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, help) for name, (_, help) in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; an error is one line, and the exit code 2 for the user's, 1 for the world's."""
        try:
            return super().invoke(ctx)
        except GaplessError as error:
            failure = Misuse if isinstance(error, UsageError) else click.ClickException
            raise failure(str(error)) from error


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
# Not `version`: that is a command, and what a default map says of it would be the option's.
@click.version_option(
    __version__, "--version", "told_version", prog_name="gapless", message="%(prog)s %(version)s"
)
def main() -> None:
    """Run gapless: one server for messages that must not get lost."""
