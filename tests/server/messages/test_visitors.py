"""How long a token that was verified is known, and how many are."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
from msgspec.structs import replace

from gapless.broker.namespaces import Namespace, Namespaces
from gapless.broker.revocations import Revocations
from gapless.broker.tokens import Claims
from gapless.core.errors import PermissionDenied
from gapless.core.limits import TOKEN_REMEMBERED_BYTES_MAX, TOKENS_REMEMBERED_MS
from gapless.protocol.hooks import Catalogue, Decision, HookAsked, Refusal
from gapless.server.hooks import Hooks, Known
from gapless.server.messages.visitors import Visitors
from gapless.server.sessions import SessionOptions
from tests.conversation import HandClock

OPEN = Namespace(history_size=1, history_ttl_ms=1, allow_history_for_client=True)


class Counting:
    """Verifies everything, and remembers what it was asked."""

    def __init__(self) -> None:
        self.exp_ms = 0
        self.asked: list[str] = []
        self.fetched: list[str] = []

    def ready(self, token: str, *, subscription: bool = False) -> Any:
        return self._fetch(token)

    async def _fetch(self, token: str) -> None:
        self.fetched.append(token)

    def connection(self, token: str, now_ms: int) -> Claims:
        self.asked.append(token)
        return Claims("anna", exp_ms=self.exp_ms)

    def subscription(self, token: str, now_ms: int) -> Any:
        raise AssertionError


class Scene:
    def __init__(self) -> None:
        self.clock, self.tokens = HandClock(), Counting()
        self.sessions = SimpleNamespace(
            hooks=None,
            broker=SimpleNamespace(namespaces=Namespaces(without=OPEN)),
            clock=self.clock,
            options=SessionOptions(),
            revocations=Revocations(),
            tokens=self.tokens,
        )
        self.visitors = Visitors(cast(Any, self.sessions), lambda fields, query: False)

    def visit(self, token: str) -> None:
        asyncio.run(self.visitors.check("a", {b"authorization": b"Bearer " + token.encode()}, b""))


def test_a_token_is_verified_once_in_a_while_and_its_key_fetched_before() -> None:
    scene = Scene()
    for _ in range(3):
        scene.visit("t")
    assert scene.tokens.asked == scene.tokens.fetched == ["t"]
    scene.clock.pass_ms(TOKENS_REMEMBERED_MS - 1)
    scene.visit("t")
    assert len(scene.tokens.asked) == 1
    scene.clock.pass_ms(1)
    scene.visit("t")
    assert len(scene.tokens.asked) == 2
    scene.visitors.forget()
    scene.visit("t")
    assert len(scene.tokens.asked) == 3


def test_a_token_is_known_no_longer_than_it_is_good_whenever_what_it_grants_ends() -> None:
    scene = Scene()
    scene.tokens.exp_ms = scene.clock.now_ms() + 5_000
    scene.visit("t")
    scene.clock.pass_ms(5_000)
    scene.visit("t")
    assert scene.tokens.asked == ["t", "t"]


def test_so_many_tokens_are_known_and_none_that_is_huge(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gapless.server.messages.visitors.TOKENS_REMEMBERED_MAX", 2)
    scene = Scene()
    for token in ("a", "b", "c", "b", "c", "a"):
        scene.visit(token)
    assert scene.tokens.asked == ["a", "b", "c", "a"]
    huge = "h" * (TOKEN_REMEMBERED_BYTES_MAX + 1)
    for _ in range(2):
        scene.visit(huge)
    assert scene.tokens.asked[-2:] == [huge, huge]


def test_where_a_hook_decides_who_subscribes_it_decides_who_reads_too() -> None:
    async def scene() -> None:
        visit = Scene()
        visit.sessions.broker.namespaces = Namespaces(
            without=replace(
                OPEN,
                allow_subscribe_for_client=True,
                allow_history_for_client=False,
                allow_history_for_subscriber=True,
            )
        )
        asked: list[HookAsked] = []

        class Runner:
            async def run(self, question: HookAsked) -> Decision:
                asked.append(question)
                return answers.pop(0)

        hooks = visit.sessions.hooks = Hooks(visit.clock)
        hooks.serve([(Known(Catalogue(subscribe=["a"])), Runner())])
        fields = {b"authorization": b"Bearer ann"}
        answers = [Decision(decided=True), Decision(), Decision(refusal=Refusal(message="not you"))]
        await visit.visitors.check("a", fields, b"")
        await visit.visitors.check("a", fields, b"")  # the namespace lets everybody subscribe
        with pytest.raises(PermissionDenied, match="not you"):
            await visit.visitors.check("a", fields, b"")
        assert [question.transport for question in asked] == ["http"] * 3

    asyncio.run(scene())
