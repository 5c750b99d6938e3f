"""Hypothesis drives each backend beside the model: whatever is done to both, both answer alike."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from gapless.core.errors import GaplessError, NotAvailable
from gapless.core.stream import Entry, Position, Retention
from gapless.ports import Care, Streams
from gapless.testing.conformance import Place
from gapless.testing.conformance.places import put
from tests.backends.conftest import PLACES, MemoryPlace

Answer = TypeVar("Answer")

NAMES = st.sampled_from(["a", "b", "c"])
DURATIONS_MS = st.sampled_from([0, 5, 40])
RETENTIONS = st.one_of(
    st.just(Retention()),
    st.builds(
        Retention,
        count=st.sampled_from([0, 1, 4]),
        ttl_ms=DURATIONS_MS,
        meta_ttl_ms=DURATIONS_MS,
        age_ms=DURATIONS_MS,
        bytes=st.sampled_from([0, 5, 30]),
    ),
    # Not together with what time drops: that counts for its group until it is deleted, by and by.
    st.builds(
        Retention,
        count=st.sampled_from([0, 1, 4]),
        bytes=st.sampled_from([0, 30]),
        group=st.sampled_from(["g", "g", "h"]),
        group_bytes=st.sampled_from([25, 60]),
    ),
)
KEYS = st.sampled_from(["i", "j"])
# Positions are named alike in both stores: which opening of the store, and the offset.
POSITIONS = st.tuples(st.integers(-3, 0), st.integers(0, 12))
ENTRIES = st.lists(
    st.tuples(
        NAMES,
        st.sampled_from([b"", b"xy", b"abcdef", bytes(20)]),
        RETENTIONS,
        st.sampled_from([None, None, None, "k", "l"]),
        st.one_of(st.none(), st.none(), POSITIONS),
        st.sampled_from([False, False, False, True]),
        st.sampled_from([None, None, "o", "p"]),
        st.sampled_from([0, 0, 0, 1, 2, 3]),
        st.sampled_from(["", "", "e", "f"]),
        st.sampled_from([None, None, "i", "j"]),
        st.sampled_from([None, None, None, 0, 1, 2, 3]),
        st.one_of(
            st.none(),
            st.none(),
            st.tuples(NAMES, st.sampled_from([b"", bytes(10)]), RETENTIONS, st.sampled_from([None, "i"])),
        ),
    ),
    min_size=1,
    max_size=6,
)


class Side:
    """One store, with a loop of its own, and the epochs it had."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.loop = asyncio.new_event_loop()
        self.epochs: list[str] = []
        self.open()

    def open(self) -> None:
        self.store = self.run(self.place.open())
        self.epochs.append(self.store.epoch)

    def run(self, awaitable: Awaitable[Answer]) -> Answer:
        return self.loop.run_until_complete(awaitable)

    def close(self) -> None:
        self.run(self.store.close())

    def position(self, named: tuple[int, int] | None) -> Position | None:
        """The same place in either store: an epoch counted back from the current one."""
        if named is None:
            return None
        back = len(self.epochs) - 1 + named[0]
        return Position(self.epochs[back] if back >= 0 else "never", named[1])

    def told(self, answer: Any) -> Any:
        """What an answer says, with epochs replaced by their number."""
        if isinstance(answer, GaplessError):
            return type(answer)
        if isinstance(answer, list):
            return [self.told(one) for one in answer]
        text = repr(answer)
        for number, epoch in enumerate(self.epochs):
            text = text.replace(epoch, f"epoch {number}")
        return text


