from gapless.core.keepalive import Action, Keepalive

T = 1_000_000


def keepalive(pong_ms: int = 8_000) -> Keepalive:
    return Keepalive(stale_ms=10_000, interval_ms=25_000, pong_ms=pong_ms, stuck_ms=30_000, now_ms=T)


def opened(pong_ms: int = 8_000) -> Keepalive:
    it = keepalive(pong_ms)
    it.opened(T + 20_000)
    return it


def test_a_client_that_never_connects_is_stale() -> None:
    it = keepalive()
    assert it.due(T + 9_999, 0) is None
    assert it.due(T + 10_000, 0) is Action.STALE


def test_it_pings_and_gives_up_a_peer_that_owes_a_pong() -> None:
    it = opened()
    assert it.due(T + 20_000, 0) is Action.PING
    assert it.due_ms == T + 28_000
    assert it.due(T + 28_000, 0) is Action.NO_PONG


def test_pings_follow_each_other_at_the_interval() -> None:
    it = opened()
    for n in range(3):
        at = T + 20_000 + n * 25_000
        assert it.due(at, 0) is Action.PING
        assert it.pong()
        assert it.due(at + 8_000, 0) is None
    assert it.due_ms == T + 20_000 + 3 * 25_000


def test_a_pong_that_nobody_asked_for_is_told() -> None:
    it = opened()
    assert not it.pong()
    it.due(T + 20_000, 0)
    assert it.pong()
    assert not it.pong()


def test_without_pongs_only_pings_are_sent() -> None:
    it = opened(pong_ms=0)
    assert it.due(T + 20_000, 0) is Action.PING
    assert it.due(T + 45_000, 0) is Action.PING


def test_a_full_socket_is_not_pinged_but_watched() -> None:
    it = opened()
    it.paused(70_000, T + 15_000)
    assert it.due(T + 20_000, 70_000) is None
    assert it.due(T + 45_000, 69_999) is None, "it drains, however slowly"
    assert it.due(T + 75_000, 69_999) is Action.STUCK


def test_a_drained_socket_counts_as_a_pong() -> None:
    it = opened()
    assert it.due(T + 20_000, 0) is Action.PING
    it.paused(70_000, T + 21_000)
    it.resumed(T + 40_000)
    assert it.due(T + 64_999, 0) is None
    assert it.due(T + 65_000, 0) is Action.PING


def test_a_pong_that_comes_after_the_socket_drained_is_asked_for() -> None:
    it = opened()
    it.due(T + 20_000, 0)
    it.paused(70_000, T + 21_000)
    it.resumed(T + 40_000)
    assert it.pong()
    assert not it.pong()


def test_a_ping_behind_other_bytes_is_not_answered_late() -> None:
    it = opened()
    assert it.due(T + 20_000, 0) is Action.PING
    it.pinged(50_000)
    assert it.due(T + 28_000, 30_000) is None, "it waits behind them still"
    assert it.due(T + 36_000, 0) is None, "it may just have left"
    assert it.due(T + 44_000, 0) is Action.NO_PONG


def test_a_socket_that_takes_nothing_is_stuck_though_it_is_not_full() -> None:
    it = opened()
    it.due(T + 20_000, 0)
    it.pinged(50_000)
    for late_ms in (8_000, 16_000, 24_000):
        assert it.due(T + 20_000 + late_ms, 50_000) is None
    assert it.due(T + 52_000, 50_000) is Action.STUCK


def test_a_pong_is_not_owed_while_nothing_is_read() -> None:
    it = opened()
    it.due(T + 20_000, 0)
    it.deaf(T + 28_000)
    assert it.due(T + 28_000, 0) is None
    assert it.due(T + 36_000, 0) is Action.NO_PONG
