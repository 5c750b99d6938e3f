"""Recurring jobs: one firing per tick however many nodes, and what becomes of ticks that were missed."""

from typing import Any

import pytest

from gapless.broker import schedules
from gapless.broker.cron import ticks
from gapless.broker.emitting import Emitting
from gapless.broker.queues import Queueing
from gapless.broker.rules import QueueRule
from gapless.core.errors import BadRequest, UnknownQueue
from gapless.core.jobs import State
from gapless.core.limits import TICKS_MAX
from gapless.protocol.messages import payload
from gapless.protocol.schedules import (
    Missed,
    ScheduleRequest,
    SchedulesRequest,
    UnscheduleRequest,
)
from tests.broker.queueing import MAIL, Queues, refused, with_queues


def every(seconds: int, **fields: Any) -> ScheduleRequest:
    return ScheduleRequest(**{"name": "s", "queue": "mail", "every_ms": seconds * 1_000, **fields})


async def fired(queues: Queues) -> list[int]:
    page = await queues.store.browse("mail", State.WAITING, limit=1_000)
    answer = [job.headers for job in page.jobs]
    return sorted(int(each.partition(b'gapless-tick":"')[2].partition(b'"')[0]) for each in answer)


def test_a_tick_enqueues_a_job_that_says_whose_it_is() -> None:
    async def scene(queues: Queues) -> None:
        request = every(60, data=payload(b'{"a":1}'), headers={"x": "y"}, key="k", priority=3)
        answer = await queues.queueing.schedule(request)
        assert answer.next_ms == queues.clock.now_ms() // 60_000 * 60_000 + 60_000
        await queues.pass_ms(61_000)
        [job] = await queues.claim(limit=10)
        assert (job.body(), job.key, job.priority) == (b'{"a":1}', "k", 3)
        assert job.headers == {"x": "y", "gapless-schedule": "s", "gapless-tick": str(answer.next_ms)}

    with_queues(scene)


def test_several_nodes_fire_each_tick_once() -> None:
    async def scene(queues: Queues) -> None:
        others = [Queueing(queues.store, queues.clock, Emitting(queues.stage.broker)) for _ in range(3)]
        for other in others:
            await other.start()
        await queues.queueing.schedule(every(10))
        await queues.pass_ms(100_000)
        ticks = await fired(queues)
        assert len(ticks) == len(set(ticks)) == 10
        for other in others:
            await other.stop()

    with_queues(scene)


@pytest.mark.parametrize(("missed", "jobs"), [(Missed.ONE, 1), (Missed.ALL, 6), (Missed.NONE, 0)])
def test_ticks_that_nobody_fired(missed: Missed, jobs: int) -> None:
    async def scene(queues: Queues) -> None:
        now_ms = queues.clock.now_ms()
        await queues.queueing.schedule(every(3_600, missed=missed))
        await queues.queueing.stop()
        queues.clock.pass_ms(6 * 3_600_000 + 3_600_000 - now_ms % 3_600_000 - 1_800_000)
        queues.queueing = Queueing(queues.store, queues.clock, Emitting(queues.stage.broker))
        await queues.queueing.start()
        await queues.pass_ms(1_000)
        assert len(await fired(queues)) == jobs
        await queues.pass_ms(3_600_000, 60_000)
        assert len(await fired(queues)) == jobs + 1

    with_queues(scene)


@pytest.mark.parametrize(("missed", "late"), [(Missed.ONE, 1), (Missed.NONE, 0)])
def test_however_many_ticks_were_missed_the_next_one_is_fired_in_time(missed: Missed, late: int) -> None:
    async def scene(queues: Queues) -> None:
        await queues.queueing.schedule(every(60, missed=missed))
        await queues.queueing.stop()
        queues.clock.pass_ms(60_000 * (3 * TICKS_MAX + 7) - queues.clock.now_ms() % 60_000 + 30_000)
        began_ms = queues.clock.now_ms()
        queues.queueing = Queueing(queues.store, queues.clock, Emitting(queues.stage.broker))
        await queues.queueing.start()
        await queues.pass_ms(100_000)
        tick_ms = began_ms // 60_000 * 60_000
        assert await fired(queues) == [tick_ms + 60_000 * n for n in range(1 - late, 3)]

    with_queues(scene)


