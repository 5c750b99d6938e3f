"""What is asked of the writer beside messages: a call of the queues' or groups' port, in its transaction."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from gapless.core.errors import GaplessError

if TYPE_CHECKING:
    from gapless.backends.sqlite.log import Log

__all__ = ["WHOLE", "Undo", "Work"]

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

    `refused` are the errors of items with which the transaction was undone.
    """

    weight: int = 1
    size: int = 0
    refused: Mapping[int, GaplessError] = {}

    @abstractmethod
    def carry_out(self, log: "Log") -> Any:
        """Do it in the transaction that is open, and return the answer.

        Raises:
            GaplessError: it is refused; nothing has changed then.
        """
