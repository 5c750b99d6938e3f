"""Cursors: a position there and back, and nothing else taken for one."""

from base64 import urlsafe_b64decode, urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gapless.core.cursor import cursor, cursors, position
from gapless.core.errors import BadRequest
from gapless.core.limits import CURSOR_BYTES_MAX, OFFSET_MAX
from gapless.core.stream import Position

AT = Position("0123456789abcdef", 7)
EPOCHS = st.text(st.characters(codec="ascii"), max_size=40)
OFFSETS = st.integers(0, OFFSET_MAX)
CHANNELS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=40)


@given(channel=CHANNELS, epoch=EPOCHS, offset=OFFSETS)
def test_a_position_comes_back_from_its_cursor(channel: str, epoch: str, offset: int) -> None:
    at = Position(epoch, offset)
    text = cursor(channel, at)
    assert position(channel, text) == at
    assert cursors(channel, epoch)(offset) == text.encode()


@given(channel=CHANNELS, epoch=EPOCHS, offset=OFFSETS)
def test_a_cursor_is_safe_in_a_url_and_no_number(channel: str, epoch: str, offset: int) -> None:
    text = cursor(channel, Position(epoch, offset))
    assert text.replace("-", "a").replace("_", "a").isalnum()
    assert not text[0].isdigit()


def test_what_clients_have_stored_can_be_read_for_ever() -> None:
    assert cursor("chat:1", AT) == "AQAAAAAAAAAHIe1xJopyRR2fMDEyMzQ1Njc4OWFiY2RlZg"
    assert position("chat:1", "AQAAAAAAAAAHIe1xJopyRR2fMDEyMzQ1Njc4OWFiY2RlZg") == AT


def test_the_cursor_of_another_channel_is_told() -> None:
    with pytest.raises(BadRequest, match="another channel"):
        position("chat:2", cursor("chat:1", AT))


@given(data=st.data())
def test_a_changed_bit_is_noticed(data: st.DataObject) -> None:
    raw = bytearray(urlsafe_b64decode(cursor("chat:1", AT) + "=="))
    bit = data.draw(st.integers(0, len(raw) * 8 - 1))
    raw[bit // 8] ^= 1 << bit % 8
    with pytest.raises(BadRequest):
        position("chat:1", urlsafe_b64encode(raw).decode().rstrip("="))


@given(text=st.text(max_size=60))
def test_other_text_is_no_cursor(text: str) -> None:
    with pytest.raises(BadRequest):
        position("chat:1", text)


def test_one_position_has_one_cursor() -> None:
    text = cursor("chat:1", AT)
    for other in (text + "=", text + "==", text[:-1] + "h", text + "A", text[:-1], text + "\n", ""):
        with pytest.raises(BadRequest):
            position("chat:1", other)


def test_no_cursor_is_longer_than_the_limit() -> None:
    with pytest.raises(BadRequest):
        position("chat:1", cursor("chat:1", Position("e" * CURSOR_BYTES_MAX, 1)))


@pytest.mark.parametrize("raw", [b"\x02" + bytes(33), b"\x01" + b"\xff" * 8 + bytes(25)])
def test_a_version_or_an_offset_that_cannot_be_is_refused(raw: bytes) -> None:
    with pytest.raises(BadRequest):
        position("chat:1", urlsafe_b64encode(raw).decode().rstrip("="))
