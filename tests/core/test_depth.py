import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gapless.core.depth import too_deep

VALUES = st.recursive(
    st.none() | st.text(alphabet='[]{}"\\a') | st.integers(),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(alphabet='{["', max_size=2), inner, max_size=3)
    ),
)


def depth(value: Any) -> int:
    if isinstance(value, list):
        return 1 + max(map(depth, value), default=0)
    if isinstance(value, dict):
        return 1 + max(map(depth, value.values()), default=0)
    return 0


@given(VALUES)
def test_whatever_is_as_shallow_as_allowed_passes(value: Any) -> None:
    assert not too_deep(json.dumps(value).encode(), max(1, depth(value)))


@pytest.mark.parametrize("bracket", ["[]", "{}"])
def test_nesting_beyond_the_limit_is_found(bracket: str) -> None:
    opening, closing = ("[", "]") if bracket == "[]" else ('{"k":', "}")
    nested = (opening * 200 + "1" + closing * 200).encode()
    assert too_deep(nested, 128)
    assert not too_deep(nested, 200)


def test_many_shallow_ones_are_not_deep() -> None:
    assert not too_deep(b"[" + b",".join([b"[]"] * 5_000) + b"]", 128)


def test_brackets_in_strings_do_not_count() -> None:
    assert not too_deep(json.dumps("[" * 500 + '"\\').encode(), 128)
