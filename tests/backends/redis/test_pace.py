"""How much of the store's time counts as age."""

from gapless.backends.redis.pace import AHEAD_MS, Pace

START_MS = 1_800_000_000_000
DAY_MS = 24 * 3_600_000


class Clock:
    """This process' own clock."""

    def __init__(self) -> None:
        self.ns = 5

    def elapsed_ns(self) -> int:
        return self.ns

    def go(self, ms: int) -> None:
        self.ns += ms * 1_000_000


def begun() -> tuple[Clock, Pace]:
    clock = Clock()
    pace = Pace(clock.elapsed_ns)
    assert pace.told() == "0"
    pace.hear(START_MS)
    return clock, pace


def test_all_of_it_counts_while_both_clocks_go_alike() -> None:
    clock, pace = begun()
    for seconds in range(1, 100):
        clock.go(1_000)
        pace.hear(START_MS + seconds * 1_000)
        assert -int(pace.told()) >= START_MS + seconds * 1_000 + AHEAD_MS


def test_a_clock_that_jumps_ahead_counts_as_far_as_expected() -> None:
    clock, pace = begun()
    pace.hear(START_MS + DAY_MS)
    clock.go(10_000)
    pace.hear(START_MS + DAY_MS + 10_000)
    assert -int(pace.told()) == START_MS + 10_010 + AHEAD_MS
    assert pace.time_ms() == START_MS + DAY_MS + 10_000


def test_a_clock_that_falls_behind_is_followed() -> None:
    clock, pace = begun()
    clock.go(DAY_MS)
    pace.hear(START_MS + 1)
    assert -int(pace.told()) == START_MS + 1 + AHEAD_MS


def test_the_time_goes_on_between_answers() -> None:
    clock, pace = begun()
    clock.go(70)
    pace.hear(START_MS - 5)  # of a call that was answered before
    assert pace.time_ms() == START_MS + 70
