"""How much of a rate is left, in whole numbers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gapless.core.bucket import Bucket, Rate

T = 1_700_000_000_000


@pytest.mark.parametrize(
    ("takes", "taken"),
    [
        ([0, 0, 0], [True, True, False]),
        ([0, 0, 499, 500, 501], [True, True, False, True, False]),
        ([0, 0, 1_000, 1_000, 1_000], [True, True, True, True, False]),
        ([0, 500, 1_000, 1_500], [True, True, True, True]),
        ([0, 0, 60_000, 60_000, 60_000], [True, True, True, True, False]),
    ],
)
def test_two_a_second(takes: list[int], taken: list[bool]) -> None:
    bucket = Bucket(Rate(2, 1_000))
    assert [bucket.take(T + at_ms) for at_ms in takes] == taken


@given(
    st.integers(1, 1_000),
    st.sampled_from([1_000, 60_000]),
    st.lists(st.tuples(st.integers(0, 5_000), st.integers(1, 4)), max_size=60),
)
def test_no_stretch_of_time_sees_more_than_the_rate_and_a_burst(
    units: int, period_ms: int, steps: list[tuple[int, int]]
) -> None:
    bucket, now_ms, taken = Bucket(Rate(units, period_ms)), T, []
    for pause_ms, wanted in steps:
        now_ms += pause_ms
        could = not bucket.empty(now_ms)
        if bucket.take(now_ms, wanted):
            assert could
            taken.append((now_ms, wanted))
    for first in range(len(taken)):
        through = 0
        for at_ms, count in taken[first:]:
            through += count
            assert through <= units + (at_ms - taken[first][0]) * units / period_ms


def test_what_is_owed_is_waited_for() -> None:
    bucket = Bucket(Rate(100, 1_000))
    assert bucket.charge(T, 100) == 0
    assert bucket.charge(T, 50) == 500
    assert bucket.charge(T + 499, 0) == 1
    assert bucket.charge(T + 500, 0) == 0
    assert bucket.charge(T + 500, 1) == 10


def test_a_bucket_that_has_rested_is_as_good_as_new() -> None:
    bucket = Bucket(Rate(3, 60_000))
    assert bucket.rested(T)
    assert all(bucket.take(T) for _ in range(3))
    assert bucket.empty(T)
    assert not bucket.rested(T + 59_999)
    assert bucket.rested(T + 60_000)


def test_time_that_falls_gives_nothing_away() -> None:
    bucket = Bucket(Rate(1, 1_000))
    assert bucket.take(T)
    assert not bucket.take(T - 5_000)
    assert bucket.take(T + 1_000)
