"""Frames come out as they went in, however the socket cuts them; errors keep their class."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gapless.core import errors
from gapless.core.errors import BadRequest, GaplessError, PositionTrimmed, TimelineGone
from gapless.sharing.frames import Frames, Malformed, Ready, Refusal, frame

BYTES_MAX = 1_000


@given(st.lists(st.binary(max_size=40), max_size=8), st.lists(st.integers(0, 60), max_size=20))
def test_frames_are_found_however_they_are_cut(bodies: list[bytes], cuts: list[int]) -> None:
    whole = b"".join(len(body).to_bytes(4, "big") + body for body in bodies)
    frames, at = Frames(BYTES_MAX), 0
    found: list[bytes] = []
    for length in [*cuts, len(whole)]:
        found += frames.feed(whole[at : at + length])
        at += length
    assert found == bodies


def test_a_frame_that_is_too_large_is_refused_before_it_is_there() -> None:
    with pytest.raises(BadRequest):
        list(Frames(BYTES_MAX).feed((BYTES_MAX + 1).to_bytes(4, "big")))


def test_what_is_no_text_cannot_be_said() -> None:
    with pytest.raises(Malformed):
        frame(Ready("\ud800"))


@pytest.mark.parametrize("name", [name for name in errors.__all__ if name != "UsageError"])
def test_an_error_arrives_as_what_it_was(name: str) -> None:
    kind = getattr(errors, name)
    arrived = Refusal.of(kind("why")).error()
    assert (type(arrived), str(arrived)) == (kind, "why")


def test_where_a_timeline_ended_arrives_too() -> None:
    for kind in (TimelineGone, PositionTrimmed):
        arrived = Refusal.of(kind("why", epoch="e", offset=7)).error()
        assert isinstance(arrived, TimelineGone | PositionTrimmed)
        assert (type(arrived), arrived.epoch, arrived.offset) == (kind, "e", 7)


def test_a_code_that_is_not_known_is_an_error_all_the_same() -> None:
    assert type(Refusal("of the future", "why").error()) is GaplessError
