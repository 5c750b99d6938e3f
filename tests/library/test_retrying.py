"""What is tried again, for how long, and what is not."""

import asyncio
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any

import pytest

from gapless.core.errors import BadRequest, GaplessError, OutcomeUnknown, TooManyRequests, Unavailable
from gapless.library.retrying import Retrying
from tests.server.serving import HandClock, on_a_loop


class Attempts:
    """Fails as it is told, then succeeds."""

    def __init__(self, *errors: GaplessError) -> None:
        self.count = 0
        self._errors = list(errors)

    async def __call__(self) -> str:
        self.count += 1
        if self._errors:
            raise self._errors.pop(0)
        return "done"


async def in_time(clock: HandClock, work: Callable[[], Coroutine[Any, Any, str]]) -> str:
    """Let time pass until work is done."""
    task = asyncio.ensure_future(work())
    while not task.done():
        clock.move(50)
        await asyncio.sleep(0)
    return await task


@on_a_loop
async def test_what_is_refused_for_now_is_tried_again() -> None:
    clock = HandClock()
    retrying = Retrying(clock, Random(1), 30_000)
    attempts = Attempts(Unavailable("no"), TooManyRequests("full"))
    assert await in_time(clock, lambda: retrying.call(attempts, repeatable=False)) == "done"
    assert attempts.count == 3


@on_a_loop
async def test_what_nobody_knows_is_tried_again_only_where_that_does_no_harm() -> None:
    clock = HandClock()
    retrying = Retrying(clock, Random(1), 30_000)
    attempts = Attempts(OutcomeUnknown("lost"))
    assert await in_time(clock, lambda: retrying.call(attempts, repeatable=True)) == "done"
    attempts = Attempts(OutcomeUnknown("lost"))
    with pytest.raises(OutcomeUnknown):
        await in_time(clock, lambda: retrying.call(attempts, repeatable=False))
    assert attempts.count == 1


@on_a_loop
async def test_an_error_of_the_caller_is_told_at_once() -> None:
    clock = HandClock()
    attempts = Attempts(BadRequest("no"))
    with pytest.raises(BadRequest):
        await in_time(clock, lambda: Retrying(clock, Random(1), 30_000).call(attempts, repeatable=True))
    assert attempts.count == 1


@on_a_loop
async def test_patience_ends_and_the_last_error_is_told() -> None:
    clock = HandClock()
    attempts = Attempts(*(Unavailable(str(n)) for n in range(100)))
    with pytest.raises(Unavailable) as told:
        await in_time(clock, lambda: Retrying(clock, Random(1), 5_000).call(attempts, repeatable=True))
    assert int(str(told.value)) == attempts.count - 1
    assert 3 < attempts.count < 12
    assert clock.now_ms() <= 5_100


@on_a_loop
async def test_what_nobody_knew_once_is_not_called_refused_because_nobody_answers_later() -> None:
    clock = HandClock()
    attempts = Attempts(OutcomeUnknown("lost"), *(Unavailable(str(n)) for n in range(100)))
    with pytest.raises(OutcomeUnknown):
        await in_time(clock, lambda: Retrying(clock, Random(1), 5_000).call(attempts, repeatable=True))
    assert attempts.count > 3
