"""The ports: what gapless asks of an engine. Each sentence is a promise, each promise a conformance test.

Callbacks run on the event loop that opened the backend.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple, Protocol, runtime_checkable

from gapless.core.errors import GaplessError
from gapless.core.groups import Assigned, Commit, GroupInfo, StreamOptions
from gapless.core.jobs import (
    Claimed,
    Emit,
    Enqueued,
    Job,
    JobPage,
    Lease,
    QueueInfo,
    QueueOptions,
    Schedule,
    Settled,
    Settlement,
    State,
    View,
)
from gapless.core.lineage import Generation
from gapless.core.stream import Done, Entry, Heads, Message, Page, Position, Stored

__all__ = [
    "After",
    "Bus",
    "Care",
    "Checked",
    "Clock",
    "Compacted",
    "Durability",
    "Groups",
    "Queues",
    "Statistics",
    "Store",
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


After = Callable[[int, Callable[[], object]], Timer]
"""Calls back on the loop once so many milliseconds have passed."""


class Clock(ABC):
    """Time, passed in. Whole milliseconds."""

    @abstractmethod
    def now_ms(self) -> int:
        """Milliseconds since the Unix epoch; never falls while the process lives."""

    @abstractmethod
    def after(self, delay_ms: int, callback: Callable[[], object]) -> Timer:
        """Call `callback` on the loop once `delay_ms` have passed."""

    def glance_ms(self, often_ms: int) -> int:
        """Return how often to look at what tells of itself when it changes, lest that was missed."""
        return often_ms


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


class Queues(ABC):
    """Jobs under leases.

    Every call is atomic, and durable in the store's class once it returns; where it takes several items that
    are answered one by one, each of them is. Time is the store's. Nothing happens by itself: that a job falls
    due, or its lease runs out, is a comparison made by whoever looks. A job joins the line of its key when it
    first falls due, at the end. Of an ordered queue only heads of lines are claimed, one at a time; a head
    that waits for its retry holds its line up. Claims go by priority, then by when jobs fell due, then by
    when they were enqueued.
    """

    @abstractmethod
    async def declare(self, queue: str, options: QueueOptions) -> bool:
        """Make a queue, or let one that is there behave otherwise from now on; tell whether it is new.

        Raises:
            LimitExceeded: there are QUEUES_MAX.
        """

    @abstractmethod
    async def drop(self, queue: str) -> int:
        """Remove a queue with all its jobs and schedules, and tell how many jobs those were.

        Raises:
            UnknownQueue: there is no such queue.
        """

    @abstractmethod
    async def queues(self) -> dict[str, QueueInfo]:
        """Tell of each queue how it was declared and how many jobs are where."""

    @abstractmethod
    async def enqueue(
        self, batches: Sequence[Sequence[Job]], *, request: str = ""
    ) -> list[list[Enqueued] | GaplessError]:
        """Take jobs; of one batch all or none. What joins one commit is answered together.

        Of a batch that is refused the error stands in its place: UnknownQueue, BadRequest,
        KeyConflict (a message id with another payload), LimitExceeded (`waiting_max`), TooManyRequests,
        StoreFull. A message id is held for the window of idempotency keys, whatever becomes of the job. A
        repeat with the same `request` within SETTLED_MS is answered as the first was, but for batches that
        were refused, which are tried anew.

        Raises:
            BadRequest: the request came before with another number of batches.
        """

    @abstractmethod
    async def claim(
        self, queue: str, *, worker: str, limit: int, lease_ms: int = 0, request: str = ""
    ) -> list[Claimed]:
        """Lease up to `limit` jobs, at least one if any can be claimed, without waiting for any.

        Each claim is an attempt. A repeat with the same `request` and worker within SETTLED_MS, while a lease
        of it lasts, returns the jobs whose leases of that claim last still, marked `again`. `lease_ms` 0 is
        the queue's. A job whose lease ran out is claimed by itself, and marked `alone`. Only lapses of such
        leases, and failures that were told, count towards burial. A paused queue gives nothing, nor does one
        whose `in_flight_max`, or the worker's `in_flight_per_worker_max`, is reached.

        Raises:
            UnknownQueue: there is no such queue.
        """

    @abstractmethod
    async def extend(self, leases: Sequence[Lease], lease_ms: int) -> list[int | GaplessError]:
        """Let leases last until `lease_ms` from now; tell until when for each, or LeaseLost."""

    @abstractmethod
    async def settle(self, settlements: Sequence[Settlement]) -> list[Settled | GaplessError]:
        """Carry out settlements, each in one transaction with what it emits.

        A repeat of the same deed with the same fence within SETTLED_MS is answered as the first was, and
        marked `again`. With another deed, or when the lease has ended, it is LeaseLost, and nothing of it
        holds. What it emits is checked as by `append` and `enqueue`; if anything is refused, all of it is.
        """

    @abstractmethod
    async def cancel(self, id: str) -> View:
        """Remove a job that was not started, and return what it was.

        Raises:
            UnknownJob: there is none. JobStarted: it is leased, dead or done.
        """

    @abstractmethod
    async def look(self, id: str) -> View:
        """Return a job as it stands.

        Raises:
            UnknownJob: there is none (any more).
        """

    @abstractmethod
    async def states(self, ids: Sequence[str]) -> list[State]:
        """Tell where jobs are; GONE: there is none (any more).

        Raises:
            BadRequest: there are more than BROWSE_JOBS_MAX.
        """

    @abstractmethod
    async def browse(self, queue: str, state: State, *, after: str = "", limit: int) -> JobPage:
        """Return up to `limit` jobs of a state in the order of their ids, without touching them.

        Raises:
            BadRequest: `limit` is beyond BROWSE_JOBS_MAX.
        """

    @abstractmethod
    async def redrive(
        self,
        queue: str,
        ids: Sequence[str] | None,
        *,
        limit: int,
        data: bytes | None = None,
        audit: Entry | None = None,
    ) -> int:
        """Let dead jobs wait again, as if new: these, or up to `limit` of all, the oldest first.

        They join the ends of their keys' lines; `data`, for a single one, replaces its payload. `audit` is
        appended in the same transaction if any were. Tell how many.

        Raises:
            BadRequest: `limit`, or how many ids there are, is beyond BROWSE_JOBS_MAX.
        """

    @abstractmethod
    async def purge(
        self, queue: str, state: State, ids: Sequence[str] | None, *, limit: int, audit: Entry | None = None
    ) -> int:
        """Remove jobs that are WAITING, DEAD or DONE: these, or up to `limit` of all. Tell how many.

        Raises:
            BadRequest: `limit`, or how many ids there are, is beyond BROWSE_JOBS_MAX.
        """

    @abstractmethod
    async def pause(self, queue: str, *, paused: bool, audit: Entry | None = None) -> None:
        """Let a queue give no jobs, or give them again."""

    @abstractmethod
    async def next_due_ms(self, queue: str) -> int | None:
        """Return when, by the store's time, the next job can be claimed that cannot be now; None: nothing
        will, without somebody enqueuing or settling. It may be too early, never too late."""

    @abstractmethod
    def hear_ready(self, heard: Callable[[str], object]) -> None:
        """Call `heard`, on the loop, with each queue whose jobs may have become claimable: a hint, after
        an enqueue, settlement, cancel, purge, redrive, resumption or raised limit; not when time passes."""

    @abstractmethod
    async def schedule(self, schedule: Schedule) -> None:
        """Keep a recurring job, or change it; its `last_ms` never falls.

        Raises:
            UnknownQueue: there is no such queue.
            LimitExceeded: there are SCHEDULES_MAX.
        """

    @abstractmethod
    async def unschedule(self, name: str) -> bool:
        """Forget a recurring job; tell whether there was one."""

    @abstractmethod
    async def schedules(self) -> tuple[int, list[Schedule]]:
        """Return the store's time, and all recurring jobs."""

    @abstractmethod
    async def fire(self, name: str, spec: bytes, tick_ms: int, jobs: Sequence[Job]) -> bool:
        """Enqueue what is due at a tick, once however many nodes try.

        False, and nothing happens, unless the tick lies after the last one and not after the store's time,
        and the schedule is still this one. With no jobs the tick is passed over.
        """


