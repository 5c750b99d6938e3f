"""Everything in memory, gone with the process: the model that the other engines are compared with."""

from gapless.backends.memory.queues import MemoryQueues
from gapless.backends.memory.streams import Kept

__all__ = ["Backend", "Kept"]


class Backend(MemoryQueues):
    """A store in memory."""
