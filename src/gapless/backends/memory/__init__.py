"""Everything in memory, gone with the process: the model that the other engines are compared with."""

from gapless.backends.memory.streams import Kept, MemoryStreams

__all__ = ["Backend", "Kept"]


class Backend(MemoryStreams):
    """A store in memory."""
