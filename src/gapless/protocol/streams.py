"""The verbs of streams and groups: what each is asked, and what it answers, as `protocol.queues` has it.

A `source` is what can be read: a declared stream (`orders`), a namespace with its boundary (`chat:`), whose
channels it spreads over partitions, or one channel (`chat:1`), which has one partition.
"""

from typing import Annotated, Any, Final

from msgspec import Meta, field

from gapless.core.limits import CLAIM_JOBS_MAX
from gapless.protocol.groups import (
    CommitAnswer,
    CommitRequest,
    DropGroupAnswer,
    DropGroupRequest,
    FetchAnswer,
    FetchRequest,
    GroupsAnswer,
    GroupsRequest,
    HeartbeatAnswer,
    HeartbeatRequest,
    LagAnswer,
    LagRequest,
    LeaveRequest,
    SeekAnswer,
    SeekRequest,
)
from gapless.protocol.messages import StreamPosition
from gapless.protocol.payloads import (
    Answer,
    Body,
    Count,
    Failure,
    Key,
    Name,
    Nothing,
    Offset,
    Request,
    TimeMs,
)
from gapless.protocol.reading import (
    FindAnswer,
    FindRequest,
    Messages,
    Partition,
    ReadAnswer,
    ReadRequest,
    ReplayedMessage,
    Source,
)
from gapless.protocol.settings import FullStreamSettings, StreamSettings

__all__ = [
    "VERBS",
    "AppendAnswer",
    "AppendRequest",
    "AppendedItem",
    "AppendedMessage",
    "AuditAnswer",
    "AuditRecord",
    "AuditRequest",
    "CompactAnswer",
    "CompactRequest",
    "DeclareStreamAnswer",
    "DeclareStreamRequest",
    "DropStreamRequest",
    "ListStreamsAnswer",
    "ListStreamsRequest",
    "NewMessage",
    "PartitionStatus",
    "StreamStatus",
    "TrimAnswer",
    "TrimRequest",
    "imported",
]


# Streams --------------------------------------------------------------------------------------


class DeclareStreamRequest(Request):
    """Make a stream, or let one that is there be kept otherwise from now on: as far as `options` say.

    What they leave out stays as it is. A rule of the configuration holds, whatever they say. With
    `if_missing` nothing is done where something can be read under the name: a stream, or a channel to which
    something was published. Errors: 107 it has another number of partitions, is keyed otherwise and had
    messages, or there is a channel of the name that has messages or is read by a group; 106 there are 10,000
    streams.
    """

    stream: Name
    options: StreamSettings = field(default_factory=StreamSettings)
    if_missing: bool = False


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
    options: FullStreamSettings
    partitions: list[PartitionStatus]


class ListStreamsAnswer(Answer):
    """The streams; with `next` there are more, which that asks for as `after`."""

    streams: list[StreamStatus]
    next: str = ""


# Append ---------------------------------------------------------------------------------------


class NewMessage(Body):
    """A message to be: `data` (any JSON) or `b64data` (any bytes), and `headers`.

    Messages of one `key` are in one partition, by a hash of the key (BLAKE2b of 8 bytes, big-endian, modulo
    the number of partitions), unless `partition` says which. Without either, it is by a hash of the message
    id, and without that partitions take turns, one for each request. A repeat with the same `message_id` and
    payload is the same message. `expected` is the position at which the
    partition must end, `expected_key_offset` the offset of the last message with this key (0: there is none;
    the stream must be `keyed`): otherwise it is error 1001.
    """

    key: Key | None = None
    partition: Partition | None = None
    message_id: str | None = None
    expected: StreamPosition | None = None
    expected_key_offset: Offset | None = None


def imported(line: ReplayedMessage, partitions: int) -> NewMessage:
    """Return what appends an exported message to a stream of so many partitions; a repeat does so once.

    Messages of a key stay in their order, and so do those without one that were in one partition.
    """
    return NewMessage(
        data=line.data,
        b64data=line.b64data,
        headers=line.headers,
        key=line.key or None,
        partition=None if line.key else line.partition % partitions,
        message_id=line.message_id(),
    )


class AppendRequest(Request):
    """Append messages to a stream. Up to 1,000.

    With `atomic` (the default) all of them are stored, or none and the call is an error; without, each is
    answered by itself. Those of one partition are stored in the order of the request. Errors: 1004 no such
    stream, 1001, 1002, 107 beyond a limit.
    """

    stream: Name
    messages: Annotated[list[NewMessage], Meta(min_length=1, max_length=CLAIM_JOBS_MAX)]
    atomic: bool = True


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

    messages: list[AppendedItem]


# Tend -----------------------------------------------------------------------------------------


class TrimRequest(Request):
    """Drop the oldest messages of a stream, or of what is kept of a namespace as one.

    That is everything through an `offset` of a partition, or what is older than `before_ms` in that partition
    or in all.
    """

    stream: Source
    partition: Partition | None = None
    offset: Offset | None = None
    before_ms: TimeMs | None = None


class TrimAnswer(Answer):
    """Where the partitions stand now."""

    partitions: list[PartitionStatus]


class CompactRequest(Request):
    """Erase messages of a `keyed` stream that later ones of the same key have replaced.

    It is done in one partition or in all. Streams that are declared with `compact` are compacted now and then
    without being asked.
    """

    stream: Name
    partition: Partition | None = None


class CompactAnswer(Answer):
    """How many were erased."""

    erased: Count = 0


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
    details: dict[str, Any] = field(default_factory=dict)


class AuditAnswer(Answer):
    """The records; with `next` there are more."""

    records: list[AuditRecord]
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
