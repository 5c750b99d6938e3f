"""What each method of the server API answers, over real connections."""

import base64
import json
from typing import Any

import pytest

from gapless.core.limits import (
    API_ANSWER_BYTES_MAX,
    API_ITEMS_MAX,
    API_LOOKS_MAX,
    BODY_BYTES_MAX,
    COMMIT_ENTRIES_MAX,
)
from gapless.server.node import Node
from tests.server.running import call, running
from tests.server.serving import on_a_loop


async def result(node: Node, method: str, **request: Any) -> Any:
    status, answer = await call(node, f"/api/{method}", request)
    assert status == 200
    return answer["result"]


async def error(node: Node, method: str, **request: Any) -> tuple[int, str]:
    status, answer = await call(node, f"/api/{method}", request)
    assert status == 200
    return answer["error"]["code"], answer["error"]["message"]


async def kept(node: Node, channel: str) -> list[Any]:
    held = await result(node, "history", channel=channel, limit=-1)
    return [publication["data"] for publication in held["publications"]]


# Publish --------------------------------------------------------------------------------------


@on_a_loop
async def test_publish_tells_where_the_message_stands() -> None:
    async with running() as node:
        first = await result(node, "publish", channel="chat:1", data={"text": "hi"})
        second = await result(node, "publish", channel="chat:1", data=None)
        assert (first["offset"], second["offset"]) == (1, 2)
        assert first["epoch"] == second["epoch"] != ""
        assert await kept(node, "chat:1") == [{"text": "hi"}, None]


@on_a_loop
async def test_without_history_there_is_no_position_to_tell() -> None:
    async with running() as node:
        assert await result(node, "publish", channel="any", data=1) == {}
        assert await result(node, "publish", channel="chat:1", data=1, skip_history=True) == {}
        assert await kept(node, "chat:1") == []


@on_a_loop
async def test_the_same_key_twice_is_one_message_and_another_payload_a_conflict() -> None:
    async with running() as node:
        first = await result(node, "publish", channel="chat:1", data=1, idempotency_key="k")
        assert await result(node, "publish", channel="chat:1", data=1, idempotency_key="k") == first
        assert (await result(node, "publish", channel="chat:2", data=1, idempotency_key="k"))["offset"] == 1
        _, answer = await call(node, "/api/publish", {"channel": "chat:1", "data": 2, "idempotency_key": "k"})
        assert answer["error"]["reason"] == "key_conflict"
        assert await kept(node, "chat:1") == [1]


@on_a_loop
async def test_a_stale_version_is_a_success_that_stores_nothing() -> None:
    async with running() as node:
        first = await result(node, "publish", channel="chat:1", data=1, version=5, version_epoch="a")
        for version, epoch, offset in ((5, "a", 1), (4, "a", 1), (6, "a", 2), (1, "b", 3)):
            told = await result(
                node, "publish", channel="chat:1", data=version, version=version, version_epoch=epoch
            )
            assert told == {**first, "offset": offset}
        assert await kept(node, "chat:1") == [1, 6, 1]


@on_a_loop
async def test_an_expected_position_is_whole_and_must_be_the_end() -> None:
    async with running() as node:
        at = await result(node, "publish", channel="chat:1", data=1)
        await result(node, "publish", channel="chat:1", data=2, expected=at)
        for expected in (at, {"offset": 2, "epoch": "another"}, {"offset": 3, "epoch": at["epoch"]}):
            assert (await error(node, "publish", channel="chat:1", data=3, expected=expected))[0] == 1001
        assert await kept(node, "chat:1") == [1, 2]


@on_a_loop
async def test_where_there_is_no_position_none_can_be_expected() -> None:
    async with running() as node:
        at = await result(node, "publish", channel="chat:1", data=1)
        bare = {"channel": "any", "data": 2, "expected": at}
        assert (await error(node, "publish", **bare))[0] == 108
        assert (await error(node, "publish", **{**bare, "channel": "chat:1"}, skip_history=True))[0] == 108
        told = await result(node, "broadcast", channels=["chat:1", "any"], data=3, expected=at)
        assert "result" in told["responses"][0]
        assert told["responses"][1]["error"]["code"] == 108
        _, batch = await call(node, "/api/batch", {"commands": [{"publish": bare}]})
        assert batch["replies"][0]["error"]["code"] == 108
        assert await kept(node, "chat:1") == [1, 3]


