"""The servers that are measured, each on a core of its own, ended by its pid."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from bench.machine import SERVER_CORE
from bench.programs import CACHE

__all__ = [
    "NO_SERVER",
    "ROOT",
    "SECRET",
    "SERVERS",
    "START_SECONDS_MAX",
    "Command",
    "Failed",
    "Server",
    "children",
    "ending",
    "gapless",
    "gapless_on_sqlite",
    "last_line",
    "peer",
    "redis_always",
    "running",
    "starting",
]

START_SECONDS_MAX = 60
STOP_SECONDS_MAX = 10
ROOT = Path(__file__).parents[1]
HISTORY_SIZE = 1000
HISTORY_SIZES = {"bench": HISTORY_SIZE, "long": 10_000_000, "soak": 100}
HISTORY_TTL = "300s"
SECRET = "what the tokens of the bench are signed with"
RIGHTS = ("subscribe", "publish", "history")


class Failed(Exception):
    """A server or a load could not be run."""


@dataclass(frozen=True)
class Server:
    """A running server: one process, or nodes that share a store, each with a port."""

    name: str
    pids: tuple[int, ...]
    ports: tuple[int, ...]
    folder: Path
    started_ms: float = 0  # from starting the process to the first accepted connection
    store_pid: int = 0  # of the Redis that the nodes share; its CPU counts for itself

    @property
    def pid(self) -> int:
        return self.pids[0]

    @property
    def port(self) -> int:
        return self.ports[0]


def gapless(folder: Path, port: int, store: str = "memory:", **more: object) -> list[str]:
    config = {
        "http_server": {"address": "127.0.0.1", "port": port},
        "log": {"level": "error"},
        "client": {
            "token": {"hmac_secret_key": SECRET},
            "allow_anonymous_connect_without_token": True,
        },
        "http_api": {"insecure": True},
        "channel": {"namespaces": [namespace(name, size) for name, size in HISTORY_SIZES.items()]},
        "prometheus": {"enabled": True},
        "store": {"url": store},
        **more,
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


def gapless_with_hooks(folder: Path, port: int) -> list[str]:
    """The hooks run in the server's process."""
    return ["env", f"PYTHONPATH={ROOT}", *gapless(folder, port), "--app", "bench.workers.hooks:gl"]


def gapless_with_hook_worker(folder: Path, port: int) -> list[str]:
    """The hooks run in a worker, which the load starts."""
    return gapless(folder, port, hooks={"publish": ["bench:*"]})


def gapless_with_a_console(folder: Path, port: int) -> list[str]:
    return gapless(folder, port, f"sqlite:{folder}/bench.db", console={"enabled": True, "insecure": True})


def peer(folder: Path, port: int, redis: str = "") -> list[str]:
    history = ["-history-size", str(HISTORY_SIZE), "-history-ttl", HISTORY_TTL, "-secret", SECRET]
    return [str(CACHE / "peer"), "-address", f"127.0.0.1:{port}", "-redis", redis, *history]


def redis(folder: Path, port: int, **kept: str) -> list[str]:
    if not shutil.which("redis-server"):
        raise Failed("redis-server is not installed")
    options = {"port": port, "bind": "127.0.0.1", "dir": folder, **kept}
    flags = [text for name, value in options.items() for text in (f"--{name}", str(value))]
    return ["redis-server", *flags, "--save", "", "--logfile", str(folder / "redis.log")]


def redis_always(folder: Path, port: int) -> list[str]:
    return redis(folder, port, appendonly="yes", appendfsync="always")


def redis_everysec(folder: Path, port: int) -> list[str]:
    return redis(folder, port, appendonly="yes", appendfsync="everysec")


def nats(folder: Path, port: int, kept: str = "") -> list[str]:
    path = folder / "nats.conf"
    path.write_text(f'host: 127.0.0.1\nport: {port}\njetstream {{ store_dir: "{folder}"{kept} }}\n')
    return [str(CACHE / "nats-server"), "--config", str(path)]


def nats_always(folder: Path, port: int) -> list[str]:
    return nats(folder, port, ", sync_interval: always")


