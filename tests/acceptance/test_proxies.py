"""The snippets for reverse proxies do what their page says; only ports and paths are others."""

import http.client
import os
import re
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest
from websockets.sync.client import connect

from tests.certificates import certificate
from tests.program import Program, free_port

ROOT = Path(__file__).parent.parent.parent
PROXIES = ROOT / ".cache/proxies/usr"
PAGE = (ROOT / "docs/howto/tls.md").read_text()
DEADLINE_SECONDS = 20
POLL_SECONDS = 0.02
HOST = "chat.example.com"
OPEN = {
    "client": {"insecure": True},
    "http_server": {"trusted_proxies": ["127.0.0.1"]},
    "channel": {"without_namespace": {"history_size": 10, "history_ttl": "1h"}},
}

Start = Callable[[str, int, Path], list[str]]


def nginx(snippet: str, port: int, folder: Path) -> list[str]:
    paths = " ".join(
        f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"daemon off; master_process off; pid {folder}/pid; error_log stderr; events {{}}\n"
        f"http {{ access_log off; {paths} ssl_certificate {folder}/server.pem;"
        f" ssl_certificate_key {folder}/server.key;\n{snippet.replace('443', str(port))} }}"
    )
    return [f"{PROXIES}/sbin/nginx", "-p", str(folder), "-e", "stderr", "-c", f"{folder}/nginx.conf"]


def haproxy(snippet: str, port: int, folder: Path) -> list[str]:
    pem = (folder / "server.pem").read_text() + (folder / "server.key").read_text()
    (folder / "both.pem").write_text(pem)
    here = snippet.replace(":443", f":{port}").replace("/etc/haproxy/chat.pem", f"{folder}/both.pem")
    (folder / "haproxy.cfg").write_text(
        "global\n    maxconn 100\n"
        f"defaults\n    mode http\n    timeout connect 5s\n    timeout client 60s\n{here}"
    )
    return [f"{PROXIES}/sbin/haproxy", "-db", "-f", f"{folder}/haproxy.cfg"]


def caddy(snippet: str, port: int, folder: Path) -> list[str]:
    (folder / "Caddyfile").write_text(
        f"{{\n    admin off\n    local_certs\n    skip_install_trust\n    auto_https disable_redirects\n"
        f"    https_port {port}\n}}\n{snippet}"
    )
    return [f"{PROXIES}/bin/caddy", "run", "--adapter", "caddyfile", "--config", f"{folder}/Caddyfile"]


STARTS: dict[str, Start] = {"nginx": nginx, "haproxy": haproxy, "caddy": caddy}


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    program = Program(tmp_path, OPEN)
    program.start()
    yield program
    program.close()


@pytest.fixture(params=STARTS)
def port(request: pytest.FixtureRequest, program: Program, tmp_path: Path) -> Iterator[int]:
    """The port of a proxy that has the page's snippet."""
    if not PROXIES.is_dir():
        assert "REQUIRE_ALL_TESTS" not in os.environ
        pytest.skip("no proxies: tools/install-proxies unpacks them")
    [snippet] = re.findall(rf"^```{request.param}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    certificate(HOST).write(tmp_path)
    port = free_port()
    command = STARTS[request.param](snippet.replace("8000", str(program.port)), port, tmp_path)
    [libraries] = (PROXIES / "lib").glob("*-linux-gnu")
    environment = {
        **os.environ,
        "LD_LIBRARY_PATH": str(libraries),
        "HOME": str(tmp_path),
        "XDG_DATA_HOME": str(tmp_path),
    }
    said = (tmp_path / "said").open("w")
    process = subprocess.Popen(command, env=environment, stdout=said, stderr=said)
    try:
        until_it_serves(port, process, tmp_path / "said")
        yield port
    finally:
        process.terminate()
        process.wait(DEADLINE_SECONDS)
        said.close()


def until_it_serves(port: int, process: subprocess.Popen[bytes], said: Path) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not serves(port):
        assert time.monotonic() < deadline, said.read_text()
        with suppress(subprocess.TimeoutExpired):
            process.wait(POLL_SECONDS)
            raise AssertionError(said.read_text())


def serves(port: int) -> bool:
    try:
        return asked(port, "GET", "/api/channels/chat/messages").status == 200
    except (OSError, http.client.HTTPException):
        return False


def any_server() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Answer(NamedTuple):
    status: int
    body: bytes


def asked(port: int, method: str, path: str) -> Answer:
    fields = f"Host: {HOST}\r\nContent-Length: 0\r\nConnection: close"
    with (
        socket.create_connection(("127.0.0.1", port), DEADLINE_SECONDS) as plain,
        any_server().wrap_socket(plain, server_hostname=HOST) as secured,
    ):
        secured.sendall(f"{method} {path} HTTP/1.1\r\n{fields}\r\n\r\n".encode())
        answer = http.client.HTTPResponse(secured)
        answer.begin()
        return Answer(answer.status, answer.read())


def test_a_client_follows_a_channel_through_the_proxy(program: Program, port: int) -> None:
    where = f"wss://{HOST}:{port}/connection/websocket"
    plain = socket.create_connection(("127.0.0.1", port), DEADLINE_SECONDS)
    with connect(where, sock=plain, ssl=any_server(), server_hostname=HOST) as client:
        client.send('{"id":1,"connect":{}}\n{"id":2,"subscribe":{"channel":"chat"}}')
        told = ""
        while '"id":2' not in told:
            told += str(client.recv(DEADLINE_SECONDS))
        program.api("publish", channel="chat", data="through")
        while "through" not in told:
            told += str(client.recv(DEADLINE_SECONDS))


def test_the_server_api_is_not_reached_through_the_proxy(program: Program, port: int) -> None:
    assert "result" in program.api("info")
    assert b"result" not in asked(port, "POST", "/api/info").body
