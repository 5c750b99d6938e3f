"""What fails on purpose: a store that answers late, and a bus that rings no bell. Each ends by itself."""

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

from msgspec import Struct
from msgspec.structs import replace

from gapless.broker.appending import Appending
from gapless.core.limits import LAB_WAITING_MAX
from gapless.core.stream import Done, Entry, Message, Outcome, Position, Stored
from gapless.ports import Bus, Clock, Timer

__all__ = ["Doorbell", "Fault", "LateStore", "UnheardStore"]

Rung = Callable[[str, Position, Message | None], None]


class Fault:
    """Is on for a while: `until_ms`, 0 when it is off. `ended` is called whenever it ends."""

    def __init__(self) -> None:
        self.until_ms = 0
        self.ended: Callable[[], object] = lambda: None
        self._timer: Timer | None = None

    def begin(self, clock: Clock, for_ms: int) -> None:
        """Be on for so long from now, whatever was said before."""
        self.end()
        self.until_ms = clock.now_ms() + for_ms
        self._timer = clock.after(for_ms, self.end)

    def end(self) -> None:
        """Be off."""
        self.until_ms = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self.ended()


class _Late(Struct):
    done: Done
    entries: Sequence[Entry]
    outcomes: Sequence[Outcome]


class LateStore:
    """Answers appends `delay_ms` later than the store did, in the same order, while the fault is on.

    Once it is off nobody waits: who publishes without a pause would otherwise wait for ever behind others.
    """

    def __init__(self, append: Appending, fault: Fault, clock: Clock) -> None:
        self.delay_ms = 0
        self._append = append
        self._fault = fault
        self._clock = clock
        self._waiting: deque[_Late] = deque()
        self._times = 0  # that all were answered; timers from before mean nobody
        fault.ended = self._answer_all

    def append(self, entries: Sequence[Entry], done: Done) -> None:
        """See `Streams.append`."""
        self._append(entries, partial(self._landed, done))

    def _landed(self, done: Done, entries: Sequence[Entry], outcomes: Sequence[Outcome]) -> None:
        if not self._fault.until_ms:
            done(entries, outcomes)
            return
        self._waiting.append(_Late(done, entries, outcomes))
        if len(self._waiting) > LAB_WAITING_MAX:
            self._answer()
        else:
            self._clock.after(self.delay_ms, partial(self._fallen_due, self._times))

    def _fallen_due(self, times: int) -> None:
        if times == self._times and self._waiting:
            self._answer()

    def _answer(self) -> None:
        """Tell the one that waits longest: so many timers as there are answers, and the order stays."""
        late = self._waiting.popleft()
        late.done(late.entries, late.outcomes)

    def _answer_all(self) -> None:
        self._times += 1
        while self._waiting:
            self._answer()


class UnheardStore:
    """Stores and acknowledges, and lets nobody hear of it while the fault is on.

    An append is answered as one whose message is in the stream already: nobody is to be told of such a one.
    Whoever follows the stream finds it at the next look, as what another node stored while the bus was down.
    """

    def __init__(self, append: Appending, fault: Fault) -> None:
        self._append = append
        self._fault = fault

    def append(self, entries: Sequence[Entry], done: Done) -> None:
        """See `Streams.append`."""
        self._append(entries, partial(self._landed, done))

    def _landed(self, done: Done, entries: Sequence[Entry], outcomes: Sequence[Outcome]) -> None:
        if self._fault.until_ms:
            outcomes = [_unheard(outcome) for outcome in outcomes]
        done(entries, outcomes)


def _unheard(outcome: Outcome) -> Outcome:
    return replace(outcome, fresh=False, also=None) if isinstance(outcome, Stored) else outcome


class Doorbell(Bus):
    """A node's end of `bus`, which neither rings nor is heard while the fault is on."""

    def __init__(self, bus: Bus, fault: Fault) -> None:
        self._bus = bus
        self._fault = fault

    @property
    def alone(self) -> bool:  # type: ignore[override]
        """See `Bus.alone`."""
        return self._bus.alone

    @property
    def rings_appends(self) -> bool:  # type: ignore[override]
        """See `Bus.rings_appends`."""
        return self._bus.rings_appends

    def ring(self, stream: str, last: Position, message: Message | None) -> None:
        """See `Bus.ring`."""
        if not self._fault.until_ms:
            self._bus.ring(stream, last, message)

    def listen(self, heard: Rung) -> None:
        """See `Bus.listen`."""

        def rung(stream: str, last: Position, message: Message | None) -> None:
            if not self._fault.until_ms:
                heard(stream, last, message)

        self._bus.listen(rung)

    def tell(self, told: bytes) -> None:
        """See `Bus.tell`."""
        if not self._fault.until_ms:
            self._bus.tell(told)

    def hear(self, heard: Callable[[bytes], None]) -> None:
        """See `Bus.hear`."""

        def hears(told: bytes) -> None:
            if not self._fault.until_ms:
                heard(told)

        self._bus.hear(hears)

    def follow(self, stream: str) -> None:
        """See `Bus.follow`."""
        self._bus.follow(stream)

    def unfollow(self, stream: str) -> None:
        """See `Bus.unfollow`."""
        self._bus.unfollow(stream)
