"""Names and payloads, on the way from Redis to a channel."""

import json

import pytest

from gapless.bridges.mapping import Mapping, channel_of
from gapless.core.errors import BadRequest, ConfigError


def published(mapping: Mapping, name: bytes = b"chat", payload: bytes = b"1") -> dict[str, object]:
    command: dict[str, dict[str, object]] = json.loads(mapping.command(name, payload, "key-1"))
    return command["publish"]


@pytest.mark.parametrize(
    ("strip", "to", "name", "channel"),
    [
        ("", "{channel}", "chat:1", "chat:1"),
        ("app:", "{channel}", "app:chat:1", "chat:1"),
        ("app:", "{channel}", "other:1", "other:1"),
        ("app:", "redis:{channel}", "app:1", "redis:1"),
        ("", "all", "chat:1", "all"),
        ("", "{channel}:{channel}", "ä", "ä:ä"),
    ],
)
def test_a_name_becomes_a_channel(strip: str, to: str, name: str, channel: str) -> None:
    mapping = Mapping(strip, to)
    assert published(mapping, name.encode())["channel"] == channel
    assert channel_of(mapping.command(name.encode(), b"1", "key")) == channel


@pytest.mark.parametrize(
    ("payload", "data"),
    [
        (b'{"a": [1]}', {"a": [1]}),
        (b"5", 5),
        (b'"text"', "text"),
        (b" null ", None),
        (b"hello", "hello"),
        ('schön \n"'.encode(), 'schön \n"'),
        (b"NaN", "NaN"),
        (b"{", "{"),
        (b"", ""),
    ],
)
def test_json_is_published_as_it_is_and_all_else_as_a_text(payload: bytes, data: object) -> None:
    assert published(Mapping(), payload=payload) == {
        "channel": "chat",
        "data": data,
        "idempotency_key": "key-1",
    }


def test_what_is_no_json_is_bytes_where_that_is_asked_for() -> None:
    assert published(Mapping(binary=True), payload=b"\xff\x00")["b64data"] == "/wA="
    assert published(Mapping(binary=True), payload=b"text")["b64data"] == "dGV4dA=="
    assert published(Mapping(binary=True), payload=b"[1]")["data"] == [1]
    assert published(Mapping(binary=True), payload=b"")["data"] == ""


def test_what_cannot_be_told_is_refused_with_what_to_do() -> None:
    with pytest.raises(BadRequest, match="--binary"):
        Mapping().command(b"chat", b"\xff", "key")
    with pytest.raises(BadRequest, match="name is not UTF-8"):
        Mapping().command(b"\xff", b"1", "key")
    with pytest.raises(ConfigError):
        Mapping(to="")


def test_only_the_channel_stands_in_braces() -> None:
    with pytest.raises(ConfigError, match="stands in braces"):
        Mapping(to="chat:{chanel}")
