"""Durations and times as users write them."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from gapless.core.errors import BadRequest
from gapless.library.times import Duration, duration_ms, instant_ms, moment


@pytest.mark.parametrize(
    ("value", "expected_ms"),
    [
        ("30s", 30_000),
        ("1h30m", 5_400_000),
        ("30d", 30 * 86_400_000),
        (timedelta(minutes=2), 120_000),
        (5, 5_000),
        (0.25, 250),
        (0, 0),
    ],
)
def test_a_duration_may_be_written_in_any_form(value: Duration, expected_ms: int) -> None:
    assert duration_ms(value) == expected_ms


@pytest.mark.parametrize("value", ["30", "", -1, timedelta(seconds=-1), float("nan"), float("inf"), None, []])
def test_what_is_no_duration_is_refused_with_how_to_write_one(value: Duration) -> None:
    with pytest.raises(BadRequest, match="30s"):
        duration_ms(value)


def test_a_time_has_a_zone_or_is_milliseconds() -> None:
    at = datetime(2026, 1, 31, 18, 0, 0, 5_999, tzinfo=timezone(timedelta(hours=2)))
    assert moment(instant_ms(at)) == datetime(2026, 1, 31, 16, 0, 0, 5_000, tzinfo=UTC)
    assert instant_ms(1_700_000_000_000) == 1_700_000_000_000
    for naive in (datetime(2026, 1, 31), -1, "now"):
        with pytest.raises(BadRequest, match="zone"):
            instant_ms(naive)  # type: ignore[arg-type]
