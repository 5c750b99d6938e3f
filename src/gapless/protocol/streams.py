"""The verbs of streams and groups: what each is asked, and what it answers, as `protocol.queues` has it.

A `source` is what can be read: a declared stream (`orders`), a namespace with its boundary (`chat:`), whose
channels it spreads over partitions, or one channel (`chat:1`), which has one partition.
"""

from enum import StrEnum
from typing import Annotated, Any, Final

from msgspec import Meta, Struct, field

from gapless.core.limits import (
    CLAIM_JOBS_MAX,
    JOB_EMITS_MAX,
    JOB_KEY_BYTES_MAX,
    PAGE_BYTES_MAX,
    PAGE_MESSAGES_MAX,
    PARTITIONS_MAX,
    SESSION_MAX_MS,
    SESSION_MIN_MS,
    WAIT_MAX_MS,
)
from gapless.protocol.messages import StreamPosition
from gapless.protocol.payloads import (
    Body,
    Carried,
    Count,
    DurationMs,
    Failure,
    Name,
    Nothing,
    Offset,
    TimeMs,
)
from gapless.protocol.queues import Emit, Emitted

__all__ = [
    "VERBS",
    "AppendAnswer",
    "AppendRequest",
    "AppendedItem",
    "AppendedMessage",
    "AuditAnswer",
    "AuditRecord",
    "AuditRequest",
    "CommitAnswer",
    "CommitRequest",
    "CommittedItem",
    "CommittedPartition",
    "CompactAnswer",
    "CompactRequest",
    "DeclareStreamAnswer",
    "DeclareStreamRequest",
    "DropGroupAnswer",
    "DropGroupRequest",
    "DropStreamRequest",
    "Edge",
    "FetchAnswer",
    "FetchPartition",
    "FetchRequest",
    "FetchedPartition",
    "FindAnswer",
    "FindRequest",
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
    "ListStreamsAnswer",
    "ListStreamsRequest",
    "NewCommit",
    "NewMessage",
    "OnLost",
    "PartitionLag",
    "PartitionStatus",
    "ReadAnswer",
    "ReadRequest",
    "SeekAnswer",
    "SeekRequest",
    "SoughtPartition",
    "StreamMessage",
    "StreamSettings",
    "StreamStatus",
    "TrimAnswer",
    "TrimRequest",
]

Source = Annotated[str, Meta(min_length=1)]
Partition = Annotated[int, Meta(ge=0, lt=PARTITIONS_MAX)]
Key = Annotated[str, Meta(min_length=1, max_length=JOB_KEY_BYTES_MAX)]
Group = Annotated[str, Meta(min_length=1, max_length=128)]
Wait = Annotated[int, Meta(ge=0, le=WAIT_MAX_MS)]
Messages = Annotated[int, Meta(ge=1, le=PAGE_MESSAGES_MAX)]
Bytes = Annotated[int, Meta(ge=1, le=PAGE_BYTES_MAX)]
Session = Annotated[int, Meta(ge=SESSION_MIN_MS, le=SESSION_MAX_MS)]


