"""Calls that wait for streams: who is woken, and how often the store is asked meanwhile."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest

from gapless.broker import arrivals
from gapless.broker.arrivals import Arrivals
from gapless.core.errors import StoreFailed, TooManyRequests
from gapless.core.stream import Head, Heads
from tests.conversation import HandClock, rest


class Stage:
    """Streams whose ends a test moves."""

    def __init__(self) -> None:
        self.clock = HandClock()
        self.asked: list[int] = []
        self.epoch = "e"
        self.last = 0
        self.fails = False
        self.arrivals = Arrivals(self.clock, self.heads)
        self.woken: list[str] = []
        self.waiting: list[asyncio.Task[None]] = []

    async def heads(self, streams: Sequence[str]) -> Heads:
        self.asked.append(len(streams))
        if self.fails:
            raise StoreFailed("gone")
        return Heads(self.epoch, {name: Head(0, self.last if name == "moves" else 0) for name in streams})

    def waits(self, stream: str, wait_ms: int = 60_000) -> None:
        async def wait() -> None:
            with self.arrivals.hearing([stream], wait_ms) as bell:
                while not bell.over:
                    bell.look()
                    await bell.wait()
                    self.woken.append(stream)

        self.waiting.append(asyncio.ensure_future(wait()))

    async def pass_ms(self, ms: int) -> list[str]:
        """Let time pass, and return who was woken."""
        self.woken.clear()
        for _ in range(ms // 250):
            self.clock.pass_ms(250)
            await rest()
        return list(self.woken)


def on_stage(scene: Callable[[Stage], Awaitable[None]]) -> None:
    async def run() -> None:
        stage = Stage()
        await scene(stage)
        stage.arrivals.stop()
        await stage.arrivals.finish()
        await rest()
        assert stage.arrivals.waiting == {}

    asyncio.run(run())


def test_however_many_wait_the_store_is_asked_once_a_second() -> None:
    async def scene(stage: Stage) -> None:
        for name in ("moves", *map(str, range(30)), *map(str, range(30))):
            stage.waits(name)
        await rest()
        await stage.pass_ms(1_000)  # what came between their look and this one is not known: each looks again
        assert await stage.pass_ms(10_000) == []
        assert stage.asked == [31] * 11

    on_stage(scene)


@pytest.mark.parametrize("moved", [{"last": 1}, {"epoch": "f"}])
def test_a_stream_that_nobody_rang_for_is_found_within_a_second(moved: dict[str, object]) -> None:
    async def scene(stage: Stage) -> None:
        stage.waits("moves")
        await rest()
        await stage.pass_ms(2_000)
        vars(stage).update(moved)
        assert await stage.pass_ms(1_000) == ["moves"]
        assert await stage.pass_ms(3_000) == []

    on_stage(scene)


def test_who_waits_looks_itself_when_the_store_does_not_answer() -> None:
    async def scene(stage: Stage) -> None:
        stage.waits("a")
        await rest()
        stage.fails = True
        assert await stage.pass_ms(3_000) == ["a"] * 3

    on_stage(scene)


def test_a_ring_wakes_who_waits_for_that_stream() -> None:
    async def scene(stage: Stage) -> None:
        for name in ("a", "b"):
            stage.waits(name)
        await rest()
        stage.arrivals.ring("b")
        await rest()
        assert stage.woken == ["b"]

    on_stage(scene)


def test_nobody_asks_when_nobody_waits() -> None:
    async def scene(stage: Stage) -> None:
        stage.waits("a", 1_500)
        await rest()
        await stage.pass_ms(2_000)
        assert stage.waiting[0].done()
        stage.asked.clear()
        await stage.pass_ms(5_000)
        assert stage.asked == []

    on_stage(scene)


def test_so_many_wait_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrivals, "WAITERS_MAX", 1)

    async def scene(stage: Stage) -> None:
        stage.waits("a")
        await rest()
        with pytest.raises(TooManyRequests), stage.arrivals.hearing(["b"], 1):
            pass
        with stage.arrivals.hearing(["b"], 0) as bell:
            assert bell.over

    on_stage(scene)
