"""The ports: what gapless asks of an engine. Each sentence is a promise, each promise a conformance test.

Callbacks run on the event loop that opened the backend.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import NamedTuple, Protocol, runtime_checkable

from gapless.core.lineage import Generation
from gapless.core.stream import Done, Entry, Heads, Message, Page, Position

__all__ = [
    "Bus",
    "Care",
    "Checked",
    "Clock",
    "Compacted",
    "Durability",
    "Statistics",
    "Streams",
    "Timer",
    "Told",
]


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
    reads: int = 0  # pages that were asked for


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
        it for that stream, which is refused too. The key is checked before the version, that before the
        expected position, that before the limits. A key outlives its message, and is held for its window
        and up to an hour more.

        A stale version is a success: nothing is stored, not even its key, and the answer is where the stream
        ends. A stream holds the last version that it took, with its version epoch, until it is
        forgotten; entries without a version change nothing about it. Transient entries go by none.

        What streams of one `Retention.group` hold counts against the group's bytes, data and meta. An entry
        that would go beyond them is refused with `LimitExceeded`. What was dropped counts until
        housekeeping has deleted it, what was erased until it is dropped; a stream counts from
        its first entry in the group on, with all that it holds.

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
        PAGE_MESSAGES_MAX or PAGE_BYTES_MAX. Erased messages are left out and count for neither limit, but a
        page covers up to PAGE_MESSAGES_MAX offsets: where all of these are erased, it is empty. A stream that
        does not exist is empty and stands at the store's floor.

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
    async def erase(self, stream: str, offset: int) -> bool:
        """Remove one message for good, its payload and what is beside it; its offset stays, as a hole.

        It follows the appends that were made before it. False if there is no such message: dropped, not yet
        appended, or erased before. The message's idempotency key stays, so that a retry does not
        bring it back, and its time, by which `find` goes.

        Raises:
            StoreDamaged: the message is lost; there is nothing left to erase.
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


Told = Callable[[int, int], object]
"""Hears of progress on the loop: how much is done, of how much in all."""


class Checked(NamedTuple):
    """What a check of a whole store found: `wrong` counts the findings, of which the first are told."""

    messages: int
    streams: int
    wrong: int
    findings: list[str]


class Compacted(NamedTuple):
    """What compacting gave back."""

    bytes_before: int
    bytes_after: int


@runtime_checkable
class Care(Protocol):
    """Care of a running store that is a file; not every backend has it.

    The work is done in slices between commits, so that appends and reads go on. Giving up (cancelling) leaves
    the store as it was, and no half a file. Paths are on the machine of the process that has the store open.
    """

    def aside(self, name: str) -> str:
        """Return a path for a temporary file beside the store, which is removed when the store is opened."""

    def free_bytes(self) -> int:
        """Return how much room a temporary file beside the store may take."""

    async def backup(self, to: str, told: Told) -> None:
        """Copy the store, as it stands at the end, into one complete file, which is on the disk afterwards.

        Raises:
            StoreFull: there is no room for it; the store itself keeps what it needs.
            StoreError: the copy cannot be written, or the store cannot be read.
        """

    async def check(self, told: Told) -> Checked:
        """Read every message: its checksum, that none is missing, and that the streams' heads agree."""

    async def compact(self, told: Told) -> Compacted:
        """Give unused room back to the file system. Appends and reads wait until it is done.

        Raises:
            StoreFull: there is no room for the smaller file beside the present one.
        """

    async def restore(self, source: str, *, keep: bool, told: Told) -> None:
        """Check the file `source`, which lies beside the store, and put it in the store's place.

        What was appended before is answered before; what comes later is in the new file. It is a new
        generation, which is lossy if the file lacks anything that was acknowledged. The file that was
        there stays beside it when it is to be kept.

        Raises:
            StoreRefused: the file is damaged, of a newer gapless, or no store; nothing was changed.
        """
