"""The ledger finds each kind of thing that must not be."""

from collections.abc import Callable

import pytest

from tests.faults.ledger import Ledger

CHANNEL = "kept:a"


def sound() -> Ledger:
    """Two messages that were acknowledged, delivered and found."""
    ledger = Ledger()
    ledger.note(CHANNEL, "a", 1)
    ledger.note(CHANNEL, "b")
    ledger.deliver(CHANNEL, 1, "a")
    ledger.deliver(CHANNEL, 2, "b")
    read(ledger, "a", "b")
    return ledger


def read(ledger: Ledger, *ids: str) -> None:
    expected = ledger.expected(CHANNEL)
    for offset, id in enumerate(ids, start=ledger.end(CHANNEL) + 1):
        ledger.found(CHANNEL, offset, id)
    ledger.compare(CHANNEL, expected)


def read_again(ledger: Ledger, *ids: str) -> None:
    ledger.read_again()
    read(ledger, *ids)


def test_what_agrees_is_no_finding() -> None:
    ledger = sound()
    read_again(ledger, "a", "b")
    assert not ledger.findings


def an_acknowledged_one_is_missing(ledger: Ledger) -> None:
    ledger.note(CHANNEL, "c", 3)
    read(ledger)


def one_is_held_elsewhere(ledger: Ledger) -> None:
    ledger.note(CHANNEL, "c", 4)
    read(ledger, "c")


def one_is_held_twice(ledger: Ledger) -> None:
    read(ledger, "b")


def one_is_not_held_any_more(ledger: Ledger) -> None:
    read_again(ledger, "a")


def there_is_a_hole(ledger: Ledger) -> None:
    ledger.found(CHANNEL, 5, "e")


def two_are_delivered_at_one_offset(ledger: Ledger) -> None:
    ledger.deliver(CHANNEL, 3, "c")
    ledger.deliver(CHANNEL, 3, "d")


def another_is_held_than_was_delivered(ledger: Ledger) -> None:
    ledger.deliver(CHANNEL, 3, "c")
    read(ledger, "d")


@pytest.mark.parametrize(
    ("happens", "kind"),
    [
        (an_acknowledged_one_is_missing, "lost"),
        (one_is_held_elsewhere, "disagreeing"),
        (one_is_held_twice, "doubled"),
        (one_is_not_held_any_more, "lost"),
        (there_is_a_hole, "lost"),
        (two_are_delivered_at_one_offset, "disagreeing"),
        (another_is_held_than_was_delivered, "disagreeing"),
    ],
)
def test_what_must_not_be_is_found(happens: Callable[[Ledger], None], kind: str) -> None:
    ledger = sound()
    happens(ledger)
    assert getattr(ledger, kind) == len(ledger.findings) == 1, ledger.findings
