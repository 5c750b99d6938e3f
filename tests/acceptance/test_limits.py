"""Revocation and limits on a real process: in time, over a kill, and without harm to those who behave."""

import json
import multiprocessing
import time
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing.synchronize import Barrier, Event
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from tests.acceptance.raw import PATIENCE_SECONDS, RawClient
from tests.acceptance.stock import SECRET, token
from tests.program import Program
from tests.server.raw_socket import TEXT, frame

CONFIG: dict[str, Any] = {
    "client": {"token": {"hmac_secret_key": SECRET}},
    "channel": {
        "namespaces": [
            {
                "name": "chat",
                "history_size": 100,
                "history_ttl": "10m",
                "allow_subscribe_for_client": True,
                "allow_publish_for_client": True,
            },
            {"name": "full", "history_size": 100, "history_ttl": "10m", "history_bytes_total": 2_000},
            {"name": "shut"},
        ]
    },
    "store": {"durability": "process"},
}
EFFECTIVE_SECONDS_MAX = 1.0
SPAWN = multiprocessing.get_context("spawn")  # threads of this process would slow its own pings
ROUND_TRIPS = 90
FLOODERS = 4
SECONDS_MAX = 2.0
REFUSED = (102, 103, 108)


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    program = Program(tmp_path, CONFIG)
    program.start()
    yield program
    program.close()


def connected(program: Program, user: str, **claims: Any) -> RawClient:
    return RawClient(program.port, token(user, **claims))


def end(program: Program, user: str, **claims: Any) -> int:
    """Connect; return the code that the connection ends with."""
    with RawClient(program.port) as client:
        client.send({"id": 1, "connect": {"token": token(user, **claims)}})
        return client.end()


def test_what_is_revoked_ends_within_a_second(program: Program) -> None:
    with (
        connected(program, "ann", jti="1") as one,
        connected(program, "ann", jti="2", iat=2_000_000) as two,
        connected(program, "bob") as blocked,
        connected(program, "eve") as eve,
    ):
        for client, method, request, code in (
            (one, "revoke", {"token_id": "1"}, 3500),
            (two, "revoke", {"user": "ann", "issued_before": 2_000_001}, 3500),
            (blocked, "block", {"user": "bob"}, 3507),
        ):
            since = time.monotonic()
            assert program.api(method, **request) == {"result": {}}
            assert client.end() == code
            assert time.monotonic() - since < EFFECTIVE_SECONDS_MAX
        eve.call("ping")


def test_a_kill_forgets_no_block(program: Program) -> None:
    program.api("block", user="ann")
    program.api("block", user="bob")
    program.api("unblock", user="bob")
    program.api("revoke", token_id="1")
    for _ in range(2):
        program.kill()
        program.start()
        assert end(program, "ann") == 3507
        assert end(program, "eve", jti="1") == 3500
        connected(program, "bob").close()
    listed = program.api("revocations")["result"]["revocations"]
    assert [(each["kind"], each.get("user", each.get("token_id"))) for each in listed] == [
        ("block", "ann"),
        ("token", "1"),
    ]


def test_a_namespace_that_is_full_takes_no_more_from_anybody(program: Program) -> None:
    stored = [program.api("publish", channel=f"full:{n}", data="x" * 500) for n in range(5)]
    assert [answer.get("error", {}).get("code", 0) for answer in stored] == [0, 0, 0, 106, 106]
    assert "result" in program.api("publish", channel="chat:1", data="x" * 500)


def test_no_client_reaches_the_systems_own_stream_however_open_the_node_is(tmp_path: Path) -> None:
    program = Program(tmp_path, CONFIG, {"client": {"insecure": True}})
    program.start()
    try:
        program.api("block", user="ann")
        for channel in ("gapless.revocations", "gapless.revocations:1", "gapless.health:beat"):
            subs = {"gapless.revocations": {"recover": True}}
            with RawClient(program.port) as client:
                assert list(client.call("connect", subs=subs)["connect"].get("subs", {})) == []
                calls: list[tuple[str, dict[str, Any]]] = [
                    ("subscribe", {"channel": channel}),
                    ("publish", {"channel": channel, "data": {}}),
                    ("history", {"channel": channel, "limit": 10}),
                    ("presence", {"channel": channel}),
                    ("presence_stats", {"channel": channel}),
                    ("rpc", {"method": "gapless.publish", "data": {"channel": channel, "data": 1}}),
                ]
                for id, (method, request) in enumerate(calls, start=100):
                    client.send({"id": id, method: request})
                    assert client.answer(id)["error"]["code"] in REFUSED, (channel, method)
    finally:
        program.close()


@pytest.mark.parametrize(
    "limits",
    [
        {"connection": {"commands_per_second": 200}, "user": {"connects_per_minute": 10}},
        {"connection": {"bytes_per_second": 20_000}},
    ],
)
def test_a_flood_of_one_client_does_not_slow_another(tmp_path: Path, limits: dict[str, Any]) -> None:
    program = Program(tmp_path, CONFIG, {"limits": limits})
    program.start()
    begun, over = SPAWN.Barrier(FLOODERS + 1), SPAWN.Event()
    flooders = [SPAWN.Process(target=flood, args=(program.port, begun, over)) for _ in range(FLOODERS)]
    try:
        with connected(program, "ann") as behaves:
            quiet = round_trips(program, behaves, "quiet")
            for flooder in flooders:
                flooder.start()
            begun.wait(PATIENCE_SECONDS)
            busy = round_trips(program, behaves, "busy")
            assert median(busy) < 10 * median(quiet) + 0.01
            assert max(busy) < SECONDS_MAX
    finally:
        over.set()
        for flooder in flooders:
            if flooder.pid is not None:
                flooder.join()
        program.close()


def round_trips(program: Program, behaves: RawClient, name: str) -> list[float]:
    """Return how long it took to ping, and somebody else to connect."""
    took = []
    for number in range(ROUND_TRIPS):
        since = time.monotonic()
        assert "error" not in behaves.call("ping")
        connected(program, f"{name}-{number}").close()
        took.append(time.monotonic() - since)
    return took


def flood(port: int, begun: Barrier, over: Event) -> None:
    """Send as many publications as the server takes, and come back whenever it ends the connection."""
    publication = json.dumps({"id": 7, "publish": {"channel": "chat:1", "data": "x" * 100}})
    message = frame(TEXT, "\n".join([publication] * 50).encode())
    begun.wait(PATIENCE_SECONDS)
    while not over.is_set():
        with suppress(OSError), RawClient(port) as client:
            client._socket.settimeout(0.2)
            client.send({"id": 1, "connect": {"token": token("eve")}})
            while not over.is_set():
                client._socket.sendall(message)