@on_a_loop
async def test_a_payload_keeps_its_text_but_for_newlines_between_its_words() -> None:
    async with running() as node:
        status, _ = await call(
            node, "/api/publish", b'{"channel":"chat:1","data":{\n  "a": 1.50,\r\n  "b": "x\\ny"\n}}'
        )
        assert status == 200
        held = await result(node, "history", channel="chat:1", limit=1)
        assert held["publications"][0]["data"] == {"a": 1.5, "b": "x\ny"}


@on_a_loop
async def test_bytes_come_as_base64_and_tags_travel_beside_them() -> None:
    async with running() as node:
        encoded = base64.b64encode(b"\xff\x00").decode()
        await result(node, "publish", channel="chat:1", b64data=encoded, tags={"a": "b"})
        await result(node, "publish", channel="chat:1", b64data=base64.b64encode(b"[1]").decode())
        held = await result(node, "history", channel="chat:1", limit=-1)
        assert held["publications"][0] == {"data": None, "b64data": encoded, "offset": 1, "tags": {"a": "b"}}
        assert held["publications"][1] == {"data": [1], "offset": 2}


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        ({"channel": "", "data": 1}, 107),
        ({"data": 1}, 107),
        ({"channel": "c" * 256, "data": 1}, 107),
        ({"channel": "chat:1"}, 107),
        ({"channel": "chat:1", "b64data": "!"}, 107),
        ({"channel": "object:1", "data": [1]}, 107),
        ({"channel": "unknown:1", "data": 1}, 102),
        ({"channel": "chat:1", "data": 1, "idempotency_key": "k" * 129}, 107),
    ],
)
def test_what_cannot_be_published_is_refused_with_its_code(request_: dict[str, Any], code: int) -> None:
    @on_a_loop
    async def test() -> None:
        async with running() as node:
            assert (await error(node, "publish", **request_))[0] == code

    test()


# Broadcast ------------------------------------------------------------------------------------


@on_a_loop
async def test_a_broadcast_answers_for_each_channel_in_order() -> None:
    async with running() as node:
        told = await result(node, "broadcast", channels=["chat:1", "unknown:1", "plain", "chat:1"], data=1)
        offsets = [response.get("result", {}).get("offset") for response in told["responses"]]
        assert offsets == [1, None, None, 2]
        assert told["responses"][1]["error"]["code"] == 102
        assert told["responses"][2] == {"result": {}}


@on_a_loop
async def test_a_broadcast_without_channels_or_data_is_refused() -> None:
    async with running() as node:
        assert (await error(node, "broadcast", channels=[], data=1))[0] == 107
        assert (await error(node, "broadcast", channels=["chat:1"]))[0] == 107
        assert (await error(node, "broadcast", channels=["a"] * (API_ITEMS_MAX + 1), data=1))[0] == 107


# Batch ----------------------------------------------------------------------------------------


@on_a_loop
async def test_a_batch_answers_each_command_in_order() -> None:
    async with running() as node:
        commands = [
            {"publish": {"channel": "chat:1", "data": 1}},
            {"publish": {"channel": "unknown:1", "data": 1}},
            {"broadcast": {"channels": ["chat:1"], "data": 2}},
            {"history": {"channel": "chat:1", "limit": 10}},
            {"publish": {"channel": "chat:1", "data": 3}},
            {"presence": {"channel": "chat:1"}},
            {"info": {}},
        ]
        status, answer = await call(node, "/api/batch", {"commands": commands})
        replies = answer["replies"]
        assert status == 200
        assert replies[0]["publish"]["offset"] == 1
        assert replies[1]["error"]["code"] == 102
        assert replies[2]["broadcast"]["responses"][0]["result"]["offset"] == 2
        assert [publication["data"] for publication in replies[3]["history"]["publications"]] == [1, 2]
        assert replies[4]["publish"]["offset"] == 3
        assert replies[5]["error"]["code"] == 108
        assert len(replies[6]["info"]["nodes"]) == 1


@pytest.mark.parametrize("parallel", [False, True, None])
def test_publications_of_a_batch_are_stored_in_their_order(parallel: bool | None) -> None:
    @on_a_loop
    async def test() -> None:
        async with running() as node:
            commands = [{"publish": {"channel": "chat:1", "data": number}} for number in range(100)]
            _, answer = await call(node, "/api/batch", {"commands": commands, "parallel": parallel})
            assert [reply["publish"]["offset"] for reply in answer["replies"]] == list(range(1, 101))
            assert await kept(node, "chat:1") == list(range(100))

    test()


