"""Progress of what a person waits for: a line on a terminal that moves, else now and then a line."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import click

__all__ = ["Tell", "progress"]

Tell = Callable[[int, int | None], object]
"""Takes how much is done, and of how much, if that is known."""

# Without a terminal a line is printed at each of so many parts of the whole, or at each power of ten.
PARTS: Final = 10


@contextmanager
def progress(verb: str, unit: str) -> Iterator[Tell]:
    """Show progress on standard error while the body runs, which says how far it is."""
    if not sys.stderr.isatty():
        yield _Lines(verb, unit)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = TextColumn(verb), BarColumn(), MofNCompleteColumn(), TextColumn(unit), TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task(verb, total=None)

        def tell(done: int, total: int | None) -> None:
            shown.update(task, completed=done, total=total)

        yield tell


class _Lines:
    """Says it in lines, for a log."""

    def __init__(self, verb: str, unit: str) -> None:
        self._verb = verb
        self._unit = unit
        self._told = 0

    def __call__(self, done: int, total: int | None) -> None:
        step = done * PARTS // total if total else len(str(done))
        if done and step > self._told:
            self._told = step
            whole = f" of {total}" if total else ""
            click.echo(f"{self._verb}: {done}{whole} {self._unit}", err=True)
