"""The verbs of streams over HTTP, on a whole node, over each engine."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gapless.core.errors import ConfigError
from gapless.server.config import Source, read
from gapless.server.node import Node
from tests.program import merged
from tests.server.raw_socket import TEXT, RawSocket, frame
from tests.server.running import CONFIG, call, running
from tests.server.serving import on_a_loop

RULES: dict[str, Any] = {
    "streams": [
        {"name": "orders", "partitions": 2, "retention": "168h"},
        {"pattern": "tenant.*", "keyed": True, "compact": True},
    ],
    "channel": {
        "namespaces": [
            {
                "name": "chat",
                "history_size": 100,
                "history_ttl": "10m",
                "stream_partitions": 2,
                "stream_retention": "24h",
            }
        ]
    },
}

Serving = Callable[[], AbstractAsyncContextManager[Node]]


@pytest.fixture(params=["memory", "sqlite"])
def serving(request: pytest.FixtureRequest, tmp_path: Path) -> Serving:
    address = f"sqlite:{tmp_path}/log.db" if request.param == "sqlite" else "memory:"

    @asynccontextmanager
    async def served() -> AsyncIterator[Node]:
        async with running({**RULES, "store": {"url": address}}) as node:
            yield node

    return served


async def ask(node: Node, verb: str, **request: Any) -> Any:
    """Call a verb of streams; return the result, or the error."""
    status, body = await call(node, f"/api/stream/{verb}", request)
    assert status == 200 or "error" in body, body
    return body.get("result", body.get("error"))


async def append(node: Node, *data: Any, stream: str = "orders", **fields: Any) -> list[dict[str, Any]]:
    messages = [{"data": each, **fields} for each in data]
    answer = await ask(node, "append", stream=stream, messages=messages)
    return [item["result"] for item in answer["messages"]]


@on_a_loop
async def test_messages_go_round_over_http(serving: Serving) -> None:
    async with serving() as node:
        appended = await append(node, {"a": 1}, "two", partition=1, headers={"h": "1"})
        assert [each["offset"] for each in appended] == [1, 2]
        page = await ask(node, "read", source="orders", partition=1)
        assert [each["data"] for each in page["messages"]] == [{"a": 1}, "two"]
        assert page["messages"][0]["headers"] == {"h": "1"}
        listed = (await ask(node, "list"))["streams"]
        assert [each["stream"] for each in listed] == ["chat:", "orders"]
        found = await ask(node, "find", source="orders", partition=1, at_ms=appended[0]["time_ms"])
        assert found == {"offset": 0, "epoch": page["epoch"]}


@on_a_loop
async def test_a_group_goes_through_a_stream_over_http(serving: Serving) -> None:
    async with serving() as node:
        await append(node, *range(10), partition=0)
        me = {"source": "orders", "group": "billing", "member": "m-1"}
        held = (await ask(node, "heartbeat", **me, session_ms=5_000))["held"]
        asked = [{"partition": each["partition"], "after": each["position"]} for each in held]
        [fetched] = (await ask(node, "fetch", **me, partitions=asked, limit=3))["partitions"]
        page = fetched["page"]
        assert [each["data"] for each in page["messages"]] == [0, 1, 2]
        commit = {
            "partition": 0,
            "fence": held[0]["fence"],
            "offset": page["through"],
            "epoch": page["epoch"],
        }
        assert (await ask(node, "commit", **me, commits=[commit]))["commits"] == [{"result": {}}]
        lag = await ask(node, "lag", source="orders", group="billing")
        assert (lag["lag"], lag["partitions"][0]["member"]) == (7, "m-1")
        sought = await ask(node, "seek", source="orders", group="billing", to="earliest", dry_run=True)
        assert sought["partitions"][0]["again"] == 3
        assert (await ask(node, "groups"))["groups"][0]["group"] == "billing"
        assert await ask(node, "leave", **me) == {}
        assert (await ask(node, "drop_group", source="orders", group="billing")) == {"found": True}


@on_a_loop
async def test_a_read_over_http_waits_for_an_append(serving: Serving) -> None:
    async with serving() as node:
        asked = {"source": "orders", "partition": 0, "start": "latest", "wait_ms": 30_000}
        reading = asyncio.ensure_future(ask(node, "read", **asked))
        while not reading.done():  # the first may be appended before the read stands at the end
            await append(node, "late", partition=0)
        assert (await reading)["messages"][0]["data"] == "late"


@on_a_loop
async def test_a_namespace_is_read_as_a_stream_and_an_erased_message_leaves_it(serving: Serving) -> None:
    async with serving() as node:
        for data in ("a", "b"):
            await call(node, "/api/publish", {"channel": "chat:1", "data": data})
        pages = [await ask(node, "read", source="chat:", partition=partition) for partition in (0, 1)]
        told = [(each["channel"], each["data"]) for page in pages for each in page["messages"]]
        assert told == [("chat:1", "a"), ("chat:1", "b")]
        status, _ = await call(node, "/api/store/erase", {"channel": "chat:1", "offset": 1})
        assert status == 200
        pages = [await ask(node, "read", source="chat:", partition=partition) for partition in (0, 1)]
        assert [each["data"] for page in pages for each in page["messages"]] == ["b"]


@on_a_loop
async def test_an_export_is_lines_and_its_import_repeated_stores_nothing_twice(serving: Serving) -> None:
    async with serving() as node:
        await append(node, {"n": 1}, "two", partition=1)
        status, body = await call(node, "/api/stream/replay", {"source": "orders", "factor": 0})
        assert status == 200
        lines = [json.loads(line) for line in body.splitlines()]
        assert [line["data"] for line in lines] == [{"n": 1}, "two"]
        assert lines[0]["source"] == "orders"
        status, body = await call(node, "/api/stream/replay", {"source": "ordrs"})
        assert (status, body["error"]["reason"]) == (404, "unknown_stream")
        status, _ = await call(node, "/api/stream/replay", {"source": "orders"}, key="wrong")
        assert status == 401


@pytest.mark.parametrize(
    ("verb", "request_", "code"),
    [
        ("append", {"stream": "ordrs", "messages": [{"data": 1}]}, 1004),
        ("append", {"stream": "orders", "messages": []}, 107),
        ("append", {"stream": "orders", "messages": [{"data": 1}] * 1_001}, 107),
        ("append", {"stream": "orders", "messages": [{"data": 1, "kye": "k"}]}, 107),
        ("append", {"stream": "or/ders", "messages": [{"data": 1}]}, 107),
        ("append", {"stream": "orders", "messages": [{"data": 1, "partition": 2}]}, 107),
        ("append", {"stream": "orders", "messages": [{"data": "x" * 70_000}]}, 107),
        ("append", {"stream": "orders", "messages": [{"data": 1, "key": ""}]}, 107),
        ("declare", {"stream": "fresh", "options": {"compact": True}}, 107),
        ("declare", {"stream": "gapless.mine", "options": {"partitions": 0}}, 107),
        ("drop", {"stream": "ordrs"}, 1004),
        ("read", {"source": "orders", "partition": 0, "offset": 7}, 112),
        ("read", {"source": "orders", "partition": 0, "limit": 0}, 107),
        ("read", {"source": "orders"}, 107),
        ("read", {"source": ""}, 107),
        ("find", {"source": "nothing:1", "at_ms": 1}, 102),
        ("heartbeat", {"source": "orders", "group": "g", "member": "m", "session_ms": 1}, 107),
        ("heartbeat", {"source": "orders", "group": "", "member": "m"}, 107),
        ("seek", {"source": "orders", "group": "g", "to": "latest"}, 1004),
        ("lag", {"source": "orders", "group": "g"}, 1004),
        ("trim", {"stream": "orders"}, 107),
        ("compact", {"stream": "orders"}, 107),
        ("replays", {}, 104),
    ],
)
@on_a_loop
async def test_bad_input_is_a_clear_error(verb: str, request_: dict[str, Any], code: int) -> None:
    async with running(RULES) as node:
        _, body = await call(node, f"/api/stream/{verb}", request_)
        assert body["error"]["code"] == code, body
        assert body["error"]["message"]
        assert (await ask(node, "list"))["streams"][1]["partitions"][0]["last"] == 0


@on_a_loop
async def test_partitions_never_change_by_a_start_or_a_reload(tmp_path: Path) -> None:
    store = {"store": {"url": f"sqlite:{tmp_path}/log.db"}}
    async with running({**RULES, **store}):
        pass
    for changed in (
        {"streams": [{"name": "orders", "partitions": 3}]},
        {"channel": {"namespaces": [{**RULES["channel"]["namespaces"][0], "stream_partitions": 3}]}},
    ):
        with pytest.raises(ConfigError, match="never changes"):
            async with running({**RULES, **store, **changed}):
                pass


@on_a_loop
async def test_the_namespace_of_partitions_is_reserved() -> None:
    with pytest.raises(ConfigError, match="'stream' is gapless's own"):
        async with running({"channel": {"namespaces": [{"name": "stream"}]}}):
            pass


@on_a_loop
async def test_a_reload_makes_streams_and_refuses_other_partitions() -> None:
    async with running(RULES) as node:
        chat = RULES["channel"]["namespaces"][0]
        changed = {**RULES, "channel": {"namespaces": [{**chat, "stream_partitions": 3}]}}
        with pytest.raises(ConfigError, match="never changes"):
            node.reload(read([Source(name="test", tree=merged(CONFIG, changed))]))
        more = {**RULES, "streams": [*RULES["streams"], {"name": "bills"}]}
        node.reload(read([Source(name="test", tree=merged(CONFIG, more))]))
        while len((await ask(node, "list"))["streams"]) < 3:
            pass
        await append(node, 1, stream="bills")


async def told(socket: RawSocket, id: int) -> Any:
    """Return the reply with this id."""
    while True:
        for line in (await socket.receive())[1].splitlines():
            if json.loads(line).get("id") == id:
                return json.loads(line)


SUBSCRIBE = '{"id":%d,"subscribe":{"channel":"stream:orders/0"}}'


@on_a_loop
async def test_a_partition_that_another_process_declared_is_followed_at_once(tmp_path: Path) -> None:
    shared: dict[str, Any] = {"store": {"url": f"sqlite:{tmp_path / 'app.db'}", "durability": "memory"}}
    shared |= {"client": {"insecure": True}}
    async with running(shared) as one, running(shared) as other:
        socket = await RawSocket.websocket(other.port, "/connection/websocket")
        socket.send(frame(TEXT, b'{"id":1,"connect":{}}'))
        await told(socket, 1)
        await call(one, "/api/stream/declare", {"stream": "orders"})
        socket.send(frame(TEXT, (SUBSCRIBE % 2).encode()))
        assert "subscribe" in await told(socket, 2)
        await call(one, "/api/stream/append", {"stream": "orders", "messages": [{"data": "hello"}]})
        assert b'"hello"' in (await socket.receive())[1]
        _, refused = await call(other, "/api/history", {"channel": "stream:orders/1"})
        assert refused["error"]["code"] == 102
        socket.send(frame(TEXT, (SUBSCRIBE % 3).replace("/0", "/1").encode()))
        assert (await told(socket, 3))["error"]["code"] == 102
        socket.leave()
