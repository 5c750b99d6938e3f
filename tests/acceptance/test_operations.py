"""Running the program: its logs keep secrets, it stops in good order or at once, and reads its file again."""

import base64
import http.client
import json
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jwt
import pytest

from tests.acceptance.raw import RawClient, exchange
from tests.acceptance.stock import SECRET, token
from tests.program import API_KEY, Program, merged
from tests.server.raw_socket import TEXT, frame

DEADLINE_SECONDS = 20
PLANTED = "planted-0123456789abcdef"
METRICS_KEY = "scraper-key-0123456789"
OPEN = {
    "history_size": 10,
    "history_ttl": "10m",
    "force_recovery": True,
    "allow_subscribe_for_client": True,
    "allow_publish_for_client": True,
}
CONFIG = {
    "client": {"token": {"hmac_secret_key": SECRET}},
    "channel": {"namespaces": [{"name": "chat", **OPEN}]},
    "prometheus": {"enabled": True, "key": METRICS_KEY},
    "log": {"level": "trace", "format": "json"},
}


Launch = Callable[..., Program]


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Launch]:
    """Start programs that end with the test at the latest."""
    programs = []

    def start(*more: dict[str, Any]) -> Program:
        programs.append(Program(tmp_path, CONFIG, *more))
        programs[-1].start()
        return programs[-1]

    yield start
    for program in programs:
        program.close()


@pytest.fixture
def program(launch: Launch) -> Program:
    return launch()


def logged(program: Program) -> list[dict[str, Any]]:
    return [json.loads(line) for line in program.output().splitlines()]


