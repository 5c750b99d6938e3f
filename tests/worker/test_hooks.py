"""Hooks in a worker, whose server is a test."""

import asyncio
from typing import Any

import msgspec
import pytest

from gapless import Gapless
from gapless.protocol.hooks import (
    AnswerRequest,
    Catalogue,
    Decision,
    Subscribing,
    TakeAnswer,
    TakenCall,
    TakeRequest,
)
from gapless.protocol.payloads import Nothing
from gapless.worker.hooks import LEAVE_MS, serving_hooks
from tests.server.serving import HandClock, on_a_loop
from tests.worker.test_inside import until


class Asking(Gapless):
    """Has calls for its hooks, once, and keeps their answers."""

    def __init__(self, *calls: TakenCall) -> None:
        super().__init__("memory:")
        self.calls = list(calls)
        self.answers: dict[str, Decision | None] = {}
        self.left = asyncio.Event()

    async def ask(self, verb: str, request: Any) -> Any:
        """See `Gapless.ask`."""
        if isinstance(request, AnswerRequest):
            for answer in request.answers:
                self.answers[answer.id] = msgspec.json.decode(answer.decision, type=Decision | None)
            return Nothing()
        assert isinstance(request, TakeRequest)
        calls, self.calls = self.calls, []
        if request.hooks == Catalogue():
            self.left.set()
        elif not calls:
            await self.left.wait()
        return TakeAnswer(calls=calls)


@on_a_loop
async def test_a_hook_ends_when_the_server_has_given_it_up() -> None:
    gl = Asking(
        TakenCall(id="1", asked=Subscribing(channel="slow"), timeout_ms=4_000),
        TakenCall(id="2", asked=Subscribing(channel="fast"), timeout_ms=4_000),
    )
    clock, ends = HandClock(), []

    @gl.on_subscribe("*")
    async def may(call: Subscribing) -> bool:
        try:
            if call.channel == "slow":
                await asyncio.Event().wait()
        finally:
            ends.append(call.channel)
        return True

    async with gl, gl.running() as context, serving_hooks(gl, context, clock, "w"):
        await until(lambda: "2" in gl.answers)
        assert ends == ["fast"]
        clock.move(3_999)
        assert len(gl.answers) == 1
        clock.move(1)
        await until(lambda: "1" in gl.answers)
    assert ends == ["fast", "slow"]
    assert gl.answers == {"1": None, "2": Decision(decided=True)}


@on_a_loop
async def test_a_hook_that_does_not_let_itself_be_cancelled_holds_nobody_up(
    caplog: pytest.LogCaptureFixture,
) -> None:
    gl = Asking(TakenCall(id="1", asked=Subscribing(channel="stubborn"), timeout_ms=4_000))
    clock, go_on = HandClock(), asyncio.Event()

    @gl.on_subscribe("*")
    async def may(call: Subscribing) -> bool:
        while not go_on.is_set():
            try:
                await go_on.wait()
            except asyncio.CancelledError:
                continue
        return True

    def is_answered() -> bool:
        clock.move(LEAVE_MS // 10)
        return "1" in gl.answers

    async with gl, gl.running() as context, serving_hooks(gl, context, clock, "w"):
        await until(is_answered)
    go_on.set()
    assert gl.answers == {"1": None}
    assert "hook subscribe stubborn does not let itself be cancelled, and is left running" in caplog.text


@on_a_loop
async def test_a_hook_ends_with_the_task_that_waits_for_it() -> None:
    gl = Asking(TakenCall(id="1", asked=Subscribing(channel="slow"), timeout_ms=4_000))
    clock, ends = HandClock(), []
    began = asyncio.Event()

    @gl.on_subscribe("*")
    async def may(call: Subscribing) -> bool:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ends.append(call.channel)
        return True

    before = asyncio.all_tasks()
    async with gl, gl.running() as context, serving_hooks(gl, context, clock, "w"):
        await began.wait()
        for task in asyncio.all_tasks() - before:
            if getattr(task.get_coro(), "__name__", "") == "_serve":
                task.cancel()
        await until(lambda: ends == ["slow"])
    assert clock.waiting() == 0
