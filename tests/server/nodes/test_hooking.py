"""Hooks that workers of another node serve."""

import asyncio
from typing import Any
from unittest.mock import patch

import msgspec
import pytest

from gapless.core.errors import MethodNotFound, Unavailable
from gapless.core.limits import HOOK_MS
from gapless.protocol.hooks import (
    AnsweredCall,
    AnswerRequest,
    Calling,
    Catalogue,
    Decision,
    TakeAnswer,
    TakenCall,
    TakeRequest,
)
from gapless.protocol.messages import payload
from gapless.server.hook_workers import HookWorkers
from gapless.server.hooks import Known, NoWorker
from tests.conversation import rest
from tests.several import Hall, play_several

ADDS = Catalogue(rpc=["add*"], connect=True)


def take(workers: HookWorkers, hooks: Catalogue = ADDS, wait_ms: int = 20_000) -> "asyncio.Task[TakeAnswer]":
    request = TakeRequest(worker="w", hooks=hooks, limit=10, wait_ms=wait_ms)
    return asyncio.create_task(workers.take(request))


def ask(workers: HookWorkers, method: str = "add", **asked: Any) -> "asyncio.Task[Decision]":
    return asyncio.create_task(workers.run(Calling(method=method, **asked)))


async def answer(workers: HookWorkers, call: TakenCall, decision: Decision) -> None:
    answers = [AnsweredCall(id=call.id, decision=msgspec.Raw(msgspec.json.encode(decision)))]
    await workers.answer(AnswerRequest(worker="w", answers=answers))


def test_a_node_without_workers_asks_one_that_has_some() -> None:
    async def scene(hall: Hall) -> None:
        _, *others = hall.members
        here, there = hall.members[0].sessions.workers, others[1].sessions.workers
        taking = take(there)
        await hall.pass_ms(100)
        asking = ask(here, data=payload(b"[1,2]"))
        await hall.pass_ms(100)
        [call] = (await taking).calls
        assert call.asked == Calling(method="add", data=payload(b"[1,2]"))
        await answer(there, call, Decision(decided=True, data=payload(b"3")))
        await hall.pass_ms(100)
        assert bytes((await asking).data) == b"3"
        assert others[0].sessions.workers.places_elsewhere() == [("connect", ""), ("rpc", "add*")]

    play_several(scene, nodes=3)


def test_an_answer_that_comes_to_another_node_reaches_the_one_that_waits_for_it() -> None:
    """A worker of several processes on one port takes from one, and may answer another."""

    async def scene(hall: Hall) -> None:
        here, there = (member.sessions.workers for member in hall.members)
        taking = take(there)
        await hall.pass_ms(100)
        asking = [ask(here), ask(there)]
        await hall.pass_ms(100)
        calls = (await taking).calls
        calls += (await take(there, wait_ms=0)).calls
        for call in calls:
            answering = asyncio.create_task(answer(here, call, Decision(decided=True)))
            await hall.pass_ms(100)
            await answering
        await answer(here, TakenCall(id="7-nobody", asked=Calling(method="add")), Decision())
        await hall.pass_ms(100)
        assert [(await each).decided for each in asking] == [True, True]

    play_several(scene)


def test_a_call_is_carried_out_once_however_often_the_bus_brings_it() -> None:
    async def scene(hall: Hall) -> None:
        here, there = (member.sessions.workers for member in hall.members)
        hall.line.times = 3
        taking = take(there)
        await hall.pass_ms(100)
        asking = ask(here)
        await hall.pass_ms(1_000)
        assert len((await taking).calls) == 1
        again = take(there, wait_ms=0)
        await hall.pass_ms(1_000)
        assert (await again).calls == []
        asking.cancel()

    play_several(scene)


def test_what_no_worker_of_any_node_has_is_told_at_once() -> None:
    async def scene(hall: Hall) -> None:
        here, there = (member.sessions.workers for member in hall.members)
        with pytest.raises(NoWorker):
            await ask(here)
        taking = take(there)
        await hall.pass_ms(100)
        with pytest.raises(MethodNotFound):
            await ask(here, "other")
        taking.cancel()
        await hall.pass_ms(100)
        with pytest.raises(NoWorker):
            await ask(here)

    play_several(scene)


