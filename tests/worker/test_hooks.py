"""Hooks in a worker, whose server is a test."""

import asyncio
from typing import Any

import msgspec

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
from gapless.worker.hooks import serving_hooks
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
