"""Claims that wait: who is woken, when, and what becomes of what was claimed for those who went away."""

import asyncio
from typing import Any

import pytest

from gapless.broker import claiming
from gapless.broker.rules import QueueRule
from gapless.core.errors import TooManyRequests, UnknownQueue
from gapless.core.jobs import Deed, Lease, State
from gapless.protocol.queues import ClaimedJob, ClaimRequest, DropQueueRequest, NewSettlement, SettleRequest
from tests.broker.queueing import Queues, refused, with_queues
from tests.conversation import rest


def counting(queues: Queues) -> list[str]:
    """Note the worker of each claim that the store is asked for."""
    asked: list[str] = []
    claim = queues.store.claim

    async def counted(queue: str, **fields: Any) -> Any:
        asked.append(fields["worker"])
        return await claim(queue, **fields)

    queues.store.claim = counted  # type: ignore[method-assign]
    return asked


def test_who_waits_longest_is_served_first() -> None:
    async def scene(queues: Queues) -> None:
        waiting = []
        for number in range(5):
            waiting.append(queues.claiming(worker=f"w{number}"))
            await rest()
        for number in range(5):
            await queues.enqueue(number)
            await rest()
            assert [task.done() for task in waiting] == [place <= number for place in range(5)]

    with_queues(scene)


def test_a_job_wakes_one_and_not_the_herd() -> None:
    async def scene(queues: Queues) -> None:
        waiting = [queues.claiming(worker=f"w{number}") for number in range(50)]
        await rest()
        asked = counting(queues)
        await queues.enqueue("a")
        await rest()
        assert asked == ["w0", "w1"]  # one who gets a job wakes the next, who finds nothing
        assert sum(task.done() for task in waiting) == 1

    with_queues(scene)


def test_a_burst_wakes_as_many_as_get_something() -> None:
    async def scene(queues: Queues) -> None:
        waiting = [queues.claiming(worker=f"w{number}") for number in range(10)]
        await rest()
        await queues.enqueue(*range(7))
        for _ in range(10):
            await rest()
        assert [task.done() for task in waiting] == [True] * 7 + [False] * 3

    with_queues(scene)


def test_a_repeat_ends_the_claim_that_it_repeats() -> None:
    async def scene(queues: Queues) -> None:
        waiting = queues.claiming(worker="w", request="1")
        await rest()
        assert await queues.claim(worker="w", request="1") == []  # whoever stops asks what that has brought
        await queues.enqueue("a")
        await rest()
        assert await waiting == []
        [job] = await queues.claim(worker="other")
        assert job.attempt == 1

    with_queues(scene)


def test_claims_that_have_no_id_or_another_do_not_end_each_other() -> None:
    async def scene(queues: Queues) -> None:
        waiting = [
            queues.claiming(worker=worker, request=request)
            for worker, request in (("w", ""), ("w", ""), ("w", "1"), ("w", "2"), ("v", "1"))
        ]
        await rest()
        await queues.claim(worker="w", request="3")
        await queues.enqueue(*range(5))
        assert [len(await each) for each in waiting] == [1] * 5

    with_queues(scene)


def test_a_delayed_job_is_claimed_when_it_falls_due() -> None:
    async def scene(queues: Queues) -> None:
        waiting = queues.claiming()
        await rest()
        await queues.enqueue("later", delay_ms=5_000)
        await queues.pass_ms(4_990, 10)
        assert not waiting.done()
        await queues.pass_ms(20, 10)
        assert [job.body() for job in await waiting] == [b'"later"']

    with_queues(scene)


def test_a_lease_that_runs_out_wakes_who_waits() -> None:
    async def scene(queues: Queues) -> None:
        await queues.enqueue("a")
        [job] = await queues.claim(lease_ms=2_000)
        waiting = queues.claiming(worker="other")
        await queues.pass_ms(10_000)
        [again] = await waiting
        assert (again.id, again.attempt, again.alone) == (job.id, 2, True)

    with_queues(scene)


def test_when_the_time_is_over_there_is_nothing() -> None:
    async def scene(queues: Queues) -> None:
        waiting = asyncio.ensure_future(queues.claim(wait_ms=3_000))
        await rest()
        await queues.pass_ms(2_900)
        assert not waiting.done()
        await queues.pass_ms(200)
        assert await waiting == []

    with_queues(scene)


