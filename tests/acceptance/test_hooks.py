"""Hooks of an application, in the server's process and in a worker's, with a stock SDK as the client."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance import driver as drivers
from tests.acceptance.driver import Driver, Refused, StockClient
from tests.acceptance.raw import RawClient
from tests.acceptance.stock import numbers
from tests.program import GAPLESS, Program

APPLICATION = """
import os
from typing import Any

from msgspec import Struct

from gapless import Gapless, Refuse, hooks

gl = Gapless(os.environ.get("SERVER", "sqlite:never-opened.db"), api_key="key")


class Numbers(Struct):
    a: int
    b: int


@gl.lifespan
async def lifespan():
    yield {"began": True}


@gl.on_connect
async def connect(login: Any, asked: hooks.Connecting) -> hooks.Connected:
    if asked.headers.get("cookie", "user=ann") != "user=ann":
        raise Refuse("who is that?", code=401)
    return hooks.Connected(user="ann", info={"name": "Ann"}, subscriptions=["news:all"])


@gl.on_subscribe("chat:*")
async def subscribe(asked: hooks.Subscribing) -> bool:
    return asked.channel != "chat:secret"


@gl.on_publish("chat:*")
async def publish(line: dict[str, Any], asked: hooks.Publishing) -> Any:
    if line.get("text") == "bad":
        return {"not": "an answer"}
    await gl.publish("news:all", {"from": asked.user})
    return hooks.Published(data={**line, "checked": gl.state()["began"]}, tags={"by": "hook"})


@gl.rpc("add")
def add(numbers: Numbers) -> int:
    return numbers.a + numbers.b


@gl.rpc("die")
async def die() -> None:
    await gl.publish("news:all", "dying")
    os._exit(9)


@gl.on_disconnect
async def gone(asked: hooks.Disconnecting) -> None:
    await gl.publish("news:gone", {"user": asked.user, "code": asked.code})
