"""The port Groups on Redis."""

from gapless.backends.redis.part import RedisPart
from gapless.ports import Groups

__all__ = ["RedisGroups"]


class RedisGroups(RedisPart, Groups):
    """Groups, as functions inside Redis."""
