"""Who is there, in memory."""

from collections.abc import Sequence

from gapless.backends.memory.streams import MemoryStreams
from gapless.core.roster import Roster
from gapless.ports import Presence, Present

__all__ = ["MemoryPresence"]


class MemoryPresence(MemoryStreams, Presence):
    """A roster by the store's clock."""

    @property
    def _roster(self) -> Roster:
        self._check_open()
        return self._who

    async def beat(self, node: str, ttl_ms: int) -> bool:
        now_ms = self._now_ms()
        return self._roster.beat(node, now_ms + ttl_ms, now_ms)

    async def enter(self, node: str, entered: Sequence[Present]) -> None:
        self._roster.enter(node, entered, self._now_ms())

    async def depart(self, node: str, departed: Sequence[tuple[str, str]]) -> None:
        self._roster.depart(node, departed)

    async def present(self, channel: str) -> dict[str, bytes]:
        return self._roster.present(channel, self._now_ms())

    async def bury(self, limit: int) -> list[Present]:
        return [Present(*one) for one in self._roster.bury(limit, self._now_ms())]

    async def end(self, node: str) -> None:
        self._roster.end(node)
