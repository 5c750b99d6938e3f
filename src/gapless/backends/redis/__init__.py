"""Redis 7.0 or later: several nodes share it, and each operation is one function inside it."""

from gapless.backends.redis.address import Address
from gapless.backends.redis.backend import Backend
from gapless.ports import Durability

__all__ = ["Backend", "strongest"]


def strongest(address: str) -> Durability:
    """See `backends.strongest`. Which class it really has, its settings tell when it is opened."""
    Address.read(address)
    return Durability.DISK
