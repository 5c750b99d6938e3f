"""Results that are waited for: who is woken, when, and how often the store is asked meanwhile."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from gapless.broker import results
from gapless.core.errors import StoreFailed, TooManyRequests, UnknownJob
from gapless.core.jobs import Deed, Settlement, State
from gapless.protocol.queues import CancelRequest, ResultRequest
from tests.broker.queueing import KEPT, Queues, refused, settle, with_queues
from tests.conversation import rest


def waits(queues: Queues, id: str, wait_ms: int = 30_000) -> "asyncio.Task[object]":
    return asyncio.ensure_future(queues.queueing.result(ResultRequest(id=id, wait_ms=wait_ms)))


def asking(queues: Queues) -> list[str]:
    """Note what the store is asked from now on."""
    asked: list[str] = []
    for name in ("look", "states"):
        method = getattr(queues.store, name)

        async def noted(argument: Any, name: str = name, method: Any = method) -> Any:
            asked.append(name)
            return await method(argument)

        setattr(queues.store, name, noted)
    return asked


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


def test_however_many_wait_the_store_is_asked_once_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(queues: Queues) -> None:
        ids = await queues.enqueue(*range(30))
        waiting = [waits(queues, id) for id in ids]
        await rest()
        asked = asking(queues)
        await queues.pass_ms(10_000)
        assert asked == ["states"] * 10
        assert not any(task.done() for task in waiting)
        job = (await queues.claim(limit=30))[7]
        await queues.store.settle([Settlement(job.id, job.fence, Deed.ACK, result=b"1")])
        await queues.pass_ms(1_000)
        assert [task.done() for task in waiting] == [number == 7 for number in range(30)]
        assert asked == ["states"] * 11 + ["look"]

    with_queues(scene, KEPT)


def test_many_are_asked_for_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "BROWSE_JOBS_MAX", 10)

    async def scene(queues: Queues) -> None:
        ids = await queues.enqueue(*range(25))
        waiting = [waits(queues, id) for id in ids]
        await rest()
        asked: list[int] = []
        states = queues.store.states

        async def counted(ids: Sequence[str]) -> list[State]:
            asked.append(len(ids))
            return await states(ids)

        queues.store.states = counted  # type: ignore[method-assign]
        await queues.store.purge("mail", State.WAITING, [ids[24]], limit=1)
        await queues.pass_ms(1_000)
        assert asked == [10, 10, 5]
        assert isinstance(waiting[24].exception(), UnknownJob)

    with_queues(scene, KEPT)


def test_a_job_that_dies_by_itself_is_found_within_a_second() -> None:
    async def scene(queues: Queues) -> None:
        [id] = await queues.enqueue("a", expires_ms=3_000)
        waiting = waits(queues, id)
        await rest()
        await queues.pass_ms(2_900, 100)
        assert not waiting.done()
        await queues.pass_ms(1_100, 100)
        assert (await waiting).state is State.DEAD  # type: ignore[attr-defined]

    with_queues(scene, KEPT)


def test_who_waits_hears_that_the_store_has_failed() -> None:
    async def scene(queues: Queues) -> None:
        [id] = await queues.enqueue("a")
        waiting = waits(queues, id)
        await rest()

        async def failed(_: object) -> Any:
            raise StoreFailed("gone")

        queues.store.look = queues.store.states = failed  # type: ignore[assignment, method-assign]
        await queues.pass_ms(1_000)
        assert isinstance(waiting.exception(), StoreFailed)

    with_queues(scene, KEPT)


def test_nobody_asks_when_nobody_waits() -> None:
    async def scene(queues: Queues) -> None:
        [id] = await queues.enqueue("a")
        waiting = waits(queues, id, 2_500)
        await rest()
        await queues.pass_ms(2_500)
        await waiting
        asked = asking(queues)
        await queues.pass_ms(10_000)
        assert asked == []
        again = waits(queues, id)
        await rest()
        await queues.pass_ms(3_000)
        assert asked == ["look"] + ["states"] * 3
        again.cancel()

    with_queues(scene, KEPT)
