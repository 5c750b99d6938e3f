"""What the README shows is run as it stands, against `gapless dev`; only the port is another."""

import json
import re
import selectors
import shlex
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from gapless.server.config import from_file, read
from tests.program import GAPLESS, free_port
from tests.redis_server import redis_server

ROOT = Path(__file__).parent.parent.parent
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
DEADLINE_SECONDS = 20
PORT = "8000"


def blocks(language: str, word: str) -> str:
    """The one block of a language that has a word."""
    (block,) = [text for kind, text in BLOCKS if kind == language and word in text]
    return str(block)


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    port = str(free_port())
    folder = tmp_path_factory.mktemp("dev")
    dev = subprocess.Popen([GAPLESS, "dev", "--port", port], stdout=subprocess.PIPE, text=True, cwd=folder)
    assert dev.stdout is not None
    assert any("curl" in line for line in dev.stdout)
    yield port
    dev.terminate()
    dev.communicate(timeout=DEADLINE_SECONDS)


def shell(command: str, port: str) -> str:
    here = command.replace(f":{PORT}", f":{port}")
    done = subprocess.run(
        here, shell=True, capture_output=True, text=True, timeout=DEADLINE_SECONDS, check=True
    )
    return done.stdout


def first_line(command: list[str], port: str) -> str:
    """Start what follows the channel, publish until it prints, and end it."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    selector = selectors.DefaultSelector()
    selector.register(process.stdout, selectors.EVENT_READ)
    deadline = time.monotonic() + DEADLINE_SECONDS
    try:
        while not selector.select(0.1):
            assert time.monotonic() < deadline
            shell(blocks("sh", "curl"), port)
        return process.stdout.readline()
    finally:
        selector.close()
        process.kill()
        process.communicate()


def test_the_two_commands_are_there() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for line in blocks("sh", "make").splitlines():
        assert re.search(rf"^{line.split()[1]}:", makefile, re.MULTILINE)


def test_the_line_to_try_publishes(port: str) -> None:
    assert json.loads(shell(blocks("sh", "curl"), port))["result"]["offset"] >= 1


def test_the_line_that_follows_prints_what_is_published(port: str) -> None:
    _, *rest = blocks("sh", "tail").split()
    assert json.loads(first_line([GAPLESS, *rest, "--url", f"http://127.0.0.1:{port}"], port)) == {
        "text": "hello"
    }


def test_the_client_prints_what_is_published(port: str, tmp_path: Path) -> None:
    script = tmp_path / "client.py"
    script.write_text(blocks("python", "centrifuge").replace(f":{PORT}", f":{port}"))
    offset, _, data = first_line([sys.executable, "-u", str(script)], port).partition(" ")
    assert int(offset) >= 1
    assert data == "{'text': 'hello'}\n"


def test_the_worker_does_the_jobs_that_are_enqueued(port: str, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(blocks("python", "gl.queue").replace(f":{PORT}", f":{port}"))
    enqueue = "from app import *; print(send_mail.enqueue_sync(Mail('ada'), message_id='order-7').fresh)"
    done = subprocess.run(
        [sys.executable, "-c", enqueue],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
    )
    assert done.stdout == "True\n", done.stderr
    _, *rest = blocks("sh", "worker app").split()
    worker = subprocess.Popen([GAPLESS, *rest], stdout=subprocess.PIPE, text=True, cwd=tmp_path)
    assert worker.stdout is not None
    try:
        assert "sent to ada\n" in worker.stdout
    finally:
        worker.terminate()
        worker.communicate(timeout=DEADLINE_SECONDS)


def test_the_configuration_is_one(tmp_path: Path) -> None:
    path = tmp_path / "gapless.toml"
    path.write_text(blocks("toml", "http_server"))
    config = read([from_file(path)])
    assert config.channel.namespaces[0].force_recovery
    assert not config.client.insecure


def serves(line: str, folder: Path, *settings: str) -> None:
    """Start what a line says, on a port of its own, and wait until it is healthy."""
    port = free_port()
    folder.mkdir(exist_ok=True)
    chosen = [part for setting in (f"http_server.port={port}", *settings) for part in ("--set", setting)]
    with (folder / "log").open("w+") as log:
        server = subprocess.Popen(
            [GAPLESS, *shlex.split(line, comments=True)[1:], *chosen], cwd=folder, stdout=log, stderr=log
        )
        try:
            deadline = time.monotonic() + DEADLINE_SECONDS
            while not is_healthy(port):
                assert server.poll() is None, (folder / "log").read_text()
                assert time.monotonic() < deadline, (folder / "log").read_text()
        finally:
            server.terminate()
            server.wait(DEADLINE_SECONDS)


def is_healthy(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def test_several_processes_and_nodes_are_started_by_their_lines(tmp_path: Path) -> None:
    workers, node, edge = blocks("sh", "--workers").splitlines()
    serves(workers, tmp_path / "workers")
    with redis_server(tmp_path / "redis") as redis:
        serves(node.replace("redis://redis.internal:6379", redis.url), tmp_path / "node")
    key, listened = "k" * 32, free_port()
    listening = (
        "store.url=sqlite:owner.db",
        f"store.listen=tcp://127.0.0.1:{listened}",
        f"store.listen_key={key}",
    )
    port = free_port()
    owner = subprocess.Popen(
        [
            GAPLESS,
            "serve",
            *(part for one in (*listening, f"http_server.port={port}") for part in ("--set", one)),
        ],
        cwd=tmp_path,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not is_healthy(port):
            assert owner.poll() is None
            assert time.monotonic() < deadline
        serves(edge.replace(":KEY@host:7800", f":{key}@127.0.0.1:{listened}"), tmp_path / "edge")
    finally:
        owner.terminate()
        owner.wait(DEADLINE_SECONDS)


def test_every_block_is_run() -> None:
    assert [kind for kind, _ in BLOCKS] == ["sh", "sh", "sh", "python", "python", "sh", "toml", "sh"]
