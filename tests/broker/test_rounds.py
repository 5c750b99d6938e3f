"""Work that comes round for as long as somebody needs it."""

import asyncio
from collections.abc import Awaitable, Callable

from gapless.broker.rounds import Rounds
from tests.conversation import HandClock, rest


class Stage:
    """Rounds of work that a test lets go on."""

    def __init__(self) -> None:
        self.clock = HandClock()
        self.needed = True
        self.turns = 0
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.rounds = Rounds(self.clock, 1_000, self.work, lambda: self.needed)

    async def work(self) -> None:
        self.turns += 1
        await self.go_on.wait()

    async def pass_s(self, seconds: int) -> int:
        for _ in range(seconds):
            self.clock.pass_ms(1_000)
            await rest()
        return self.turns


def on_stage(scene: Callable[[Stage], Awaitable[None]]) -> None:
    async def run() -> None:
        await scene(Stage())

    asyncio.run(run())


def test_a_turn_comes_round_while_it_is_needed() -> None:
    async def scene(stage: Stage) -> None:
        assert await stage.pass_s(3) == 0
        for _ in range(5):
            stage.rounds.begin()
        assert await stage.pass_s(3) == 3
        stage.needed = False
        assert await stage.pass_s(3) == 3
        stage.needed = True
        stage.rounds.begin()
        assert await stage.pass_s(1) == 4

    on_stage(scene)


def test_turns_do_not_overlap() -> None:
    async def scene(stage: Stage) -> None:
        stage.go_on.clear()
        stage.rounds.begin()
        await stage.pass_s(1)
        stage.rounds.begin()
        assert await stage.pass_s(5) == 1
        stage.go_on.set()
        await rest()
        assert await stage.pass_s(1) == 2

    on_stage(scene)


def test_the_last_turn_is_waited_for() -> None:
    async def scene(stage: Stage) -> None:
        stage.go_on.clear()
        stage.rounds.begin()
        await stage.pass_s(1)
        stage.rounds.stop()
        finished = asyncio.ensure_future(stage.rounds.finish())
        await rest()
        assert not finished.done()
        stage.go_on.set()
        await finished
        stage.rounds.begin()
        assert await stage.pass_s(3) == 1

    on_stage(scene)
