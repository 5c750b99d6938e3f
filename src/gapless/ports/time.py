"""Time, passed in."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Protocol

__all__ = ["After", "Clock", "Timer"]


class Timer(Protocol):
    """A wait that may be given up."""

    def cancel(self) -> None:
        """Do not call back; harmless when it already has."""


After = Callable[[int, Callable[[], object]], Timer]
"""Calls back on the loop once so many milliseconds have passed."""


class Clock(ABC):
    """Time, passed in. Whole milliseconds."""

    @abstractmethod
    def now_ms(self) -> int:
        """Milliseconds since the Unix epoch; never falls while the process lives."""

    @abstractmethod
    def after(self, delay_ms: int, callback: Callable[[], object]) -> Timer:
        """Call `callback` on the loop once `delay_ms` have passed."""

    def glance_ms(self, often_ms: int) -> int:
        """Return how often to look at what tells of itself when it changes, lest that was missed."""
        return often_ms
