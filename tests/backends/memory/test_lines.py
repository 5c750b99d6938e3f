"""What a claim looks at, however many jobs wait."""

import asyncio
from collections.abc import Callable

import pytest

from gapless import backends
from gapless.backends import Options
from gapless.backends.memory.jobs import KeptJob
from gapless.core.jobs import Deed, Job, QueueOptions, Settlement

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
