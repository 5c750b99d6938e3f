"""A histogram counts what a list of the values would tell."""

import math

from hypothesis import given
from hypothesis import strategies as st

from gapless.core.histogram import Histogram


@given(st.lists(st.integers(0, 20)), st.lists(st.integers(0, 20), min_size=1, unique=True).map(sorted))
def test_each_bound_counts_what_is_at_most_as_large(values: list[int], bounds: list[int]) -> None:
    histogram = Histogram(bounds)
    for value in values:
        histogram.observe(value)
    expected = [(bound, sum(value <= bound for value in values)) for bound in (*bounds, math.inf)]
    assert list(histogram.cumulative()) == expected
    assert histogram.sum == sum(values)


@given(st.lists(st.integers(0, 20)), st.lists(st.integers(0, 20)), st.floats(0.01, 1))
def test_a_quantile_is_a_bound_that_so_many_later_values_do_not_exceed(
    before: list[int], later: list[int], share: float
) -> None:
    histogram, earlier = Histogram(range(21)), Histogram(range(21))
    for value in before:
        histogram.observe(value)
        earlier.observe(value)
    for value in later:
        histogram.observe(value)
    since = histogram.since(earlier)
    found = since.quantile(share)
    assert since.sum == sum(later)
    assert sum(value <= found for value in later) >= share * len(later)
    assert not later or sum(value <= found - 1 for value in later) < share * len(later)


def test_a_quantile_beyond_the_last_bound_is_that_bound() -> None:
    histogram = Histogram((1, 10))
    assert histogram.quantile(0.99) == 0
    histogram.observe(1_000)
    assert histogram.quantile(0.99) == 10
