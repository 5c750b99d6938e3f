"""The few verbs in which the promises of groups are told: one source of four partitions, and one group."""

from collections.abc import Sequence
from typing import Any

from gapless.core.errors import GaplessError
from gapless.core.groups import Assigned, Commit, GroupInfo, Held
from gapless.core.jobs import Enqueued
from gapless.core.stream import Position, Stored
from gapless.ports import Groups, Store
from gapless.testing.conformance.places import fill

__all__ = [
    "GROUP",
    "LANES",
    "SESSION_MS",
    "SOURCE",
    "beat",
    "begun",
    "commit",
    "held",
    "look",
    "lost",
    "numbers",
    "settle",
    "stands",
    "try_commit",
]

SOURCE, GROUP = "orders", "billing"
LANES = [f"stream:orders/{partition}" for partition in range(4)]
SESSION_MS = 10_000


async def beat(
    store: Groups, member: str = "a", group: str = GROUP, *, session_ms: int = SESSION_MS, partitions: int = 4
) -> Assigned:
    """Send a heartbeat."""
    return await store.heartbeat(SOURCE, group, member, partitions=partitions, session_ms=session_ms)


async def settle(store: Groups, members: str, *, partitions: int = 4) -> dict[str, Assigned]:
    """Let each member send heartbeats until nothing moves any more, and return what each holds."""
    for _ in range(2):
        for member in members:
            await beat(store, member, partitions=partitions)
    return {member: await beat(store, member, partitions=partitions) for member in members}


def numbers(assigned: Assigned) -> list[int]:
    """Return which partitions are held."""
    return [held.partition for held in assigned.held]


async def held(store: Groups, member: str = "a", partition: int = 0) -> Held:
    """Send a heartbeat, and return one partition that is held."""
    return next(held for held in (await beat(store, member)).held if held.partition == partition)


async def begun(store: Store, count: int = 5) -> Held:
    """Append to each partition, let `a` hold them all, and return the first."""
    for lane in LANES:
        await fill(store, lane, count)
    return await held(store)


async def try_commit(
    store: Groups, member: str, commits: Sequence[Commit], group: str = GROUP, streams: Sequence[str] = LANES
) -> list[tuple[Stored | Enqueued, ...] | type[GaplessError]]:
    """Commit, and return what each commit was answered; of an error, which it is."""
    answers = await store.commit(SOURCE, group, member, commits, streams=streams)
    return [type(answer) if isinstance(answer, GaplessError) else answer for answer in answers]


async def commit(
    store: Groups, at: Held, position: Position, member: str = "a", **rest: Any
) -> tuple[Stored | Enqueued, ...] | type[GaplessError]:
    """Commit in one partition."""
    [answer] = await try_commit(store, member, [Commit(at.partition, at.fence, position, **rest)])
    return answer


async def look(store: Groups, group: str = GROUP) -> GroupInfo:
    """Look at one group."""
    return next(info for info in await store.groups(SOURCE) if info.name == group)


async def stands(store: Groups, partition: int = 0) -> Position | None:
    """Return where the group stands in a partition."""
    return (await look(store)).positions.get(partition)


def lost(before: Assigned, after: Assigned) -> set[int]:
    """Return the partitions whose fence is another one now, or which are held no more."""
    fences = {one.partition: one.fence for one in after.held}
    return {one.partition for one in before.held if fences.get(one.partition) != one.fence}
