"""TLS from outside: stock clients, the command line, those who do not shake hands, renewal, and the end."""

import http.client
import json
import shutil
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.acceptance import driver as drivers
from tests.acceptance.driver import Driver, StockClient
from tests.acceptance.raw import exchange
from tests.certificates import Pair, certificate
from tests.program import API_KEY, GAPLESS, Program

CONFIG = {
    "client": {"insecure": True},
    "channel": {"without_namespace": {"history_size": 100, "history_ttl": "1h", "force_recovery": True}},
    "shutdown": {"timeout": "5s", "spread": "100ms"},
}
PATIENCE_SECONDS = 15
SHUTDOWN = 3001
HALF_HANDSHAKES = 200
OURS = certificate()


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    OURS.write(tmp_path)
    tls = {"enabled": True, "cert_pem": "server.pem", "key_pem": "server.key"}
    program = Program(tmp_path, CONFIG, {"http_server": {"tls": tls}})
    program.start()
    yield program
    program.close()
    assert "Traceback" not in program.output(), program.output()


def call(program: Program, method: str, trusted: Pair = OURS, **request: Any) -> dict[str, Any]:
    connection = http.client.HTTPSConnection(
        "127.0.0.1", program.port, timeout=PATIENCE_SECONDS, context=trusted.client()
    )
    connection.request("POST", f"/api/{method}", json.dumps(request), {"X-API-Key": API_KEY})
    answer: dict[str, Any] = json.loads(connection.getresponse().read())["result"]
    connection.close()
    return answer


@contextmanager
def websocket(program: Program) -> Iterator[ClientConnection]:
    url = f"wss://127.0.0.1:{program.port}/connection/websocket"
    with connect(url, ssl=OURS.client(), compression=None) as client:
        client.send('{"id": 1, "connect": {}}')
        assert "connect" in json.loads(client.recv(PATIENCE_SECONDS))
        yield client


def javascript() -> Driver:
    node = shutil.which("node")
    assert node is not None
    return drivers.javascript(node)


def gapless(program: Program, *arguments: str) -> list[str]:
    ca_file = str(Pair.cert_file(program.folder))
    url = f"https://127.0.0.1:{program.port}"
    return [GAPLESS, *arguments, "--url", url, "--key", API_KEY, "--ca-file", ca_file]


@pytest.mark.parametrize("start", [drivers.python, javascript], ids=["python", "javascript"])
def test_a_stock_client_follows_a_channel_over_tls(
    program: Program, monkeypatch: pytest.MonkeyPatch, start: Callable[[], Driver]
) -> None:
    for variable in ("SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS"):
        monkeypatch.setenv(variable, str(Pair.cert_file(program.folder)))
    driver = start()
    url = f"wss://127.0.0.1:{program.port}/connection/websocket"
    client = StockClient(driver, "client", url, binary=False)
    client.subscribe("chat")
    for number in range(10):
        call(program, "publish", channel="chat", data=number)
    assert [event["data"] for event in client.publications("chat", 10)] == list(range(10))
    driver.close()


def test_the_command_line_trusts_whom_it_is_told_to(program: Program) -> None:
    published = subprocess.run(
        gapless(program, "publish", "chat", '"hello"'), capture_output=True, text=True, check=False
    )
    assert published.returncode == 0, published.stderr
    epoch, _, offset = published.stdout.strip().rpartition(":")
    assert offset == "1"
    tail = subprocess.Popen(
        gapless(program, "tail", "chat", "--after", f"{epoch}:0"), stdout=subprocess.PIPE, bufsize=0
    )
    assert tail.stdout is not None
    assert tail.stdout.readline() == b'"hello"\n'
    tail.send_signal(signal.SIGINT)
    assert tail.wait(PATIENCE_SECONDS) == 0
    tail.stdout.close()
    stranger = gapless(program, "publish", "chat", "1")[:-2]
    refused = subprocess.run(stranger, capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert "certificate" in refused.stderr.lower()


def test_who_speaks_plain_http_is_cut_off_and_harms_nobody(program: Program) -> None:
    began = time.monotonic()
    answer = exchange(program.port, b"GET /health HTTP/1.1\r\nHost: here\r\n\r\n")
    assert b"HTTP/" not in answer
    assert time.monotonic() - began < 3
    assert "offset" in call(program, "publish", channel="chat", data=1)


def test_half_handshakes_keep_nobody_waiting_and_end(program: Program) -> None:
    with ExitStack() as stack:
        halves = []
        for _ in range(HALF_HANDSHAKES):
            half = stack.enter_context(socket.create_connection(("127.0.0.1", program.port)))
            half.settimeout(PATIENCE_SECONDS)
            half.sendall(b"\x16\x03\x01\x02\x00\x01")
            halves.append(half)
        began = time.monotonic()
        assert "offset" in call(program, "publish", channel="chat", data=1)
        assert time.monotonic() - began < 3
        assert [half.recv(100) for half in halves] == [b""] * HALF_HANDSHAKES


def test_a_renewed_certificate_is_taken_at_a_hangup(program: Program) -> None:
    renewed = certificate()
    with websocket(program) as client:
        renewed.write(program.folder)
        assert program.process is not None
        program.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                call(program, "publish", renewed, channel="chat", data=1)
                break
            except ssl.SSLCertVerificationError:
                assert time.monotonic() < deadline
        client.send('{"id": 2, "subscribe": {"channel": "chat"}}')
        assert json.loads(client.recv(PATIENCE_SECONDS))["subscribe"]["offset"] == 1
        Pair("broken", "broken").write(program.folder)
        program.process.send_signal(signal.SIGHUP)
        while "server.pem: is no PEM" not in program.output():
            assert time.monotonic() < deadline
        assert "offset" in call(program, "publish", renewed, channel="chat", data=2)


def test_a_stop_is_told_over_tls_and_waits_for_no_handshake(program: Program) -> None:
    with websocket(program) as client, socket.create_connection(("127.0.0.1", program.port)) as half:
        half.sendall(b"\x16\x03\x01\x02\x00\x01")
        assert program.process is not None
        program.process.send_signal(signal.SIGTERM)
        with pytest.raises(ConnectionClosed) as ended:
            all(client.recv(PATIENCE_SECONDS) for _ in range(100))
        assert ended.value.rcvd is not None
        assert ended.value.rcvd.code == SHUTDOWN
        assert program.process.wait(PATIENCE_SECONDS) == 0


def test_a_certificate_that_cannot_be_used_stops_the_start(tmp_path: Path) -> None:
    OURS.write(tmp_path)
    certificate().write(tmp_path, "other")
    for cert, key, told in (
        ("none.pem", "server.key", "http_server.tls.cert_pem: none.pem: cannot be read: No such file"),
        ("server.pem", "other.key", "http_server.tls.key_pem: other.key: is not the key of the certificate"),
    ):
        tls = {"enabled": True, "cert_pem": cert, "key_pem": key}
        code, said = Program(tmp_path, CONFIG, {"http_server": {"tls": tls}}).fail()
        assert code == 2
        assert told in said
        assert "Traceback" not in said
