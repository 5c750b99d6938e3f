"""Everything in memory, gone with the process: the model that the other engines are compared with."""

from gapless.backends.memory.groups import MemoryGroups
from gapless.backends.memory.queues import MemoryQueues
from gapless.backends.memory.streams import Kept
from gapless.ports import Store

__all__ = ["Backend", "Kept"]


class Backend(MemoryQueues, MemoryGroups, Store):
    """A store in memory."""
