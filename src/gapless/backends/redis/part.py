"""What the parts of the store on Redis share: how its functions are called."""

import asyncio
from abc import ABC, abstractmethod

from gapless.backends import Options
from gapless.backends.redis.bus import RedisBus
from gapless.backends.redis.calls import Calls

__all__ = ["RedisPart"]


class RedisPart(ABC):
    """The base of each port's part."""

    _options: Options
    _calls: Calls
    _loop: asyncio.AbstractEventLoop
    bus: RedisBus

    @abstractmethod
    async def _drain(self) -> None:
        """Wait until what was appended before is on its way to Redis, ahead of what is called then."""
