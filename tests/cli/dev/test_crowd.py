"""The crowd of the demo: it talks while somebody looks, a while longer, and not after."""

import asyncio
from collections.abc import Callable, Coroutine
from itertools import pairwise
from random import Random
from typing import Any

from gapless.cli.dev.conversation import CONVERSATION
from gapless.cli.dev.crowd import LINGER_MS, Crowd
from gapless.core.errors import Unavailable
from tests.conversation import HandClock, rest

MINUTE_MS = 60_000


class Street:
    """A crowd, who listens to it, and what it said."""

    def __init__(self, seed: int = 1) -> None:
        self.clock = HandClock()
        self.is_heard = False
        self.fails = False
        self.said: list[dict[str, Any]] = []
        self.crowd = Crowd(self._say, lambda: self.is_heard, self.clock, Random(seed))

    async def _say(self, message: dict[str, Any]) -> None:
        if self.fails:
            raise Unavailable("nobody answers")
        self.said.append(message)

    async def pass_ms(self, ms: int, step_ms: int = 50) -> None:
        for _ in range(0, ms, step_ms):
            self.clock.pass_ms(step_ms)
            await rest()


def watch(scene: Callable[[Street], Coroutine[Any, Any, None]], seed: int = 1) -> Street:
    """Run a scene while the crowd is there."""
    street = Street(seed)

    async def run() -> None:
        talking = asyncio.ensure_future(street.crowd.run())
        await rest()
        try:
            await scene(street)
        finally:
            talking.cancel()
            await asyncio.wait([talking])

    asyncio.run(run())
    return street


def test_nobody_talks_while_nobody_looks() -> None:
    street = watch(lambda street: street.pass_ms(MINUTE_MS))
    assert not street.said


async def look(street: Street) -> None:
    street.is_heard = True
    await street.pass_ms(MINUTE_MS)


def test_one_or_two_a_second_are_said_in_the_order_of_the_conversation() -> None:
    street = watch(look)
    assert 60 <= len(street.said) <= 120
    lines = [(each["name"], each["text"]) for each in street.said]
    whole = [tuple(line) for line in CONVERSATION] * 3
    start = whole.index(lines[0])
    assert lines == whole[start : start + len(lines)]
    assert len({each["id"] for each in street.said}) == len(lines)
    times = [each["at"] for each in street.said]
    assert times == sorted(times)
    assert all(250 <= later - one <= 1_150 for one, later in pairwise(times))


def test_chance_is_passed_in() -> None:
    assert watch(look, 1).said == watch(look, 1).said
    assert watch(look, 1).said != watch(look, 2).said


def test_who_is_in_the_tunnel_is_talked_about_for_a_while() -> None:
    async def scene(street: Street) -> None:
        await look(street)
        street.is_heard = False
        await street.pass_ms(LINGER_MS)
        said = len(street.said)
        assert said > 200
        await street.pass_ms(MINUTE_MS)
        assert len(street.said) <= said + 1

    watch(scene)


def test_what_cannot_be_said_is_skipped() -> None:
    async def scene(street: Street) -> None:
        street.fails = True
        await look(street)
        assert not street.said
        street.fails = False
        await street.pass_ms(MINUTE_MS)
        assert street.said

    watch(scene)


def test_the_conversation_can_be_told() -> None:
    assert len(CONVERSATION) >= 48
    assert {line.name for line in CONVERSATION} == {"Mira", "Jonas", "Tariq", "Aiko", "Lena", "Sam"}
    assert all(line.text for line in CONVERSATION)
