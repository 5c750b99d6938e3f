"""The few verbs that the promises of queues are told in."""

from collections.abc import Sequence
from typing import Any

from msgspec import structs

from gapless.core.errors import GaplessError
from gapless.core.jobs import (
    Claimed,
    Counted,
    Deed,
    Enqueued,
    Job,
    Lease,
    QueueOptions,
    Settled,
    Settlement,
    State,
)
from gapless.core.retry import Retry
from gapless.ports import Queues

__all__ = [
    "QUEUE",
    "STEADY",
    "acked",
    "as_repeated",
    "claim",
    "claim_one",
    "counted",
    "declare",
    "enqueue",
    "enqueue_one",
    "extend",
    "found",
    "payloads",
    "settle",
    "try_enqueue",
    "try_extend",
    "try_settle",
]

QUEUE = "q"

STEADY = Retry(attempts_max=3, base_ms=1_000, factor=2.0, cap_ms=3_000, jitter=False)
"""A policy without chance: 1 s after the first attempt, then 2 s, then 3 s; the third failure is the last."""


async def declare(store: Queues, queue: str = QUEUE, **options: Any) -> None:
    """Declare a queue, by the steady policy unless another is given."""
    await store.declare(queue, QueueOptions(**{"retry": STEADY} | options))


async def try_enqueue(store: Queues, *jobs: Job) -> list[Enqueued] | GaplessError:
    """Enqueue one batch, and return what became of it."""
    [answer] = await store.enqueue([jobs])
    return answer


async def enqueue_one(store: Queues, data: bytes = b"x", queue: str = QUEUE, **rest: Any) -> Enqueued:
    """Enqueue one job that must be taken."""
    answer = await try_enqueue(store, Job(queue, data, **rest))
    if isinstance(answer, GaplessError):
        raise answer
    return answer[0]


async def enqueue(store: Queues, *datas: bytes, **rest: Any) -> list[str]:
    """Enqueue jobs one after the other that must be taken, and return their ids."""
    return [(await enqueue_one(store, data, **rest)).id for data in datas]


async def claim(
    store: Queues, limit: int = 100, *, queue: str = QUEUE, worker: str = "w", **rest: Any
) -> list[Claimed]:
    """Claim what can be claimed."""
    return await store.claim(queue, worker=worker, limit=limit, **rest)


def as_repeated(jobs: Sequence[Claimed]) -> list[Claimed]:
    """Return jobs as a repeat of their claim is told of them."""
    return [structs.replace(job, again=True) for job in jobs]


async def claim_one(store: Queues, **rest: Any) -> Claimed:
    """Claim one job that must be there."""
    [claimed] = await claim(store, 1, **rest)
    return claimed


def payloads(claimed: Sequence[Claimed]) -> list[bytes]:
    """Return what was claimed, in its order."""
    return [one.data for one in claimed]


async def try_settle(
    store: Queues, claimed: Claimed, deed: Deed = Deed.ACK, **rest: Any
) -> Settled | GaplessError:
    """Settle one job, and return what became of it."""
    [answer] = await store.settle([Settlement(claimed.id, claimed.fence, deed, **rest)])
    return answer


async def settle(store: Queues, claimed: Claimed, deed: Deed = Deed.ACK, **rest: Any) -> Settled:
    """Settle one job; it must hold."""
    answer = await try_settle(store, claimed, deed, **rest)
    if isinstance(answer, GaplessError):
        raise answer
    return answer


async def acked(store: Queues, *, queue: str = QUEUE) -> list[bytes]:
    """Claim and ack one at a time until nothing is left, and return what came, in its order."""
    seen = []
    while claimed := await claim(store, 1, queue=queue):
        await settle(store, claimed[0])
        seen.append(claimed[0].data)
    return seen


async def try_extend(store: Queues, claimed: Claimed, lease_ms: int) -> int | GaplessError:
    """Extend one lease, and return what became of it."""
    [answer] = await store.extend([Lease(claimed.id, claimed.fence)], lease_ms)
    return answer


async def extend(store: Queues, claimed: Claimed, lease_ms: int) -> int:
    """Extend one lease that must last."""
    answer = await try_extend(store, claimed, lease_ms)
    if isinstance(answer, GaplessError):
        raise answer
    return answer


async def found(store: Queues, state: State, *, queue: str = QUEUE) -> list[bytes]:
    """Return the payloads of the jobs in a state, in the order of their ids."""
    return [view.data for view in (await store.browse(queue, state, limit=1_000)).jobs]


async def counted(store: Queues, *, queue: str = QUEUE) -> Counted:
    """Return how many jobs of a queue are where."""
    return (await store.queues())[queue].counted
