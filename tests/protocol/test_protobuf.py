"""The Protobuf form: framing, and what is spliced by hand; `test_codec` compares its fields with an SDK's."""

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gapless.core.errors import BadRequest
from gapless.core.limits import FRAME_OBJECTS_MAX
from gapless.core.stream import Message
from gapless.protocol.messages import (
    ClientInfo,
    Command,
    ConnectResult,
    HistoryResult,
    PingRequest,
    Publication,
    PublishRequest,
    PublishResult,
    Push,
    Reply,
    SubscribeRequest,
    SubscribeResult,
    payload,
)
from gapless.protocol.protobuf import ProtobufCodec

PROTOBUF = ProtobufCodec()

FORMS = [
    (b"\x00", Command()),
    (b"\x04\x08\x01\x5a\x00", Command(1, ping=PingRequest())),
    (b"\x0a\x08\x01\x3a\x06\x0a\x01c\x12\x01\xff", Command(1, publish=PublishRequest("c", payload(b"\xff")))),
    (
        b"\x0e\x08\x01\x3a\x0a\x0a\x01c\x12\x01\xff\xc2\x3e\x01k",
        Command(1, publish=PublishRequest("c", payload(b"\xff"), idempotency_key="k")),
    ),
    (b"\x09\x08\x02\x2a\x05\x0a\x01c\x38\x07", Command(2, subscribe=SubscribeRequest("c", offset=7))),
    (
        b"\x14\x2a\x12\x0a\x01m\x78\x01\x80\x01\x02\x8a\x01\x01k\x90\x01\x64\x98\x01\x01",
        Command(subscribe=SubscribeRequest("m", type=1, phase=2, cursor="k", limit=100, asc=True)),
    ),
]

MALFORMED = [
    b"",
    b"\x01",
    b"\x80",
    b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01",
    b"\xff\xff\xff\xff\x0f",
    b"\x00\x02\x08",
    b"\x02\x08\x80",
    b"\x01\x07",
    b"\x05\x22\x03\x0a\x01\xff",
    # An offset in the upper half of uint64.
    b"\x0f\x08\x02\x2a\x0b\x38" + b"\xff" * 9 + b"\x01",
]


@pytest.mark.parametrize(("part", "command"), FORMS)
def test_a_command_has_one_form(part: bytes, command: Command) -> None:
    assert PROTOBUF.commands(part) == [command]
    assert PROTOBUF.command(command) == part


@pytest.mark.parametrize("frame", MALFORMED, ids=lambda frame: repr(frame[:20]))
def test_malformed_input_is_a_bad_request(frame: bytes) -> None:
    with pytest.raises(BadRequest):
        PROTOBUF.commands(frame)


def test_a_frame_holds_several_commands() -> None:
    assert PROTOBUF.commands(b"\x02\x08\x01\x00\x02\x08\x02") == [Command(1), Command(), Command(2)]


def test_the_commands_of_one_frame_are_bounded() -> None:
    assert len(PROTOBUF.commands(bytes(FRAME_OBJECTS_MAX))) == FRAME_OBJECTS_MAX
    with pytest.raises(BadRequest):
        PROTOBUF.commands(bytes(FRAME_OBJECTS_MAX + 1))


def test_unknown_fields_are_passed_over() -> None:
    assert PROTOBUF.commands(b"\x06\x08\x01\xfa\x3e\x01x") == [Command(1)]


@settings(deadline=None)
@given(
    data=st.binary(max_size=20) | st.integers(0, 40_000).map(bytes),
    offset=st.integers(0, 300) | st.integers(0, 2**63 - 1),
    epoch=st.just("") | st.text(max_size=3),
    channel=st.text(max_size=200),
)
def test_a_push_holds_what_was_stored(data: bytes, offset: int, epoch: str, channel: str) -> None:
    publication = PROTOBUF.publication(Message(offset, 0, data), epoch=epoch)
    push = PROTOBUF.push(PROTOBUF.push_prefix(channel), publication)
    expected = Publication(payload(data), offset=offset, epoch=epoch)
    assert PROTOBUF.replies(push) == [Reply(push=Push(channel=channel, pub=expected))]


def test_a_publication_carries_its_meta_and_any_bytes() -> None:
    meta = b'{"info":{"user":"u","client":"i","conn_info":{"z":1}},"tags":{"k":"v"},"binary":true}'
    push = PROTOBUF.push(PROTOBUF.push_prefix("c"), PROTOBUF.publication(Message(1, 0, b"\xff", meta)))
    info = ClientInfo("u", "i", payload(b'{"z":1}'))
    expected = Publication(payload(b"\xff"), info, 1, {"k": "v"})
    assert PROTOBUF.replies(push) == [Reply(push=Push(channel="c", pub=expected))]


@settings(deadline=None)
@given(st.integers(1, 2**32 - 1), st.lists(st.binary(min_size=1, max_size=300), max_size=5))
def test_publications_are_spliced_into_replies(id: int, datas: list[bytes]) -> None:
    encoded = [PROTOBUF.publication(Message(n, 0, data)) for n, data in enumerate(datas, 1)]
    publications = [Publication(payload(data), offset=n) for n, data in enumerate(datas, 1)]
    assert PROTOBUF.replies(PROTOBUF.subscribed(id, SubscribeResult(epoch="e", offset=1), encoded)) == [
        Reply(id, subscribe=SubscribeResult(epoch="e", offset=1, publications=publications))
    ]
    assert PROTOBUF.replies(PROTOBUF.history(id, HistoryResult(epoch="e", offset=9), encoded)) == [
        Reply(id, history=HistoryResult(publications, "e", 9))
    ]
    subscribed = (SubscribeResult(epoch="e", offset=1), encoded)
    connected = PROTOBUF.connected(id, ConnectResult(client="x"), {"a": subscribed, "é": subscribed})
    told = SubscribeResult(epoch="e", offset=1, publications=publications)
    assert PROTOBUF.replies(connected) == [
        Reply(id, connect=ConnectResult(client="x", subs={"a": told, "é": told}))
    ]


def test_an_empty_result_is_still_a_result() -> None:
    assert PROTOBUF.replies(PROTOBUF.reply(Reply(1, publish=PublishResult()))) == [
        Reply(1, publish=PublishResult())
    ]


def test_the_runtime_is_loaded_only_when_it_is_used() -> None:
    program = """
import sys
from gapless.protocol.codec import codec
codec(binary=False)
assert "google" not in sys.modules
codec(binary=True)
assert "google" in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)
