"""Declared streams, and those who read streams together."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

from gapless.core.errors import GaplessError
from gapless.core.groups import Assigned, Commit, GroupInfo, StreamOptions
from gapless.core.jobs import (
    Enqueued,
)
from gapless.core.stream import Entry, Position, Stored

__all__ = ["Groups"]


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
