"""What is asked of the writer beside messages: a call of the queues' or groups' port, in its transaction."""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gapless.backends.sqlite.log import Log

__all__ = ["Work"]


class Work(ABC):
    """One call. `weight` counts against the limit of a commit's entries, `size` against that of its bytes."""

    weight: int = 1
    size: int = 0

    @abstractmethod
    def carry_out(self, log: "Log") -> Any:
        """Do it in the transaction that is open, and return the answer.

        Raises:
            GaplessError: it is refused; nothing has changed then.
        """
