"""Wrong passwords are heard slowly, and counting them takes no more memory than they."""

from gapless.core.limits import CONSOLE_WRONG_OF_ALL_PER_MINUTE, CONSOLE_WRONG_PER_MINUTE
from gapless.server.console.throttle import Throttle

T = 1_700_000_000_000


def wrong(throttle: Throttle, where: str, now_ms: int = T) -> bool:
    """Tell whether one more wrong one from there is heard."""
    if throttle.wait_ms(where, now_ms):
        return False
    throttle.wrong(where, now_ms)
    return True


def test_from_one_place_so_many_are_heard_in_a_minute() -> None:
    throttle = Throttle()
    assert [wrong(throttle, "a") for _ in range(8)].count(True) == CONSOLE_WRONG_PER_MINUTE
    assert throttle.wait_ms("a", T) == 12_000
    assert throttle.wait_ms("b", T) == 0


def test_who_waits_as_long_as_it_is_told_is_heard() -> None:
    throttle = Throttle()
    while wrong(throttle, "a"):
        pass
    assert throttle.wait_ms("a", T + 11_999)
    assert wrong(throttle, "a", T + 12_000)
    assert not wrong(throttle, "a", T + 12_000)
    assert [wrong(throttle, "a", T + 3_600_000) for _ in range(8)].count(True) == CONSOLE_WRONG_PER_MINUTE


def test_from_many_places_so_many_are_heard_together() -> None:
    throttle = Throttle()
    heard = [wrong(throttle, str(n)) for n in range(1_000)]
    assert heard.count(True) == CONSOLE_WRONG_OF_ALL_PER_MINUTE
    assert 0 < throttle.wait_ms("new", T) <= 1_000
    assert throttle.wait_ms("new", T + 1_000) == 0


def test_whoever_is_at_rest_is_forgotten() -> None:
    throttle, most = Throttle(), 0
    for step in range(5_000):
        wrong(throttle, str(step), T + step * 600)
        most = max(most, len(throttle))
    assert most <= 2 * CONSOLE_WRONG_OF_ALL_PER_MINUTE
    wrong(throttle, "last", T + 10**9)
    assert len(throttle) == 1
