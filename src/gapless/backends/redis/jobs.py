"""The port Queues on Redis."""

from gapless.backends.redis.part import RedisPart
from gapless.ports import Queues

__all__ = ["RedisQueues"]


class RedisQueues(RedisPart, Queues):
    """Queues, as functions inside Redis."""
