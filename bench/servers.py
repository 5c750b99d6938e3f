"""The servers that are measured, each a process on a core of its own, ended by its pid."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.machine import SERVER_CORE
from bench.programs import CACHE

__all__ = ["SECRET", "Failed", "Server", "running"]

START_SECONDS_MAX = 15
HISTORY_SIZE = 1000
HISTORY_TTL = "300s"
SECRET = "what the tokens of the bench are signed with"
RIGHTS = ("subscribe", "publish", "history")


class Failed(Exception):
    """A server or a load could not be run."""


@dataclass(frozen=True)
class Server:
    """A running server."""

    name: str
    pid: int
    port: int
    folder: Path
    started_ms: float  # from starting the process to the first accepted connection


def gapless(folder: Path, port: int, store: str = "memory:") -> list[str]:
    config = {
        "http_server": {"address": "127.0.0.1", "port": port},
        "log": {"level": "error"},
        "client": {
            "token": {"hmac_secret_key": SECRET},
            "allow_anonymous_connect_without_token": True,
        },
        "http_api": {"insecure": True},
        "channel": {"namespaces": [namespace("bench", HISTORY_SIZE), namespace("long", 10_000_000)]},
        "prometheus": {"enabled": True},
        "store": {"url": store},
    }
    path = folder / "gapless.json"
    path.write_text(json.dumps(config))
    return [str(Path(sys.executable).with_name("gapless")), "serve", "--config", str(path)]


def namespace(name: str, history_size: int) -> dict[str, object]:
    kept = {"history_size": history_size, "history_ttl": HISTORY_TTL, "force_recovery": True}
    who = ("client", "anonymous")
    return {"name": name, **kept, **{f"allow_{right}_for_{whom}": True for right in RIGHTS for whom in who}}


def gapless_on_sqlite(folder: Path, port: int) -> list[str]:
    return gapless(folder, port, f"sqlite:{folder}/bench.db")


def peer(folder: Path, port: int) -> list[str]:
    history = ["-history-size", str(HISTORY_SIZE), "-history-ttl", HISTORY_TTL, "-secret", SECRET]
    return [str(CACHE / "peer"), "-address", f"127.0.0.1:{port}", *history]


def redis(folder: Path, port: int) -> list[str]:
    if not shutil.which("redis-server"):
        raise Failed("redis-server is not installed")
    options = {"port": port, "bind": "127.0.0.1", "dir": folder, "appendonly": "yes", "appendfsync": "always"}
    flags = [text for name, value in options.items() for text in (f"--{name}", str(value))]
    return ["redis-server", *flags, "--save", "", "--logfile", str(folder / "redis.log")]


def nats(folder: Path, port: int) -> list[str]:
    path = folder / "nats.conf"
    path.write_text(
        f'host: 127.0.0.1\nport: {port}\njetstream {{ store_dir: "{folder}", sync_interval: always }}\n'
    )
    return [str(CACHE / "nats-server"), "--config", str(path)]


Command = Callable[[Path, int], list[str]]
SERVERS: Mapping[str, Command] = {
    "peer": peer,
    "gapless": gapless,
    "gapless on SQLite": gapless_on_sqlite,
    "Redis": redis,
    "NATS": nats,
}


@contextmanager
def running(name: str, folder: Path) -> Iterator[Server]:
    """Run a server until the block ends; what it says goes to a file in `folder`.

    Raises:
        Failed: it is not installed, or does not accept connections.
    """
    port = free_port()
    command = ["taskset", "--cpu-list", str(SERVER_CORE), *SERVERS[name](folder, port)]
    with (folder / "output").open("w+") as output:
        began = time.perf_counter()
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "GOMAXPROCS": "1"},
            start_new_session=True,  # an interrupt is ours to pass on
        )
        try:
            wait_until_accepting(process, port, output.name)
            yield Server(name, process.pid, port, folder, (time.perf_counter() - began) * 1e3)
            if name.startswith("gapless"):
                refuse_children(process.pid)
        finally:
            stop(process)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def wait_until_accepting(process: subprocess.Popen[bytes], port: int, output: str) -> None:
    deadline = time.monotonic() + START_SECONDS_MAX
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except ConnectionRefusedError:
            time.sleep(0.001)
    said = Path(output).read_text().strip().splitlines()
    raise Failed(said[-1] if said else "it accepts no connections")


def refuse_children(pid: int) -> None:
    """CPU and memory are those of one process: a child's would be left out."""
    if Path(f"/proc/{pid}/task/{pid}/children").read_text().strip():
        raise Failed("the server has child processes, whose CPU would not be counted")


def stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
