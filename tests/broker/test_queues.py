"""The use cases of queues that only a clock in the hand can show: results, rates, rules that change."""

import asyncio
import json
import logging
from typing import Any

import pytest

from gapless.broker.audit import STREAM
from gapless.broker.namespaces import Namespace
from gapless.broker.rules import QueueRule
from gapless.core.errors import GaplessError, StoreFailed, TooManyRequests
from gapless.core.jobs import Deed, QueueOptions
from gapless.core.limits import JOB_DETAILS_BYTES_MAX, JOB_REASON_BYTES_MAX
from gapless.core.retry import Retry
from gapless.protocol.messages import payload
from gapless.protocol.queues import (
    CancelRequest,
    DeclareQueueRequest,
    Emit,
    EmitPublish,
    JobRequest,
    ListQueuesRequest,
    NewSettlement,
    SettleRequest,
    StatsRequest,
)
from gapless.protocol.settings import QueueSettings
from tests.broker.queueing import MAIL, Queues, settle, with_queues
from tests.conversation import rest


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


def test_what_a_declaration_of_a_queue_does_not_say_stays_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    async def scene(queues: Queues) -> None:
        async def declare(queue: str, **said: Any) -> QueueOptions:
            request = DeclareQueueRequest(queue=queue, options=QueueSettings(**said))
            options = (await queues.queueing.declare(request)).options
            listed = (await queues.queueing.list(ListQueuesRequest())).queues
            assert options == next(each.options for each in listed if each.queue == queue)
            return options

        await declare("plain", waiting_max=4, lease_ms=5_000)
        await declare("plain", lease_ms=6_000)
        assert await declare("plain") == QueueOptions(waiting_max=4, lease_ms=6_000)
        assert await declare("fixed", lease_ms=6_000) == QueueOptions(waiting_max=4, lease_ms=6_000)
        assert not caplog.records
        assert (await declare("fixed", waiting_max=0, fair=True)).waiting_max == 4
        [told] = caplog.records
        assert told.message == "'fixed' goes by the configuration, not by what was declared: waiting_max"
        assert (await declare("mail.a")).retry == Retry(attempts_max=2)
        records = [
            json.loads(each.data)
            for each in (
                await queues.store.read(STREAM, after=None, limit_messages=99, limit_bytes=10_000)
            ).messages
        ]
        assert [each["details"] for each in records if each["name"] == "plain"] == [
            {"fresh": True, "lease_ms": 5_000, "waiting_max": 4},
            {"fresh": False, "lease_ms": 6_000},
        ]

    caplog.set_level(logging.WARNING, "gapless.rules")
    patterned = QueueRule(pattern="mail.*", retry=Retry(attempts_max=2))
    with_queues(scene, QueueRule(name="fixed", waiting_max=4), patterned)


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


def test_what_was_done_holds_though_it_cannot_be_recorded(caplog: pytest.LogCaptureFixture) -> None:
    async def scene(queues: Queues) -> None:
        [first, second] = await queues.enqueue("a", "b")

        def full(entries: object, done: object) -> None:
            raise TooManyRequests("no room")

        def refused(entries: Any, done: Any) -> None:
            done(entries, [StoreFailed("no room")])

        for id, append in ((first, full), (second, refused)):
            queues.store.append = append  # type: ignore[method-assign]
            assert (await queues.queueing.cancel(CancelRequest(id=id))).id == id
        assert [record.message for record in caplog.records if "audit" in record.message] == [
            "cancel of 'mail' by library is not in the audit stream: no room"
        ] * 2

    with_queues(scene)


def test_of_rules_that_change_twice_at_once_the_last_ones_hold() -> None:
    async def scene(queues: Queues) -> None:
        declare, go_on = queues.store.declare, asyncio.Event()

        async def slow(queue: str, options: QueueOptions) -> bool:
            if options.lease_ms == 5_000:
                await go_on.wait()
            return await declare(queue, options)

        queues.store.declare = slow  # type: ignore[method-assign]
        for lease_ms in (5_000, 6_000):
            queues.queueing.follow([QueueRule(name="mail", lease_ms=lease_ms)])
            await rest()
        go_on.set()
        await rest()
        queues.queueing.follow([QueueRule(name="mail", lease_ms=7_000)])
        queues.queueing.follow([QueueRule(name="mail", lease_ms=6_000)])
        await rest()
        [mail] = (await queues.queueing.list(ListQueuesRequest())).queues
        assert mail.options.lease_ms == 6_000

    with_queues(scene)