def rabbitmq(folder: Path, port: int) -> list[str]:
    """A node of its own: with its own cookie (in HOME), ports, and names of nodes (epmd), ended with it."""
    variables = {
        "HOME": folder,
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "ERL_EPMD_PORT": free_port(),
        "RABBITMQ_NODENAME": f"bench{port}@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODE_PORT": port,
        "RABBITMQ_DIST_PORT": free_port(),
        "RABBITMQ_MNESIA_BASE": folder,
        "RABBITMQ_LOG_BASE": folder,
        "RABBITMQ_LOGS": folder / "rabbitmq.log",
        "RABBITMQ_ENABLED_PLUGINS_FILE": folder / "plugins",
        "RABBITMQ_CONFIG_FILE": folder / "rabbitmq",
        "RABBITMQ_CONF_ENV_FILE": "/dev/null",
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-start_epmd false",
        "RUNNING_UNDER_SYSTEMD": "true",  # then its start script becomes the server
    }
    start = '"$0/epmd" >"$HOME/epmd.log" 2>&1 & exec "$0/rabbitmq-server"'
    given = [f"{name}={value}" for name, value in variables.items()]
    return ["env", "--chdir", str(folder), *given, "sh", "-c", start, str(CACHE / "rabbitmq")]


Command = Callable[[Path, int], list[str]]
SERVERS: Mapping[str, Command] = {
    "peer": peer,
    "gapless": gapless,
    "gapless on SQLite": gapless_on_sqlite,
    "gapless with hooks": gapless_with_hooks,
    "gapless with a hook worker": gapless_with_hook_worker,
    "gapless with a console": gapless_with_a_console,
    "Redis": redis_always,
    "Redis everysec": redis_everysec,
    "NATS": nats_always,
    "NATS default": nats,
    "RabbitMQ": rabbitmq,
    "taskiq": redis,
    "Dramatiq": redis,
    "Celery": redis,
}
NO_SERVER = "gapless in process"
"""Stands where a server's name does: the load holds the store itself."""


@contextmanager
def running(name: str, folder: Path) -> Iterator[Server]:
    """Run a server until the block ends; what it says goes to a file in `folder`.

    Raises:
        Failed: it is not installed, or does not accept connections.
    """
    if name == NO_SERVER:
        yield Server(name, (os.getpid(),), (0,), folder)
        return
    with starting(name, SERVERS[name], folder) as server:
        yield server
        if name.startswith("gapless"):
            refuse_children(server.pid)


@contextmanager
def starting(name: str, command: Command, folder: Path, core: int = SERVER_CORE) -> Iterator[Server]:
    """Run one process on a core until the block ends.

    Raises:
        Failed: it is not installed, or does not accept connections.
    """
    port = free_port()
    on_core = ["taskset", "--cpu-list", str(core), *command(folder, port)]
    began = time.perf_counter()
    with ending(on_core, folder / "output", {"GOMAXPROCS": "1"}) as process:
        wait_until_accepting(process, port, folder / "output")
        started_ms = (time.perf_counter() - began) * 1e3
        yield Server(name, (process.pid,), (port,), folder, started_ms)


@contextmanager
def ending(
    command: list[str], output: Path, variables: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program, and end it and what it started with the block; what it says goes to a file."""
    with output.open("w") as said:
        process = subprocess.Popen(
            command,
            stdout=said,
            stderr=subprocess.STDOUT,
            env={**os.environ, **variables},
            start_new_session=True,  # an interrupt is ours to pass on
        )
    try:
        yield process
    finally:
        stop(process)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def wait_until_accepting(process: subprocess.Popen[bytes], port: int, output: Path) -> None:
    deadline = time.monotonic() + START_SECONDS_MAX
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except ConnectionRefusedError:
            time.sleep(0.001)
    raise Failed(last_line(output) or "it accepts no connections")


def last_line(output: Path) -> str:
    """Return the last line of what a program said."""
    said = output.read_text(errors="replace").strip().splitlines()
    return said[-1] if said else ""


def children(pid: int) -> list[int]:
    """Return the processes that a process started (proc_pid_task_tid_children(5))."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def refuse_children(pid: int) -> None:
    """CPU and memory are those of one process: a child's would be left out."""
    if children(pid):
        raise Failed("the server has child processes, whose CPU would not be counted")


def stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(timeout=STOP_SECONDS_MAX)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # what it left of its own session
