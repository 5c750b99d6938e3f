"""Everything in memory, gone with the process: the model that the other engines are compared with."""

from collections.abc import Sequence

from gapless.backends.memory.groups import MemoryGroups
from gapless.backends.memory.presence import MemoryPresence
from gapless.backends.memory.queues import MemoryQueues
from gapless.backends.memory.streams import Kept
from gapless.core.jobs import Emit, Enqueued
from gapless.core.stream import Stored
from gapless.ports import Durability, Store

__all__ = ["Backend", "Kept", "strongest"]


def strongest(address: str) -> Durability:
    """See `backends.strongest`."""
    return Durability.MEMORY


class Backend(MemoryQueues, MemoryGroups, MemoryPresence, Store):
    """A store in memory."""

    async def store_all(self, emits: Sequence[Emit]) -> tuple[Stored | Enqueued, ...]:
        self._check_open()
        await self._drain()
        return self.emit(emits, self._now_ms())
