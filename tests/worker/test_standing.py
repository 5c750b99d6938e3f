"""How a worker hears that it stood still."""

import asyncio

from gapless.worker.standing import TICK_MS, Standing
from tests.server.serving import HandClock, on_a_loop


class Held(HandClock):
    """Its timers are late while it is `held`, as they are in a process that stands still."""

    def __init__(self) -> None:
        super().__init__()
        self.held_ms = 0

    def now_ms(self) -> int:
        """See `Clock.now_ms`."""
        return super().now_ms() + self.held_ms


@on_a_loop
async def test_what_comes_in_may_be_as_old_as_the_last_stop_was_long() -> None:
    clock = Held()
    standing = Standing(clock)
    running = asyncio.get_running_loop().create_task(standing.run())

    async def tick() -> int:
        await asyncio.sleep(0)
        clock.move(TICK_MS)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return standing.stood_ms()

    assert await tick() <= 0
    clock.held_ms = 30_000
    assert standing.stood_ms() >= 30_000 - TICK_MS, "before its timer was"
    assert await tick() >= 30_000 - TICK_MS, "and after"
    assert await tick() <= 0
    running.cancel()
