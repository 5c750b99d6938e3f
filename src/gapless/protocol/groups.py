"""The verbs of groups, as `protocol.streams` has those of streams."""

from enum import StrEnum
from typing import Annotated

from msgspec import Meta

from gapless.core.limits import JOB_EMITS_MAX, PAGE_BYTES_MAX, PARTITIONS_MAX, SESSION_MAX_MS, SESSION_MIN_MS
from gapless.protocol.messages import StreamPosition
from gapless.protocol.payloads import Answer, Count, DurationMs, Failure, Offset, Request, TimeMs, Wait
from gapless.protocol.queues import Emit, Emitted
from gapless.protocol.reading import Bytes, Edge, Messages, Partition, ReadAnswer, Source

__all__ = [
    "CommitAnswer",
    "CommitRequest",
    "CommittedItem",
    "CommittedPartition",
    "DropGroupAnswer",
    "DropGroupRequest",
    "FetchAnswer",
    "FetchPartition",
    "FetchRequest",
    "FetchedPartition",
    "GroupMember",
    "GroupStatus",
    "GroupsAnswer",
    "GroupsRequest",
    "HeartbeatAnswer",
    "HeartbeatRequest",
    "HeldPartition",
    "LagAnswer",
    "LagRequest",
    "LeaveRequest",
    "NewCommit",
    "OnLost",
    "PartitionLag",
    "SeekAnswer",
    "SeekRequest",
    "SoughtPartition",
]

Group = Annotated[str, Meta(min_length=1, max_length=128)]
Session = Annotated[int, Meta(ge=SESSION_MIN_MS, le=SESSION_MAX_MS)]


class HeartbeatRequest(Request):
    """Join a group as a member, or stay in it, and hear which partitions are held.

    Each partition is held by one member. A member of which nothing is heard for `session_ms` loses its
    partitions. `member` is a name of its own for each start of a process. Where the group stands nowhere yet
    it begins at `start`, or with the first message at or after `start_ms`; that is decided once, when it
    first meets a partition. With `channel` the source is one, to which nothing need have been published yet.

    A member that says what it has, `held` by these fences, is answered at once when it is to have something
    else, and otherwise when the group has changed, within `wait_ms`: then it asks again, for what it holds is
    answered as it was when it asked.
    """

    source: Source
    group: Group
    member: Group
    session_ms: Session = 30_000
    start: Edge = Edge.EARLIEST
    start_ms: TimeMs | None = None
    channel: bool = False
    held: Annotated[list[str], Meta(max_length=PARTITIONS_MAX)] | None = None
    wait_ms: Wait = 0


class HeldPartition(Answer):
    """A partition that the member holds, by its `fence`, and where the group stands in it.

    `fence_number` only rises, below 2^53.
    """

    partition: int
    fence: str
    fence_number: Count
    position: StreamPosition


class HeartbeatAnswer(Answer):
    """All partitions that the member holds now, and when its session ends by the store's clock."""

    session_until_ms: TimeMs
    held: list[HeldPartition]


class LeaveRequest(Request):
    """Leave a group; its partitions go to others at once."""

    source: Source
    group: Group
    member: Group


class OnLost(StrEnum):
    """What happens when messages that the group did not read are gone."""

    HALT = "halt"  # error 112 until somebody seeks
    OLDEST = "oldest"  # go on with the oldest that is kept


class FetchPartition(Request):
    """A partition that is held, and `after` which position to go on: where the last page of it ended.

    The first time that is where the group stands.
    """

    partition: Partition
    after: StreamPosition


class FetchRequest(Request):
    """Fetch what follows in the partitions that a member holds.

    If there is nothing, it waits for up to `wait_ms`. `limit` messages and `limit_bytes` are for all
    partitions together, which take turns. A partition's error 1006 says that the group goes on elsewhere
    than where the member stands: what is held, and from where, the next heartbeat tells. That is so where
    the store has lost the end of what was read (the group goes on where it was cut), and, with `on_lost`,
    where messages that were not read are gone; both are recorded in the audit stream.
    """

    source: Source
    group: Group
    member: Group
    partitions: Annotated[list[FetchPartition], Meta(min_length=1, max_length=PARTITIONS_MAX)]
    on_lost: OnLost = OnLost.HALT
    limit: Messages = 100
    limit_bytes: Bytes = PAGE_BYTES_MAX
    wait_ms: Wait = 0


