"""Who is there, across nodes."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["Presence", "Present"]


class Present(NamedTuple):
    """Somebody who is in a channel: one connection, with `info` about it, which is opaque to the store."""

    channel: str
    client: str
    info: bytes


class Presence(ABC):
    """Who is in which channel, across nodes: a snapshot with a time to live (semantics 6).

    It is kept for as long as the node lives through which somebody is there; it need not outlive the store's
    process. That a node's time is over is a comparison made by whoever looks.
    """

    @abstractmethod
    async def beat(self, node: str, ttl_ms: int) -> bool:
        """Say that a node lives for `ttl_ms` more, by the store's time.

        False if it was not alive by then: whatever it had entered is gone, and has to be entered again.
        """

    @abstractmethod
    async def enter(self, node: str, entered: Sequence[Present]) -> None:
        """Note who came through a node that lives. Who is there already is told of anew."""

    @abstractmethod
    async def depart(self, node: str, departed: Sequence[tuple[str, str]]) -> None:
        """Note who went: (channel, client), as far as they are there through this node. Harmless twice."""

    @abstractmethod
    async def present(self, channel: str) -> dict[str, bytes]:
        """Return the `info` of all who are there through nodes that live, by client."""

    @abstractmethod
    async def bury(self, limit: int) -> list[Present]:
        """Remove up to `limit` of those whose node's time is over, and return them.

        Each is returned to one caller only, who tells the others that they are gone.
        """

    @abstractmethod
    async def end(self, node: str) -> None:
        """Let a node's time be over now, with nobody left to bury. Harmless when it was."""
