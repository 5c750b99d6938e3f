"""Compacting a stream to the last message of each key, one stretch of its index per transaction."""

from typing import TYPE_CHECKING

from gapless.backends.sqlite.keyed import START, Place, Slice
from gapless.backends.sqlite.work import Work

if TYPE_CHECKING:
    from gapless.backends.sqlite.log import Log

__all__ = ["CompactKeys"]


class CompactKeys(Work):
    """One step of a compaction, which answers how far it is."""

    def __init__(self, stream: str, through: int, start: Place = START) -> None:
        self._stream = stream
        self._through = through
        self._start = start

    def carry_out(self, log: "Log") -> Slice:
        """Do it."""
        return log.index.compact(log.settled(self._stream), self._through, self._start)
