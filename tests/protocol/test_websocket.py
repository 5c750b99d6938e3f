"""Frames, read back by an independent implementation."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.frames import Close, Opcode
from websockets.protocol import CLIENT, Protocol

from gapless.core.limits import CLOSE_REASON_BYTES_MAX, FRAME_BYTES_MAX
from gapless.protocol.codec import codec
from gapless.protocol.websocket import binary_frame, close_frame, frames, text_frame

JSON, PROTOBUF = codec(binary=False), codec(binary=True)


def read(stream: bytes) -> list[tuple[Opcode, bytes]]:
    reader = Protocol(CLIENT, max_size=None)
    reader.receive_data(stream)
    assert reader.parser_exc is None
    received = reader.events_received()
    assert all(frame.fin for frame in received)  # type: ignore[union-attr]
    return [(frame.opcode, bytes(frame.data)) for frame in received]  # type: ignore[union-attr]


@pytest.mark.parametrize("length_bytes", [0, 1, 125, 126, 127, 65_535, 65_536, 70_000])
def test_a_frame_of_any_length_is_read_back(length_bytes: int) -> None:
    payload = b"x" * length_bytes
    assert read(text_frame(payload)) == [(Opcode.TEXT, payload)]
    assert read(binary_frame(payload)) == [(Opcode.BINARY, payload)]


def test_small_parts_share_a_frame() -> None:
    assert read(frames(JSON, [b"{}", b"{}"])) == [(Opcode.TEXT, b"{}\n{}")]
    assert read(frames(PROTOBUF, [b"\x00", b"\x00"])) == [(Opcode.BINARY, b"\x00\x00")]


def test_a_separator_counts_towards_the_frame() -> None:
    half = b"x" * (FRAME_BYTES_MAX // 2)
    assert read(frames(JSON, [half, half])) == [(Opcode.TEXT, half)] * 2
    assert read(frames(JSON, [half, half[1:]])) == [(Opcode.TEXT, half + b"\n" + half[1:])]
    assert read(frames(PROTOBUF, [half, half])) == [(Opcode.BINARY, half + half)]


@settings(deadline=None)
@given(st.lists(st.integers(1, FRAME_BYTES_MAX // 2) | st.just(FRAME_BYTES_MAX + 1), min_size=1, max_size=12))
def test_frames_hold_all_parts_in_order_and_are_full(lengths_bytes: list[int]) -> None:
    parts = [bytes([65 + index]) * length for index, length in enumerate(lengths_bytes)]
    held = [payload.split(b"\n") for _, payload in read(frames(JSON, parts))]
    assert [part for group in held for part in group] == parts
    for group, following in zip(held, [*held[1:], []], strict=True):
        assert len(b"\n".join(group)) <= FRAME_BYTES_MAX or len(group) == 1
        assert not following or len(b"\n".join([*group, following[0]])) > FRAME_BYTES_MAX


@pytest.mark.parametrize("reason", ["", "bad request", "x" * 200, "é" * 100, "€" * 100, "😀" * 40])
def test_a_close_reason_is_cut_between_characters(reason: str) -> None:
    ((opcode, payload),) = read(close_frame(3501, reason))
    assert opcode == Opcode.CLOSE
    close = Close.parse(payload)
    assert close.code == 3501
    assert reason.startswith(close.reason)
    assert len(payload) - 2 <= CLOSE_REASON_BYTES_MAX
    assert close.reason == reason or len(payload) - 2 > CLOSE_REASON_BYTES_MAX - 4