def test_whose_time_is_over_while_it_asks_leaves_the_others_one_who_looks() -> None:
    async def scene(queues: Queues) -> None:
        claim, ask = queues.store.claim, asyncio.Event()

        async def slow(queue: str, **fields: Any) -> Any:
            if fields["worker"] == "first" and not first.done():
                await ask.wait()
            return await claim(queue, **fields)

        first = asyncio.ensure_future(queues.claim(wait_ms=1_500, worker="first"))
        await rest()
        second = queues.claiming(worker="second")
        await rest()
        await queues.enqueue("later", delay_ms=4_000)
        await rest()
        queues.store.claim = slow  # type: ignore[method-assign]
        await queues.pass_ms(2_000)  # the timer woke the first, whose time is over before it is answered
        ask.set()
        await rest()
        assert await first == []
        await queues.pass_ms(3_000)
        assert [job.body() for job in await asyncio.wait_for(second, 1)] == [b'"later"']

    with_queues(scene)


def test_who_waits_for_many_queues_has_the_store_look_at_all_of_them_once() -> None:
    async def scene(queues: Queues) -> None:
        looked: list[int] = []
        told = queues.store.queues

        async def counted() -> Any:
            looked.append(queues.clock.now_ms())
            return await told()

        queues.store.queues = counted  # type: ignore[method-assign]
        await queues.pass_ms(2_000)
        looked.clear()
        waiting = [queues.claiming(worker=f"w{number}") for number in range(50)]
        await rest()
        assert len(looked) == 1
        assert not any(task.done() for task in waiting)

    with_queues(scene)


def test_waiting_asks_the_store_about_once_a_second() -> None:
    async def scene(queues: Queues) -> None:
        waiting = [queues.claiming(worker=f"w{number}") for number in range(20)]
        await rest()
        asked = counting(queues)
        await queues.pass_ms(30_000)
        assert len(asked) <= 31
        assert not any(task.done() for task in waiting)

    with_queues(scene)


def test_who_went_away_while_waiting_takes_no_wake_along() -> None:
    async def scene(queues: Queues) -> None:
        gone, stays = queues.claiming(worker="gone"), queues.claiming(worker="stays")
        await rest()
        enqueued = asyncio.ensure_future(queues.enqueue("a"))
        while not gone.done():  # woken, and gone before it could ask
            gone.cancel()
            await asyncio.sleep(0)
        await enqueued
        await rest()
        assert [job.body() for job in await stays] == [b'"a"']

    with_queues(scene)


def test_what_was_claimed_for_somebody_who_is_gone_is_released() -> None:
    async def scene(queues: Queues) -> None:
        [id] = await queues.enqueue("a")
        claim = queues.store.claim
        claimed = asyncio.Event()
        answered = asyncio.Event()

        async def slow(queue: str, **fields: Any) -> Any:
            jobs = await claim(queue, **fields)
            claimed.set()
            await answered.wait()
            return jobs

        queues.store.claim = slow  # type: ignore[method-assign]
        gone = queues.claiming(worker="gone")
        await claimed.wait()
        assert (await queues.store.look(id)).state is State.LEASED
        gone.cancel()
        await rest()
        answered.set()
        await rest()
        queues.store.claim = claim  # type: ignore[method-assign]
        [job] = await queues.claim(worker="other")
        assert (job.id, job.attempt) == (id, 1)

    with_queues(scene)


class Held:
    """Has claims be carried out by the store, but their answers wait until they are let go."""

    def __init__(self, queues: Queues) -> None:
        self._claim = queues.store.claim
        self.asked = 0
        self.answers: list[asyncio.Event] = []
        queues.store.claim = self.claim  # type: ignore[method-assign]

    async def claim(self, queue: str, **fields: Any) -> Any:
        self.asked += 1
        jobs = await self._claim(queue, **fields)
        if jobs:
            self.answers.append(asyncio.Event())
            await self.answers[-1].wait()
        return jobs

    async def let_go(self) -> None:
        for answer in self.answers:
            answer.set()
        for _ in range(3):
            await rest()


async def holds(queues: Queues, task: "asyncio.Task[list[ClaimedJob]]") -> bool:
    """Tell whether a claim brought one job, whose lease lasts."""
    [job] = await asyncio.wait_for(task, 1)
    [until] = await queues.store.extend([Lease(job.id, job.fence)], 10_000)
    return isinstance(until, int)


def test_a_repeat_that_comes_while_the_first_is_given_back_has_jobs_of_its_own() -> None:
    async def scene(queues: Queues) -> None:
        [id] = await queues.enqueue("a")
        held = Held(queues)
        gone = queues.claiming(request="r")
        await rest()
        gone.cancel()
        await rest()
        repeat = queues.claiming(request="r")
        await rest()
        await held.let_go()
        await held.let_go()
        assert await holds(queues, repeat)
        view = await queues.store.look(id)
        assert (view.state, view.attempt) == (State.LEASED, 1)

    with_queues(scene)


def test_a_repeat_that_came_before_the_first_went_away_keeps_the_jobs() -> None:
    async def scene(queues: Queues) -> None:
        await queues.enqueue("a")
        held = Held(queues)
        gone, repeat = queues.claiming(request="r"), queues.claiming(request="r")
        await rest()
        gone.cancel()
        await held.let_go()
        assert held.asked == 1
        assert await holds(queues, repeat)
        assert gone.cancelled()

    with_queues(scene)


