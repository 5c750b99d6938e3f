"""The ports: what gapless asks of an engine. Each sentence is a promise, each promise a conformance test.

Callbacks run on the event loop that opened the backend.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Protocol

from gapless.core.lineage import Generation
from gapless.core.stream import Done, Entry, Heads, Message, Page, Position

__all__ = ["Bus", "Clock", "Durability", "Streams", "Timer"]


class Durability(StrEnum):
    """What an acknowledged message survives (semantics 8), weakest first."""

    MEMORY = "memory"
    PROCESS = "process"
    DISK = "disk"
    QUORUM = "quorum"


class Timer(Protocol):
    """A wait that may be given up."""

    def cancel(self) -> None:
        """Do not call back; harmless when it already has."""


class Clock(ABC):
    """Time, passed in. Whole milliseconds."""

    @abstractmethod
    def now_ms(self) -> int:
        """Milliseconds since the Unix epoch; never falls while the process lives."""

    @abstractmethod
    def after(self, delay_ms: int, callback: Callable[[], object]) -> Timer:
        """Call `callback` on the loop once `delay_ms` have passed."""


class Streams(ABC):
    """Durable, ordered logs.

    Every append is atomic, and durable in the store's class before it is answered.
    Offsets of a stream are dense and rise by one; no offset is ever given to two messages
    of one epoch. The stored time never falls within a stream.
    """

    durability: Durability
    shared: bool = False  # other nodes append to the same streams

    @abstractmethod
    def append(self, entry: Entry, done: Done) -> None:
        """Append one entry; it joins the commit that is forming.

        `done` is called once, after the commit, in commit order; entries of one stream are
        committed in the order of the calls. A refused entry leaves the others of its
        commit alone. The key is checked before the expected position.

        Raises:
            TooManyRequests: the writer's queue is full; nothing was queued.
            StoreFailed: an earlier commit failed; nothing was queued.
        """

    @abstractmethod
    async def read(
        self,
        stream: str,
        *,
        after: Position | None = None,
        before: Position | None = None,
        limit_messages: int,
        limit_bytes: int,
    ) -> Page:
        """Return the page that follows `after`, or the one that ends just below `before`.

        With neither, the page starts at the oldest kept message. `before` beyond the end is
        the end. Messages are in rising order either way. At least one message is
        returned if any is there, however large. A stream that does not exist is empty
        and stands at the store's floor.

        Raises:
            PositionLost: the position does not hold, or lies below the floor or beyond the end.
            StoreDamaged: a message does not match its checksum.
        """

    @abstractmethod
    async def heads(self, streams: Sequence[str]) -> Heads:
        """Tell where streams stand, all at one instant. An unknown stream stands at the store's floor."""

    @abstractmethod
    async def find(self, stream: str, at_ms: int) -> Position:
        """Return the position just before the first kept message stored at or after `at_ms`."""

    @abstractmethod
    async def trim(self, stream: str, through: int) -> Heads:
        """Drop everything up to and including offset `through`; the offsets are never given again."""

    @abstractmethod
    async def generations(self) -> list[Generation]:
        """List the store's incarnations that it still knows, oldest first; the last is the current one."""

    @abstractmethod
    async def close(self) -> None:
        """Finish what is queued, then let go of the store. Later calls raise `StoreFailed`."""


class Bus(ABC):
    """A doorbell between nodes. Losing, doubling or reordering a ring costs delay, never a gap."""

    @abstractmethod
    def ring(self, stream: str, last: Position, message: Message | None) -> None:
        """Tell the other nodes that `stream` reaches `last`; `message` is the one there, if brought along."""

    @abstractmethod
    def listen(self, heard: Callable[[str, Position, Message | None], None]) -> None:
        """Call `heard` for every ring of another node."""