@on_a_loop
async def test_a_parallel_batch_may_read_too_and_an_empty_one_is_answered() -> None:
    async with running() as node:
        history = {"history": {"channel": "chat:1"}}
        _, answer = await call(node, "/api/batch", {"commands": [history, history], "parallel": True})
        assert [reply["history"]["offset"] for reply in answer["replies"]] == [0, 0]
        assert await call(node, "/api/batch", {"commands": []}) == (200, {"replies": []})


@on_a_loop
async def test_a_large_batch_takes_several_commits() -> None:
    async with running() as node:
        command = {"publish": {"channel": "chat:1", "data": 1}}
        _, answer = await call(node, "/api/batch", {"commands": [command] * (2 * COMMIT_ENTRIES_MAX + 1)})
        offsets = [reply["publish"]["offset"] for reply in answer["replies"]]
        assert offsets == list(range(1, 2 * COMMIT_ENTRIES_MAX + 2))


@pytest.mark.parametrize("parallel", [False, True])
def test_a_batch_looks_at_no_more_than_an_answer_may_hold(parallel: bool) -> None:
    """Each command of a few bytes may ask for megabytes."""

    @on_a_loop
    async def test() -> None:
        async with running() as node:
            large = {"publish": {"channel": "chat:1", "data": "x" * 60_000}}
            for _ in range(6):
                await call(node, "/api/batch", {"commands": [large] * 15})
            fit = API_ANSWER_BYTES_MAX // (90 * 60_000) + 1
            commands = [{"history": {"channel": "chat:1", "limit": 90}}] * (fit + 2 * API_LOOKS_MAX)
            commands.append({"publish": {"channel": "chat:2", "data": 1}})
            _, answer = await call(node, "/api/batch", {"commands": commands, "parallel": parallel})
            held = [
                len(reply["history"]["publications"]) for reply in answer["replies"] if "history" in reply
            ]
            assert fit <= len(held) <= (API_LOOKS_MAX if parallel else fit)
            assert set(held) == {90}
            assert [reply["error"]["code"] for reply in answer["replies"] if "error" in reply] == [106] * (
                len(commands) - 1 - len(held)
            )
            assert answer["replies"][-1]["publish"]["offset"] == 1

    test()


@on_a_loop
async def test_a_batch_beyond_the_limit_is_refused_whole() -> None:
    async with running() as node:
        command = {"publish": {"channel": "chat:1", "data": 1}}
        assert (await call(node, "/api/batch", {"commands": [command] * (API_ITEMS_MAX + 1)}))[0] == 400
        assert await kept(node, "chat:1") == []


# History and info -----------------------------------------------------------------------------


@on_a_loop
async def test_history_is_read_from_a_position_forwards_or_backwards() -> None:
    async with running() as node:
        for number in range(1, 5):
            await result(node, "publish", channel="chat:1", data=number)
        at = await result(node, "publish", channel="chat:1", data=5)

        async def read(**request: Any) -> list[int]:
            held = await result(node, "history", channel="chat:1", **request)
            assert (held["offset"], held["epoch"]) == (5, at["epoch"])
            return [publication["offset"] for publication in held["publications"]]

        assert await read() == []
        assert await read(limit=2) == [1, 2]
        assert await read(limit=2, reverse=True) == [5, 4]
        assert await read(limit=9, since={"offset": 3, "epoch": at["epoch"]}) == [4, 5]
        assert await read(limit=9, since={"offset": 3, "epoch": at["epoch"]}, reverse=True) == [2, 1]


@on_a_loop
async def test_a_position_that_is_gone_is_told_so() -> None:
    async with running() as node:
        for number in range(4):
            await result(node, "publish", channel="two:1", data=number)
        at = await result(node, "publish", channel="two:1", data=4)
        gone = {"offset": 1, "epoch": at["epoch"]}
        assert (await error(node, "history", channel="two:1", limit=9, since=gone))[0] == 112
        other = {"offset": 1, "epoch": "other"}
        assert (await error(node, "history", channel="two:1", limit=9, since=other))[0] == 112
        assert (await error(node, "history", channel="plain", limit=9))[0] == 108