class Machine(RuleBasedStateMachine):
    """The same calls to the model and to a backend."""

    name = ""

    @initialize()
    def begin(self) -> None:
        self.folder = TemporaryDirectory()
        self.sides = [Side(MemoryPlace()), Side(PLACES[self.name](Path(self.folder.name)))]

    def both(self, call: Callable[[Streams, Side], Awaitable[Any]]) -> None:
        model, backend = (self.answer(side, call) for side in self.sides)
        assert backend == model

    def answer(self, side: Side, call: Callable[[Streams, Side], Awaitable[Any]]) -> Any:
        try:
            return side.told(side.run(call(side.store, side)))
        except GaplessError as error:
            return type(error)

    @rule(batch=ENTRIES)
    def append(self, batch: list[tuple[Any, ...]]) -> None:
        def call(store: Streams, side: Side) -> Awaitable[Any]:
            entries = [
                Entry(
                    name,
                    data,
                    keep,
                    key=key,
                    expected=side.position(expected),
                    transient=transient,
                    origin=origin,
                    version=version,
                    version_epoch=version_epoch,
                    keyed=keyed,
                    expected_keyed=expected_keyed,
                    also=also and Entry(also[0], also[1], also[2], keyed=also[3]),
                )
                for (
                    name,
                    data,
                    keep,
                    key,
                    expected,
                    transient,
                    origin,
                    version,
                    version_epoch,
                    keyed,
                    expected_keyed,
                    also,
                ) in batch
            ]
            return put(store, *entries)

        self.both(call)

    @rule(name=NAMES, at=st.one_of(st.none(), POSITIONS), limit=st.integers(1, 9), size=st.integers(1, 60))
    def read_on(self, name: str, at: tuple[int, int] | None, limit: int, size: int) -> None:
        self.both(
            lambda store, side: store.read(
                name, after=side.position(at), limit_messages=limit, limit_bytes=size
            )
        )

    @rule(name=NAMES, at=POSITIONS, limit=st.integers(1, 9), size=st.integers(1, 60))
    def read_back(self, name: str, at: tuple[int, int], limit: int, size: int) -> None:
        self.both(
            lambda store, side: store.read(
                name, before=side.position(at), limit_messages=limit, limit_bytes=size
            )
        )

    @rule(
        name=NAMES,
        at=st.one_of(st.none(), POSITIONS),
        limit=st.integers(1, 3),
        size=st.integers(1, 60),
        backwards=st.booleans(),
        keyed=KEYS,
    )
    def read_by_key(
        self, name: str, at: tuple[int, int] | None, limit: int, size: int, backwards: bool, keyed: str
    ) -> None:
        self.both(
            lambda store, side: store.read(
                name,
                after=None if backwards else side.position(at),
                before=side.position(at) if backwards else None,
                limit_messages=limit,
                limit_bytes=size,
                keyed=keyed,
            )
        )

    @rule(name=NAMES, keyed=KEYS)
    def last_of_key(self, name: str, keyed: str) -> None:
        self.both(lambda store, _: store.last_keyed(name, keyed))

    @rule(name=NAMES, through=st.integers(0, 12))
    def compact_keys(self, name: str, through: int) -> None:
        self.both(lambda store, _: store.compact_keys(name, through))

    @rule(name=NAMES, ago_ms=st.integers(-1, 60))
    def find(self, name: str, ago_ms: int) -> None:
        self.both(lambda store, side: store.find(name, side.place.time_ms - ago_ms))

    @rule(name=NAMES, through=st.integers(0, 12))
    def trim(self, name: str, through: int) -> None:
        self.both(lambda store, _: store.trim(name, through))

    @rule(name=NAMES, offset=st.integers(0, 12))
    def erase(self, name: str, offset: int) -> None:
        self.both(lambda store, _: store.erase(name, offset))

    @rule(ms=st.sampled_from([1, 5, 39, 40, 3_600_000, 24 * 3_600_000]))
    def wait(self, ms: int) -> None:
        for side in self.sides:
            side.place.time_ms += ms

    @rule()
    def reopen(self) -> None:
        for side in self.sides:
            side.close()
            side.open()

    @rule()
    def compact(self) -> None:
        """It is the same store before and after."""
        for side in self.sides:
            if isinstance(side.store, Care):
                with suppress(NotAvailable):  # from another machine
                    side.run(side.store.compact(lambda done, total: None))

    @invariant()
    def both_stand_alike(self) -> None:
        self.both(lambda store, _: store.heads(["a", "b", "c", "none"]))
        self.both(lambda store, _: store.generations())

    def teardown(self) -> None:
        for side in getattr(self, "sides", ()):
            side.close()
            side.loop.close()
        if hasattr(self, "folder"):
            self.folder.cleanup()


@pytest.mark.parametrize("name", [name for name in PLACES if name != "memory"])
def test_a_backend_answers_as_the_model_does(name: str) -> None:
    machine = type(f"Machine_{name}", (Machine,), {"name": name})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=60,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
