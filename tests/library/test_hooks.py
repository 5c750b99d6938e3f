"""Declared hooks: what they take, what their answers mean, and what becomes of their mistakes."""

import asyncio
import logging
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from gapless import Depends, Gapless, Refuse, Router, hooks
from gapless.core.errors import BadRequest, ConfigError, PermissionDenied, TooManyRequests, Unavailable
from gapless.library.hooking import Hooking
from gapless.library.running import Context
from gapless.protocol.hooks import (
    Calling,
    Catalogue,
    Connecting,
    Decision,
    Disconnecting,
    Ending,
    Granted,
    HookAsked,
    Publishing,
    Refreshing,
    Refusal,
    Subscribing,
)
from gapless.protocol.messages import payload
from tests.server.serving import on_a_loop

ASKED = Subscribing(channel="chat:1", user="ann")


class Line(msgspec.Struct):
    text: str


def run(router: Router, asked: HookAsked, **context: Any) -> Decision:
    return asyncio.run(Hooking(router, Context(**context)).run(asked))


def answering(answer: Any) -> Router:
    """A router whose hook for subscriptions answers, or raises, this."""
    router = Router()

    @router.on_subscribe("chat:*")
    async def subscribe(asked: Subscribing) -> Any:
        if isinstance(answer, BaseException):
            raise answer
        return answer

    return router


# Declaring ------------------------------------------------------------------------------------


def test_a_declared_function_stays_what_it_was() -> None:
    router = Router()

    @router.on_connect
    def connect(asked: Connecting) -> str:
        return asked.user

    assert connect(Connecting(user="ann")) == "ann"


def test_the_catalogue_names_all_that_was_declared_on_included_routers_too() -> None:
    gl, router = Gapless("memory:"), Router()

    def anything() -> None: ...

    gl.on_connect(anything)
    gl.on_disconnect(anything)
    gl.on_refresh(anything)
    gl.include(router)
    router.on_subscribe("chat:*")(anything)
    router.on_publish("chat:*")(anything)
    router.on_refresh("chat:*")(anything)
    router.rpc("add")(anything)
    assert Hooking(gl, Context()).catalogue == Catalogue(
        connect=True,
        disconnect=True,
        refresh=True,
        subscribe=["chat:*"],
        publish=["chat:*"],
        sub_refresh=["chat:*"],
        rpc=["add"],
    )


def test_what_is_declared_twice_or_cannot_be_called_is_refused() -> None:
    router, other = Router(), Router()

    def anything() -> None: ...

    def needs(text: Line, number: int) -> None: ...

    def yields() -> Iterator[int]:
        yield 1

    router.on_connect(anything)
    other.on_connect(anything)
    with pytest.raises(ConfigError, match="decided already, by"):
        router.on_connect(anything)
    with pytest.raises(ConfigError, match="decided already, by"):
        router.include(other)
    with pytest.raises(ConfigError, match="nothing can be given to parameter 'number'"):
        router.on_subscribe("*")(needs)
    with pytest.raises(ConfigError, match="nothing can be given to parameter 'text'"):
        router.on_disconnect(needs)
    with pytest.raises(ConfigError, match="yields nothing"):
        router.on_publish("*")(yields)
    with pytest.raises(ConfigError, match="gapless's own"):
        router.rpc("gapless.publish")
    with pytest.raises(ConfigError, match="pattern"):
        router.on_subscribe("")(anything)


def test_the_first_declared_hook_that_matches_is_asked() -> None:
    router = Router()

    @router.on_subscribe("chat:vip")
    def vip() -> bool:
        return False

    @router.on_subscribe("chat:*")
    def everybody() -> bool:
        return True

    assert run(router, Subscribing(channel="chat:vip")).refusal is not None
    assert run(router, Subscribing(channel="chat:1")).decided


# What hooks take ------------------------------------------------------------------------------


def test_a_hook_takes_the_data_by_its_type_what_is_asked_and_dependencies() -> None:
    router = Router()
    put_away: list[str] = []

    def database(asked: Publishing) -> Iterator[str]:
        yield f"db of {asked.user}"
        put_away.append(asked.channel)

    @router.on_publish("chat:*")
    async def publish(line: Line, asked: Publishing, db: str = Depends(database)) -> hooks.Published:
        return hooks.Published(data={"text": line.text.upper(), "db": db}, tags={"a": "b"}, skip_history=True)

    asked = Publishing(channel="chat:1", user="ann", data=payload(b'{"text":"hi"}'))
    decision = run(router, asked)
    assert bytes(decision.data) == b'{"text":"HI","db":"db of ann"}'
    assert (decision.tags, decision.skip_history, put_away) == ({"a": "b"}, True, ["chat:1"])


def test_data_of_another_shape_is_the_clients_fault() -> None:
    router = Router()

    @router.rpc("say")
    def say(line: Line) -> None: ...

    decision = run(router, Calling(method="say", data=payload(b'{"text":5}')))
    assert decision.refusal is not None
    assert decision.refusal.code == BadRequest.number
    assert "the payload is no Line" in decision.refusal.message
    assert run(router, Calling(method="say")).refusal is not None  # nothing was sent: null


def test_a_call_is_answered_with_what_the_function_returns() -> None:
    router = Router()

    @router.rpc("add.*")
    def add(numbers: list[int]) -> Any:
        return sum(numbers) if numbers else b"\xff"

    assert bytes(run(router, Calling(method="add.up", data=payload(b"[1,2]"))).data) == b"3"
    assert run(router, Calling(method="add.up", data=payload(b"[]"))).b64data == b"\xff"