def test_a_schedule_that_is_made_again_fires_no_tick_twice() -> None:
    async def scene(queues: Queues) -> None:
        for _ in range(20):
            await queues.queueing.schedule(every(10))
            await queues.pass_ms(1_000)
        ticks = await fired(queues)
        assert len(ticks) == len(set(ticks)) == 2

    with_queues(scene)


def test_schedules_are_listed_changed_and_forgotten() -> None:
    async def scene(queues: Queues) -> None:
        await queues.queueing.schedule(every(10))
        await queues.queueing.schedule(ScheduleRequest(name="a", queue="mail", cron="0 0 * * *"))
        answer = await queues.queueing.schedules(SchedulesRequest())
        assert [(each.name, each.cron, each.every_ms) for each in answer.schedules] == [
            ("a", "0 0 * * *", 0),
            ("s", "", 10_000),
        ]
        assert all(each.next_ms > queues.clock.now_ms() for each in answer.schedules)
        await queues.queueing.schedule(every(60))
        assert (await queues.queueing.unschedule(UnscheduleRequest(name="a"))).found
        assert not (await queues.queueing.unschedule(UnscheduleRequest(name="a"))).found
        await queues.pass_ms(55_000)
        assert len(await fired(queues)) <= 1
        assert [each["what"] for each in await queues.audited() if each["what"] != "declare"] == [
            "schedule",
            "schedule",
            "schedule",
            "unschedule",
        ]

    with_queues(scene)


def test_what_cannot_fire_is_refused_at_once() -> None:
    async def scene(queues: Queues) -> None:
        assert isinstance(await refused(queues.queueing.schedule(every(1, queue="nope"))), UnknownQueue)
        never = ScheduleRequest(name="s", queue="mail", cron="0 0 30 2 *")
        assert isinstance(error := await refused(queues.queueing.schedule(never)), BadRequest)
        assert "never fires" in str(error)
        large = every(10, headers={"x": "y" * 20_000})
        assert isinstance(await refused(queues.queueing.schedule(large)), BadRequest)
        assert not (await queues.queueing.schedules(SchedulesRequest())).schedules

    with_queues(scene)


def begun_again(queues: Queues) -> Queueing:
    """Return another node, which takes over."""
    return Queueing(queues.store, queues.clock, Emitting(queues.stage.broker), [MAIL])


def hours_of(queues: Queues, hours: int) -> int:
    """Return what is to pass until an hour has begun, and `hours` more, and a little."""
    hour_ms = 3_600_000
    return hour_ms - queues.clock.now_ms() % hour_ms + hours * hour_ms + 60_000


@pytest.mark.parametrize(
    "changed", [{}, {"data": payload(b"2")}, {"priority": 7}, {"missed": Missed.ALL}, {"headers": {"a": "b"}}]
)
def test_a_tick_that_was_missed_during_a_deployment_is_fired_after_it(changed: dict[str, Any]) -> None:
    async def scene(queues: Queues) -> None:
        await queues.queueing.schedule(every(3_600))
        await queues.queueing.stop()
        queues.clock.pass_ms(hours_of(queues, 0))
        queues.queueing = begun_again(queues)
        await queues.queueing.schedule(every(3_600, **changed))
        await queues.queueing.start()
        await queues.pass_ms(1_000)
        assert len(await fired(queues)) == 1
        await queues.queueing.schedule(every(3_600, **changed))
        await queues.pass_ms(1_000)
        assert len(await fired(queues)) == 1

    with_queues(scene)


@pytest.mark.parametrize(
    "changed", [{"every_ms": 1_800_000}, {"every_ms": 0, "cron": "0 * * * *"}, {"time_zone": "Asia/Tokyo"}]
)
def test_a_schedule_that_recurs_otherwise_than_before_counts_from_now(changed: dict[str, Any]) -> None:
    async def scene(queues: Queues) -> None:
        await queues.queueing.schedule(every(3_600, missed=Missed.ALL))
        await queues.queueing.stop()
        queues.clock.pass_ms(hours_of(queues, 5))
        queues.queueing = begun_again(queues)
        answer = await queues.queueing.schedule(every(3_600, missed=Missed.ALL, **changed))
        await queues.queueing.start()
        await queues.pass_ms(1_000)
        assert await fired(queues) == []
        await queues.pass_ms(answer.next_ms - queues.clock.now_ms() + 1_000, 10_000)
        assert await fired(queues) == [answer.next_ms]

    with_queues(scene)