"""
HOOKS = {
    "connect": True,
    "disconnect": True,
    "subscribe": ["chat:*"],
    "publish": ["chat:*"],
    "rpc": ["*"],
    "http_headers": ["Cookie"],
}
KEPT = {"history_size": 100, "history_ttl": "10m", "force_recovery": True}
NAMESPACES = [{"name": "chat"}, {"name": "news", **KEPT}]
CONFIG = {"channel": {"namespaces": NAMESPACES}, "hooks": {"http_headers": ["Cookie"]}}
DEADLINE_SECONDS = 30


class WithApplication(Program):
    """`gapless serve --app`."""

    def command(self) -> list[str]:
        (self.folder / "hooked.py").write_text(APPLICATION)
        return [*super().command(), "--app", "hooked:gl"]


class WithWorker(Program):
    """`gapless serve`, and `gapless worker` beside it."""

    worker: "subprocess.Popen[bytes] | None" = None

    def start(self, **options: Any) -> None:
        super().start(**options)
        self.start_worker()

    def start_worker(self) -> None:
        """Start the worker, and wait until the server knows it."""
        (self.folder / "hooked.py").write_text(APPLICATION)
        said = self.output().count("serves hooks")
        with (self.folder / "output").open("ab") as output:
            self.worker = subprocess.Popen(
                [GAPLESS, "worker", "hooked:gl"],
                cwd=self.folder,
                stdout=output,
                stderr=output,
                env={**os.environ, "SERVER": f"http://127.0.0.1:{self.port}"},
            )
        until(lambda: self.output().count("serves hooks") > said)

    def close(self) -> None:
        if self.worker is not None:
            self.worker.kill()
            self.worker.wait()
        super().close()


def until(condition: Any) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0)


@pytest.fixture(scope="module")
def driver() -> Iterator[Driver]:
    driver = drivers.python()
    yield driver
    driver.close()


@pytest.fixture(scope="module", params=["application", "worker"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    folder: Path = tmp_path_factory.mktemp(request.param)
    program = (
        WithApplication(folder, CONFIG)
        if request.param == "application"
        else WithWorker(folder, CONFIG, {"hooks": HOOKS})
    )
    program.start()
    yield program
    program.close()


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[WithWorker]:
    program = WithWorker(tmp_path, CONFIG, {"hooks": HOOKS})
    yield program
    program.close()


@pytest.mark.parametrize("binary", [False, True], ids=["json", "protobuf"])
def test_a_stock_client_connects_subscribes_publishes_and_calls_as_hooks_say(
    driver: Driver, server: Program, binary: bool
) -> None:
    ann = StockClient(driver, f"ann-{next(numbers)}", server.url, binary=binary)
    ann.told("connected")
    channel = f"chat:{next(numbers)}"
    ann.subscribe(channel)
    ann.call("publish", channel=channel, data={"text": "hi"})
    [publication] = ann.publications(channel, 1)
    assert publication["data"] == {"text": "hi", "checked": True}
    assert ann.call("rpc", method="add", data={"a": 1, "b": 2}) == 3
    with pytest.raises(Refused) as refused:
        ann.call("rpc", method="add", data={"a": "one"})
    assert refused.value.code == 107
    with pytest.raises(Refused) as failed:
        ann.call("publish", channel=channel, data={"text": "bad"})
    assert failed.value.code == 100
    told = "it answers dict, and may answer Published, True, False or None"
    until(lambda: told in server.output())  # a worker logs by itself


def test_what_hooks_publish_is_in_the_servers_own_store(server: Program) -> None:
    with RawClient(server.port, "") as client:
        before = server.api("history", channel="news:all")["result"]["offset"]
        client.call("publish", channel="chat:1", data={"text": "hi"})
        assert server.api("history", channel="news:all")["result"]["offset"] == before + 1
    until(lambda: server.api("history", channel="news:gone")["result"]["offset"] > 0)
    assert not (server.folder / "never-opened.db").exists()


def test_what_hooks_refuse_is_told(server: Program) -> None:
    with RawClient(server.port, "") as client:
        refused = client.call("subscribe", channel="chat:secret")
        assert refused["error"] == {"code": 103, "message": "permission denied"}


def test_the_configuration_is_read_again_and_hooks_go_on(server: Program) -> None:
    server.config["channel"]["namespaces"].append({"name": f"n{next(numbers)}"})
    server.command()
    said = server.output().count("configuration read again")
    os.kill(server.pid, signal.SIGHUP)
    until(lambda: server.output().count("configuration read again") > said)
    with RawClient(server.port, "") as client:
        assert "subscribe" in client.call("subscribe", channel="chat:2")
        assert "error" in client.call("subscribe", channel="chat:secret")


def test_a_call_whose_worker_dies_fails_at_once_and_the_next_one_is_served(workers: WithWorker) -> None:
    workers.start()
    with RawClient(workers.port, "") as client:
        begun = time.monotonic()
        client.send({"id": 90, "rpc": {"method": "die", "data": {}}})
        assert client.answer(90)["error"] == {
            "code": 100,
            "message": "internal server error",
            "temporary": True,
        }
        assert time.monotonic() - begun < 3  # the deadline of hooks is 4 s
        until(lambda: workers.output().count("serves hooks") > 1)  # in the process that replaces it
        client.send({"id": 91, "rpc": {"method": "add", "data": {"a": 1, "b": 1}}})
        assert client.answer(91)["rpc"] == {"data": 2}


def test_without_a_worker_nobody_comes_in_and_with_one_again_they_do(workers: WithWorker) -> None:
    Program.start(workers)
    with RawClient(workers.port) as client:
        client.send({"id": 1, "connect": {}})
        assert client.answer(1)["error"]["temporary"]
    workers.start_worker()
    RawClient(workers.port, "").close()
    assert workers.worker is not None
    workers.worker.terminate()
    assert workers.worker.wait(DEADLINE_SECONDS) == 0
    assert "serves hooks no longer" in workers.output()
    with RawClient(workers.port) as client:
        client.send({"id": 1, "connect": {}})
        assert client.answer(1)["error"]["temporary"]


def test_workers_serve_clients_of_every_process_of_a_port(tmp_path: Path) -> None:
    """A worker is connected to one of them, and clients are to all."""
    several = {**CONFIG, "http_server": {"workers": 3}}
    program = WithWorker(tmp_path, several, {"hooks": HOOKS})
    Program.start(program)
    try:
        until(lambda: program.output().count("listening on port") == 3)
        program.start_worker()
        until(lambda: program.output().count("has workers for 6 hooks") >= 2)
        clients = [RawClient(program.port, "") for _ in range(30)]
        for client in clients:
            client.send({"id": 90, "rpc": {"method": "add", "data": {"a": 1, "b": 1}}})
        assert [client.answer(90)["rpc"] for client in clients] == [{"data": 2}] * len(clients)
        for client in clients:
            client.close()
    finally:
        program.close()


@pytest.mark.parametrize(
    ("module", "told"),
    [
        ("", "there is no module 'hooked' here"),
        ("gl = 1", "is no Gapless but int"),
        ("from gapless import Gapless\ngl = Gapless()\n@gl.on_connect\ndef f(x: dict, y: int): ...", "'y'"),
        (
            "from gapless import Gapless\ngl = Gapless()\n@gl.lifespan\nasync def f():\n    1 / 0\n    yield",
            "the application's lifespan: ZeroDivisionError",
        ),
    ],
)
def test_an_application_that_cannot_run_is_told_why(tmp_path: Path, module: str, told: str) -> None:
    program = Program(tmp_path, CONFIG)
    if module:
        (tmp_path / "hooked.py").write_text(module)
    command = [*program.command(), "--app", "hooked:gl"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=DEADLINE_SECONDS)
    assert done.returncode != 0
    assert told in done.stderr
    assert "Traceback" not in done.stderr
