"""Durations in Go's form."""

import pytest

from gapless.core.durations import milliseconds, spelled


@pytest.mark.parametrize(
    ("text", "expected_ms"),
    [
        ("0", 0),
        ("0s", 0),
        ("500ms", 500),
        ("25s", 25_000),
        ("300s", 300_000),
        ("720h", 720 * 3_600_000),
        ("1h30m", 5_400_000),
        ("1h2m3s4ms", 3_723_004),
        ("1.5s", 1_500),
        (".5h", 1_800_000),
        ("0.1s", 100),
        ("7d", 7 * 86_400_000),
        ("1d1h", 90_000_000),
        ("1.5d", 129_600_000),
        ("2w", 14 * 86_400_000),
    ],
)
def test_a_duration_is_read_as_go_writes_it(text: str, expected_ms: int) -> None:
    assert milliseconds(text) == expected_ms


@pytest.mark.parametrize("text", ["", "5", "s", "-5s", "5 s", "5sec", "1y", "1us", "0.1ms", "1e3s", "٣s5"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        milliseconds(text)


@pytest.mark.parametrize(
    ("duration_ms", "text"),
    [
        (0, "0s"),
        (1, "1ms"),
        (25_000, "25s"),
        (90_500, "1m30s500ms"),
        (5_400_000, "1h30m"),
        (14 * 86_400_000, "336h"),
    ],
)
def test_a_duration_is_written_so_that_it_is_read_as_the_same(duration_ms: int, text: str) -> None:
    assert spelled(duration_ms) == text
    assert milliseconds(text) == duration_ms
