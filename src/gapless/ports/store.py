"""An engine that keeps all of them."""

from abc import abstractmethod
from collections.abc import Sequence

from gapless.core.jobs import (
    Emit,
    Enqueued,
)
from gapless.core.stream import Stored
from gapless.ports.groups import Groups
from gapless.ports.presence import Presence
from gapless.ports.queues import Queues
from gapless.ports.streams import Streams

__all__ = ["Store"]


class Store(Streams, Queues, Groups, Presence):
    """An engine that keeps all four."""

    @abstractmethod
    async def store_all(self, emits: Sequence[Emit]) -> tuple[Stored | Enqueued, ...]:
        """Append and enqueue in one transaction, in their order: all of these, or none.

        They are checked as by `append` and `enqueue`; whoever reads sees all of them or none.

        Raises:
            GaplessError: one of them is refused.
        """
