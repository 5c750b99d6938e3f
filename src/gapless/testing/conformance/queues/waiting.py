"""What those who wait for jobs go by: `next_due_ms` and `hear_ready`."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from gapless.core.jobs import Deed, Job, Schedule, State
from gapless.ports import Store
from gapless.testing.conformance.places import Place, entry, promise
from gapless.testing.conformance.queues.verbs import (
    QUEUE,
    claim,
    claim_one,
    declare,
    enqueue,
    settle,
    try_settle,
)

__all__ = ["Waiting"]


class Waiting:
    """What those who wait for jobs go by: `next_due_ms` and `hear_ready`."""

    @promise
    async def test_nothing_is_due_where_nothing_waits(self, place: Place, store: Store) -> None:
        await declare(store)
        assert await store.next_due_ms(QUEUE) is None
        await enqueue(store, b"1")
        await settle(store, await claim_one(store))
        assert await store.next_due_ms(QUEUE) is None

    @promise
    async def test_the_next_job_is_due_when_its_delay_retry_or_lease_ends(
        self, place: Place, store: Store
    ) -> None:
        await declare(store)
        await enqueue(store, b"1", delay_ms=90_000)
        assert await store.next_due_ms(QUEUE) == place.time_ms + 90_000
        await enqueue(store, b"2", b"3")
        retried, _ = await claim(store)
        assert self.lies_ahead(place, await store.next_due_ms(QUEUE), 30_000)
        await settle(store, retried, Deed.RETRY)
        assert await store.next_due_ms(QUEUE) == place.time_ms + 1_000

    def lies_ahead(self, place: Place, due_ms: int | None, most_ms: int) -> bool:
        return due_ms is not None and place.time_ms < due_ms <= place.time_ms + most_ms

    @promise
    async def test_a_worker_that_sleeps_until_then_misses_nothing(self, place: Place, store: Store) -> None:
        await declare(store, lease_ms=700, in_flight_max=2)
        for number in range(12):
            key = "abc"[number % 3] if number % 4 else None
            await enqueue(store, b"%d" % number, key=key, delay_ms=number * 333 % 2_000)
        acked: list[bytes] = []
        deeds = (Deed.ACK, None, Deed.RETRY, Deed.ACK, Deed.RELEASE)
        turn = 0
        while True:
            while claimed := await claim(store):
                for job in claimed:
                    deed = deeds[turn % len(deeds)] if job.attempt < 3 else Deed.ACK
                    turn += 1
                    if deed is not None:
                        await settle(store, job, deed)
                    if deed is Deed.ACK:
                        acked.append(job.data)
            due_ms = await store.next_due_ms(QUEUE)
            if due_ms is None:
                break
            assert due_ms > place.time_ms
            place.time_ms = due_ms
        assert sorted(acked, key=int) == [b"%d" % number for number in range(12)]

    @promise
    async def test_a_paused_queue_gives_nothing_however_long_one_waits(
        self, place: Place, store: Store
    ) -> None:
        await declare(store)
        await enqueue(store, b"1", delay_ms=50)
        await store.pause(QUEUE, paused=True)
        due_ms = await store.next_due_ms(QUEUE)
        assert due_ms is None or due_ms > place.time_ms

    @promise
    async def test_what_may_make_jobs_claimable_is_heard(self, place: Place, store: Store) -> None:
        heard: list[str] = []
        store.hear_ready(heard.append)
        await declare(store, in_flight_max=1)
        await declare(store, "other")
        await store.schedule(Schedule("tick", QUEUE, b"", 0))
        ids = await enqueue(store, b"1", b"2", b"3", key="k")
        claimed = await claim_one(store)
        deeds: list[tuple[str, Callable[[], Awaitable[Any]]]] = [
            (QUEUE, lambda: enqueue(store, b"4")),
            (QUEUE, lambda: enqueue(store, b"5", delay_ms=5)),
            (QUEUE, lambda: declare(store, in_flight_max=5)),
            (QUEUE, lambda: settle(store, claimed, Deed.BURY, emit=[Job("other", b"e"), entry("s")])),
            (QUEUE, lambda: store.redrive(QUEUE, None, limit=1)),
            (QUEUE, lambda: store.cancel(ids[1])),
            (QUEUE, lambda: store.purge(QUEUE, State.WAITING, [ids[2]], limit=1)),
            (QUEUE, lambda: store.pause(QUEUE, paused=False)),
            (QUEUE, lambda: store.fire("tick", b"", 1, [Job(QUEUE, b"6")])),
        ]
        for queue, deed in deeds:
            await self.silence(store, heard)
            await deed()
            await self.silence(store, heard, expected=queue)

    async def silence(self, store: Store, heard: list[str], expected: str = "") -> None:
        """Let what was to be heard be heard; the expected queue was among it."""
        for _ in range(10):
            await asyncio.sleep(0)
            await store.heads([])
        assert not expected or expected in heard
        heard.clear()

    @promise
    async def test_what_is_emitted_is_heard_of_and_what_is_refused_does_no_harm(
        self, place: Place, store: Store
    ) -> None:
        heard: list[str] = []
        await declare(store)
        await declare(store, "other")
        await enqueue(store, b"1")
        claimed = await claim_one(store)
        store.hear_ready(heard.append)
        await try_settle(store, claimed, emit=[Job("unknown", b"")])
        await self.silence(store, heard)
        await settle(store, claimed, emit=[Job("other", b"2")])
        await self.silence(store, heard, expected="other")

    @promise
    async def test_several_may_listen_and_one_that_fails_keeps_no_other_from_hearing(
        self, place: Place, store: Store
    ) -> None:
        failures: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))

        def fail(queue: str) -> None:
            raise ValueError(queue)

        heard: list[str] = []
        store.hear_ready(fail)
        store.hear_ready(heard.append)
        await declare(store)
        await self.silence(store, heard)
        await enqueue(store, b"1")
        await self.silence(store, heard, expected=QUEUE)
        assert failures