def test_hooks_that_are_served_elsewhere_are_not_missing() -> None:
    async def scene(hall: Hall) -> None:
        here, there = (member.sessions.workers for member in hall.members)
        here.expected = Known(ADDS)
        assert here.unserved() == {"rpc": 1, "connect": 1}
        taking = take(there)
        await hall.pass_ms(100)
        assert here.unserved() == {"rpc": 0, "connect": 0}
        taking.cancel()
        await rest()

    play_several(scene)


def test_a_node_that_dies_with_a_call_leaves_it_to_be_asked_again() -> None:
    async def scene(hall: Hall) -> None:
        here, there = (member.sessions.workers for member in hall.members)
        taking = take(there)
        await hall.pass_ms(100)
        asking = ask(here)
        await hall.pass_ms(100)
        assert (await taking).calls
        hall.members[1].die()
        await hall.pass_ms(10_000)
        with pytest.raises(Unavailable):
            await asking

    play_several(scene)


def test_a_call_that_no_worker_takes_in_time_is_not_made_later() -> None:
    async def scene(hall: Hall) -> None:
        here, there = (member.sessions.workers for member in hall.members)
        taking = take(there)
        await hall.pass_ms(100)
        busy = ask(there)
        assert len((await taking).calls) == 1
        asking = ask(here)
        await hall.pass_ms(HOOK_MS + 500)
        with pytest.raises(Unavailable, match="in time"):
            await asking
        assert (await take(there, wait_ms=0)).calls == []
        assert not there._waiting
        with pytest.raises(Unavailable):
            await busy

    play_several(scene)


def test_a_worker_that_went_on_to_another_node_is_asked_there() -> None:
    async def scene(hall: Hall) -> None:
        here, there = (member.sessions.workers for member in hall.members)
        await take(here, wait_ms=0)
        taking = take(there)
        await hall.pass_ms(2_500)
        asking = ask(here)
        await hall.pass_ms(100)
        [call] = (await taking).calls
        await answer(there, call, Decision(decided=True))
        await hall.pass_ms(100)
        assert (await asking).decided
        assert hall.members[1].cluster.registry.hooks_elsewhere() == []

    play_several(scene)


def test_a_worker_that_leaves_by_another_node_is_given_no_more() -> None:
    async def scene(hall: Hall) -> None:
        here, there = (member.sessions.workers for member in hall.members)
        taking = take(there)
        await hall.pass_ms(100)
        leaving = take(here, Catalogue(), wait_ms=0)
        await hall.pass_ms(100)
        assert ((await leaving).calls, (await taking).calls) == ([], [])
        with pytest.raises(NoWorker):
            await ask(here)

    play_several(scene)


def test_a_node_that_stops_offers_its_workers_no_more() -> None:
    async def scene(hall: Hall) -> None:
        here, there = (member.sessions.workers for member in hall.members)
        taking = take(there)
        await hall.pass_ms(100)
        there.stop()
        await hall.pass_ms(100)
        assert (await taking).calls == []
        with pytest.raises(NoWorker):
            await ask(here)

    play_several(scene)


def test_a_call_that_takes_its_time_is_said_in_full_but_a_few_times() -> None:
    async def scene(hall: Hall) -> None:
        here, there = (member.sessions.workers for member in hall.members)
        telling = hall.members[0].broker.telling
        with patch.object(telling, "tell", wraps=telling.tell) as tell:
            taking = take(there)
            await hall.pass_ms(100)
            asking = ask(here, data=payload(b'"' + b"x" * 10_000 + b'"'))
            await hall.pass_ms(3_000)
            [call] = (await taking).calls
            await answer(there, call, Decision(decided=True))
            await hall.pass_ms(100)
            assert (await asking).decided
        bodies = [getattr(call.args[0], "body", b"") for call in tell.call_args_list]
        assert 1 <= sum(len(body) > 10_000 for body in bodies) <= 2

    play_several(scene)
