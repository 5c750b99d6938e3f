"""Jobs and messages in a test's hand, and where jobs are spoken for."""

from gapless.core.errors import LeaseLost
from gapless.library.delivery import Job, Message
from gapless.library.outcomes import Outcome
from gapless.protocol.queues import ClaimedJob
from gapless.protocol.reading import StreamMessage

__all__ = ["Counter", "job", "message"]


class Counter:
    """Remembers what it was told; a lease that is `lost` is nobody's."""

    def __init__(self) -> None:
        self.lost = False
        self.extended: list[int] = []
        self.settled: list[Outcome] = []

    async def extend(self, job: ClaimedJob, lease_ms: int) -> int:
        self.extended.append(lease_ms)
        return job.lease_until_ms + lease_ms

    async def settle(self, job: ClaimedJob, outcome: Outcome) -> None:
        if self.lost:
            raise LeaseLost("it is another's")
        self.settled.append(outcome)


def job(
    desk: Counter | None = None, *, manual: bool = False, attempt: int = 1, keeps_result: bool = False
) -> Job:
    claimed = ClaimedJob(
        id="7-g",
        queue="mail",
        fence="g:1",
        fence_number=1,
        attempt=attempt,
        enqueued_ms=1_000,
        lease_until_ms=31_000,
        key="ada",
        headers={"from": "test"},
    )
    return Job(claimed, desk or Counter(), manual=manual, keeps_result=keeps_result)


def message() -> Message:
    delivered = StreamMessage(partition=1, offset=8, time_ms=1_000, key="ada", headers={"from": "test"})
    return Message("orders", "g", delivered, fence="g:2", fence_number=2)
