"""What a node tells Prometheus is true, complete, bounded, and found without looking at channels."""

import asyncio
import json
import re

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gapless.broker.audit import record
from gapless.broker.channel import Channel
from gapless.broker.streams.keeping import record_now
from gapless.server.metrics import METRICS, Kind, LoopLag
from gapless.server.node import Node
from gapless.server.session import Session
from tests.server.raw_socket import TEXT, RawSocket, frame
from tests.server.running import call, running
from tests.server.serving import HandClock, on_a_loop

CONFIG = {"prometheus": {"enabled": True}, "client": {"insecure": True}}


async def scrape(node: Node) -> dict[str, dict[tuple[str, ...], float]]:
    """Return every sample by its name and the values of its labels."""
    status, body = await call(node, "/metrics", method="GET", key=None)
    assert status == 200
    samples: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(body.decode()):
        for sample in family.samples:
            samples.setdefault(sample.name, {})[tuple(sample.labels.values())] = sample.value
    return samples


async def client_of(node: Node, *commands: str) -> RawSocket:
    socket = await RawSocket.websocket(node.port, "/connection/websocket")
    socket.send(frame(TEXT, "\n".join(['{"id":1,"connect":{}}', *commands]).encode()))
    while f'"id":{len(commands) + 1}'.encode() not in (await socket.receive())[1]:
        pass
    return socket


@on_a_loop
async def test_what_the_system_publishes_for_itself_is_not_counted() -> None:
    console = {"console": {"enabled": True, "insecure": True}}
    async with running({**CONFIG, **console}) as node:  # which has kept a sample, at once
        assert (await call(node, "/health", method="GET", key=None))[0] == 200
        await record_now(node.broker, record("login", "console:ann", "ann"))
        assert node.broker.publications == 3
        told = await scrape(node)
        assert told["gapless_publications_total"][()] == 0
        assert told["gapless_publications_waiting"][()] == 0


@on_a_loop
async def test_what_clients_did_is_counted() -> None:
    async with running(CONFIG) as node:
        stranger = '{"id":3,"subscribe":{"channel":"chat:2","recover":true,"epoch":"never","offset":9}}'
        socket = await client_of(
            node,
            '{"id":2,"subscribe":{"channel":"chat:1"}}',
            stranger,
            '{"id":4,"subscribe":{"channel":"nowhere:1"}}',
            '{"id":5,"publish":{"channel":"chat:1","data":{}}}',
        )
        await call(node, "/api/publish", {"channel": "chat:1", "data": 1})
        told = await scrape(node)
        assert told["gapless_connections"] == {("json",): 1, ("protobuf",): 0}
        assert told["gapless_channels"][()] == told["gapless_subscriptions"][()] == 2
        assert told["gapless_users"][()] == 1
        assert told["gapless_subscriptions_behind"][()] == 0
        assert told["gapless_publications_total"][()] == told["gapless_deliveries_total"][()] == 2
        assert told["gapless_delivered_bytes_total"][()] > 0
        assert told["gapless_commands_total"][("subscribe",)] == 3
        assert told["gapless_command_errors_total"] == {("102",): 1}
        assert told["gapless_recoveries_total"][("lost",)] == 1
        assert told["gapless_http_responses_total"][("/api/publish", "200")] == 1
        assert told["gapless_http_responses_total"][("/connection/websocket", "101")] == 1
        assert told["gapless_store_info"] == {("memory", "memory"): 1}
        socket.send(frame(TEXT, b"no command"))
        assert (await socket.receive())[0] is not None
        socket.leave()
        while node.sessions.all:  # noqa: ASYNC110 # no event tells
            await asyncio.sleep(0)
        told = await scrape(node)
        assert told["gapless_connections"] == {("json",): 0, ("protobuf",): 0}
        assert told["gapless_users"][()] == told["gapless_subscriptions"][()] == 0
        assert told["gapless_disconnects_total"] == {("server", "3501"): 1}


@on_a_loop
async def test_what_was_recovered_is_counted_by_its_size() -> None:
    async with running(CONFIG) as node:
        _, answer = await call(node, "/api/publish", {"channel": "chat:1", "data": 1})
        for number in range(4):
            await call(node, "/api/publish", {"channel": "chat:1", "data": number})
        since = json.dumps({"channel": "chat:1", "recover": True, **answer["result"]})
        sockets = [await client_of(node, f'{{"id":2,"subscribe":{since}}}') for _ in range(3)]
        told = await scrape(node)
        assert told["gapless_recoveries_total"] == {("tail",): 2, ("store",): 1, ("cache",): 0, ("lost",): 0}
        assert told["gapless_recovered_messages_sum"][()] == 12
        assert told["gapless_recovered_messages_bucket"][("1",)] == 0
        assert told["gapless_recovered_messages_bucket"][("10",)] == 3
        assert told["gapless_store_reads_total"][()] >= 1
        for socket in sockets:
            socket.leave()


