"""Numbers that are asked of several processes: answered when all have told theirs, or after a while."""

from collections.abc import Callable, Collection
from functools import partial

from gapless.core.limits import SERVER_WORKERS_TELL_MS
from gapless.ports import Clock, Timer
from gapless.server.sums import Measured, kept, summed

__all__ = ["Gathering"]


class Gathering:
    """The numbers of processes, each known by its own number.

    Of one that does not tell in time, those of the last time count. What processes had counted that ended
    is told still, as far as it was told once.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last: dict[int, Measured] = {}
        self._ended: Measured | None = None
        self._rounds: dict[int, _Round] = {}
        self._number = 0

    def begin(self, asked: Collection[int], done: Callable[[Measured], object]) -> int:
        """Wait until each of `asked` has told; return the number under which they are to tell."""
        self._number += 1
        timer = self._clock.after(SERVER_WORKERS_TELL_MS, partial(self._finish, self._number))
        self._rounds[self._number] = _Round(set(asked), done, timer)
        return self._number

    def told(self, process: int, number: int, measured: Measured) -> None:
        """Hear the numbers of a process."""
        self._last[process] = measured
        found = self._rounds.get(number)
        if found is not None:
            found.waiting.discard(process)
            if not found.waiting:
                self._finish(number)

    def ended(self, process: int) -> None:
        """Hear that a process has ended."""
        last = self._last.pop(process, None)
        if last is not None:
            self._ended = kept(last, self._ended)
        for number, found in list(self._rounds.items()):
            found.waiting.discard(process)
            if not found.waiting:
                self._finish(number)

    def _finish(self, number: int) -> None:
        found = self._rounds.pop(number)
        found.timer.cancel()
        found.done(summed([self._last[process] for process in sorted(self._last)], self._ended))


class _Round:
    def __init__(self, waiting: set[int], done: Callable[[Measured], object], timer: Timer) -> None:
        self.waiting = waiting
        self.done = done
        self.timer = timer
