"""The words of partitioned streams and the groups that read them."""

from collections.abc import Sequence

from msgspec import Struct

from gapless.core.jobs import Emit
from gapless.core.stream import Position, Retention

__all__ = ["Assigned", "Commit", "GroupInfo", "Held", "Member", "StreamOptions"]


class StreamOptions(Struct, frozen=True, kw_only=True):
    """How a declared stream is kept. The number of partitions never changes (semantics 5).

    `keyed` holds an index by the messages' keys: reading by key, expecting a key's last offset, and
    compaction need it. `compact` keeps the last message per key, and erases those before it. `audit` has
    appends and commits recorded.
    """

    partitions: int = 1
    retention: Retention = Retention()
    keyed: bool = False
    compact: bool = False
    audit: bool = False


class Held(Struct, frozen=True, gc=False):
    """A partition that a member holds: where the group stands in it (None: nowhere yet), and its fence."""

    partition: int
    fence: str
    fence_number: int
    position: Position | None


class Assigned(Struct, frozen=True):
    """What a heartbeat is answered: all partitions that the member holds now, in their order.

    `session_until_ms` is when its session ends by the store's clock, unless it is heard of before.
    """

    held: tuple[Held, ...]
    session_until_ms: int


class Commit(Struct):
    """How far a member has handled a partition, in one transaction with what its handlers `emit`."""

    partition: int
    fence: str
    position: Position
    emit: Sequence[Emit] = ()


class Member(Struct, frozen=True):
    """A member of a group, as one looks at it."""

    name: str
    partitions: tuple[int, ...]
    session_until_ms: int


class GroupInfo(Struct, frozen=True):
    """A group, as one looks at it: where it stands in each partition that it ever held, and who is in it.

    `fences` are the numbers of the fences under which partitions are held.
    """

    source: str
    name: str
    positions: dict[int, Position]
    members: tuple[Member, ...]
    fences: dict[int, int] = {}
