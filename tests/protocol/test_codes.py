"""Codes: the numbers are the contract."""

import pytest

from gapless.core import errors
from gapless.core.errors import GaplessError
from gapless.protocol import messages
from gapless.protocol.codes import Disconnect, Unsubscribe, error_of, reconnects


@pytest.mark.parametrize(
    ("code", "back"),
    [
        (1006, True),
        (3000, True),
        (3499, True),
        (3500, False),
        (3999, False),
        (4000, True),
        (4499, True),
        (4500, False),
        (4999, False),
        (5000, True),
    ],
)
def test_a_code_says_whether_to_come_back(code: int, back: bool) -> None:
    assert reconnects(code) is back


def test_the_disconnect_codes_are_the_protocol_s() -> None:
    known = {3000, 3001, 3004, 3005, 3006, *range(3008, 3015), *range(3500, 3510)}
    assert {int(code) for code in Disconnect} == known
    assert {int(code) for code in Disconnect if code.reconnect} == {code for code in known if code < 3500}
    assert Disconnect.SHUTDOWN.push() == messages.Disconnect(3001, "shutdown", True)
    assert Disconnect.BAD_REQUEST.push() == messages.Disconnect(3501, "bad request", False)


def test_the_unsubscribe_codes_are_the_protocol_s() -> None:
    assert {int(code): code.resubscribe for code in Unsubscribe} == {
        2000: False,
        2500: True,
        2501: True,
        2502: True,
    }
    assert Unsubscribe.INSUFFICIENT_STATE.push() == messages.Unsubscribe(2500, "insufficient state")


@pytest.mark.parametrize("kind", [getattr(errors, name) for name in errors.__all__])
def test_every_error_has_a_number_and_a_text_on_the_wire(kind: type[GaplessError]) -> None:
    error = error_of(kind())
    assert error.code == kind.number
    assert error.message
    assert error.temporary is kind.temporary


def test_a_client_is_told_what_it_did_wrong_but_not_what_is_wrong_here() -> None:
    told = error_of(errors.NotAvailable("map subscriptions are not offered"))
    assert told == messages.Error(108, "map subscriptions are not offered")
    hidden = error_of(errors.StoreFull("/secret/place is full"))
    assert hidden == messages.Error(100, "internal server error", True)
