"""The port Groups on Redis: who holds what is decided here, and kept there."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, TypeVar
from weakref import WeakValueDictionary

import msgspec

from gapless.backends.redis.encoding import encode, entry_of
from gapless.backends.redis.errors import by_code
from gapless.backends.redis.job_encoding import emits_of, emitted_of
from gapless.backends.redis.membership import Decision, Kept, Memberships, Steady, name_of, names_in, to_give
from gapless.backends.redis.part import RedisPart
from gapless.core.errors import BadRequest, GaplessError, Unavailable, UnknownStream
from gapless.core.group_rules import (
    check_commit,
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
from gapless.core.limits import DECLARED_STREAMS_MAX, OFFSET_MAX, PARTITIONS_MAX
from gapless.core.membership import Hold
from gapless.core.stream import Entry, Position, Stored
from gapless.ports import Groups

__all__ = ["RedisGroups"]

Answer = TypeVar("Answer")
Committed = tuple[Stored | Enqueued, ...]

# How often a decision is made anew because another process was quicker.
TRIES_MAX: Final = 32
# Members of whom it is known that their heartbeats change nothing.
STEADY_MAX: Final = 4_096
# What no partition stands at, and no stream has.
NOWHERE: Final = ("", "-1")


class RedisGroups(RedisPart, Groups):
    """Groups, as functions inside Redis."""

    def __init__(self) -> None:
        super().__init__()
        self._memberships = Memberships(self._calls)
        self._steady: dict[tuple[str, str, int], Steady] = {}
        self._deciding: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    # Declared streams

    async def declare_stream(self, name: str, options: StreamOptions) -> bool:
        check_stream(name)
        check_partitions(options.partitions)
        encoded = msgspec.json.encode(options)
        partitions, most = options.partitions, DECLARED_STREAMS_MAX
        [is_new] = await self._calls.call("declare_stream", name, partitions, encoded, most)
        return bool(is_new)

    async def declared_streams(self) -> dict[str, StreamOptions]:
        [told] = await self._calls.read("declared_streams")
        declared = zip(told[::2], told[1::2], strict=True)
        return {
            name.decode(): msgspec.json.decode(options, type=StreamOptions)
            for name, options in sorted(declared)
        }

    async def drop_stream(self, name: str) -> None:
        check_stream(name)
        await self._calls.call("drop_stream", name, name_of(name, ""))

    # Who is in a group

    async def heartbeat(
        self, source: str, group: str, member: str, *, partitions: int, session_ms: int
    ) -> Assigned:
        check_group(source, group)
        check_member(member)
        check_session(session_ms)
        check_partitions(partitions)
        name = name_of(source, group)
        steady = self._steady.get((name, member, partitions))
        assigned = steady and await self._memberships.renew(name, member, steady, session_ms)
        if assigned:
            return assigned

        async def decide(kept: Kept) -> Assigned | None:
            reader = kept.reader
            if not kept.revision:
                reader.holds = [Hold() for _ in range(partitions)]
            if len(reader.holds) != partitions:
                raise BadRequest(f"{group!r} was begun with {len(reader.holds)} partitions of {source!r}")
            was_in = reader.is_in(member, kept.now_ms)
            change = reader.heartbeat(member, kept.now_ms + session_ms, kept.now_ms, to_give())
            if was_in and not change.gone and not change.partitions:
                steady = Steady(kept.revision, reader.assigned(member).held)
                self._remember((name, member, partitions), steady)
                return await self._memberships.renew(name, member, steady, session_ms)
            decision = Decision(
                frozenset(change.partitions),
                gone=frozenset(change.gone),
                member=member,
                session_ms=session_ms,
            )
            until_ms = await self._memberships.keep(name, kept, decision)
            return None if until_ms is None else Assigned(reader.assigned(member).held, until_ms)

        return await self._decide(name, decide)

    def _remember(self, whose: tuple[str, str, int], steady: Steady) -> None:
        self._steady.pop(whose, None)
        self._steady[whose] = steady
        if len(self._steady) > STEADY_MAX:
            del self._steady[next(iter(self._steady))]

    async def leave(self, source: str, group: str, member: str) -> None:
        check_group(source, group)
        check_member(member)
        name = name_of(source, group)

        async def decide(kept: Kept) -> bool:
            change = kept.reader.leave(member)
            decision = Decision(frozenset(change.partitions), gone=frozenset(change.gone))
            return not change.gone or await self._memberships.keep(name, kept, decision) is not None

        await self._decide(name, decide)

    async def seek(
        self, source: str, group: str, positions: Mapping[int, Position | None], *, audit: Entry | None = None
    ) -> None:
        check_group(source, group)
        await self._drain()
        name = name_of(source, group)

        async def decide(kept: Kept) -> bool:
            if not kept.revision:
                raise UnknownStream(f"no group {group!r} reads {source!r}")
            check_sought(len(kept.reader.holds), positions)
            kept.reader.seek(positions, to_give())
            decision = Decision(frozenset(positions), positions)
            return await self._memberships.keep(name, kept, decision, self._recorded(audit)) is not None

        await self._decide(name, decide)

    async def _decide(self, name: str, decide: Callable[[Kept], Awaitable[Answer | None]]) -> Answer:
        """Decide over a group as it is now until that was kept; one after the other in this process."""
        async with self._deciding.setdefault(name, asyncio.Lock()):
            for _ in range(TRIES_MAX):
                [kept] = await self._memberships.look([name])
                if answer := await decide(kept):
                    return answer
        raise Unavailable("other processes change the group too often just now; ask again")

    # Where a group stands

    async def commit(
        self, source: str, group: str, member: str, commits: Sequence[Commit], *, streams: Sequence[str]
    ) -> list[Committed | GaplessError]:
        check_group(source, group)
        check_member(member)
        await self._drain()
        told = encode([self._commit_of(commit, streams) for commit in commits])
        [answers] = await self._calls.call("group_commit", name_of(source, group), member, len(streams), told)
        return [
            emitted_of(answer[1:]) if answer[0] else by_code(answer[1].decode(), answer[2].decode())
            for answer in answers
        ]

    def _commit_of(self, commit: Commit, streams: Sequence[str]) -> list[Any]:
        """Return a commit as `group_commit` takes it; what is wrong with it is told if its fence counts."""
        try:
            check_commit(commit)
        except BadRequest as error:
            return [*_place_of(commit, streams), (error.code, str(error)), ()]
        return [*_place_of(commit, streams), False, emits_of(commit.emit, self._options)]

    async def groups(self, source: str = "") -> list[GroupInfo]:
        if source:
            check_source(source)
        names = await self._memberships.names()
        wanted = [name for name in names if not source or names_in(name)[0] == source]
        wanted.sort(key=names_in)
        kept = await self._memberships.look(wanted)
        return [
            one.reader.look(*names_in(name), one.now_ms)
            for name, one in zip(wanted, kept, strict=True)
            if one.revision
        ]

    async def drop_group(self, source: str, group: str, *, audit: Entry | None = None) -> bool:
        check_group(source, group)
        await self._drain()
        [was_there] = await self._calls.call("group_drop", name_of(source, group), self._recorded(audit))
        return bool(was_there)

    def _recorded(self, audit: Entry | None) -> bytes:
        return b"" if audit is None else encode(entry_of(audit, self._options))


def _place_of(commit: Commit, streams: Sequence[str]) -> list[Any]:
    """Return the partition, fence, stream and position of a commit; what no store has is nowhere."""
    partition, position = commit.partition, commit.position
    stream = streams[partition] if 0 <= partition < len(streams) else ""
    can_be = position.epoch.isprintable() and 0 <= position.offset <= OFFSET_MAX
    place = (position.epoch, str(position.offset)) if can_be else NOWHERE
    return [
        partition if 0 <= partition < PARTITIONS_MAX else -1,
        commit.fence if commit.fence.isascii() else "",
        stream,
        place,
    ]