def wait_for(program: Program, event: str, count: int = 1) -> None:
    """Wait until so many lines of the log begin with `event`."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while sum(event in line for line in program.output().splitlines()) < count:
        assert time.monotonic() < deadline, program.output()[-2_000:]


# Logs -----------------------------------------------------------------------------------------


def hostile_requests() -> Iterator[bytes]:
    """Requests that bring a secret along wherever a client can put one, where it does not belong too."""
    signed = token(PLANTED)
    keys = [f"X-API-Key: {PLANTED}", f"Authorization: apikey {PLANTED}", f"Authorization: Bearer {signed}"]
    for target in ("/api/info", "/api/nothing", "/api", "/metrics", "/health", "/nowhere"):
        for field in [*keys, f"Cookie: session={PLANTED}", f"X-Odd: {PLANTED}"]:
            yield request("POST", target, field)
        yield request("POST", f"{target}?api_key={PLANTED}&token={signed}")
        yield request("GET", f"{target}?access_token={signed}", *keys)
    yield request("POST", f"/api/{PLANTED}/{signed}")
    yield request("GET", f"/api/channels/chat:1/messages?token={signed}", f"Authorization: Bearer {signed}")
    yield request("POST", "/api/publish", keys[0], body=f'{{"token":"{signed}"'.encode())
    for odd in (f"{PLANTED} /api HTTP/1.1", f"GET /{PLANTED} HTTP/9.9", f"GET /api?{PLANTED}\x01 HTTP/1.1"):
        yield f"{odd}\r\nHost: here\r\n\r\n".encode()
    yield request("GET", "/api/info", *keys, "Host: again")
    yield request("GET", "/api/info", f"{PLANTED}: " + "x" * 20_000)
    yield request("GET", f"/connection/websocket?token={signed}&api_key={PLANTED}")


def request(method: str, target: str, *fields: str, body: bytes = b"") -> bytes:
    lines = [f"{method} {target} HTTP/1.1", "Host: here", "Connection: close", *fields]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body


def hostile_messages() -> Iterator[bytes]:
    """What a client may send as its first message, with a secret in it."""
    wrong = jwt.encode({"sub": PLANTED}, "another secret of at least thirty-two bytes", "HS256")
    unsigned = jwt.encode({"sub": PLANTED}, "", "none")
    old = token(PLANTED, exp=1)
    odd = jwt.encode({"sub": PLANTED}, SECRET, "HS256", headers={"kid": PLANTED, "crit": [PLANTED]})
    for presented in (wrong, unsigned, old, odd, PLANTED, token(PLANTED)[:-3], "eyJ." + PLANTED, "." * 9):
        yield json.dumps({"id": 1, "connect": {"token": presented}}).encode()
    yield json.dumps({"id": 1, "connect": {"token": PLANTED, "name": PLANTED * 9}}).encode()
    yield json.dumps({"id": 1, "connect": {"token": [PLANTED]}}).encode()
    yield f'{{"id":1,"connect":{{"token":"{wrong}"'.encode()
    yield json.dumps({"id": 1, "subscribe": {"channel": "chat:1", "token": wrong}}).encode()
    yield b"\xff" + PLANTED.encode()


def commands() -> Iterator[dict[str, Any]]:
    """What a connected client may ask with a secret in it."""
    wrong = jwt.encode({"sub": "ann", "channel": PLANTED}, "another secret of thirty-two bytes!", "HS256")
    yield {"subscribe": {"channel": "chat:1", "token": wrong}}
    yield {"subscribe": {"channel": "$chat:2", "token": PLANTED}}
    yield {"refresh": {"token": wrong}}
    yield {"sub_refresh": {"channel": "chat:1", "token": PLANTED}}
    yield {"rpc": {"method": "login", "data": {"password": PLANTED, "token": wrong}}}
    yield {"publish": {"channel": "chat:1", "data": {"token": wrong, "secret": PLANTED}}}
    yield {"publish": {"channel": "nowhere:1", "data": PLANTED}}


def secrets_planted() -> set[str]:
    """What no log may hold: keys, tokens in full or in part, and what was planted in their place."""
    signed = token(PLANTED).split(".")
    encoded = base64.b64encode(PLANTED.encode()).decode().rstrip("=")
    return {PLANTED, SECRET, API_KEY + '"', METRICS_KEY, *signed[1:], encoded}


def test_no_secret_appears_in_the_logs_of_a_whole_run(program: Program) -> None:
    for sent in hostile_requests():
        exchange(program.port, sent)
    for message in hostile_messages():
        with RawClient(program.port) as client:
            client.send_bytes(frame(TEXT, message))
            client.frame()
    for asked in commands():
        with RawClient(program.port, token("ann")) as client:
            client.send_bytes(frame(TEXT, json.dumps({"id": 9, **asked}).encode()))
            client.frame()
    key = {"Authorization": f"Bearer {METRICS_KEY}"}
    connection = http.client.HTTPConnection("127.0.0.1", program.port, timeout=DEADLINE_SECONDS)
    connection.request("GET", "/metrics", headers=key)
    metrics = connection.getresponse().read().decode()
    connection.close()
    program.config = merged(program.config, {"http_api": {"key": PLANTED}, "prometheus": {"key": PLANTED}})
    reload(program)
    assert program.stop() == 0
    events = {line["event"] for line in logged(program)}
    assert {"token refused", "API call refused", "request refused", "client connected"} <= events
    assert {"client disconnected", "command refused", "bad request", "stopped"} <= events
    output = program.output()
    for secret in secrets_planted():
        assert secret not in output, [line for line in output.splitlines() if secret in line]
        assert secret not in metrics


def test_a_client_that_loops_does_not_fill_the_log(program: Program) -> None:
    with RawClient(program.port, token("ann")) as client:
        for _ in range(20):
            batch = [json.dumps({"id": number, "subscribe": {"channel": "no:1"}}) for number in range(1, 101)]
            client.send_bytes(frame(TEXT, "\n".join(batch).encode()))
        seen = 0
        while seen < 2_000:
            seen += client.frame().payload.count(b'"error"')
    assert program.stop() == 0
    refused = [line for line in logged(program) if line["event"] == "command refused"]
    assert 0 < len(refused) < 500


# Stopping -------------------------------------------------------------------------------------


def test_a_stop_without_clients_or_with_ten_is_quick(launch: Launch) -> None:
    for count in (0, 10):
        program = launch()
        clients = [RawClient(program.port, token("ann")) for _ in range(count)]
        began = time.monotonic()
        assert program.stop() == 0
        assert time.monotonic() - began < 1
        assert [client.frame().code for client in clients] == [3001] * count
        for client in clients:
            client.close()


def test_two_thousand_clients_are_asked_to_come_back_spread_over_time(launch: Launch) -> None:
    program = launch({"shutdown": {"spread": "2s"}, "log": {"level": "info"}})
    with ThreadPoolExecutor(8) as pool:
        clients = list(pool.map(lambda _: RawClient(program.port, token("ann")), range(2_000)))
    publisher = clients[-1]
    assert program.process is not None
    began = time.monotonic()
    program.process.send_signal(signal.SIGTERM)
    left = []
    for client in clients[:: 2_000 // 100]:
        assert client.frame().code == 3001
        left.append(time.monotonic() - began)
    assert publisher.frame().code == 3001
    assert program.process.wait(DEADLINE_SECONDS) == 0
    took = time.monotonic() - began
    assert 1.5 < took < 10
    assert max(left) > 1
    for client in clients:
        client.close()
    assert "did not close in time" not in program.output()


def test_a_publication_that_was_taken_before_the_stop_is_answered(program: Program) -> None:
    with RawClient(program.port, token("ann")) as client:
        assert program.process is not None
        count = 200
        batch = [
            json.dumps({"id": number, "publish": {"channel": "chat:1", "data": number}})
            for number in range(10, 10 + count)
        ]
        client.send_bytes(frame(TEXT, "\n".join(batch).encode()))
        program.process.send_signal(signal.SIGTERM)
        answered = b""
        while (each := client.frame()).opcode == TEXT:
            answered += each.payload
        assert each.code == 3001
    assert program.process.wait(DEADLINE_SECONDS) == 0
    program.start()
    history = program.api("history", channel="chat:1", limit=0)["result"]
    assert history["offset"] == answered.count(b'"publish":{}')


def test_a_second_signal_ends_the_program_at_once(launch: Launch) -> None:
    program = launch({"shutdown": {"delay": "10s"}})
    assert program.process is not None
    program.process.send_signal(signal.SIGTERM)
    wait_for(program, '"stopping"')
    program.process.send_signal(signal.SIGTERM)
    assert program.process.wait(DEADLINE_SECONDS) == 1
    events = [line["event"] for line in logged(program)]
    assert events[-1] == "asked to stop a second time: ending at once"
    assert not [line for line in logged(program) if line["level"] == "error"]
    program.start()
    program.kill()


def test_health_fails_before_the_port_closes(launch: Launch) -> None:
    program = launch({"shutdown": {"delay": "1s"}})
    assert program.process is not None
    assert status(program, "/health") == 200
    program.process.send_signal(signal.SIGTERM)
    wait_for(program, '"stopping"')
    assert status(program, "/health") == 503
    assert status(program, "/health/live") == 200
    assert program.process.wait(DEADLINE_SECONDS) == 0


def status(program: Program, target: str, method: str = "GET") -> int:
    connection = http.client.HTTPConnection("127.0.0.1", program.port, timeout=DEADLINE_SECONDS)
    try:
        connection.request(method, target)
        return connection.getresponse().status
    finally:
        connection.close()


# Reading the configuration again --------------------------------------------------------------


def reload(program: Program) -> None:
    program.command()  # writes the file
    before = program.output().count("configuration")
    os.kill(program.pid, signal.SIGHUP)
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not any(word in program.output()[-4_000:] for word in ("read again", "stays as it was")) or (
        program.output().count("configuration") == before
    ):
        assert time.monotonic() < deadline, program.output()[-2_000:]


def test_a_hang_up_has_the_file_read_again(program: Program) -> None:
    with RawClient(program.port, token("ann")) as client:
        client.call("subscribe", channel="chat:1")
        shut = {"name": "chat", **OPEN, "allow_subscribe_for_client": False}
        program.config = merged(program.config, {"channel": {"namespaces": [shut]}})
        reload(program)
        assert b'"unsubscribe":{"code":2000' in client.frame().payload


def test_a_file_with_a_mistake_changes_nothing(program: Program) -> None:
    right = program.config
    program.config = merged(right, {"channel": {"namespaces": [{"name": "chat", "history_sice": 1}]}})
    reload(program)
    (line,) = [line for line in logged(program) if line["level"] == "error"]
    assert "history_sice" in line["event"]
    with RawClient(program.port, token("ann")) as client:
        client.call("subscribe", channel="chat:1")
    (program.folder / "gapless.json").unlink()
    os.kill(program.pid, signal.SIGHUP)
    wait_for(program, "stays as it was", 2)
    assert program.stop() == 0


def test_the_service_manager_is_told_of_each_step(
    launch: Launch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(DEADLINE_SECONDS)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        program = launch()
        assert manager.recv(1_000) == b"READY=1"
        os.kill(program.pid, signal.SIGHUP)
        assert manager.recv(1_000).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
        assert manager.recv(1_000) == b"READY=1"
        assert program.stop() == 0
        assert manager.recv(1_000) == b"STOPPING=1"


# HTTP -----------------------------------------------------------------------------------------


def test_a_plain_request_where_websockets_are_opened_is_told_so(program: Program) -> None:
    answer = exchange(program.port, request("GET", "/connection/websocket"))
    assert answer.startswith(b"HTTP/1.1 426 ")
    assert b"\r\nupgrade: websocket\r\n" in answer.lower()
