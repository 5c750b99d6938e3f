"""The answers in the reference are those that a server gives: nothing more, nothing less."""

import json
from collections.abc import Iterator
from typing import Any
from unittest.mock import Mock
from urllib.request import urlopen

import msgspec
import pytest
from msgspec import Struct

from gapless.broker.verbs import Verbs
from gapless.server.api import requests
from gapless.server.api.answers import ANSWERS, FailedCall, Items
from gapless.server.api.catalogue import every_method
from gapless.server.openapi import METHODS
from tests.acceptance.raw import RawClient
from tests.program import Program

OPEN = {
    "client": {"insecure": True, "token": {"hmac_secret_key": "a secret of at least thirty-two bytes"}},
    "http_api": {"insecure": True},
    "store": {"durability": "memory"},
    "console": {"enabled": True, "insecure": True},
    "channel": {"without_namespace": {"history_size": 10, "history_ttl": "1h", "presence": True}},
}
CALLS: dict[str, dict[str, Any]] = {
    "publish": {"channel": "chat", "data": {"text": "hi"}, "tags": {"a": "b"}},
    "broadcast": {"channels": ["chat", "nowhere:1"], "data": 1},
    "history": {"channel": "chat", "limit": 10},
    "presence": {"channel": "chat"},
    "presence_stats": {"channel": "chat"},
    "channels": {"limit": 1},
    "connection/list": {},
    "connection/stories": {},
    "info": {},
    "subscribe": {"user": "ann", "channel": "news"},
    "unsubscribe": {"user": "ann", "channel": "news"},
    "refresh": {"user": "ann", "expire_at": 4_000_000_000},
    "revoke": {"user": "bob", "expire_at": 4_000_000_000},
    "block": {"user": "bob"},
    "revocations": {},
    "unblock": {"user": "bob"},
    "disconnect": {"user": "bob"},
    "history_remove": {"channel": "chat"},
    "config": {},
    "channel_options": {"channel": "chat"},
    "explain": {"user": "ann", "channel": "chat", "act": "publish"},
    "token/make": {"user": "ann", "info": {"a": 1}, "expires_in_s": 60},
    "token/check": {"token": "no.such.token"},
}
FAMILIES = ("queue/", "stream/", "hooks/")  # which have tests of their own


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    program = Program(tmp_path_factory.mktemp("answers"), OPEN)
    program.start()
    yield program
    program.close()


def held(value: Any, kind: type[Struct]) -> None:
    """Hold an answer against its type, which must know all of it."""
    read = msgspec.json.decode(json.dumps(value), type=kind)
    assert msgspec.json.decode(msgspec.json.encode(read)) == value


def test_every_method_stands_in_the_reference_with_its_request() -> None:
    methods = every_method(Mock(), Mock(), list, Mock(), Verbs(Mock(), Mock()))
    served = {name: kind for name, (kind, _) in methods.items()}
    publishing: dict[str, type[Struct]] = {
        "publish": requests.PublishRequest,
        "broadcast": requests.BroadcastRequest,
        "batch": requests.BatchRequest,
    }
    assert served | publishing == METHODS
    assert set(ANSWERS) == set(METHODS) - {"batch"}
    assert set(CALLS) == {name for name in ANSWERS if not name.startswith(FAMILIES)} - {"rpc"}


def test_answers_are_what_the_reference_says(program: Program) -> None:
    with RawClient(program.port, "") as client:
        client.call("subscribe", channel="chat")
        for method, request in CALLS.items():
            held(program.api(method, **request)["result"], ANSWERS[method])


def test_a_failure_is_what_the_reference_says(program: Program) -> None:
    held(program.api("publish", channel="nowhere:1", data=1), FailedCall)
    held(program.api("rpc", method="mine"), FailedCall)


def test_a_page_of_messages_is_what_the_reference_says(program: Program) -> None:
    program.api("publish", channel="scroll", data=1, tags={"a": "b"})
    program.api("publish", channel="scroll", b64data="AAE=")
    with urlopen(f"{program.api_url}/channels/scroll/messages") as answer:
        held(json.load(answer), Items)
