"""What is asked of the writer beside messages: a call of the queues' or groups' port, in its transaction."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Self

from gapless.core.errors import GaplessError

if TYPE_CHECKING:
    from gapless.backends.sqlite.log import Log

__all__ = ["WHOLE", "Undo", "Work", "split"]

WHOLE: Final = -1


class Undo(Exception):
    """Something was refused only when a part of it was done: the transaction is carried out anew without it.

    `item` tells which of a call's items that was; WHOLE: the call itself.
    """

    def __init__(self, error: GaplessError, item: int = WHOLE) -> None:
        super().__init__(str(error))
        self.error = error
        self.item = item


class Work(ABC):
    """One call. `weight` counts against the limit of a commit's entries, `size` against that of its bytes.

    `items` are answered one by one, `refused` are the errors of those with which the transaction was undone.
    """

    weight: int = 1
    size: int = 0
    items: int = 1
    refused: Mapping[int, GaplessError] = {}

    def halves(self) -> tuple[Self, Self] | None:
        """Return two calls that together are this one, in a list of answers each; None: it is one thing."""
        return None

    @abstractmethod
    def carry_out(self, log: "Log") -> Any:
        """Do it in the transaction that is open, and return the answer.

        Raises:
            GaplessError: it is refused; nothing has changed then.
        """


def split(
    refused: Mapping[int, GaplessError], at: int
) -> tuple[dict[int, GaplessError], dict[int, GaplessError]]:
    """Return which items before `at` were refused, and which from there on, counted from there."""
    before = {item: error for item, error in refused.items() if item < at}
    return before, {item - at: error for item, error in refused.items() if item >= at}
