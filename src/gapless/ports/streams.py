"""Durable, ordered logs."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

from gapless.core.lineage import Generation
from gapless.core.stream import Done, Entry, Heads, Page, Position
from gapless.ports.bus import Bus

__all__ = ["Durability", "Statistics", "Streams"]


class Durability(StrEnum):
    """What an acknowledged message survives (semantics 8), weakest first."""

    MEMORY = "memory"
    PROCESS = "process"
    DISK = "disk"
    QUORUM = "quorum"


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
    in_order: bool = (
        False  # also where it is shared: what was appended to a stream lands in the order of the calls
    )
    bus: "Bus | None" = None  # the doorbell of those who share it, where that comes with it

    @abstractmethod
    def append(self, entries: Sequence[Entry], done: Done) -> None:
        """Append entries in their order; together they join the commit that is forming.

        `done` is called once, after the commit and never inside `append`, in commit order; entries of one
        stream are committed in the order of the calls. A `done` that raises keeps no other from its answer.
        A refused entry leaves the others of its commit alone, but for what its `origin` had queued behind
        it for that stream, which is refused too. The key is checked before the version, that before the
        expected position, that before the expected offset of the last message with a key, that before the
        limits. A key outlives its message, and is held for its window and up to an hour more.

        What an entry has with it (`also`) is stored in the same transaction, after it, if the entry is
        stored anew: not when a key or a version answered, and not with one that is transient. Only limits
        are checked for it; where these refuse it, the entry is refused. Its outcome stands in the entry's.

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
        keyed: str | None = None,
    ) -> Page:
        """Return the page that follows `after`, or the one that ends just below `before`.

        With neither, the page starts at the oldest kept message. `before` beyond the end is the end; at or
        below the floor it gives an empty page. Messages are in rising order either way. At least one message
        is returned if any is there, however large; never more than PAGE_MESSAGES_MAX or PAGE_BYTES_MAX.
        Erased messages are left out and count for neither limit, but a page covers up to PAGE_MESSAGES_MAX
        offsets: where all of these are erased, it is empty. A stream that does not exist is empty and stands
        at the store's floor. With `keyed`, only messages that were appended with that key are returned, as if
        all others were erased; such a page reaches as far as the next message with that key that it has no
        room for, and looks at up to PAGE_MESSAGES_MAX of them.

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
    async def last_keyed(self, stream: str, keyed: str) -> int:
        """Return the offset of the last message with a key, erased or not; 0 if none is kept."""

    @abstractmethod
    async def compact_keys(self, stream: str, through: int) -> int:
        """Erase messages, through an offset, that later ones with the same keys supersede; tell how many.

        It follows the appends that were made before it, and lets others be made meanwhile. The last message
        of a key supersedes those before it whatever it says, and stays itself, also without a payload; one
        that was erased does so too. Messages without a key stay. What was erased is found by no key.
        Giving up leaves some of it done.
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