class FetchedPartition(Answer):
    """A page of a partition, or why there is none."""

    partition: int
    page: ReadAnswer | None = None
    error: Failure | None = None


class FetchAnswer(Answer):
    """The partitions that have something to tell."""

    partitions: list[FetchedPartition]


class NewCommit(Request):
    """How far a member has handled a partition: everything up to `offset` of `epoch`.

    `emit` is stored in one transaction with it, or nothing is. `passed_over` says why the message at `offset`
    was not handled, and never will be, and `attempts` how often that was tried; the audit stream has a
    `pass_over` of it then.
    """

    partition: Partition
    fence: str
    offset: Offset
    epoch: str
    emit: Annotated[tuple[Emit, ...], Meta(max_length=JOB_EMITS_MAX)] = ()
    passed_over: str = ""
    attempts: Count = 0


class CommitRequest(Request):
    """Commit partitions, each by itself.

    Errors: 1006 the partition is another's by now, 1001 it leads backwards.
    """

    source: Source
    group: Group
    member: Group
    commits: Annotated[list[NewCommit], Meta(min_length=1, max_length=PARTITIONS_MAX)]


class CommittedPartition(Answer):
    """What became of what was emitted."""

    emitted: tuple[Emitted, ...] = ()


class CommittedItem(Answer):
    """What became of one commit."""

    result: CommittedPartition | None = None
    error: Failure | None = None


class CommitAnswer(Answer):
    """One for each commit, in the order of the request."""

    commits: list[CommittedItem]


class SeekRequest(Request):
    """Let a group go on elsewhere.

    That is an end (`to`), a time, the message at an `offset`, or `positions` by partition. It holds for all
    partitions, or for those that are named. Members hear of it with their next heartbeat, which one that
    waits makes at once; what they commit after it is refused. With `dry_run` the answer tells what it would
    do, and nothing is done. Errors: 112 there is no such place in a partition, with where that stands; 1004
    no such group.
    """

    source: Source
    group: Group
    to: Edge | None = None
    at_ms: TimeMs | None = None
    offset: Offset | None = None
    positions: dict[int, StreamPosition] | None = None
    partitions: list[Partition] | None = None
    dry_run: bool = False


class SoughtPartition(Answer):
    """Where the group stood and where it goes on; how many messages it skips by that, or gets again.

    `at_end`: it gets none of those that there are, as with a time after the newest.
    """

    partition: int
    position: StreamPosition
    before: StreamPosition | None = None
    skipped: Count = 0
    again: Count = 0
    at_end: bool = False


class SeekAnswer(Answer):
    """The partitions that it holds for."""

    partitions: list[SoughtPartition]


class GroupsRequest(Request):
    """Ask for the groups of a source, or for all."""

    source: str = ""


class GroupMember(Answer):
    """A member of a group, the partitions that it holds, and when its session ends."""

    member: str
    session_until_ms: TimeMs
    partitions: list[int]


class GroupStatus(Answer):
    """A group: where it stands by partition, and who is in it."""

    source: str
    group: str
    positions: dict[int, StreamPosition]
    members: list[GroupMember]


class GroupsAnswer(Answer):
    """The groups in the order of their names."""

    groups: list[GroupStatus]


class DropGroupRequest(Request):
    """Forget a group: where it stood, and who is in it."""

    source: Source
    group: Group


class DropGroupAnswer(Answer):
    """Whether there was one."""

    found: bool = False


class LagRequest(Request):
    """Ask how far a group is behind."""

    source: Source
    group: Group


class PartitionLag(Answer, omit_defaults=False):
    """How far a group is behind in a partition: in messages, and for how long the oldest of these has waited.

    `lost` when messages that the group did not read are gone. `fence_number` is that of the fence under which
    `member` holds it.
    """

    partition: int
    last: Offset
    position: StreamPosition | None = None
    lag: Count = 0
    lag_ms: DurationMs = 0
    lost: bool = False
    member: str = ""
    fence_number: Count = 0


class LagAnswer(Answer, omit_defaults=False):
    """The partitions, and the messages of all of them."""

    partitions: list[PartitionLag]
    lag: Count = 0
