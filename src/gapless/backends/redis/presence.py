"""The port Presence on Redis."""

from gapless.backends.redis.part import RedisPart
from gapless.ports import Presence

__all__ = ["RedisPresence"]


class RedisPresence(RedisPart, Presence):
    """Presence, as functions inside Redis."""
