"""The name of a worker: its own for each start, as names of machines and numbers of processes come again."""

import os
import socket
from random import Random

__all__ = ["own_name"]


def own_name(random: Random) -> str:
    """Return a name that no other worker has, and that tells people which one it is."""
    return f"{socket.gethostname()[:63]}-{os.getpid()}-{random.getrandbits(32):08x}"
