"""A node that stops parts with its clients spread over time, and owes none of them an answer."""

from random import Random

from gapless.core.limits import PART_PER_TURN_MIN, PART_TURN_MS
from gapless.protocol.codes import Disconnect
from gapless.server.parting import part_with
from gapless.testing.clock import SimulatedClock
from gapless.testing.loop import VirtualLoop

SPREAD_MS = 10_000


class Appends:
    publications = answered = 0


class Client:
    """Notes when it was parted with, and in which order."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self.held_ms = self.left_ms = -1

    def hold(self) -> None:
        self.held_ms = self._loop.now_ms

    def disconnected(self, code: Disconnect) -> None:
        assert code is Disconnect.SHUTDOWN
        assert self.left_ms < 0 <= self.held_ms
        self.left_ms = self._loop.now_ms


def parted(
    count: int, appends: Appends, *, end_ms: int = 22_500, answered_ms: int | None = None
) -> list[Client]:
    """Part with so many clients, and return them."""
    loop = VirtualLoop(Random(1))
    clock = SimulatedClock(loop)
    clients = [Client(loop) for _ in range(count)]
    at_ms = clock.now_ms() + end_ms
    if answered_ms is not None:
        loop.after_ms(answered_ms, setattr, appends, "answered", appends.publications)
    loop.run_until_complete(part_with(clients, appends, clock, spread_ms=SPREAD_MS, end_ms=at_ms))
    loop.close()
    assert all(client.left_ms >= 0 for client in clients)
    return clients


def test_few_clients_are_parted_with_at_once() -> None:
    assert parted(0, Appends()) == []
    assert max(client.left_ms for client in parted(10, Appends())) == PART_TURN_MS


def test_many_clients_leave_evenly_over_the_spread() -> None:
    left = [client.left_ms for client in parted(20_000, Appends())]
    assert max(left) == SPREAD_MS
    seconds = [sum(second * 1_000 < ms <= (second + 1) * 1_000 for ms in left) for second in range(10)]
    assert seconds == [2_000] * 10


def test_some_hundreds_do_not_take_all_of_the_spread() -> None:
    left = [client.left_ms for client in parted(400, Appends())]
    assert max(left) == 400 // PART_PER_TURN_MIN * PART_TURN_MS == 1_000


def test_a_spread_that_does_not_fit_is_cut_to_the_time_there_is() -> None:
    assert max(client.left_ms for client in parted(20_000, Appends(), end_ms=2_000)) <= 2_000


def test_what_a_client_published_before_its_turn_is_answered_first() -> None:
    appends = Appends()
    appends.publications = 3
    (client,) = parted(1, appends, answered_ms=400)
    assert client.held_ms == 0
    assert 400 <= client.left_ms <= 400 + PART_TURN_MS


def test_an_answer_that_never_comes_is_not_waited_for_beyond_the_end() -> None:
    appends = Appends()
    appends.publications = 1
    assert parted(1, appends, end_ms=1_000)[0].left_ms == 1_000
