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
