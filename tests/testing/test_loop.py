import asyncio
from random import Random

import pytest

from gapless.testing.loop import Deadlock, VirtualLoop


def test_time_jumps_to_what_is_next() -> None:
    loop = VirtualLoop(Random(1))

    async def main() -> float:
        await loop.pass_ms(3_600_000)
        return loop.time()

    assert loop.run_until_complete(main()) == 3_600
    loop.close()


def test_callbacks_run_in_the_order_of_call_soon() -> None:
    for seed in range(20):
        loop, seen = VirtualLoop(Random(seed)), list[int]()
        for number in range(10):
            loop.call_soon(seen.append, number)
        loop.run_until_complete(loop.pass_ms(1))
        assert seen == list(range(10))
        loop.close()


def test_what_falls_due_at_once_comes_in_any_order() -> None:
    ways = set()
    for seed in range(20):
        loop, seen = VirtualLoop(Random(seed)), list[int]()
        for number in range(3):
            loop.after_ms(5, seen.append, number)
        loop.run_until_complete(loop.pass_ms(6))
        ways.add(tuple(seen))
        loop.close()
    assert len(ways) == 6


def test_what_falls_due_earlier_comes_earlier() -> None:
    for seed in range(20):
        loop, seen = VirtualLoop(Random(seed)), list[int]()
        for number in (3, 1, 2):
            loop.after_ms(number, seen.append, number)
        loop.run_until_complete(loop.pass_ms(4))
        assert seen == [1, 2, 3]
        loop.close()


def test_a_cancelled_timer_is_passed_over() -> None:
    loop, seen = VirtualLoop(Random(1)), list[int]()
    loop.after_ms(1, seen.append, 1).cancel()
    loop.run_until_complete(loop.pass_ms(2))
    assert not seen
    loop.close()


def test_a_wait_that_nothing_can_end_is_told() -> None:
    loop = VirtualLoop(Random(1))
    with pytest.raises(Deadlock, match="nothing is left"):
        loop.run_until_complete(loop.create_future())
    loop.close()


def test_an_instant_that_does_not_end_is_told() -> None:
    loop = VirtualLoop(Random(1), callbacks_per_instant_max=1_000)

    def again() -> None:
        loop.call_soon(again)

    again()
    with pytest.raises(Deadlock, match="still 0 ms"):
        loop.run_until_complete(loop.create_future())
    loop._soon.clear()
    loop.close()


def test_what_a_callback_raises_is_kept() -> None:
    loop = VirtualLoop(Random(1))
    loop.call_soon(lambda: 1 // 0)
    loop.run_until_complete(loop.pass_ms(1))
    assert isinstance(loop.failures[0]["exception"], ZeroDivisionError)
    loop.close()


def test_timeouts_of_asyncio_are_kept_in_virtual_time() -> None:
    loop = VirtualLoop(Random(1))

    async def main() -> None:
        async with asyncio.timeout(30):
            await loop.pass_ms(60_000)

    with pytest.raises(TimeoutError):
        loop.run_until_complete(main())
    assert loop.now_ms == 30_000
    loop.close()
