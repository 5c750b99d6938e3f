"""What the parts of the store on Redis share: how its functions are called."""

import asyncio

from gapless.backends import Options
from gapless.backends.redis.bus import RedisBus
from gapless.backends.redis.calls import Calls

__all__ = ["RedisPart"]


class RedisPart:
    """The base of each port's part."""

    _options: Options
    _calls: Calls
    _loop: asyncio.AbstractEventLoop
    bus: RedisBus
