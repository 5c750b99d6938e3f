"""What a handler emits, stored in the transaction of its ack or commit: all of it or nothing."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, cast

from gapless.backends.sqlite.work import Undo, Work
from gapless.core.errors import GaplessError
from gapless.core.jobs import Emit, Enqueued, Job
from gapless.core.stream import Entry, Stored

if TYPE_CHECKING:
    from gapless.backends.sqlite.log import Log

__all__ = ["StoreAll", "emit"]


class StoreAll(Work):
    """Store several things together, as what is emitted is."""

    def __init__(self, emits: Sequence[Emit]) -> None:
        self._emits = emits
        self.weight = len(emits)
        self.size = sum([len(one.data) for one in emits])

    def carry_out(self, log: "Log") -> tuple[Stored | Enqueued, ...]:
        """Do it."""
        return emit(log, self._emits)


def emit(log: "Log", emits: Sequence[Emit]) -> tuple[Stored | Enqueued, ...]:
    """Append and enqueue in their order, in the transaction that is open.

    Raises:
        GaplessError: the first is refused; nothing has changed then.
        Undo: a later one is; the transaction has to be carried out anew without all of them.
    """
    told: list[Stored | Enqueued] = []
    try:
        for one in _steps(emits):
            told += [log.admit(one)] if isinstance(one, Entry) else log.queues.enqueue_now(one)
    except GaplessError as error:
        if told:
            raise Undo(error) from error
        raise
    return tuple(told)


def _steps(emits: Sequence[Emit]) -> Iterator[Entry | list[Job]]:
    """Jobs that follow each other are enqueued together."""
    for kind, run in groupby(emits, type):
        if kind is Job:
            yield cast(list[Job], list(run))
        else:
            yield from cast(Iterator[Entry], run)