class Groups(ABC):
    """Declared streams, and the groups that read streams together.

    A source is what a group reads: some streams of the store, one for each partition. Each partition is held
    by at most one member of a group. Assignment is `core.assignment`'s, made anew when a member comes,
    leaves, or was silent for its session's time, which is the store's. Nothing happens by itself: that a
    session has ended is a comparison made by whoever looks. Members, fences and positions outlive the
    process. A name that is empty, too long or no text is a BadRequest of any call.
    """

    @abstractmethod
    async def declare_stream(self, name: str, options: StreamOptions) -> bool:
        """Keep how a stream was declared, or change it; tell whether it is new.

        Raises:
            BadRequest: it has another number of partitions, or more than PARTITIONS_MAX.
            LimitExceeded: there are DECLARED_STREAMS_MAX.
        """

    @abstractmethod
    async def declared_streams(self) -> dict[str, StreamOptions]:
        """Return every declared stream."""

    @abstractmethod
    async def drop_stream(self, name: str) -> None:
        """Forget a declaration, and every group of the source of that name.

        What was appended is the caller's to trim.

        Raises:
            UnknownStream: there is no such stream.
        """

    @abstractmethod
    async def heartbeat(
        self, source: str, group: str, member: str, *, partitions: int, session_ms: int
    ) -> Assigned:
        """Join a group, or stay in it, and hear which partitions are held.

        A partition that is given to another member has a new fence. One that stays keeps its own. What others
        hold is given to this member only when they were told, by their own heartbeat, or their session has
        ended; who was told may commit under its fence until then. Who was silent too long is a new member.

        Raises:
            BadRequest: the group was begun with another number of partitions; or it, or the session's length,
                is outside its limits.
            LimitExceeded: there are MEMBERS_MAX, or GROUPS_MAX.
        """

    @abstractmethod
    async def leave(self, source: str, group: str, member: str) -> None:
        """Leave a group now. Harmless when it was left."""

    @abstractmethod
    async def commit(
        self, source: str, group: str, member: str, commits: Sequence[Commit], *, streams: Sequence[str]
    ) -> list[tuple[Stored | Enqueued, ...] | GaplessError]:
        """Move on in partitions, each in one transaction with what it emits; `streams` are the source's.

        A commit is the member's with the current fence while its session lasts, or LeaseLost. It leads
        forward, at most to the end, on the stream's own timeline: PositionConflict otherwise. What retention
        has dropped may be committed. One at the place where the group stands is accepted, changes nothing
        and emits nothing, so that a repeat is harmless. It follows the appends that were made before it. What
        it emits is checked as by `append` and `enqueue`; if anything of it is refused, so is the commit.
        """

    @abstractmethod
    async def seek(
        self, source: str, group: str, positions: Mapping[int, Position | None], *, audit: Entry | None = None
    ) -> None:
        """Let a group go on elsewhere (None: as if it had never begun), with a new fence for each partition.

        Who holds one keeps it, and hears of the fence by its next heartbeat. Whether a position holds is for
        the caller to check. `audit` is appended in the same transaction.

        Raises:
            UnknownStream: there is no such group.
            BadRequest: it has no such partition, or the position cannot be stored.
        """

    @abstractmethod
    async def groups(self, source: str = "") -> list[GroupInfo]:
        """Return the groups of a source, or all, by their names.

        Their positions are as they were committed: whether one holds still is for the caller to check.
        """

    @abstractmethod
    async def drop_group(self, source: str, group: str, *, audit: Entry | None = None) -> bool:
        """Forget a group; tell whether there was one. If so, `audit` is appended in the same transaction."""


class Store(Streams, Queues, Groups):
    """An engine that keeps all three."""

    @abstractmethod
    async def store_all(self, emits: Sequence[Emit]) -> tuple[Stored | Enqueued, ...]:
        """Append and enqueue in one transaction, in their order: all of these, or none.

        They are checked as by `append` and `enqueue`; whoever reads sees all of them or none.

        Raises:
            GaplessError: one of them is refused.
        """


class Bus(ABC):
    """A doorbell between nodes. Losing, doubling or reordering a ring costs delay, never a gap."""

    alone: bool = False  # there is nobody else now: a ring would reach no one

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
    the store as it was, and no half a file. Paths are whole ones, on the machine of the process that has the
    store open.

    Raises:
        NotAvailable: the store is no file; who shares it learns that from the process that has it open.
    """

    async def aside(self, name: str) -> str:
        """Return a path for a temporary file beside the store, which is removed when the store is opened."""

    async def free_bytes(self) -> int:
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
