"""When something recurs: time zones, days that skip an hour or have it twice, and what never fires."""

from datetime import UTC, datetime
from itertools import islice

import pytest

from gapless.broker.cron import next_tick_ms, ticks
from gapless.core.errors import BadRequest
from gapless.protocol.schedules import RecurringJob


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1000)


def found(cron: str, after: str, count: int, zone: str = "UTC") -> list[str]:
    recurring = RecurringJob(name="n", queue="q", cron=cron, time_zone=zone)
    return [
        datetime.fromtimestamp(each / 1000, UTC).strftime("%d %H:%M:%S")
        for each in islice(ticks(recurring, ms(after)), count)
    ]


@pytest.mark.parametrize(
    ("cron", "after", "zone", "expected"),
    [
        ("*/15 * * * *", "2026-01-01T00:00:00+00:00", "UTC", ["01 00:15:00", "01 00:30:00"]),
        ("*/20 * * * * *", "2026-01-01T00:00:00+00:00", "UTC", ["01 00:00:20", "01 00:00:40"]),
        ("0 9 * * MON", "2026-01-01T00:00:00+00:00", "UTC", ["05 09:00:00", "12 09:00:00"]),
        ("0 0 L * *", "2026-01-01T00:00:00+00:00", "UTC", ["31 00:00:00", "28 00:00:00"]),
        ("0 8 * * *", "2026-01-01T00:00:00+00:00", "Asia/Tokyo", ["01 23:00:00", "02 23:00:00"]),
        # Berlin's night without 02:30, and the one that has it twice
        ("30 2 * * *", "2026-03-28T12:00:00+00:00", "Europe/Berlin", ["29 01:00:00", "30 00:30:00"]),
        ("30 2 * * *", "2026-10-24T12:00:00+00:00", "Europe/Berlin", ["25 00:30:00", "26 01:30:00"]),
    ],
)
def test_an_expression_fires_when_it_says(cron: str, after: str, zone: str, expected: list[str]) -> None:
    assert found(cron, after, 2, zone) == expected


def test_an_interval_counts_from_the_unix_epoch() -> None:
    recurring = RecurringJob(name="n", queue="q", every_ms=300_000)
    after = ms("2026-01-01T00:03:20+00:00")
    assert next_tick_ms(recurring, after) == ms("2026-01-01T00:05:00+00:00")
    assert next_tick_ms(recurring, ms("2026-01-01T00:05:00+00:00")) == ms("2026-01-01T00:10:00+00:00")


def test_a_tick_that_was_is_not_told_again() -> None:
    recurring = RecurringJob(name="n", queue="q", cron="* * * * *")
    at = ms("2026-01-01T00:05:00+00:00")
    assert next_tick_ms(recurring, at - 1) == at
    assert next_tick_ms(recurring, at) == at + 60_000


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"cron": "* * * * *", "every_ms": 1_000},
        {"cron": "* * * *"},
        {"cron": "@daily"},
        {"cron": "61 * * * *"},
        {"cron": "0 0 30 2 *"},
        {"cron": "0 0 31 2,4,6 *"},
        {"cron": "x" * 256},
        {"cron": "* * * * *", "time_zone": "Mars/Base"},
        {"every_ms": 60_000, "time_zone": "Mars/Phobos"},
        {"cron": "* * * * *", "time_zone": "../../etc/passwd"},
        {"cron": "* * * * *", "time_zone": "Europe"},
        {"cron": "* * * * *", "time_zone": ""},
        {"every_ms": 999},
        {"every_ms": 2**53},
    ],
)
def test_what_never_fires_is_refused(fields: dict[str, object]) -> None:
    recurring = RecurringJob(name="n", queue="q", **fields)  # type: ignore[arg-type]
    with pytest.raises(BadRequest):
        next_tick_ms(recurring, 0)