FULL = QueueRule(name="mail", waiting_max=1)


async def make_room(queues: Queues) -> None:
    assert await queues.store.purge("mail", State.WAITING, None, limit=10) == 1


async def passed_over(queues: Queues) -> list[dict[str, Any]]:
    return [each for each in await queues.audited() if each["what"] == "pass_over"]


@pytest.mark.parametrize("missed", [Missed.ONE, Missed.NONE])
def test_a_tick_for_which_a_queue_has_no_room_is_fired_as_soon_as_it_has(
    missed: Missed, caplog: pytest.LogCaptureFixture
) -> None:
    async def scene(queues: Queues) -> None:
        await queues.enqueue("full")
        answer = await queues.queueing.schedule(every(60, missed=missed))
        await queues.pass_ms(answer.next_ms - queues.clock.now_ms() + 5_000)
        assert [record.message for record in caplog.records if "'s' could not fire" in record.message] == [
            "schedule 's' could not fire, and tries again: 1 jobs wait in 'mail', and no more may"
        ]
        await make_room(queues)
        await queues.pass_ms(1_000)
        assert await fired(queues) == [answer.next_ms]
        assert await passed_over(queues) == []

    with_queues(scene, FULL)


def test_a_tick_that_is_passed_over_since_its_queue_is_full_is_recorded() -> None:
    async def scene(queues: Queues) -> None:
        await queues.enqueue("full")
        answer = await queues.queueing.schedule(every(60, missed=Missed.NONE))
        await queues.pass_ms(answer.next_ms - queues.clock.now_ms() + 12_000)
        [told] = await passed_over(queues)
        assert (told["who"], told["name"]) == ("gapless", "mail")
        assert told["details"] == {
            "schedule": "s",
            "ticks": 1,
            "first_ms": answer.next_ms,
            "last_ms": answer.next_ms,
            "reason": "1 jobs wait in 'mail', and no more may",
        }
        await make_room(queues)
        await queues.pass_ms(20_000)
        assert await fired(queues) == []
        await queues.pass_ms(40_000)
        assert await fired(queues) == [answer.next_ms + 60_000]
        assert len(await passed_over(queues)) == 1

    with_queues(scene, FULL)


def test_each_tick_for_which_a_queue_had_no_room_is_fired_when_all_are_asked_for() -> None:
    async def scene(queues: Queues) -> None:
        await queues.enqueue("full")
        answer = await queues.queueing.schedule(every(60, missed=Missed.ALL))
        await queues.pass_ms(answer.next_ms - queues.clock.now_ms() + 150_000)
        seen = []
        for _ in range(3):
            await make_room(queues)
            await queues.pass_ms(10_000)
            seen += await fired(queues)
        assert seen == [answer.next_ms, answer.next_ms + 60_000, answer.next_ms + 120_000]
        assert await passed_over(queues) == []

    with_queues(scene, FULL)


def test_ticks_that_are_passed_over_since_no_node_was_there_are_recorded_once() -> None:
    async def scene(queues: Queues) -> None:
        others = [begun_again(queues) for _ in range(3)]
        await queues.queueing.schedule(every(3_600, missed=Missed.NONE))
        await queues.queueing.stop()
        queues.clock.pass_ms(hours_of(queues, 5))
        for other in others:
            await other.start()
        await queues.pass_ms(1_000)
        [told] = await passed_over(queues)
        assert (told["details"]["ticks"], told["details"]["reason"]) == (6, "not fired in time")
        for other in others:
            await other.stop()

    with_queues(scene)


def test_what_is_not_due_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(queues: Queues) -> None:
        found: list[int] = []

        def counted(recurring: Any, after_ms: int) -> Any:
            found.append(after_ms)
            return ticks(recurring, after_ms)

        for number in range(20):
            await queues.queueing.schedule(every(86_400, name=f"s{number}"))
        await queues.pass_ms(1_000)
        monkeypatch.setattr(schedules, "ticks", counted)
        await queues.pass_ms(60_000, 1_000)
        assert found == []

    with_queues(scene)
