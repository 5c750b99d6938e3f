"""Members of groups: heartbeats, which say what is held and from where, and commits."""

import asyncio
from collections.abc import Sequence
from typing import Any

from gapless.broker.audit import record
from gapless.broker.broker import Broker
from gapless.broker.emitting import Emitting
from gapless.broker.jobs import cut_reason
from gapless.broker.streams.sources import Source, Sources
from gapless.core.errors import GaplessError
from gapless.core.groups import Assigned, Commit, Held
from gapless.core.jobs import Enqueued
from gapless.core.stream import Position, Stored
from gapless.ports import Store
from gapless.protocol.groups import (
    CommitAnswer,
    CommitRequest,
    CommittedItem,
    CommittedPartition,
    HeartbeatAnswer,
    HeartbeatRequest,
    HeldPartition,
    LeaveRequest,
    NewCommit,
)
from gapless.protocol.messages import StreamPosition
from gapless.protocol.payloads import Nothing, failure_of
from gapless.protocol.reading import Edge

__all__ = ["Consuming", "knocker"]


class Consuming:
    """What members of groups ask for."""

    def __init__(self, store: Store, sources: Sources, emitting: Emitting, broker: Broker) -> None:
        self._broker = broker
        self._store = store
        self._sources = sources
        self._emitting = emitting
        self._beginning = asyncio.Lock()

    # Heartbeats ---------------------------------------------------------------------------

    async def heartbeat(self, request: HeartbeatRequest, who: str = "") -> HeartbeatAnswer:
        """See `HeartbeatRequest`."""
        source = await self._sources.find(request.source, channel=request.channel)
        assigned = await self._heartbeat(request, source)
        held = assigned.held
        if any(each.position is None for each in held):
            async with self._beginning:  # a second heartbeat of the member must not begin elsewhere
                assigned = await self._heartbeat(request, source)
                held = await self._begin(request, source, assigned.held)
        answer = HeartbeatAnswer(
            session_until_ms=assigned.session_until_ms,
            held=[
                HeldPartition(
                    partition=each.partition,
                    fence=each.fence,
                    fence_number=each.fence_number,
                    position=StreamPosition(each.position.offset, each.position.epoch),
                )
                for each in held
                if each.position is not None
            ],
        )
        await self._wait(request, {each.fence for each in answer.held})
        return answer

    async def _wait(self, request: HeartbeatRequest, fences: set[str]) -> None:
        """Tell the others of what is new to a member; let one to which nothing is wait for their news.

        Who waited is not heard of once more: it may have left meanwhile.
        """
        name = knocker(request.source, request.group)
        if request.held is None or fences != set(request.held):
            self._broker.knock(name)
            return
        with self._broker.arrivals.hearing([name], request.wait_ms) as bell:
            await bell.wait()

    async def _heartbeat(self, request: HeartbeatRequest, source: Source) -> Assigned:
        return await self._store.heartbeat(
            source.name,
            request.group,
            request.member,
            partitions=len(source.streams),
            session_ms=request.session_ms,
        )

    async def _begin(
        self, request: HeartbeatRequest, source: Source, held: Sequence[Held]
    ) -> tuple[Held, ...]:
        """Let the group stand where it begins: for good, so that a restart does not begin elsewhere."""
        new = [each for each in held if each.position is None]
        commits = [
            Commit(each.partition, each.fence, await self._start(request, source.streams[each.partition]))
            for each in new
        ]
        outcomes = await self._commit(request, source, commits) if commits else ()
        begun = {
            commit.partition: commit.position
            for commit, outcome in zip(commits, outcomes, strict=True)
            if not isinstance(outcome, GaplessError)  # else it is another's by now
        }
        return tuple(
            Held(each.partition, each.fence, each.fence_number, each.position or begun.get(each.partition))
            for each in held
        )

    async def _start(self, request: HeartbeatRequest, stream: str) -> Position:
        if request.start_ms is not None:
            return await self._store.find(stream, request.start_ms)
        heads = await self._store.heads([stream])
        floor, last = heads.heads[stream]
        return Position(heads.epoch, last if request.start is Edge.LATEST else floor)

    async def _commit(
        self, request: HeartbeatRequest | CommitRequest, source: Source, commits: Sequence[Commit]
    ) -> Sequence[tuple[Stored | Enqueued, ...] | GaplessError]:
        return await self._store.commit(
            source.name, request.group, request.member, commits, streams=source.streams
        )

    async def leave(self, request: LeaveRequest, who: str = "") -> Nothing:
        """See `LeaveRequest`."""
        await self._store.leave(request.source, request.group, request.member)
        self._broker.knock(knocker(request.source, request.group))
        return Nothing()

    # Commits ------------------------------------------------------------------------------

    async def commit(self, request: CommitRequest, who: str = "") -> CommitAnswer:
        """See `CommitRequest`."""
        source = await self._sources.find(request.source)
        items: list[CommittedItem | None] = [None] * len(request.commits)
        commits, places = [], []
        for index, new in enumerate(request.commits):
            try:
                commits.append(await self._taken(request, source, new, who))
                places.append(index)
            except GaplessError as error:
                items[index] = CommittedItem(error=failure_of(error))
        outcomes = await self._commit(request, source, commits) if commits else ()
        for index, commit, outcome in zip(places, commits, outcomes, strict=True):
            if isinstance(outcome, GaplessError):
                items[index] = CommittedItem(error=failure_of(outcome))
                continue
            told = self._emitting.landed(commit.emit, outcome) if outcome else ()
            asked = len(request.commits[index].emit)  # records may stand behind it
            items[index] = CommittedItem(result=CommittedPartition(emitted=told[:asked]))
        return CommitAnswer(commits=[item for item in items if item is not None])

    async def _taken(self, request: CommitRequest, source: Source, new: NewCommit, who: str) -> Commit:
        emits = await self._emitting.taken(new.emit)
        told: dict[str, Any] = {"group": request.group, "partition": new.partition, "offset": new.offset}
        if new.passed_over:
            why = cut_reason(new.passed_over)
            passed = {**told, "reason": why, "attempts": new.attempts}
            emits.append(record("pass_over", who or request.member, source.name, **passed))
        if source.options.audit:
            emits.append(record("commit", who or request.member, source.name, **told))
        return Commit(new.partition, new.fence, Position(new.epoch, new.offset), emits)


def knocker(source: str, group: str) -> str:
    """Return what the members of a group wait for, to hear that it has changed."""
    return f"gapless.groups/{source}/{group}"
