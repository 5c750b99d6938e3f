"""The faults of the lab: answers come late and in order, bells are silent, and it ends by itself."""

from collections.abc import Callable, Sequence

from gapless.broker.appending import Appending
from gapless.cli.dev.faults import Doorbell, Fault, LateStore, UnheardStore
from gapless.core.errors import StoreFailed
from gapless.core.limits import LAB_WAITING_MAX
from gapless.core.stream import Done, Entry, Message, Outcome, Position, Retention, Stored
from tests.conversation import HandClock
from tests.several import Line


class Store:
    """Answers each append when the test says so."""

    def __init__(self) -> None:
        self.taken: list[Callable[[], None]] = []

    def append(self, entries: Sequence[Entry], done: Done) -> None:
        offset = len(self.taken) + 1
        outcomes = [Stored("e", offset, 0, also=Stored("e", offset, 0)) for _ in entries]
        self.taken.append(lambda: done(entries, outcomes))

    def answer(self) -> None:
        taken, self.taken = self.taken, []
        for each in taken:
            each()


class Told:
    """What publishers were told, in order."""

    def __init__(self, append: Appending) -> None:
        self._append = append
        self.names: list[str] = []
        self.outcomes: list[Outcome] = []

    def publish(self, *names: str) -> None:
        self._append([Entry(name, b"1", Retention()) for name in names], self._take)

    def _take(self, entries: Sequence[Entry], outcomes: Sequence[Outcome]) -> None:
        self.names += [entry.stream for entry in entries]
        self.outcomes += outcomes


def late() -> tuple[HandClock, Fault, Store, LateStore, Told]:
    clock, fault, store = HandClock(), Fault(), Store()
    delayed = LateStore(store.append, fault, clock)
    delayed.delay_ms = 500
    return clock, fault, store, delayed, Told(delayed.append)


def test_a_store_that_is_not_delayed_answers_at_once() -> None:
    _, _, store, _, told = late()
    told.publish("a", "b")
    assert not told.names
    store.answer()
    assert told.names == ["a", "b"]


def test_a_delayed_store_answers_later_and_in_order() -> None:
    clock, fault, store, _, told = late()
    fault.begin(clock, 1_000)
    told.publish("a")
    told.publish("b")
    store.answer()
    clock.pass_ms(499)
    assert not told.names
    clock.pass_ms(1)
    assert told.names == ["a", "b"]


def test_nobody_waits_when_the_fault_is_over_and_nothing_overtakes() -> None:
    clock, fault, store, _, told = late()
    fault.begin(clock, 300)
    told.publish("before")
    store.answer()
    clock.pass_ms(299)
    assert not told.names
    clock.pass_ms(1)
    told.publish("after")
    store.answer()
    assert told.names == ["before", "after"]


def test_who_publishes_without_a_pause_is_answered_at_once_after_the_fault() -> None:
    clock, fault, store, _, told = late()
    fault.begin(clock, 1_000)
    for number in range(20):
        told.publish(f"{number}")
        store.answer()
        clock.pass_ms(100)
    assert told.names == [f"{number}" for number in range(20)]


def test_what_was_due_of_an_earlier_fault_hurries_nobody_in_the_next() -> None:
    clock, fault, store, _, told = late()
    fault.begin(clock, 100)
    told.publish("a")
    store.answer()
    clock.pass_ms(100)
    fault.begin(clock, 10_000)
    told.publish("b")
    store.answer()
    clock.pass_ms(499)
    assert told.names == ["a"]
    clock.pass_ms(1)
    assert told.names == ["a", "b"]


def test_a_shorter_delay_changes_no_order() -> None:
    clock, fault, store, delayed, told = late()
    fault.begin(clock, 10_000)
    told.publish("a")
    store.answer()
    delayed.delay_ms = 100
    told.publish("b")
    store.answer()
    clock.pass_ms(100)
    assert told.names == ["a"]
    clock.pass_ms(400)
    assert told.names == ["a", "b"]


def test_only_so_many_answers_wait() -> None:
    clock, fault, store, _, told = late()
    fault.begin(clock, 10_000)
    for number in range(LAB_WAITING_MAX + 3):
        told.publish(f"{number}")
    store.answer()
    assert told.names == ["0", "1", "2"]
    clock.pass_ms(500)
    assert told.names == [f"{number}" for number in range(LAB_WAITING_MAX + 3)]


def test_nobody_waits_once_the_lab_is_closed() -> None:
    clock, fault, store, _, told = late()
    fault.begin(clock, 10_000)
    told.publish("a")
    store.answer()
    fault.end()
    assert told.names == ["a"]
    clock.pass_ms(10_000)
    assert told.names == ["a"]


def test_a_fault_that_begins_again_lasts_as_long_as_was_said_last() -> None:
    clock, fault = HandClock(), Fault()
    fault.begin(clock, 1_000)
    fault.begin(clock, 5_000)
    clock.pass_ms(4_999)
    assert fault.until_ms == clock.now_ms() + 1
    clock.pass_ms(1)
    assert fault.until_ms == 0


def test_what_is_stored_while_nobody_is_rung_counts_as_known() -> None:
    clock, fault, store = HandClock(), Fault(), Store()
    told = Told(UnheardStore(store.append, fault).append)
    fault.begin(clock, 1_000)
    told.publish("a")
    store.answer()
    clock.pass_ms(1_000)
    told.publish("b")
    store.answer()
    unheard, heard = told.outcomes
    assert isinstance(unheard, Stored)
    assert isinstance(heard, Stored)
    assert (unheard.offset, unheard.fresh, unheard.also) == (1, False, None)
    assert heard.fresh
    assert heard.also is not None


def test_a_refusal_stays_one() -> None:
    clock, fault = HandClock(), Fault()
    refusal = StoreFailed("closed")
    told = Told(UnheardStore(lambda entries, done: done(entries, [refusal]), fault).append)
    fault.begin(clock, 1_000)
    told.publish("a")
    assert told.outcomes == [refusal]


def test_a_dropped_bus_neither_rings_nor_is_heard_and_does_again_later() -> None:
    clock, fault, line = HandClock(), Fault(), Line()
    line.kept = []
    here, there = Doorbell(line.end(), fault), line.end()
    heard: list[str] = []
    here.listen(lambda stream, last, message: heard.append(f"here {stream}"))
    here.hear(lambda told: heard.append(f"here {told.decode()}"))
    there.listen(lambda stream, last, message: heard.append(f"there {stream}"))
    there.hear(lambda told: heard.append(f"there {told.decode()}"))

    def say() -> list[str]:
        heard.clear()
        for end in (here, there):
            end.ring("s", Position("e", 1), Message(1, 0, b"1"))
            end.tell(b"t")
        assert line.kept is not None
        arriving, line.kept = line.kept, []
        for arrive in arriving:
            arrive()
        return sorted(heard)

    assert not here.alone
    everything = ["here s", "here t", "there s", "there t"]
    assert say() == everything
    fault.begin(clock, 1_000)
    assert say() == []
    clock.pass_ms(1_000)
    assert say() == everything


def test_who_follows_is_known_to_the_bus_also_while_it_is_dropped() -> None:
    clock, fault, line = HandClock(), Fault(), Line()
    end = line.end()
    here = Doorbell(end, fault)
    fault.begin(clock, 1_000)
    here.follow("s")
    assert end.followed == ["s"]
    here.unfollow("s")
    assert end.followed == []
    assert here.rings_appends is end.rings_appends
