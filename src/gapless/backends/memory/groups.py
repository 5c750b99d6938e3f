"""The model: declared streams and the groups that read streams."""

from collections.abc import Mapping, Sequence

from gapless.backends.memory.emitting import Emitting
from gapless.core.errors import BadRequest, GaplessError, LimitExceeded, UnknownStream
from gapless.core.group_rules import (
    check_group,
    check_member,
    check_partitions,
    check_session,
    check_sought,
    check_source,
    check_stream,
)
from gapless.core.groups import Assigned, Commit, GroupInfo, StreamOptions
from gapless.core.jobs import Enqueued
from gapless.core.limits import DECLARED_STREAMS_MAX, GROUPS_MAX
from gapless.core.lineage import holds
from gapless.core.membership import Hold, Membership, leads_on
from gapless.core.stream import Entry, Head, Position, Stored
from gapless.ports import Groups

__all__ = ["MemoryGroups"]

Committed = tuple[Stored | Enqueued, ...]


class MemoryGroups(Emitting, Groups):
    """Groups in memory."""

    async def declare_stream(self, name: str, options: StreamOptions) -> bool:
        self._check_open()
        check_stream(name)
        check_partitions(options.partitions)
        declared = self._kept.declared
        before = declared.get(name)
        if before is None and len(declared) >= DECLARED_STREAMS_MAX:
            raise LimitExceeded(f"there are {DECLARED_STREAMS_MAX} streams")
        if before is not None and before.partitions != options.partitions:
            raise BadRequest(f"{name!r} has {before.partitions} partitions, which never changes")
        declared[name] = options
        return before is None

    async def declared_streams(self) -> dict[str, StreamOptions]:
        self._check_open()
        return dict(sorted(self._kept.declared.items()))

    async def drop_stream(self, name: str) -> None:
        self._check_open()
        check_stream(name)
        if self._kept.declared.pop(name, None) is None:
            raise UnknownStream(f"there is no stream {name!r}")
        for source, group in list(self._kept.readers):
            if source == name:
                del self._kept.readers[source, group]

    async def heartbeat(
        self, source: str, group: str, member: str, *, partitions: int, session_ms: int
    ) -> Assigned:
        reader = self._reader(source, group)
        check_member(member)
        check_session(session_ms)
        check_partitions(partitions)
        if reader is None:
            if len(self._kept.readers) >= GROUPS_MAX:
                raise LimitExceeded(f"there are {GROUPS_MAX} groups")
            reader = self._kept.readers[source, group] = Membership([Hold() for _ in range(partitions)])
        if len(reader.holds) != partitions:
            raise BadRequest(f"{group!r} was begun with {len(reader.holds)} partitions of {source!r}")
        now_ms = self._now_ms()
        reader.heartbeat(member, now_ms + session_ms, now_ms, self._kept.fences)
        return reader.assigned(member)

    async def leave(self, source: str, group: str, member: str) -> None:
        reader = self._reader(source, group)
        check_member(member)
        if reader is not None:
            reader.leave(member)

    async def commit(
        self, source: str, group: str, member: str, commits: Sequence[Commit], *, streams: Sequence[str]
    ) -> list[Committed | GaplessError]:
        self._check_open()
        await self._drain()
        reader = self._reader(source, group) or Membership([])
        check_member(member)
        answers: list[Committed | GaplessError] = []
        for commit in commits:
            try:
                answers.append(self._move_on(reader, member, commit, streams))
            except GaplessError as error:
                answers.append(error)
        return answers

    def _move_on(self, reader: Membership, member: str, commit: Commit, streams: Sequence[str]) -> Committed:
        now_ms = self._now_ms()
        hold, stream = reader.holding(member, commit, streams, now_ms)
        if not leads_on(hold.position, commit.position, lambda position: self._is_past(stream, position)):
            return ()
        emitted = self.emit(commit.emit, now_ms)
        hold.position = commit.position
        return emitted

    def _is_past(self, stream: str, position: Position) -> bool:
        log = self._look(stream)
        return holds(position, Head(0, log.last), self._kept.generations, log.lineage)

    async def seek(
        self, source: str, group: str, positions: Mapping[int, Position | None], *, audit: Entry | None = None
    ) -> None:
        self._check_open()
        await self._drain()
        reader = self._reader(source, group)
        if reader is None:
            raise UnknownStream(f"no group {group!r} reads {source!r}")
        check_sought(len(reader.holds), positions)
        if audit is not None:
            self.emit([audit], self._now_ms())
        reader.seek(positions, self._kept.fences)

    async def groups(self, source: str = "") -> list[GroupInfo]:
        self._check_open()
        if source:
            check_source(source)
        now_ms = self._now_ms()
        return [
            self._kept.readers[names].look(*names, now_ms)
            for names in sorted(self._kept.readers)
            if source in ("", names[0])
        ]

    async def drop_group(self, source: str, group: str, *, audit: Entry | None = None) -> bool:
        self._check_open()
        await self._drain()
        if self._reader(source, group) is None:
            return False
        if audit is not None:
            self.emit([audit], self._now_ms())
        del self._kept.readers[source, group]
        return True

    def _reader(self, source: str, group: str) -> Membership | None:
        self._check_open()
        check_group(source, group)
        return self._kept.readers.get((source, group))
