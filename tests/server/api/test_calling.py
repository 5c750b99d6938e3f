"""Methods that an application declares, called by a backend."""

from typing import Any

import msgspec
import pytest

from gapless.core.errors import BadRequest, MethodNotFound, PermissionDenied, Unavailable
from gapless.protocol.hooks import Calling, Decision, HookAsked, Refusal
from gapless.server.api.calling import Rpc
from gapless.server.api.calls import error_body
from gapless.server.api.requests import RpcRequest
from tests.conversation import Stage, play
from tests.server.hooked import ENDING, NO, UNAVAILABLE, Desk, yes
from tests.server.running import call, running
from tests.server.serving import on_a_loop


async def ask(stage: Stage, method: str = "add", params: bytes = b"") -> Any:
    return msgspec.json.decode(await Rpc(stage.sessions).rpc(RpcRequest(method, msgspec.Raw(params))))


def test_a_method_answers_a_backend_that_has_no_user() -> None:
    async def scene(stage: Stage) -> None:
        desk = Desk(stage, {"rpc": yes(data=b'{"sum":3}')}, rpc=["add"])
        assert await ask(stage, params=b"[1,2]") == {"data": {"sum": 3}}
        [asked] = desk.asked
        assert isinstance(asked, Calling)
        assert (asked.user, asked.client, asked.transport, asked.body()) == ("", "", "api", b"[1,2]")

    play(scene)


def test_what_is_no_json_is_told_in_base64_and_nothing_as_null() -> None:
    async def scene(stage: Stage) -> None:
        desk = Desk(stage, {"rpc": Decision(decided=True, b64data=b"\xff")}, rpc=["*"])
        assert await ask(stage) == {"data": None, "b64data": "/w=="}
        desk.says["rpc"] = Decision(decided=True)
        assert await ask(stage) == {"data": None}
        desk.says["rpc"] = Decision(decided=True, b64data=b"[1]")
        assert await ask(stage) == {"data": [1]}

    play(scene)


@pytest.mark.parametrize("method", ["sub", "gapless.publish", "gapless.queue.enqueue"])
def test_another_method_is_not_found(method: str) -> None:
    async def scene(stage: Stage) -> None:
        with pytest.raises(MethodNotFound):
            await ask(stage, method)
        Desk(stage, rpc=["add", "gapless.*"])
        with pytest.raises(MethodNotFound):
            await ask(stage, method)
        with pytest.raises(BadRequest, match="name a method"):
            await ask(stage, "")

    play(scene)


def test_a_no_is_told_with_its_code() -> None:
    async def scene(stage: Stage) -> None:
        own = Decision(refusal=Refusal(code=404, message="no such room", temporary=True))
        desk = Desk(stage, {"rpc": own}, rpc=["add"])
        with pytest.raises(PermissionDenied) as refused:
            await ask(stage)
        told = msgspec.json.decode(error_body(refused.value))
        assert (told["code"], told["message"], told["temporary"]) == (404, "no such room", True)
        for no in (NO, ENDING):
            desk.says["rpc"] = no
            with pytest.raises(PermissionDenied) as refused:
                await ask(stage)
            assert refused.value.number == 103
        desk.says["rpc"] = UNAVAILABLE
        with pytest.raises(Unavailable):
            await ask(stage)

    play(scene)


class Adding:
    async def run(self, asked: HookAsked) -> Decision:
        assert isinstance(asked, Calling)
        return yes(data=b"%d" % sum(msgspec.json.decode(asked.body())))


@on_a_loop
async def test_a_call_over_http_waits_for_the_worker_that_serves_the_method() -> None:
    async with running({"hooks": {"rpc": ["add"]}}) as node:
        asked = {"method": "add", "params": [1, 2]}
        _, told = await call(node, "/api/rpc", asked)
        assert told["error"]["code"] == 100
        assert told["error"]["temporary"] is True
        status, _ = await call(node, "/api/rpc", asked, "X-Centrifugo-Error-Mode: transport")
        assert status == 503
        node._hooks.serve([(node.sessions.workers.expected, Adding())])
        assert await call(node, "/api/rpc", asked) == (200, {"result": {"data": 3}})
        commands = [{"rpc": asked}, {"publish": {"channel": "chat:1", "data": 1}}, {"rpc": {"method": "no"}}]
        _, told = await call(node, "/api/batch", {"commands": commands})
        assert told["replies"][0] == {"rpc": {"data": 3}}
        assert told["replies"][2]["error"]["code"] == 104
