"""`gapless serve --workers`: one server of several processes, as it is started, asked, reloaded and ended."""

import json
import os
import re
import signal
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.certificates import certificate
from tests.faults.worker_program import until
from tests.program import GAPLESS, Program

WORKERS = 2
CONNECTIONS = 2_000
PUBLISHED = 40
CONFIG = {
    "http_server": {"workers": WORKERS},
    "client": {"insecure": True},
    "prometheus": {"enabled": True},
    "store": {"durability": "process"},
}


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    made = Program(tmp_path, CONFIG)
    made.start()
    until(lambda: said(made, "listening on port") == WORKERS)
    yield made
    made.close()


def said(program: Program, text: str) -> int:
    return program.output().count(text)


def workers(program: Program) -> list[psutil.Process]:
    return psutil.Process(program.pid).children()


def fetch(program: Program, path: str) -> str:
    """Ask over a connection of its own."""
    with socket.create_connection(("127.0.0.1", program.port)) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        return connection.makefile().read()


def post(program: Program, path: str, token: str) -> Any:
    """Call over a connection of its own, as whoever has this token."""
    fields = f"Host: localhost\r\nConnection: close\r\nContent-Length: 2\r\nAuthorization: Bearer {token}"
    with socket.create_connection(("127.0.0.1", program.port)) as connection:
        connection.sendall(f"POST {path} HTTP/1.1\r\n{fields}\r\n\r\n{{}}".encode())
        return json.loads(connection.makefile().read().partition("\n\n")[2])


def metric(program: Program, name: str) -> float:
    [found] = re.findall(rf"^{name} (\S+)$", fetch(program, "/metrics"), re.MULTILINE)
    return float(found)


def carried(program: Program) -> list[int]:
    """How many connections each worker has accepted."""
    found = (worker.net_connections("tcp4") for worker in workers(program))
    return [sum(one.status == psutil.CONN_ESTABLISHED for one in each) for each in found]


def test_each_worker_carries_its_share_of_the_clients(program: Program) -> None:
    clients = [socket.create_connection(("127.0.0.1", program.port)) for _ in range(CONNECTIONS)]
    until(lambda: sum(carried(program)) == CONNECTIONS)  # those not accepted yet are nobody's
    shares = carried(program)
    for client in clients:
        client.close()
    assert all(0.4 <= share / CONNECTIONS <= 0.6 for share in shares), shares


def test_a_scrape_of_any_of_them_tells_of_all_also_of_those_that_ended(program: Program) -> None:
    for number in range(PUBLISHED):
        assert "result" in program.api("publish", channel="chat", data=number)  # at one by chance
    assert metric(program, "gapless_publications_total") == PUBLISHED
    assert metric(program, "gapless_build_info.*") == 1
    victim = workers(program)[0]
    victim.kill()
    until(lambda: said(program, "listening on port") == WORKERS + 1)
    assert metric(program, "gapless_publications_total") == PUBLISHED
    assert said(program, "it is started again") == 1


def test_the_log_says_which_worker_a_line_is_of(program: Program) -> None:
    lines = [line for line in program.output().splitlines() if "listening on port" in line]
    assert sorted(line.rpartition(" ")[2] for line in lines) == ["worker=1", "worker=2"]


def test_a_reload_reaches_every_worker(program: Program) -> None:
    program.config["channel"] = {"namespaces": [{"name": "news"}]}
    program.command()  # writes it
    os.kill(program.pid, signal.SIGHUP)
    until(lambda: said(program, "configuration read again") == WORKERS)
    program.config["channel"] = {"namespaces": [{"name": "news", "nonsense": 1}]}
    program.command()
    os.kill(program.pid, signal.SIGHUP)
    until(lambda: said(program, "the configuration stays as it was") == 1)
    assert program.stop() == 0


def test_who_comes_in_to_the_console_at_one_worker_is_known_to_all(tmp_path: Path) -> None:
    open_console = {"http_api": {"key": ""}, "console": {"enabled": True, "insecure": True}}
    program = Program(tmp_path, CONFIG, open_console)
    program.launch()
    until(lambda: said(program, "listening on port") == WORKERS)
    tokens = [post(program, "/console/login", "")["token"] for _ in range(4)]
    for token in tokens * 4:
        assert len(post(program, "/api/info", token)["result"]["nodes"]) == WORKERS
    assert program.stop() == 0


def test_told_to_stop_all_end_in_good_order(program: Program) -> None:
    children = workers(program)
    assert program.stop() == 0
    assert not any(child.is_running() for child in children)
    assert said(program, "stopped") == WORKERS


def test_no_worker_outlives_its_parent(program: Program) -> None:
    children = workers(program)
    program.kill()
    psutil.wait_procs(children, timeout=10)
    assert not any(child.is_running() for child in children)
    program.start()  # the port and the file are free at once


def test_another_server_does_not_share_the_port(program: Program, tmp_path: Path) -> None:
    other = subprocess.run(
        [GAPLESS, "serve", "--config", str(tmp_path / "gapless.json")],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (other.returncode, "another process listens there" in other.stderr) == (1, True)


def test_any_port_is_the_same_one_for_all(tmp_path: Path) -> None:
    program = Program(tmp_path, CONFIG, {"http_server": {"port": 0}})
    program.launch()
    until(lambda: said(program, "listening on port") == WORKERS)
    assert len(set(re.findall(r"listening on port (\d+)", program.output()))) == 1
    os.kill(program.pid, signal.SIGHUP)
    until(lambda: said(program, "configuration read again") == WORKERS)
    assert not said(program, "not changed before a restart")
    assert program.stop() == 0


def test_what_keeps_a_worker_from_starting_is_told_once_and_ends_the_server(tmp_path: Path) -> None:
    (tmp_path / "gapless.db").write_bytes(b"no database " * 1_000)
    code, output = Program(tmp_path, CONFIG).fail()
    assert code == 1
    assert output.count("Error: ") == 1, output


def test_they_speak_tls_all_alike(tmp_path: Path) -> None:
    pair = certificate()
    tls = {"enabled": True, "cert_pem": pair.cert, "key_pem": pair.key}
    program = Program(tmp_path, CONFIG, {"http_server": {"tls": tls}})
    program.start()
    until(lambda: said(program, "listening on port") == WORKERS)
    context: ssl.SSLContext = pair.client()
    for _ in range(8):
        with socket.create_connection(("127.0.0.1", program.port)) as plain:
            context.wrap_socket(plain, server_hostname="localhost").close()
    assert program.stop() == 0
