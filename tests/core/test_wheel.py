from hypothesis import given
from hypothesis import strategies as st

from gapless.core.wheel import Wheel


def test_nothing_is_woken_before_its_time() -> None:
    wheel: Wheel[str] = Wheel(slot_ms=100, now_ms=1_000)
    wheel.schedule("a", 1_101)
    assert wheel.turn(1_150) == []
    assert wheel.turn(1_200) == ["a"]
    assert wheel.turn(1_300) == []


def test_what_is_overdue_already_comes_with_the_next_slot() -> None:
    wheel: Wheel[str] = Wheel(slot_ms=100, now_ms=1_000)
    wheel.schedule("late", 0)
    assert wheel.turn(1_100) == ["late"]


def test_a_long_sleep_skips_empty_slots() -> None:
    wheel: Wheel[str] = Wheel(slot_ms=1, now_ms=0)
    wheel.schedule("b", 2_000)
    wheel.schedule("a", 1_000)
    assert wheel.turn(10**12) == ["a", "b"]


def test_what_was_forgotten_is_not_woken() -> None:
    wheel: Wheel[str] = Wheel(slot_ms=100, now_ms=1_000)
    wheel.schedule("a", 1_101)
    wheel.schedule("b", 1_101)
    wheel.forget("a", 1_101)
    wheel.forget("never scheduled", 5_000)
    assert wheel.turn(1_200) == ["b"]


@given(st.lists(st.tuples(st.integers(0, 5_000), st.booleans())), st.lists(st.integers(0, 700)))
def test_each_item_is_woken_once_within_a_slot(items: list[tuple[int, bool]], steps_ms: list[int]) -> None:
    wheel: Wheel[int] = Wheel(slot_ms=250, now_ms=0)
    for item, (due_ms, _) in enumerate(items):
        wheel.schedule(item, due_ms)
    kept = []
    for item, (due_ms, forgotten) in enumerate(items):
        if forgotten and due_ms > 0:
            wheel.forget(item, due_ms)
        else:
            kept.append(item)
    now_ms, woken = 0, []
    for step_ms in [*steps_ms, 6_000]:
        now_ms += step_ms
        for item in wheel.turn(now_ms):
            assert items[item][0] <= now_ms
            woken.append(item)
    assert sorted(woken) == kept
