"""What holds for both codecs, in both directions, and what an independent implementation makes of it."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from centrifuge.codecs import _JsonCodec, _ProtobufCodec  # type: ignore[import-untyped]
from centrifuge.protocol import client_pb2 as sdk  # type: ignore[import-untyped]
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gapless.core.errors import BadRequest
from gapless.protocol.codec import Codec, codec
from gapless.protocol.messages import Command, PublishResult, Reply
from tests.protocol.objects import COMMANDS, REPLIES, seen, understood

CODECS = [codec(binary=False), codec(binary=True)]
JSON, PROTOBUF = CODECS
CORPUS = sorted((Path(__file__).parent / "corpus").iterdir())

both = pytest.mark.parametrize("form", CODECS, ids=["json", "protobuf"])
thorough = settings(deadline=None, max_examples=200, suppress_health_check=list(HealthCheck))


def text(struct: Command | Reply) -> Any:
    return seen(struct, json.loads, int, always=True)


def base64_text(struct: Command | Reply) -> Any:
    return seen(struct, lambda data: base64.b64encode(data).decode(), int, always=False)


def as_numbers(value: Any, like: Any) -> Any:
    """Protobuf's JSON form writes 64-bit integers as strings: undo it where `like` has a number."""
    match value:
        case dict() if isinstance(like, dict):
            return {key: as_numbers(held, like.get(key)) for key, held in value.items()}
        case list() if isinstance(like, list) and len(like) == len(value):
            return [as_numbers(held, other) for held, other in zip(value, like, strict=True)]
        case str() if isinstance(like, int):
            return int(value)
    return value


@both
@pytest.mark.parametrize("id", [1, 2**32 - 1])
def test_the_reply_to_a_publish_is_like_any_other(form: Codec, id: int) -> None:
    assert form.published(id) == form.reply(Reply(id, publish=PublishResult()))


@both
@thorough
@given(commands=st.lists(COMMANDS, min_size=1, max_size=3))
def test_commands_come_back_as_they_were_sent(form: Codec, commands: list[Command]) -> None:
    assert form.commands(form.pack([form.command(command) for command in commands])) == commands


@both
@thorough
@given(replies=st.lists(REPLIES, min_size=1, max_size=3))
def test_replies_come_back_as_they_were_sent(form: Codec, replies: list[Reply]) -> None:
    assert form.replies(form.pack([form.reply(reply) for reply in replies])) == replies


@thorough
@given(REPLIES)
def test_a_reply_means_the_same_in_both_forms(reply: Reply) -> None:
    [there] = PROTOBUF.replies(PROTOBUF.reply(reply))
    [back] = JSON.replies(JSON.reply(there))
    assert back == reply


@both
def test_a_ping_is_an_empty_object(form: Codec) -> None:
    assert form.replies(form.pack([form.ping, form.ping])) == [Reply(), Reply()]
    assert form.commands(form.ping) == [Command()]


@thorough
@given(st.lists(REPLIES, min_size=1, max_size=3))
def test_the_public_sdk_reads_our_json(replies: list[Reply]) -> None:
    payload = JSON.pack([JSON.reply(reply) for reply in replies])
    assert _JsonCodec.decode_replies(payload.decode()) == [text(reply) for reply in replies]


@thorough
@given(st.lists(COMMANDS, min_size=1, max_size=3))
def test_we_read_the_public_sdk_s_json(commands: list[Command]) -> None:
    payload = _JsonCodec.encode_commands([text(command) for command in commands])
    assert [text(command) for command in JSON.commands(payload.encode())] == [
        text(command) for command in commands
    ]


@thorough
@given(st.lists(REPLIES, min_size=1, max_size=3))
def test_the_public_sdk_reads_our_protobuf(replies: list[Reply]) -> None:
    for reply in replies:
        understood(reply, sdk.Reply.DESCRIPTOR)
    read = _ProtobufCodec.decode_replies(PROTOBUF.pack([PROTOBUF.reply(reply) for reply in replies]))
    expected = [base64_text(reply) for reply in replies]
    assert as_numbers(read, expected) == expected


@thorough
@given(st.lists(COMMANDS, min_size=1, max_size=3))
def test_we_read_the_public_sdk_s_protobuf(commands: list[Command]) -> None:
    for command in commands:
        understood(command, sdk.Command.DESCRIPTOR)
    payload = _ProtobufCodec.encode_commands([base64_text(command) for command in commands])
    assert PROTOBUF.commands(payload) == commands


def reads_or_refuses(form: Codec, frame: bytes) -> None:
    for read in (form.commands, form.replies):
        try:
            assert read(frame)
        except BadRequest:
            pass


@both
@settings(deadline=None, max_examples=1_000)
@given(frame=st.binary(max_size=200))
def test_arbitrary_bytes_are_read_or_refused(form: Codec, frame: bytes) -> None:
    reads_or_refuses(form, frame)


@both
@thorough
@given(commands=st.lists(COMMANDS | REPLIES, min_size=1, max_size=2), data=st.data())
def test_damaged_frames_are_read_or_refused(
    form: Codec, commands: list[Command | Reply], data: st.DataObject
) -> None:
    parts = [form.command(each) if isinstance(each, Command) else form.reply(each) for each in commands]
    frame = form.pack(parts)
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(frame)))
        end = data.draw(st.integers(start, min(len(frame), start + 8)))
        frame = frame[:start] + data.draw(st.binary(max_size=8)) + frame[end:]
    reads_or_refuses(form, frame)


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.name)
def test_the_corpus_is_read_or_refused_as_its_name_says(path: Path) -> None:
    outcome, name, _ = path.name.split("-", 2)
    form = JSON if name == "json" else PROTOBUF
    reads_or_refuses(form, path.read_bytes())
    if outcome == "good":
        assert form.commands(path.read_bytes())
    else:
        with pytest.raises(BadRequest):
            form.commands(path.read_bytes())
