"""The store on Redis: its ports put together, opened and closed."""

import asyncio
from typing import Self

from gapless.backends import Options
from gapless.backends.redis.address import Address
from gapless.backends.redis.bus import RedisBus
from gapless.backends.redis.calls import Calls
from gapless.backends.redis.durability import Standing
from gapless.backends.redis.groups import RedisGroups
from gapless.backends.redis.jobs import RedisQueues
from gapless.backends.redis.presence import RedisPresence
from gapless.backends.redis.streams import RedisStreams
from gapless.core.errors import StoreRefused, Unavailable
from gapless.ports import Store

__all__ = ["Backend"]


class Backend(RedisStreams, RedisQueues, RedisGroups, RedisPresence, Store):
    """Streams, queues, groups and presence on one Redis, which other nodes use too."""

    shared = True
    bus: RedisBus

    def __init__(self, address: Address, options: Options) -> None:
        self._options = options
        self._loop = asyncio.get_running_loop()
        self._calls = Calls(address, options)
        self._calls.begun = self._on_begun
        self._calls.attachment.stood = self._on_stood
        self.bus = RedisBus(self._calls, options, self.heads)
        self._calls.moved = self.bus.reconnect
        super().__init__()

    @classmethod
    async def open(cls, address: str, options: Options) -> Self:
        """Open the store that a URL names, or begin it.

        Raises:
            ConfigError: the URL names no Redis.
            StoreRefused: this Redis may not be used as it is, or cannot be reached.
        """
        store = cls(Address.read(address), options)
        try:
            await store._calls.open()
            await store.bus.open()
        except Unavailable as error:
            await store.close()
            if isinstance(error, StoreRefused):
                raise
            raise StoreRefused(str(error)) from error
        except BaseException:
            await store.close()
            raise
        store.epoch = store._calls.epoch
        return store

    def _on_begun(self, epoch: str) -> None:
        self.epoch = epoch

    def _on_stood(self, standing: Standing) -> None:
        self.durability = standing.durability

    async def close(self) -> None:
        await self.bus.close()
        await self._finish()
        await self._calls.close()
