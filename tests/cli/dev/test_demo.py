"""The demo's part of a node: its channels, its names, and where it tells its page that everything is."""

import asyncio
import json
from random import Random
from typing import Any

import pytest

from gapless.broker.namespaces import Namespace
from gapless.cli.dev.demo import KEPT, PLAIN, Demo, Names, with_demo
from gapless.core.errors import BadRequest
from gapless.protocol.hooks import Subscribing
from gapless.protocol.messages import payload
from gapless.server.config import Config
from gapless.server.config.model import Channel


def named(data: bytes) -> Any:
    decision = asyncio.run(Names().run(Subscribing(channel="demo:subway", data=payload(data))))
    assert decision.decided
    return json.loads(bytes(decision.info)) if bytes(decision.info) else None


def test_a_name_is_told_to_others_and_nothing_besides() -> None:
    assert named(b'{"name": " Otter ", "admin": true}') == {"name": "Otter"}


def test_a_name_is_cut_where_it_is_too_long() -> None:
    assert named(json.dumps({"name": "x" * 1_000}).encode()) == {"name": "x" * 32}


def test_who_gives_no_name_comes_in_too() -> None:
    assert named(b"") is None


@pytest.mark.parametrize("data", [b'{"name": 7}', b"[]", b'"Otter"', b"{}"])
def test_what_is_no_name_is_refused(data: bytes) -> None:
    with pytest.raises(BadRequest, match="with a name"):
        named(data)


def test_the_channels_of_the_demo_are_added() -> None:
    config = with_demo(Config())
    assert config.channel.namespaces == (PLAIN, KEPT)
    assert KEPT.history_size >= 5_000
    assert KEPT.presence
    assert KEPT.join_leave
    assert not PLAIN.history


def test_what_the_user_says_of_them_holds() -> None:
    own = Namespace(name="demo", history_size=10, history_ttl_ms=1_000)
    chat = Namespace(name="chat")
    config = with_demo(Config(channel=Channel(namespaces=(chat, own))))
    assert config.channel.namespaces == (chat, own, PLAIN)


def test_the_channels_go_by_the_grammar_of_the_user() -> None:
    config = with_demo(Config(channel=Channel(namespace_boundary="/")))
    assert Demo(config, Random(1)).kept == "demo/subway"
    assert config.channel.compiled().of("demo/subway").namespace == KEPT
