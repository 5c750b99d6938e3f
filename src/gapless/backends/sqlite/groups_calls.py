"""The groups' port on a file: each call is carried out in the writer's transaction."""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from gapless.backends.sqlite.emitting import emit
from gapless.backends.sqlite.log import Log
from gapless.backends.sqlite.membership import Reader
from gapless.backends.sqlite.work import Undo, Work, split
from gapless.core.errors import GaplessError, UnknownStream
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
from gapless.core.membership import leads_on
from gapless.core.stream import Entry, Position, Stored
from gapless.ports import Groups

__all__ = ["SqliteGroups"]

Committed = tuple[Stored | Enqueued, ...]


class _Call(Work):
    def __init__(self, call: Callable[[Log], Any], size: int = 0) -> None:
        self._call = call
        self.size = size

    def carry_out(self, log: Log) -> Any:
        return self._call(log)


class _Commits(Work):
    def __init__(
        self, source: str, group: str, member: str, commits: Sequence[Commit], streams: Sequence[str]
    ) -> None:
        self._group = source, group
        self._member = member
        self._commits = commits
        self.items = len(commits)
        self._streams = streams
        self.weight = sum(1 + len(commit.emit) for commit in commits)
        self.size = sum(len(emitted.data) for commit in commits for emitted in commit.emit)

    def halves(self) -> "tuple[_Commits, _Commits]":
        at = len(self._commits) // 2
        parts = self._commits[:at], self._commits[at:]
        before, after = [_Commits(*self._group, self._member, commits, self._streams) for commits in parts]
        before.refused, after.refused = split(self.refused, at)
        return before, after

    def carry_out(self, log: Log) -> list[Committed | GaplessError]:
        reader = log.memberships.find(*self._group) or Reader([])
        answers: list[Committed | GaplessError] = []
        for item, commit in enumerate(self._commits):
            try:
                if item in self.refused:
                    raise self.refused[item]
                answers.append(self._move_on(log, reader, commit))
            except Undo as undo:
                undo.item = item
                raise
            except GaplessError as error:
                answers.append(error)
        return answers

    def _move_on(self, log: Log, reader: Reader, commit: Commit) -> Committed:
        hold, stream = reader.holding(self._member, commit, self._streams, log.time_ms)
        if not leads_on(hold.position, commit.position, lambda position: log.is_past(stream, position)):
            return ()
        emitted = emit(log, commit.emit)
        log.memberships.move(reader, commit.partition, commit.position)
        return emitted


class SqliteGroups(Groups):
    """Groups in a file."""

    @abstractmethod
    async def work(self, work: Work) -> Any:
        """Have a call carried out, in the order of all calls."""

    async def _call(self, call: Callable[[Log], Any], size: int = 0) -> Any:
        return await self.work(_Call(call, size))

    async def declare_stream(self, name: str, options: StreamOptions) -> bool:
        check_stream(name)
        check_partitions(options.partitions)
        encoded = msgspec.json.encode(options)
        return bool(await self._call(lambda log: log.memberships.declare(name, options, encoded)))

    async def declared_streams(self) -> dict[str, StreamOptions]:
        declared: dict[str, StreamOptions] = await self._call(lambda log: log.memberships.declared())
        return declared

    async def drop_stream(self, name: str) -> None:
        check_stream(name)
        await self._call(lambda log: log.memberships.undeclare(name))

    async def heartbeat(
        self, source: str, group: str, member: str, *, partitions: int, session_ms: int
    ) -> Assigned:
        check_group(source, group)
        check_member(member)
        check_session(session_ms)
        check_partitions(partitions)

        def call(log: Log) -> Assigned:
            now_ms = log.time_ms
            reader = log.memberships.find_or_make(source, group, partitions)
            return log.memberships.heartbeat(reader, member, now_ms + session_ms, now_ms, log.fences)

        assigned: Assigned = await self._call(call)
        return assigned

    async def leave(self, source: str, group: str, member: str) -> None:
        check_group(source, group)
        check_member(member)

        def call(log: Log) -> None:
            if reader := log.memberships.find(source, group):
                log.memberships.leave(reader, member)

        await self._call(call)

    async def commit(
        self, source: str, group: str, member: str, commits: Sequence[Commit], *, streams: Sequence[str]
    ) -> list[Committed | GaplessError]:
        check_group(source, group)
        check_member(member)

        committed: list[Committed | GaplessError] = await self.work(
            _Commits(source, group, member, commits, streams)
        )
        return committed

    async def seek(
        self, source: str, group: str, positions: Mapping[int, Position | None], *, audit: Entry | None = None
    ) -> None:
        check_group(source, group)

        def call(log: Log) -> None:
            reader = log.memberships.find(source, group)
            if reader is None:
                raise UnknownStream(f"no group {group!r} reads {source!r}")
            check_sought(len(reader.holds), positions)
            if audit is not None:
                log.admit(audit)
            log.memberships.seek(reader, positions, log.fences)

        await self._call(call)

    async def groups(self, source: str = "") -> list[GroupInfo]:
        if source:
            check_source(source)
        groups: list[GroupInfo] = await self._call(lambda log: log.memberships.look(source, log.time_ms))
        return groups

    async def drop_group(self, source: str, group: str, *, audit: Entry | None = None) -> bool:
        check_group(source, group)

        def call(log: Log) -> bool:
            if log.memberships.find(source, group) is None:
                return False
            if audit is not None:
                log.admit(audit)
            log.memberships.drop(source, group)
            return True

        return bool(await self._call(call))