def test_a_first_that_comes_after_its_repeat_gives_nothing_back_when_it_goes_away() -> None:
    async def scene(queues: Queues) -> None:
        await queues.enqueue("a")
        repeat = queues.claiming(request="r")
        assert await holds(queues, repeat)
        held = Held(queues)
        gone = queues.claiming(request="r")
        await rest()
        gone.cancel()
        await held.let_go()
        assert await holds(queues, repeat)

    with_queues(scene)


@pytest.mark.parametrize("gone", ["first", "second", "both"])
def test_what_a_repeat_was_told_of_too_is_not_given_back_for_who_is_not_there_any_more(gone: str) -> None:
    async def scene(queues: Queues) -> None:
        [id] = await queues.enqueue("a")
        held = Held(queues)
        asked = [
            asyncio.ensure_future(
                queues.queueing.claim(
                    ClaimRequest(queue="mail", worker="w", request="r"),
                    "library",
                    lambda name=name: gone not in (name, "both"),  # type: ignore[misc]
                )
            )
            for name in ("first", "second")
        ]
        await rest()
        await held.let_go()
        assert held.asked == 1
        assert all(task.done() for task in asked)
        view = await queues.store.look(id)
        released = gone == "both"
        assert (view.state, view.attempt) == ((State.WAITING, 0) if released else (State.LEASED, 1))

    with_queues(scene)


def test_who_all_went_away_leave_nothing_behind() -> None:
    async def scene(queues: Queues) -> None:
        [id] = await queues.enqueue("a")
        held = Held(queues)
        gone = [queues.claiming(request="r") for _ in range(3)]
        await rest()
        for task in gone:
            task.cancel()
        await rest()
        repeat = queues.claiming(request="r")
        await rest()
        repeat.cancel()
        await held.let_go()
        view = await queues.store.look(id)
        assert (view.state, view.attempt) == (State.WAITING, 0)

    with_queues(scene)


def test_a_worker_that_holds_all_it_may_does_not_keep_others_waiting() -> None:
    async def scene(queues: Queues) -> None:
        await queues.enqueue("a")
        await queues.claim(worker="full")
        full = queues.claiming(worker="full")
        await rest()
        other = queues.claiming(worker="other")
        await rest()
        asked = counting(queues)
        await queues.enqueue("b")
        await rest()
        assert [job.body() for job in await other] == [b'"b"']
        assert not full.done()
        assert len(asked) <= 4
        await queues.pass_ms(1_000)  # nor do those who find nothing wake each other for ever
        assert len(asked) <= 8
        full.cancel()

    with_queues(scene, QueueRule(name="mail", in_flight_per_worker_max=1))


def test_who_waits_for_a_queue_hears_that_it_was_dropped() -> None:
    async def scene(queues: Queues) -> None:
        waiting = queues.claiming()
        await rest()
        await queues.queueing.drop(DropQueueRequest(queue="mail"))
        await queues.pass_ms(1_500)
        assert isinstance(waiting.exception(), UnknownQueue)

    async def dropped(queues: Queues) -> None:
        queues.queueing.declaring.rules = ()
        await scene(queues)

    with_queues(dropped)


def test_so_many_wait_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claiming, "WAITERS_MAX", 2)

    async def scene(queues: Queues) -> None:
        waiting = [queues.claiming(), queues.claiming()]
        await rest()
        assert isinstance(await refused(queues.claim(wait_ms=1)), TooManyRequests)
        assert await queues.claim() == []
        waiting[0].cancel()
        await rest()
        third = queues.claiming()
        await rest()
        assert not third.done()

    with_queues(scene)


def test_all_who_wait_are_answered_when_the_node_stops() -> None:
    async def scene(queues: Queues) -> None:
        waiting = [queues.claiming(worker=f"w{number}") for number in range(3)]
        await rest()
        queues.queueing.stop_waiting()
        assert await asyncio.gather(*waiting) == [[], [], []]
        assert await queues.claim(wait_ms=1_000) == []

    with_queues(scene)


def test_a_settled_head_lets_the_next_of_its_key_be_claimed() -> None:
    async def scene(queues: Queues) -> None:
        await queues.enqueue("a", "b", key="k")
        [job] = await queues.claim(limit=10)
        waiting = queues.claiming()
        await rest()
        assert not waiting.done()
        await queues.queueing.settle(
            SettleRequest(settlements=[NewSettlement(id=job.id, fence=job.fence, deed=Deed.ACK)])
        )
        assert [each.body() for each in await waiting] == [b'"b"']

    with_queues(scene)