def test_hooks_have_the_state_of_the_lifespan_and_stand_ins_for_dependencies() -> None:
    router = Router()

    def real() -> str:
        return "real"

    @router.rpc("who")
    def who(state: str = Depends(router.state), it: str = Depends(real)) -> list[str]:
        return [state, it]

    decision = run(router, Calling(method="who"), state="state", overrides={real: lambda: "stand-in"})
    assert bytes(decision.data) == b'["state","stand-in"]'


# What answers mean ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "decision"),
    [
        (None, Decision()),
        (True, Decision(decided=True)),
        (False, Decision(refusal=Refusal())),
        (hooks.Subscribed(), Decision(decided=True)),
        (
            hooks.Subscribed(expires_in="1m", presence=True, force_recovery=False),
            Decision(
                decided=True, expires_in_ms=60_000, override={"presence": True, "force_recovery": False}
            ),
        ),
        (Refuse("no"), Decision(refusal=Refusal(message="no"))),
        (
            Refuse("later", code=1999, temporary=True),
            Decision(refusal=Refusal(code=1999, message="later", temporary=True)),
        ),
        (PermissionDenied("no"), Decision(refusal=Refusal(message="no"))),
        (hooks.Disconnect("banned", code=4999), Decision(ending=Ending(code=4999, reason="banned"))),
    ],
)
def test_an_answer_is_a_yes_a_no_or_leaves_it_to_the_rules(answer: Any, decision: Decision) -> None:
    assert run(answering(answer), ASKED) == decision


def test_a_connection_is_given_all_that_the_answer_says() -> None:
    router = Router()

    @router.on_connect
    async def connect(login: Line | None, asked: Connecting) -> hooks.Connected:
        return hooks.Connected(
            user=login.text if login else "nobody",
            info={"a": 1},
            meta=[2],
            data="hi",
            subscriptions={"news": hooks.Subscribed(info=3)},
            queues={"mail": ["enqueue"]},
            streams={"*": ("read",)},
            expires_in=60,
        )

    decision = run(router, Connecting(data=payload(b'{"text":"ann"}')))
    assert (decision.user, decision.expires_in_ms) == ("ann", 60_000)
    assert [bytes(each) for each in (decision.info, decision.meta, decision.data)] == [
        b'{"a":1}',
        b"[2]",
        b'"hi"',
    ]
    assert bytes(decision.subscriptions["news"].info) == b"3"
    assert (decision.queues, decision.streams) == ({"mail": ["enqueue"]}, {"*": ["read"]})
    assert run(router, Connecting()).user == "nobody"


def test_subscriptions_may_be_named_alone_and_a_refresh_says_for_how_long() -> None:
    router = Router()
    router.on_connect(lambda: hooks.Connected(subscriptions=["a", "b"]))
    router.on_refresh(lambda: hooks.Refreshed(expires_in="1h", info=1))
    router.on_refresh("a*")(lambda: hooks.Refreshed())
    router.on_disconnect(lambda: "whatever")
    assert run(router, Connecting()).subscriptions == {"a": Granted(), "b": Granted()}
    assert run(router, Refreshing()).expires_in_ms == 3_600_000
    assert run(router, Refreshing(channel="ab")) == Decision(decided=True)
    assert run(router, Disconnecting(code=3000)) == Decision()


# Mistakes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (hooks.Connected(), "it answers Connected, and may answer Subscribed, True, False or None"),
        ({"info": 1}, "it answers dict, and may answer Subscribed, True, False or None"),
        (hooks.Subscribed(info=object()), "a payload of type object is no JSON"),
        (hooks.Subscribed(expires_in="soon"), "'soon' is no duration"),
        (ZeroDivisionError("oh"), "ZeroDivisionError: oh"),
        (BadRequest("of something that the hook asked"), "BadRequest: of something"),
        (SystemExit(3), "SystemExit: 3"),
        (asyncio.CancelledError(), "CancelledError"),
    ],
)
def test_a_mistake_is_logged_with_its_hook_and_is_no_yes(
    answer: Any, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR), pytest.raises(Unavailable, match="the hook failed"):
        run(answering(answer), ASKED)
    [record] = caplog.records
    assert "<hook subscribe chat:*: tests.library.test_hooks.answering" in record.getMessage()
    assert told in record.getMessage()


def test_what_is_not_available_to_a_hook_is_a_temporary_error_as_it_is() -> None:
    with pytest.raises(TooManyRequests):
        run(answering(TooManyRequests("a queue is full")), ASKED)


@on_a_loop
async def test_a_hook_that_is_given_up_has_not_failed(caplog: pytest.LogCaptureFixture) -> None:
    router, begun = Router(), asyncio.Event()

    @router.on_subscribe("*")
    async def subscribe() -> None:
        begun.set()
        await asyncio.Event().wait()

    running = asyncio.create_task(Hooking(router, Context()).run(ASKED))
    await begun.wait()
    running.cancel()
    await asyncio.wait([running])
    assert running.cancelled()
    assert not caplog.records


@pytest.mark.parametrize("code", [0, 104, 399, 2000])
def test_an_error_has_a_code_that_is_left_to_applications(code: int) -> None:
    with pytest.raises(ValueError, match="from 400 to 1999"):
        Refuse("no", code=code)


@pytest.mark.parametrize("code", [3000, 3999, 5000])
def test_a_disconnect_has_a_code_that_is_left_to_applications(code: int) -> None:
    with pytest.raises(ValueError, match="from 4000 to 4999"):
        hooks.Disconnect("no", code=code)
