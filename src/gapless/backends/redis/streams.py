"""The port Streams on Redis."""

from gapless.backends.redis.part import RedisPart
from gapless.ports import Streams

__all__ = ["RedisStreams"]


class RedisStreams(RedisPart, Streams):
    """Streams, as functions inside Redis."""