@on_a_loop
async def test_a_scrape_looks_at_no_channel_and_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(CONFIG) as node:
        socket = await client_of(node, '{"id":2,"subscribe":{"channel":"chat:1"}}')
        hub = node._broker.hub

        class Unseen(dict[str, Channel]):
            def __iter__(self) -> None:  # type: ignore[override]
                raise AssertionError("the channels were looked at")

            items = keys = values = __iter__  # type: ignore[assignment]

        class Unmet(set[Session]):
            def __iter__(self) -> None:  # type: ignore[override]
                raise AssertionError("the connections were looked at")

        channels, sessions = hub.channels, node.sessions.all
        hub.channels, node.sessions.all = Unseen(channels), Unmet(sessions)
        assert (await scrape(node))["gapless_channels"][()] == 1
        assert (await call(node, "/api/info"))[0] == 200
        hub.channels, node.sessions.all = channels, sessions
        socket.leave()


@on_a_loop
async def test_who_chooses_codes_or_paths_makes_no_time_series() -> None:
    async with running(CONFIG) as node:
        for number in range(5):
            assert (await call(node, f"/nothing/{number}", method="GET"))[0] == 404
            socket = await client_of(node)
            socket.send(frame(0x8, (4000 + number).to_bytes(2)))
            await socket.closed()
            socket.leave()
        told = await scrape(node)
        assert told["gapless_disconnects_total"] == {("client", "other"): 5}
        assert told["gapless_http_responses_total"][("other", "404")] == 5


@on_a_loop
async def test_metrics_are_off_unless_asked_for_and_may_need_a_key() -> None:
    async with running() as node:
        assert (await call(node, "/metrics", method="GET"))[0] == 404
    async with running({"prometheus": {"enabled": True, "key": "scraper", "handler_prefix": "/m"}}) as node:
        assert (await call(node, "/m", method="GET", key=None))[0] == 401
        assert (await call(node, "/m", b"", "Authorization: Bearer other", method="GET"))[0] == 401
        assert (await call(node, "/m", b"", "Authorization: Bearer scraper", method="GET"))[0] == 200
        openmetrics = "Accept: application/openmetrics-text; version=1.0.0"
        _, body = await call(node, "/m", b"", "Authorization: Bearer scraper", openmetrics, method="GET")
        assert body.endswith(b"# EOF\n")


def test_the_names_of_metrics_follow_the_conventions() -> None:
    names = [metric.name for metric in METRICS]
    assert len(names) == len(set(names))
    for metric in METRICS:
        assert re.fullmatch(r"(gapless|process)_[a-z_]+", metric.name)
        assert metric.name.endswith("_total") is (metric.kind is Kind.COUNTER)
        assert metric.help.endswith(".")
        assert not {"channel", "user", "client"} & set(metric.labels)


class BusyClock(HandClock):
    busy_ms = 0

    def now_ms(self) -> int:
        return super().now_ms() + self.busy_ms


def test_a_loop_that_is_late_is_told_by_how_much() -> None:
    clock = BusyClock()
    lag = LoopLag(clock)
    lag.start()
    clock.move(250)
    assert lag.histogram.sum == 0
    clock.busy_ms = 40
    clock.move(250)
    assert lag.histogram.sum == 40
    lag.stop()
    clock.move(250)
    assert sum(lag.histogram.counts) == 2


@on_a_loop
async def test_what_hooks_were_asked_is_counted_and_what_no_worker_serves() -> None:
    async with running(CONFIG | {"hooks": {"publish": ["chat:*"], "rpc": ["add"]}}) as node:
        socket = await client_of(node, '{"id":2,"publish":{"channel":"chat:1","data":{}}}')
        told = await scrape(node)
        assert told["gapless_hook_seconds_count"] == {("publish", "no_worker"): 1}
        assert told["gapless_hooks_unserved"] == {("publish",): 1, ("rpc",): 1}
        assert told["gapless_hook_workers"][()] == told["gapless_hooks_running"][()] == 0
        await call(node, "/api/hooks/take", {"worker": "w", "hooks": {"publish": ["*"]}})
        told = await scrape(node)
        assert told["gapless_hooks_unserved"] == {("publish",): 0, ("rpc",): 1}
        assert told["gapless_hook_workers"][()] == 1
        socket.leave()


@on_a_loop
async def test_a_client_is_told_to_try_again_while_no_worker_serves_a_hook() -> None:
    async with running(CONFIG | {"hooks": {"subscribe": ["chat:*"]}}) as node:
        socket = await RawSocket.websocket(node.port, "/connection/websocket")
        socket.send(frame(TEXT, b'{"id":1,"connect":{}}\n{"id":2,"subscribe":{"channel":"chat:1"}}'))
        said = b""
        while b'"id":2' not in said:
            said = (await socket.receive())[1]
        reply = json.loads(next(line for line in said.splitlines() if b'"id":2' in line))
        assert (reply["error"]["code"], reply["error"]["temporary"]) == (100, True)
        socket.leave()
