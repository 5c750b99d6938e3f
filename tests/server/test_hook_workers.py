"""Workers that take calls of hooks, answer them, fail, and go away."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec
import pytest

from gapless.core.errors import LimitExceeded, MethodNotFound, Unavailable
from gapless.core.limits import HOOK_WORKER_GONE_MS, HOOK_WORKERS_MAX
from gapless.protocol.hooks import (
    AnsweredCall,
    AnswerRequest,
    Calling,
    Catalogue,
    Connecting,
    Decision,
    Subscribing,
    TakeAnswer,
    TakeRequest,
)
from gapless.protocol.messages import payload
from gapless.server.hook_workers import MISSED_MS, HookWorkers
from gapless.server.hooks import Known
from tests.conversation import HandClock, rest

ALL = Catalogue(connect=True, subscribe=["*"], rpc=["add"])
YES = msgspec.Raw(msgspec.json.encode(Decision(decided=True)))

Scene = Callable[["Floor"], Coroutine[Any, Any, None]]


class Floor:
    """Workers over one node."""

    def __init__(self) -> None:
        self.clock = HandClock()
        self.workers = HookWorkers(self.clock, "node")

    def take(self, name: str, hooks: Catalogue = ALL, **options: Any) -> "asyncio.Task[TakeAnswer]":
        request = TakeRequest(worker=name, hooks=hooks, **{"wait_ms": 20_000, **options})
        return asyncio.create_task(self.workers.take(request))

    def ask(self, channel: str = "a") -> "asyncio.Task[Decision]":
        return asyncio.create_task(self.workers.run(Subscribing(channel=channel)))

    async def answer(self, name: str, id: str, decision: msgspec.Raw = YES) -> None:
        answers = [AnsweredCall(id=id, decision=decision)]
        await self.workers.answer(AnswerRequest(worker=name, answers=answers))


def play(scene: Scene) -> None:
    async def run() -> None:
        await scene(Floor())

    asyncio.run(run())


def channels(taken: TakeAnswer) -> list[str]:
    return [call.asked.channel for call in taken.calls if isinstance(call.asked, Subscribing)]


def test_a_call_goes_to_a_worker_that_waits_and_comes_back_with_its_answer() -> None:
    async def scene(floor: Floor) -> None:
        taking = floor.take("w")
        await rest()
        asking = floor.ask()
        [call] = (await taking).calls
        assert call.asked == Subscribing(channel="a")
        await floor.answer("w", call.id)
        assert (await asking).decided

    play(scene)


def test_without_a_worker_that_has_the_hook_nothing_is_decided() -> None:
    async def scene(floor: Floor) -> None:
        with pytest.raises(Unavailable, match="no worker for hooks: none serves subscribe a"):
            await floor.ask()
        await floor.take("w", Catalogue(connect=True), wait_ms=0)
        with pytest.raises(Unavailable, match="none serves subscribe a"):
            await floor.ask()
        with pytest.raises(MethodNotFound):
            await floor.workers.run(Calling(method="add"))

    play(scene)


def test_a_call_goes_to_the_least_busy_worker() -> None:
    async def scene(floor: Floor) -> None:
        busy = floor.take("busy")
        await rest()
        asking = [floor.ask("1")]
        assert channels(await busy) == ["1"]
        busy, idle = floor.take("busy"), floor.take("idle")
        await rest()
        asking.append(floor.ask("2"))
        assert channels(await idle) == ["2"]
        assert not busy.done()
        for each in asking:
            each.cancel()

    play(scene)


def test_a_worker_is_told_how_long_its_answer_is_waited_for() -> None:
    async def scene(floor: Floor) -> None:
        floor.workers.timeout_ms = 3_000
        first = floor.take("w", Catalogue(subscribe=["b"]))
        await rest()
        asking = [floor.ask("b"), floor.ask("b")]
        assert [call.timeout_ms for call in (await first).calls] == [3_000]
        floor.clock.pass_ms(1_000)
        assert [call.timeout_ms for call in (await floor.take("w")).calls] == [2_000]
        for each in asking:
            each.cancel()

    play(scene)


def test_calls_wait_for_a_worker_that_is_busy_and_one_that_is_late_takes_several() -> None:
    async def scene(floor: Floor) -> None:
        first = floor.take("w")
        await rest()
        asking = [floor.ask(name) for name in "abc"]
        assert channels(await first) == ["a"]
        assert channels(await floor.take("w", limit=5)) == ["b", "c"]
        for each in asking:
            each.cancel()
        await rest()
        assert (await floor.take("w", wait_ms=0)).calls == []

    play(scene)


def test_what_a_worker_held_that_goes_away_is_told_at_once() -> None:
    async def scene(floor: Floor) -> None:
        taking = floor.take("w")
        await rest()
        asking = floor.ask()
        [call] = (await taking).calls
        waiting = floor.take("w")
        await rest()
        waiting.cancel()
        with pytest.raises(Unavailable, match="has gone"):
            await asking
        with pytest.raises(Unavailable, match="no worker"):
            await floor.ask()
        await floor.answer("w", call.id)  # of whom nobody knows any more

    play(scene)


def test_a_worker_that_says_nothing_any_more_is_gone() -> None:
    async def scene(floor: Floor) -> None:
        await floor.take("w", wait_ms=0)
        floor.clock.pass_ms(HOOK_WORKER_GONE_MS)
        with pytest.raises(Unavailable, match="no worker"):
            await floor.ask()

    play(scene)


def test_a_worker_that_leaves_answers_what_it_has_and_is_given_no_more() -> None:
    async def scene(floor: Floor) -> None:
        taking = floor.take("w")
        await rest()
        asking = floor.ask()
        [call] = (await taking).calls
        waiting = floor.take("w")
        await rest()
        assert (await floor.take("w", Catalogue())).calls == []
        assert (await waiting).calls == []
        with pytest.raises(Unavailable, match="no worker"):
            await floor.ask()
        await floor.answer("w", call.id)
        assert (await asking).decided

    play(scene)


@pytest.mark.parametrize("answer", [b'{"decided":1}', b'{"deny":true}', b'{"refusal":{"code":5}}', b'"yes"'])
def test_a_bad_answer_is_logged_and_no_yes(answer: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async def scene(floor: Floor) -> None:
        taking = floor.take("w")
        await rest()
        asking = floor.ask()
        [call] = (await taking).calls
        await floor.answer("w", call.id, msgspec.Raw(answer))
        with pytest.raises(Unavailable, match="badly"):
            await asking

    with caplog.at_level(logging.ERROR):
        play(scene)
    assert "hook subscribe a: worker w answered badly" in caplog.text


def test_a_hook_that_failed_in_its_worker_is_no_yes() -> None:
    async def scene(floor: Floor) -> None:
        taking = floor.take("w")
        await rest()
        asking = floor.ask()
        [call] = (await taking).calls
        await floor.answer("w", call.id, msgspec.Raw(b"null"))
        with pytest.raises(Unavailable, match="failed"):
            await asking

    play(scene)


def test_a_worker_is_told_which_of_its_hooks_nobody_asks_for() -> None:
    async def scene(floor: Floor) -> None:
        floor.workers.expected = Known(Catalogue(subscribe=["*"]))
        taken = await floor.take("w", Catalogue(connect=True, subscribe=["chat:*"], rpc=["add"]), wait_ms=0)
        assert taken.unasked == ["connect", "rpc add"]

    play(scene)


def test_there_are_not_more_workers_than_may_be() -> None:
    async def scene(floor: Floor) -> None:
        for number in range(HOOK_WORKERS_MAX):
            await floor.take(f"w{number}", wait_ms=0)
        with pytest.raises(LimitExceeded):
            await floor.take("one more", wait_ms=0)

    play(scene)


def test_a_node_that_stops_lets_nobody_wait() -> None:
    async def scene(floor: Floor) -> None:
        taking = floor.take("w")
        await rest()
        floor.workers.stop()
        assert (await taking).calls == []
        assert (await floor.take("w")).calls == []

    play(scene)


def test_questions_and_decisions_pass_through_json_as_they_are() -> None:
    asked = Connecting(client="c", user="ann", data=payload(b'{"a":1}'), meta={"b": 2})
    answer = TakeAnswer(calls=[])
    encoded = msgspec.json.encode({"calls": [{"id": "1", "asked": asked}]})
    [call] = msgspec.json.decode(encoded, type=type(answer)).calls
    assert isinstance(call.asked, Connecting)
    assert (call.asked.body(), call.asked.meta, call.asked.user) == (b'{"a":1}', {"b": 2}, "ann")


def test_that_nobody_serves_a_hook_is_logged_now_and_then(caplog: pytest.LogCaptureFixture) -> None:
    def said() -> list[str]:
        return [record.getMessage() for record in caplog.records if "no worker serves it" in record.message]

    async def scene(floor: Floor) -> None:
        async def ask() -> None:
            with pytest.raises(Unavailable):
                await floor.ask()

        for _ in range(3):
            await ask()
        assert len(said()) == 1
        floor.clock.pass_ms(MISSED_MS)
        await ask()
        assert "hook subscribe a: " in said()[-1]
        assert "4 so far" in said()[-1]
        taking = floor.take("w", wait_ms=0)
        await taking
        await floor.take("w", Catalogue(), wait_ms=0)
        await ask()
        assert "1 so far" in said()[-1]
        assert len(said()) == 3

    play(scene)


def test_hooks_that_nobody_serves_are_counted_by_their_kind() -> None:
    async def scene(floor: Floor) -> None:
        floor.workers.expected = Known(Catalogue(connect=True, publish=["chat:*", "news"], rpc=["admin.*"]))
        assert floor.workers.unserved() == {"connect": 1, "publish": 2, "rpc": 1}
        assert len(floor.workers) == 0
        some = Catalogue(connect=True, publish=["*"], subscribe=["*"])
        takes = floor.take("w", some), floor.take("v", Catalogue(rpc=["admin.add"]))
        await rest()
        assert floor.workers.unserved() == {"connect": 0, "publish": 0, "rpc": 0}
        assert len(floor.workers) == 2
        floor.workers.stop()
        await asyncio.gather(*takes)

    play(scene)
