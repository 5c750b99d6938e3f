"""The port Presence on Redis."""

from collections.abc import Sequence
from typing import Final

from gapless.backends.redis.part import RedisPart
from gapless.ports import Presence, Present

__all__ = ["RedisPresence"]

# Who is noted, and who is buried, in one call.
NOTED_MAX: Final = 256
BURIED_MAX: Final = 1_000


class RedisPresence(RedisPart, Presence):
    """Who is there, by leases of nodes."""

    async def beat(self, node: str, ttl_ms: int) -> bool:
        [was_alive] = await self._calls.call("presence_beat", node, ttl_ms)
        return bool(was_alive)

    async def enter(self, node: str, entered: Sequence[Present]) -> None:
        for at in range(0, len(entered), NOTED_MAX):
            parts = [part for one in entered[at : at + NOTED_MAX] for part in one]
            await self._calls.call("presence_enter", node, *parts)

    async def depart(self, node: str, departed: Sequence[tuple[str, str]]) -> None:
        for at in range(0, len(departed), NOTED_MAX):
            parts = [part for one in departed[at : at + NOTED_MAX] for part in one]
            await self._calls.call("presence_depart", node, *parts)

    async def present(self, channel: str) -> dict[str, bytes]:
        alive, told = await self._calls.read("presence_present", channel)
        leases = {lease.partition(b":")[0] for lease in alive}
        entered = (
            (client, *noted.split(b":", 1)) for client, noted in zip(told[::2], told[1::2], strict=True)
        )
        return {client.decode(): info for client, lease, info in entered if lease in leases}

    async def bury(self, limit: int) -> list[Present]:
        [told] = await self._calls.call("presence_bury", min(limit, BURIED_MAX))
        triples = zip(told[::3], told[1::3], told[2::3], strict=True)
        return [Present(channel.decode(), client.decode(), info) for channel, client, info in triples]

    async def end(self, node: str) -> None:
        await self._calls.call("presence_end", node)
