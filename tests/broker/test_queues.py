"""The use cases of queues that only a clock in the hand can show: results, rates, rules that change."""

import asyncio

import pytest

from gapless.broker import results
from gapless.broker.namespaces import Namespace
from gapless.broker.rules import QueueRule
from gapless.core.errors import GaplessError, StoreFailed, TooManyRequests, UnknownJob
from gapless.core.jobs import Deed, Settlement, State
from gapless.core.limits import JOB_DETAILS_BYTES_MAX, JOB_REASON_BYTES_MAX
from gapless.protocol.messages import payload
from gapless.protocol.queues import (
    CancelRequest,
    ClaimedJob,
    Emit,
    EmitPublish,
    JobRequest,
    ListQueuesRequest,
    NewSettlement,
    ResultRequest,
    SettleRequest,
    StatsRequest,
)
from tests.broker.queueing import MAIL, Queues, refused, with_queues
from tests.conversation import rest

KEPT = QueueRule(name="mail", result_ms=60_000)


async def settle(queues: Queues, job: ClaimedJob, deed: Deed = Deed.ACK, **fields: str) -> None:
    settlement = NewSettlement(id=job.id, fence=job.fence, deed=deed, **fields)  # type: ignore[arg-type]
    await queues.queueing.settle(SettleRequest(settlements=[settlement]))


def waits(queues: Queues, id: str, wait_ms: int = 30_000) -> "asyncio.Task[object]":
    return asyncio.ensure_future(queues.queueing.result(ResultRequest(id=id, wait_ms=wait_ms)))


def test_a_result_is_heard_of_when_its_job_is_settled_here() -> None:
    async def scene(queues: Queues) -> None:
        [id] = await queues.enqueue("a")
        waiting = [waits(queues, id) for _ in range(3)]
        [job] = await queues.claim()
        await rest()
        assert not any(task.done() for task in waiting)
        await settle(queues, job)
        await rest()
        assert all(task.done() for task in waiting)

    with_queues(scene, KEPT)


def test_a_result_is_found_within_a_second_when_another_node_settled_its_job() -> None:
    async def scene(queues: Queues) -> None:
        [id] = await queues.enqueue("a")
        [job] = await queues.claim()
        waiting = waits(queues, id)
        await rest()
        await queues.store.settle([Settlement(job.id, job.fence, Deed.ACK, result=b"1")])
        await queues.pass_ms(1_000)
        assert (await waiting).body() == b"1"  # type: ignore[attr-defined]

    with_queues(scene, KEPT)


def test_who_waited_long_enough_for_a_result_is_told_where_the_job_is() -> None:
    async def scene(queues: Queues) -> None:
        [id] = await queues.enqueue("a", delay_ms=60_000)
        waiting = waits(queues, id, 5_000)
        await rest()
        await queues.pass_ms(5_000)
        assert (await waiting).state is State.WAITING  # type: ignore[attr-defined]

    with_queues(scene, KEPT)


def test_a_job_that_is_cancelled_has_no_result_to_wait_for() -> None:
    async def scene(queues: Queues) -> None:
        [id] = await queues.enqueue("a")
        waiting = waits(queues, id)
        await rest()
        await queues.queueing.cancel(CancelRequest(id=id))
        await rest()
        assert isinstance(waiting.exception(), UnknownJob)

    with_queues(scene)


def test_only_so_many_wait_for_results_be_it_of_one_job_or_of_several(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(results, "WAITERS_MAX", 1)

    async def scene(queues: Queues) -> None:
        first, second = await queues.enqueue("a", "b")
        waiting = waits(queues, first)
        await rest()
        for id in (first, second):
            error = await refused(queues.queueing.result(ResultRequest(id=id, wait_ms=1)))
            assert isinstance(error, TooManyRequests)
        queues.queueing.stop_waiting()
        await waiting

    with_queues(scene)


def test_rates_are_those_of_the_last_minute() -> None:
    async def scene(queues: Queues) -> None:
        async def rate() -> float:
            return (await queues.queueing.stats(StatsRequest())).queues[0].enqueued_per_second

        for _ in range(120):
            await queues.enqueue(*range(10))
            await queues.pass_ms(1_000)
        assert await rate() == pytest.approx(10, rel=0.2)
        await queues.pass_ms(90_000, 1_000)
        assert await rate() == 0

    with_queues(scene)


def test_reasons_and_tracebacks_are_cut_to_what_is_kept() -> None:
    async def scene(queues: Queues) -> None:
        [id] = await queues.enqueue("a")
        [job] = await queues.claim()
        details = "first line\n" + "ä" * JOB_DETAILS_BYTES_MAX + "\nValueError: last line"
        await settle(queues, job, Deed.BURY, reason="r" * 5_000, details=details)
        view = await queues.queueing.job(JobRequest(id=id))
        assert view.reason == "r" * JOB_REASON_BYTES_MAX
        assert view.details.endswith("ValueError: last line")
        assert len(view.details.encode()) <= JOB_DETAILS_BYTES_MAX

    with_queues(scene)


def test_queues_follow_rules_that_change() -> None:
    async def scene(queues: Queues) -> None:
        queues.queueing.follow([QueueRule(name="new"), QueueRule(pattern="ma*", lease_ms=5_000)])
        await rest()
        listed = (await queues.queueing.list(ListQueuesRequest())).queues
        assert {each.queue: each.options.lease_ms for each in listed} == {"mail": 5_000, "new": 30_000}

    with_queues(scene)


def test_what_fails_in_the_store_is_told_item_by_item() -> None:
    async def scene(queues: Queues) -> None:
        await queues.enqueue("a")
        [job] = await queues.claim()

        async def failing(settlements: object) -> list[GaplessError]:
            return [StoreFailed("the store is closed")]

        queues.store.settle = failing  # type: ignore[method-assign, assignment]
        answer = await queues.queueing.settle(
            SettleRequest(settlements=[NewSettlement(id=job.id, fence=job.fence, deed=Deed.ACK)])
        )
        [item] = answer.settlements
        assert item.error is not None
        assert isinstance(item.error.error(), StoreFailed)

    with_queues(scene, MAIL)


def test_what_a_repeated_settlement_has_emitted_is_told_to_followers_once() -> None:
    async def scene(queues: Queues) -> None:
        reader = await queues.stage.reader("room")
        await queues.enqueue("a")
        [job] = await queues.claim()
        emit = Emit(publish=EmitPublish(channel="room", data=payload(b'"done"')))
        ack = SettleRequest(
            settlements=[NewSettlement(id=job.id, fence=job.fence, deed=Deed.ACK, emit=(emit,))]
        )
        first = await queues.queueing.settle(ack)
        assert await queues.queueing.settle(ack) == first
        await rest()
        assert len([said for said in reader.heard() if "push" in said]) == 1

    with_queues(scene, without=Namespace(allow_subscribe_for_client=True, allow_subscribe_for_anonymous=True))