@on_a_loop
async def test_info_tells_of_the_node_and_its_store() -> None:
    async with running() as node:
        await result(node, "publish", channel="chat:1", data=1)
        (told,) = (await result(node, "info"))["nodes"]
        assert told["uid"] == node.uid
        assert (told["num_clients"], told["num_users"], told["num_subs"]) == (0, 0, 0)
        assert told["store"]["engine"] == "memory"
        assert told["store"]["durability"] == "memory"
        assert told["store"]["statistics"]["entries"] == 1


# What is no call ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b"1",
        b'{"channel": 1}',
        b'{"channel": "a", "data": }',
        b'{"channel": "a", "data": "\xff"}',
        b'{"channel": "a", "data": "a\nb"}',
        b'{"channel": "a", "tags": {"a": 1}}',
        b'{"channel": "a", "data": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
)
def test_a_body_that_is_no_request_answers_400_and_the_server_lives(body: bytes) -> None:
    @on_a_loop
    async def test() -> None:
        async with running() as node:
            status, answer = await call(node, "/api/publish", body)
            assert (status, answer["error"]["code"]) == (400, 107)
            assert (await result(node, "publish", channel="chat:1", data=1))["offset"] == 1

    test()


@on_a_loop
async def test_an_unknown_method_answers_404_and_another_verb_405() -> None:
    async with running() as node:
        status, answer = await call(node, "/api/nothing")
        assert (status, answer["error"]["code"]) == (404, 104)
        assert (await call(node, "/nowhere")) == (404, b"Not Found")
        assert (await call(node, "/apiary/nothing")) == (404, b"Not Found")


@on_a_loop
async def test_what_is_no_call_at_all_is_told_as_all_errors_of_the_api_are() -> None:
    async with running() as node:
        for path, method, status, code, said in (
            ("/api/nothing/at/all", "POST", 404, 104, "there is no method '/api/nothing/at/all'"),
            ("/api/publish", "GET", 405, 107, "GET is not answered here: POST is"),
            ("/api/stream/replay", "PUT", 405, 107, "PUT is not answered here: POST is"),
        ):
            told, answer = await call(node, path, method=method)
            assert (told, answer["error"]["code"], answer["error"]["message"]) == (status, code, said)
        for fields in (("Transfer-Encoding: gzip",), ("Expect: more",)):
            told, answer = await call(node, "/api/publish?x=1", b"", *fields)
            assert told >= 400
            assert answer["error"]["reason"] == "bad_request"
        status, answer = await call(node, "/api/queue/enqueue", bytes(BODY_BYTES_MAX + 1))
        assert (status, answer["error"]["code"], answer["error"]["temporary"]) == (413, 107, False)
        assert (await call(node, "/nowhere", bytes(BODY_BYTES_MAX + 1)))[
            1
        ] == b"a body may have 1048576 bytes, and a payload in it 65536"


@on_a_loop
async def test_a_field_that_is_not_known_is_ignored_as_centrifugo_does() -> None:
    async with running() as node:
        assert (await result(node, "publish", channel="chat:1", data=1, delta=True, more=1))["offset"] == 1


@on_a_loop
async def test_every_method_can_be_called_hot_or_through_the_app() -> None:
    async with running() as node:
        body = json.dumps({"channel": "chat:1", "data": 1}).encode()
        for number, target in enumerate(("/api/publish", "/api/%70ublish"), start=1):
            status, answer = await call(node, target, body)
            assert (status, answer["result"]["offset"]) == (200, number)


# The system's own -----------------------------------------------------------------------------


@pytest.mark.parametrize("channel", ["gapless.health:beat", "gapless.revocations", "gapless.other:1"])
def test_a_backend_finds_nothing_in_channels_of_the_systems_own(channel: str) -> None:
    @on_a_loop
    async def test() -> None:
        async with running() as node:
            assert (await call(node, "/health", method="GET"))[0] == 200
            publish = {"channel": channel, "data": 1}
            assert (await error(node, "publish", **publish))[0] == 102
            for method in ("history", "history_remove", "presence", "presence_stats"):
                assert (await error(node, method, channel=channel))[0] == 102
            for method in ("subscribe", "unsubscribe"):
                assert (await error(node, method, channel=channel, user="ann"))[0] == 102
            told = await result(node, "broadcast", channels=[channel], data=1)
            assert told["responses"][0]["error"]["code"] == 102
            _, answer = await call(node, "/api/batch", {"commands": [{"publish": publish}]})
            assert answer["replies"][0]["error"]["code"] == 102
            assert (await call(node, "/health", method="GET"))[0] == 200

    test()
