"""When a job that failed is tried again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gapless.core.job_rules import after_failure
from gapless.core.retry import Retry


def test_delays_grow_by_the_factor_up_to_the_cap() -> None:
    retry = Retry(base_ms=100, factor=3.0, cap_ms=1_000, jitter=False)
    assert [retry.delay_ms(attempt, 0.9) for attempt in range(1, 6)] == [100, 300, 900, 1_000, 1_000]


def test_jitter_draws_between_half_of_the_delay_and_all_of_it() -> None:
    retry = Retry(base_ms=1_000, factor=2.0)
    assert [retry.delay_ms(2, chance) for chance in (0.0, 0.5, 0.75)] == [1_000, 1_500, 1_750]


def test_the_last_delay_of_a_list_holds_for_all_that_follow() -> None:
    retry = Retry(delays_ms=(5, 50))
    assert [retry.delay_ms(attempt, 0.9) for attempt in (1, 2, 3, 100)] == [5, 50, 50, 50]


@given(st.integers(1, 10_000), st.floats(1, 100), st.floats(0, 1, exclude_max=True))
def test_no_delay_is_beyond_the_cap_however_often_a_job_failed(
    attempt: int, factor: float, chance: float
) -> None:
    assert 0 <= Retry(factor=factor, cap_ms=7_000).delay_ms(attempt, chance) <= 7_000


@pytest.mark.parametrize(("strikes", "after_ms"), [(0, 200), (1, 200), (2, 200), (3, None), (4, None)])
def test_a_job_is_dead_once_so_many_failures_count(strikes: int, after_ms: int | None) -> None:
    assert after_failure(Retry(attempts_max=3, base_ms=100, jitter=False), 2, strikes, 0.0) == after_ms
