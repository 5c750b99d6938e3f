"""What is counted of hooks: how many were asked, what came of it, and how long it took."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from gapless.core.errors import MethodNotFound, TooManyRequests, Unavailable
from gapless.core.limits import HOOK_MS
from gapless.protocol.hooks import (
    Calling,
    Catalogue,
    Decision,
    Disconnecting,
    Ending,
    HookAsked,
    Publishing,
    Refusal,
)
from gapless.server.hooks import Hooks, Known, NoWorker
from tests.conversation import HandClock, rest

ASKED = Publishing(channel="a")


class Counter:
    """Somebody who has hooks, whose answer is a future."""

    def __init__(self, most: int = 10) -> None:
        self.clock = HandClock()
        self.hooks = Hooks(self.clock, most=most)
        self.hooks.serve([(Known(Catalogue(publish=["*"], rpc=["*"], disconnect=True)), self)])
        self.answer: asyncio.Future[Decision] = asyncio.get_running_loop().create_future()

    async def run(self, asked: HookAsked) -> Decision:
        return await asyncio.shield(self.answer)

    def counted(self) -> dict[tuple[str, str], int]:
        return {place: sum(took.counts) for place, took in self.hooks.took.items()}


def play(scene: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(scene())


@pytest.mark.parametrize(
    ("decision", "outcome"),
    [
        (Decision(decided=True), "decided"),
        (Decision(), "none"),
        (Decision(refusal=Refusal()), "refused"),
        (Decision(ending=Ending(code=4_500)), "refused"),
    ],
)
def test_a_decision_is_counted_with_the_time_it_took(decision: Decision, outcome: str) -> None:
    async def scene() -> None:
        counter = Counter()
        asking = asyncio.create_task(counter.hooks.ask(ASKED))
        await rest()
        assert counter.hooks.running == 1
        counter.clock.pass_ms(30)
        counter.answer.set_result(decision)
        assert await asking == decision
        assert counter.counted() == {("publish", outcome): 1}
        assert counter.hooks.took["publish", outcome].sum == 30
        assert counter.hooks.running == 0

    play(scene)


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (Unavailable("the hook failed"), "failed"),
        (NoWorker("nobody is there"), "no_worker"),
        (MethodNotFound("there is no such method"), "refused"),
        (ZeroDivisionError(), "failed"),
    ],
)
def test_what_decided_nothing_is_counted_by_why(error: Exception, outcome: str) -> None:
    async def scene() -> None:
        counter = Counter()
        counter.answer.set_exception(error)
        with pytest.raises((Unavailable, MethodNotFound)):
            await counter.hooks.ask(Calling(method="add"))
        assert counter.counted() == {("rpc", outcome): 1}

    play(scene)


def test_what_is_late_and_what_is_too_much_is_counted() -> None:
    async def scene() -> None:
        counter = Counter(most=1)
        asking = asyncio.create_task(counter.hooks.ask(ASKED))
        await rest()
        with pytest.raises(TooManyRequests):
            await counter.hooks.ask(ASKED)
        counter.clock.pass_ms(HOOK_MS)
        with pytest.raises(Unavailable):
            await asking
        assert counter.counted() == {("publish", "too_many"): 1, ("publish", "timed_out"): 1}
        assert counter.hooks.took["publish", "timed_out"].sum == HOOK_MS

    play(scene)


def test_what_nobody_waits_for_any_more_is_given_up() -> None:
    async def scene() -> None:
        counter = Counter()
        asking = asyncio.create_task(counter.hooks.ask(ASKED))
        await rest()
        asking.cancel()
        await rest()
        assert counter.counted() == {("publish", "given_up"): 1}

    play(scene)


def test_a_disconnect_is_counted_once_it_was_told() -> None:
    async def scene() -> None:
        counter = Counter()
        counter.answer.set_result(Decision())
        counter.hooks.tell(Disconnecting())
        await counter.hooks.close()
        assert counter.counted() == {("disconnect", "none"): 1}

    play(scene)
