"""Every call of the ports can be said, and is read as what it was."""

import inspect

import pytest

from gapless.core.jobs import Deed, Emit, Job, Settlement
from gapless.core.stream import Entry, Retention
from gapless.ports import Store
from gapless.sharing.calls import APPEND, CALLS, Verb, read_call
from gapless.sharing.frames import MALFORMED, Refused, frame

LENGTH_BYTES = 4


def test_every_awaited_method_of_a_store_is_a_call() -> None:
    awaited = {
        name for name in Store.__abstractmethods__ if inspect.iscoroutinefunction(getattr(Store, name))
    }
    assert set(CALLS) == awaited - {"close"}


@pytest.mark.parametrize("verb", [*CALLS.values(), APPEND], ids=lambda verb: verb.name)
def test_the_arguments_of_a_call_are_those_of_the_port(verb: Verb) -> None:
    parameters = inspect.signature(getattr(Store, verb.name)).parameters
    assert set(verb.arguments) == set(parameters) - {"self", "done"}


def test_a_call_is_read_as_what_it_was() -> None:
    entry = Entry("s", b"\x00", Retention(count=3), also=Entry("t", b"", Retention()))
    emit: list[Emit] = [Job("q", b"1"), entry]
    call = CALLS["settle"].kind(7, [Settlement("1-e", "e:1", Deed.ACK, emit=emit)])
    assert read_call(frame(call)[LENGTH_BYTES:]) == call


def test_a_call_of_the_wrong_types_is_answered_and_no_more() -> None:
    said = read_call(frame(CALLS["claim"].kind(9, "q", "w", "many"))[LENGTH_BYTES:])
    assert isinstance(said, Refused)
    assert (said.number, said.refusal.code) == (9, MALFORMED)
