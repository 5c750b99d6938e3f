"""What a claim looks at, however many jobs wait."""

import asyncio
from collections.abc import Callable

import pytest

from gapless import backends
from gapless.backends import Options
from gapless.backends.memory.jobs import KeptJob
from gapless.backends.memory.queues import MemoryQueues
from gapless.core.errors import UnknownQueue
from gapless.core.jobs import Deed, Job, QueueOptions, Settlement, State
from gapless.core.retry import Retry

WAITING = 20_000


@pytest.mark.parametrize("key", [lambda n: None, lambda n: "one", lambda n: str(n % 50)])
def test_a_claim_looks_at_few_jobs_of_many(
    key: Callable[[int], str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_at = 0
    rank = KeptJob.rank

    def counted(job: KeptJob) -> tuple[int, int, int]:
        nonlocal looked_at
        looked_at += 1
        return rank(job)

    async def scene() -> None:
        nonlocal looked_at
        store = await backends.open("memory:", Options())
        try:
            await store.declare("mail", QueueOptions())
            for start in range(0, WAITING, 1_000):
                await store.enqueue([[Job("mail", b"1", key=key(n)) for n in range(start, start + 1_000)]])
            monkeypatch.setattr(KeptJob, "rank", counted)
            seen = []
            for n in range(102):
                if n == 2:  # each job is looked at once when it falls due
                    looked_at = 0
                [job] = await store.claim("mail", worker="w", limit=1)
                seen.append(job.id)
                await store.settle([Settlement(job.id, job.fence, Deed.ACK)])
            assert looked_at < 10 * 100
            assert seen == sorted(seen, key=lambda id: int(id.partition("-")[0]))
        finally:
            await store.close()

    asyncio.run(scene())


NOW_MS = 1_700_000_000_000
ENDS: list[tuple[Job, str]] = [
    (Job("mail", b"1"), "cancel"),
    (Job("mail", b"1", key="head"), "cancel"),
    (Job("mail", b"1", expires_ms=1), "look"),
    (Job("mail", b"1", expires_ms=86_400_000, priority=1), "ack"),
    (Job("mail", b"1", delay_ms=86_400_000), "refuse"),
]


@pytest.mark.parametrize(("job", "end"), ENDS)
def test_what_jobs_have_outlived_does_not_grow(job: Job, end: str) -> None:
    async def scene() -> None:
        now_ms = NOW_MS
        store = await backends.open("memory:", Options(now_ms=lambda: now_ms))
        assert isinstance(store, MemoryQueues)
        await store.declare("mail", QueueOptions(dead_ms=1))
        await store.enqueue([[Job("mail", b"1", key="head")]])
        for _ in range(1_000):
            batch = [job, Job("none", b"1")] if end == "refuse" else [job]
            [told] = await store.enqueue([batch])
            if end == "refuse":
                assert isinstance(told, UnknownQueue)
            elif end == "cancel":
                assert isinstance(told, list)
                await store.cancel(told[0].id)
            elif end == "ack":
                [claimed] = await store.claim("mail", worker="w", limit=1)
                await store.settle([Settlement(claimed.id, claimed.fence, Deed.ACK)])
            now_ms += 2
            await store.queues()
        queue = store._kept.jobs.queues["mail"]
        assert [len(queue.jobs[state]) for state in (State.WAITING, State.DEAD)] == [1, 0]
        lined = sum(len(line) for line in queue.lines.values())
        assert len(queue.later) + len(queue.ready) + len(queue.wakes) + lined < 300
        [claimed] = await store.claim("mail", worker="w", limit=2)
        assert claimed.key == "head"
        await store.close()

    asyncio.run(scene())


def test_what_was_taken_back_does_not_wake_a_job_of_another_queue() -> None:
    async def scene() -> None:
        now_ms = NOW_MS
        store = await backends.open("memory:", Options(now_ms=lambda: now_ms))
        await store.declare("mail", QueueOptions(retry=Retry(base_ms=1, jitter=False)))
        await store.declare("post", QueueOptions(retry=Retry(base_ms=7_000, jitter=False)))
        [refused] = await store.enqueue([[Job("mail", b"1", expires_ms=1_000), Job("none", b"1")]])
        assert isinstance(refused, UnknownQueue)
        await store.enqueue([[Job("post", b"1")]])
        [claimed] = await store.claim("post", worker="w", limit=1, lease_ms=1_000)
        now_ms += 1_000
        await store.queues()
        assert (await store.look(claimed.id)).due_ms == NOW_MS + 8_000
        await store.close()

    asyncio.run(scene())
