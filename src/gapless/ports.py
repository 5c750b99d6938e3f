"""The ports: what gapless asks of an engine. Each sentence is a promise, each promise a conformance test.

Callbacks run on the event loop that opened the backend.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import NamedTuple, Protocol

from gapless.core.lineage import Generation
from gapless.core.stream import Done, Entry, Heads, Message, Page, Position

__all__ = ["Bus", "Clock", "Durability", "Statistics", "Streams", "Timer"]


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


class Statistics(NamedTuple):
    """How a store's writer is doing since it was opened. The percentiles are of the latest commits."""

    commits: int
    entries: int
    entries_max: int  # in one commit
    commit_ns_sum: int
    commit_ns_max: int
    commit_ns_p50: int
    commit_ns_p99: int
    queue_entries: int
    queue_bytes: int


class Streams(ABC):
    """Durable, ordered logs.

    Every append is atomic, and durable in the store's class before it is answered.
    Offsets of a stream are dense and rise by one; no offset is ever given to two messages
    of one epoch. The stored time never falls within a stream. What retention drops is gone
    at once; retention by bytes leaves the newest message. A stream that was forgotten
    (`meta_ttl_ms`) raises the store's floor to its head, and a new stream starts above the floor.
    """

    durability: Durability
    epoch: str  # the current generation
    shared: bool = False  # other nodes append to the same streams

    @abstractmethod
    def append(self, entries: Sequence[Entry], done: Done) -> None:
        """Append entries in their order; together they join the commit that is forming.

        `done` is called once, after the commit and never inside `append`, in commit order; entries of one
        stream are committed in the order of the calls. A `done` that raises keeps no other from its answer.
        A refused entry leaves the others of its commit alone, but for what its `origin` had queued behind
        it for that stream, which is refused too. The key is checked before the expected position, that
        before the limits. A key outlives its message, and is held for its window and up to an hour more.

        Raises:
            TooManyRequests: the writer's queue is full; nothing was queued.
            StoreFailed: the store is closed, or an earlier commit failed; nothing was queued.
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
        the end; at or below the floor it gives an empty page. Messages are in rising order either way.
        At least one message is returned if any is there, however large; never more than
        PAGE_MESSAGES_MAX or PAGE_BYTES_MAX. A stream that does not exist is empty and stands at
        the store's floor.

        Raises:
            PositionLost: the position does not hold, or `after` lies below the floor or beyond the end.
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
        """Drop everything up to and including offset `through`; the offsets are never given again.

        It follows the appends that were made before it. `through` beyond the end is the end.
        """

    @abstractmethod
    async def generations(self) -> list[Generation]:
        """List the store's incarnations that it still knows, oldest first; the last is the current one."""

    @abstractmethod
    def statistics(self) -> Statistics:
        """Tell how the writer is doing."""

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