class Request(Struct, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What a verb is asked."""


class Answer(Struct, kw_only=True, omit_defaults=True):
    """What a verb answers; a field that is at its default is left out."""


# Streams --------------------------------------------------------------------------------------


class StreamSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a stream is kept; 0 means no such limit. The number of partitions never changes.

    `retention_messages`, `retention_ms` and `retention_bytes` hold for each partition. `keyed` keeps an index
    by the messages' keys: reading by key, expecting a key's last offset, and compaction need it. `compact`
    keeps the last message of each key only.
    """

    partitions: Annotated[int, Meta(ge=1, le=PARTITIONS_MAX)] = 1
    retention_messages: Count = 0
    retention_ms: DurationMs = 0
    retention_bytes: Count = 0
    keyed: bool = False
    compact: bool = False


class DeclareStreamRequest(Request):
    """Make a stream, or let one that is there be kept otherwise from now on.

    Errors: 107 it has another number of partitions; 106 there are 10,000 streams.
    """

    stream: Name
    options: StreamSettings = field(default_factory=StreamSettings)


class DeclareStreamAnswer(Answer):
    """Whether the stream is new."""

    fresh: bool


class DropStreamRequest(Request):
    """Remove a stream with all its messages, and the groups that read it."""

    stream: Name


class ListStreamsRequest(Request):
    """Ask which streams there are: up to `limit` in the order of their names, those after `after`."""

    after: str = ""
    limit: Messages = 100


class PartitionStatus(Answer):
    """Where a partition stands: the offset of its `oldest` message that is kept, and of its last."""

    partition: int
    epoch: str
    oldest: Offset
    last: Offset


class StreamStatus(Answer):
    """A stream: how it was declared, and where its partitions stand."""

    stream: str
    options: StreamSettings
    partitions: list[PartitionStatus] = []


class ListStreamsAnswer(Answer):
    """The streams; with `next` there are more, which that asks for as `after`."""

    streams: list[StreamStatus] = []
    next: str = ""


# Append ---------------------------------------------------------------------------------------


class NewMessage(Body):
    """A message to be: `data` (any JSON) or `b64data` (any bytes), and `headers`.

    Messages of one `key` are in one partition, by a hash of the key (BLAKE2b of 8 bytes, big-endian, modulo
    the number of partitions), unless `partition` says which. Without either, partitions take turns. A repeat
    with the same `message_id` and payload is the same message. `expected` is the position at which the
    partition must end, `expected_key_offset` the offset of the last message with this key (0: there is none;
    the stream must be `keyed`): otherwise it is error 1001.
    """

    key: Key | None = None
    partition: Partition | None = None
    message_id: str | None = None
    expected: StreamPosition | None = None
    expected_key_offset: Offset | None = None


class AppendRequest(Request):
    """Append messages to a stream. Up to 1,000.

    With `atomic`, all of them or none, in one partition; without (the default), each is answered by itself,
    and those of one partition are stored in the order of the request. Errors: 1004 no such stream, 1001,
    1002.
    """

    stream: Name
    messages: Annotated[list[NewMessage], Meta(min_length=1, max_length=CLAIM_JOBS_MAX)]
    atomic: bool = False


class AppendedMessage(Answer):
    """A message that holds. `fresh` is false when it was there already, by its message id."""

    partition: int
    offset: Offset
    epoch: str
    time_ms: TimeMs
    fresh: bool


class AppendedItem(Answer):
    """What became of one message."""

    result: AppendedMessage | None = None
    error: Failure | None = None


class AppendAnswer(Answer):
    """One for each message, in the order of the request."""

    messages: list[AppendedItem] = []


# Read -----------------------------------------------------------------------------------------


class Edge(StrEnum):
    """An end of a stream."""

    EARLIEST = "earliest"
    LATEST = "latest"


class StreamMessage(Carried):
    """A message: `channel` is where it was published, if the source is a namespace."""

    partition: int
    offset: Offset
    time_ms: TimeMs
    key: str = ""
    channel: str = ""


class ReadRequest(Request):
    """Read a partition from one place.

    That is `after` a position (error 112 if it does not hold any more), the message at `offset`, the first at
    or after `at_ms`, or an end (`start`; the earliest if nothing is named).

    With `backwards` messages come newest first, those before that place; from the latest unless another is
    named. With `key` only messages with it come; the stream must be `keyed`. If there are none, a read
    forwards waits for up to `wait_ms` for the first. An answer has at most `limit` messages and
    `limit_bytes`, but at least one message if there is any.
    """

    source: Source
    partition: Partition = 0
    after: StreamPosition | None = None
    offset: Offset | None = None
    at_ms: TimeMs | None = None
    start: Edge | None = None
    backwards: bool = False
    key: Key | None = None
    limit: Messages = 100
    limit_bytes: Bytes = PAGE_BYTES_MAX
    wait_ms: Wait = 0


class ReadAnswer(Answer):
    """A page of (`after`, `through`]: all that is kept of it.

    The next one is read after (`epoch`, `through`). Backwards, the next one is read from `offset` `after` +
    1. What is at or below `floor` is gone; `last` is the end of the partition.
    """

    epoch: str
    after: Offset
    through: Offset
    floor: Offset
    last: Offset
    messages: list[StreamMessage] = []


class FindRequest(Request):
    """Ask for the position just before the first message stored at or after `at_ms`."""

    source: Source
    at_ms: TimeMs
    partition: Partition = 0


class FindAnswer(Answer):
    """A position: what comes after it is what was asked for."""

    offset: Offset
    epoch: str


# Groups ---------------------------------------------------------------------------------------


class HeartbeatRequest(Request):
    """Join a group as a member, or stay in it, and hear which partitions are held.

    Each partition is held by one member. A member of which nothing is heard for `session_ms` loses its
    partitions. `member` is a name of its own for each start of a process. `partitions` is into how many a
    namespace is spread (declared streams know theirs).
    """

    source: Source
    group: Group
    member: Group
    session_ms: Session = 30_000
    partitions: Annotated[int, Meta(ge=0, le=PARTITIONS_MAX)] = 0


class HeldPartition(Answer):
    """A partition that the member holds, by its `fence`, and where the group stands in it.

    Without a `position` it stands nowhere yet. `fence_number` only rises, below 2^53.
    """

    partition: int
    fence: str
    fence_number: Count
    position: StreamPosition | None = None


class HeartbeatAnswer(Answer):
    """All partitions that the member holds now, and when its session ends by the store's clock."""

    session_until_ms: TimeMs
    held: list[HeldPartition] = []


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
    """A partition to fetch from, by its fence: `after` what was fetched last, or where the group stands."""

    partition: Partition
    fence: str
    after: StreamPosition | None = None


class FetchRequest(Request):
    """Fetch what follows in the partitions that a member holds.

    If there is nothing, it waits for up to `wait_ms`. `start` is where a group begins that stands nowhere
    yet. `limit` messages and `limit_bytes` are for all partitions together, which take turns.
    """

    source: Source
    group: Group
    member: Group
    partitions: Annotated[list[FetchPartition], Meta(min_length=1, max_length=PARTITIONS_MAX)]
    start: Edge = Edge.EARLIEST
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

    partitions: list[FetchedPartition] = []


class NewCommit(Request):
    """How far a member has handled a partition: everything up to `offset` of `epoch`.

    `emit` is stored in one transaction with it, or nothing is.
    """

    partition: Partition
    fence: str
    offset: Offset
    epoch: str
    emit: Annotated[list[Emit], Meta(max_length=JOB_EMITS_MAX)] = []


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

    emitted: list[Emitted] = []


class CommittedItem(Answer):
    """What became of one commit."""

    result: CommittedPartition | None = None
    error: Failure | None = None


class CommitAnswer(Answer):
    """One for each commit, in the order of the request."""

    commits: list[CommittedItem] = []


class SeekRequest(Request):
    """Let a group go on elsewhere.

    That is an end (`to`), a time, an `offset`, or `positions` by partition. It holds for all partitions, or
    for those that are named. Members hear of it with their next heartbeat; what they commit after it is
    refused. With `dry_run` the answer tells what it would do, and nothing is done.
    """

    source: Source
    group: Group
    to: Edge | None = None
    at_ms: TimeMs | None = None
    offset: Offset | None = None
    positions: dict[int, StreamPosition] = {}
    partitions: list[Partition] | None = None
    dry_run: bool = False


class SoughtPartition(Answer):
    """Where the group stood and where it goes on; how many messages it skips by that, or gets again."""

    partition: int
    position: StreamPosition
    before: StreamPosition | None = None
    skipped: Count = 0
    again: Count = 0


class SeekAnswer(Answer):
    """The partitions that it holds for."""

    partitions: list[SoughtPartition] = []


class GroupsRequest(Request):
    """Ask for the groups of a source, or for all."""

    source: str = ""


class GroupMember(Answer):
    """A member of a group, the partitions that it holds, and when its session ends."""

    member: str
    session_until_ms: TimeMs
    partitions: list[int] = []


class GroupStatus(Answer):
    """A group: where it stands by partition, and who is in it."""

    source: str
    group: str
    positions: dict[int, StreamPosition] = {}
    members: list[GroupMember] = []


class GroupsAnswer(Answer):
    """The groups in the order of their names."""

    groups: list[GroupStatus] = []


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


class PartitionLag(Answer):
    """How far a group is behind in a partition: in messages, and for how long the oldest of these has waited.

    `lost` when messages that the group did not read are gone.
    """

    partition: int
    last: Offset
    position: StreamPosition | None = None
    lag: Count = 0
    lag_ms: DurationMs = 0
    lost: bool = False
    member: str = ""


class LagAnswer(Answer):
    """The partitions, and the messages of all of them."""

    partitions: list[PartitionLag] = []
    lag: Count = 0


# Tend -----------------------------------------------------------------------------------------


class TrimRequest(Request):
    """Drop the oldest messages of a stream.

    That is everything through an `offset` of a partition, or what is older than `before_ms` in that partition
    or in all.
    """

    stream: Name
    partition: Partition | None = None
    offset: Offset | None = None
    before_ms: TimeMs | None = None


class TrimAnswer(Answer):
    """Where the partitions stand now."""

    partitions: list[PartitionStatus] = []


class CompactRequest(Request):
    """Erase messages of a `keyed` stream that a later one of the same key has replaced."""

    stream: Name
    partition: Partition = 0
    after: Offset = 0


class CompactAnswer(Answer):
    """How many were erased; with `next` there is more to do, which that asks for as `after`."""

    erased: Count = 0
    next: Offset = 0


class AuditRequest(Request):
    """Read what was done to streams, groups and queues, the newest first.

    `what` is a kind (`redrive`, `seek`, `trim` …), `name` a queue, stream or source. `before` is `next` of
    the answer before.
    """

    what: str = ""
    name: str = ""
    before: Offset = 0
    limit: Messages = 100


class AuditRecord(Answer):
    """What was done, when, by whom, to which queue, stream or source; and what else there is to tell."""

    offset: Offset
    at_ms: TimeMs
    what: str
    who: str
    name: str = ""
    details: dict[str, Any] = {}


class AuditAnswer(Answer):
    """The records; with `next` there are more."""

    records: list[AuditRecord] = []
    next: Offset = 0


VERBS: Final[dict[str, tuple[type[Any], type[Any]]]] = {
    "stream/declare": (DeclareStreamRequest, DeclareStreamAnswer),
    "stream/drop": (DropStreamRequest, Nothing),
    "stream/list": (ListStreamsRequest, ListStreamsAnswer),
    "stream/append": (AppendRequest, AppendAnswer),
    "stream/read": (ReadRequest, ReadAnswer),
    "stream/find": (FindRequest, FindAnswer),
    "stream/heartbeat": (HeartbeatRequest, HeartbeatAnswer),
    "stream/leave": (LeaveRequest, Nothing),
    "stream/fetch": (FetchRequest, FetchAnswer),
    "stream/commit": (CommitRequest, CommitAnswer),
    "stream/seek": (SeekRequest, SeekAnswer),
    "stream/groups": (GroupsRequest, GroupsAnswer),
    "stream/drop_group": (DropGroupRequest, DropGroupAnswer),
    "stream/lag": (LagRequest, LagAnswer),
    "stream/trim": (TrimRequest, TrimAnswer),
    "stream/compact": (CompactRequest, CompactAnswer),
    "stream/audit": (AuditRequest, AuditAnswer),
}
"""Every verb by its path, with what it is asked and what it answers."""
