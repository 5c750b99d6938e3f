"""Who is there, in the memory of the process that owns the file: it need not outlive that."""

from abc import abstractmethod
from collections.abc import Callable, Sequence

from gapless.core.roster import Roster
from gapless.ports import Presence, Present

__all__ = ["SqlitePresence"]


class SqlitePresence(Presence):
    """A roster by a clock that never falls."""

    _roster_now_ms: Callable[[], int]

    def __init__(self) -> None:
        super().__init__()
        self._entered = Roster()

    @abstractmethod
    def _check_open(self) -> None:
        """Raise StoreFailed if the store was closed."""

    @property
    def _roster(self) -> Roster:
        self._check_open()
        return self._entered

    async def beat(self, node: str, ttl_ms: int) -> bool:
        now_ms = self._roster_now_ms()
        return self._roster.beat(node, now_ms + ttl_ms, now_ms)

    async def enter(self, node: str, entered: Sequence[Present]) -> None:
        self._roster.enter(node, entered, self._roster_now_ms())

    async def depart(self, node: str, departed: Sequence[tuple[str, str]]) -> None:
        self._roster.depart(node, departed)

    async def present(self, channel: str) -> dict[str, bytes]:
        return self._roster.present(channel, self._roster_now_ms())

    async def bury(self, limit: int) -> list[Present]:
        return [Present(*one) for one in self._roster.bury(limit, self._roster_now_ms())]

    async def end(self, node: str) -> None:
        self._roster.end(node)
