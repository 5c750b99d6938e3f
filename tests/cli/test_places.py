"""Places in a channel, as a person writes them."""

import click
import pytest

from gapless.backends import store_clock
from gapless.cli.places import position, since_ms, told
from gapless.core.stream import Position

CONTEXT = click.Context(click.Command("any"))
OPTION = click.Option(["--any"])


@pytest.mark.parametrize("at", [Position("e", 0), Position("a:b", 7), Position("e", 2**63 - 1)])
def test_a_position_is_read_back_as_it_was_printed(at: Position) -> None:
    assert position(CONTEXT, OPTION, told(at)) == at


@pytest.mark.parametrize("text", ["", "5", ":5", "e:", "e:-1", "e:1.5", "e:x", f"e:{2**63}"])
def test_what_is_no_position_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="write epoch:offset"):
        position(CONTEXT, OPTION, text)


@pytest.mark.parametrize(
    ("text", "ago_ms"),
    [
        ("90s", 90_000),
        ("10m", 600_000),
        ("1h30m", 5_400_000),
        ("2d", 172_800_000),
        ("1d1h", 90_000_000),
        ("10m ago", 600_000),
    ],
)
def test_a_time_is_how_long_ago(text: str, ago_ms: int) -> None:
    before_ms = store_clock()()
    found_ms = since_ms(CONTEXT, OPTION, text)
    assert found_ms is not None
    assert before_ms - ago_ms <= found_ms <= store_clock()() - ago_ms


@pytest.mark.parametrize(
    "text", ["2026-01-31T12:00:00Z", "2026-01-31T13:00+01:00", "2026-01-31T12:00", "2026-01-31 12:00:00.000"]
)
def test_a_time_is_when_in_utc_unless_it_says_its_zone(text: str) -> None:
    assert since_ms(CONTEXT, OPTION, text) == 1_769_860_800_000


@pytest.mark.parametrize("text", ["", "yesterday", "10", "-5m", "2026-13-01"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="is no time"):
        since_ms(CONTEXT, OPTION, text)


def test_nothing_is_nothing() -> None:
    assert position(CONTEXT, OPTION, None) is None
    assert since_ms(CONTEXT, OPTION, None) is None
