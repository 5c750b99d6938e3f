"""Servers of two nodes, that share one store, and one that is several processes; the rest is `servers`."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from bench import servers
from bench.machine import STORE_CORE
from bench.servers import (
    START_SECONDS_MAX,
    Command,
    Failed,
    Server,
    children,
    gapless,
    gapless_on_sqlite,
    peer,
    redis_always,
    starting,
)

__all__ = ["PAIRS", "SEVERAL", "listeners", "running"]

WORKERS = 2
LISTENING = "0A"  # proc_net_tcp(5)


def peer_on_redis(folder: Path, port: int, redis: str) -> list[str]:
    return peer(folder, port, redis)


def gapless_of_workers(folder: Path, port: int) -> list[str]:
    return [*gapless_on_sqlite(folder, port), "--workers", str(WORKERS)]


def gapless_on_redis(folder: Path, port: int, redis: str) -> list[str]:
    return gapless(folder, port, f"redis://{redis}")


PAIRS: Mapping[str, Callable[[Path, int, str], list[str]]] = {
    "peer on Redis": peer_on_redis,
    "gapless on Redis": gapless_on_redis,
}
"""How to start a node, given the host and port of the Redis that both share."""
SEVERAL: Mapping[str, Command] = {"gapless of 2 workers": gapless_of_workers}
"""Servers that are several processes on one port."""


@contextmanager
def running(name: str, folder: Path) -> Iterator[Server]:
    """Run a server until the block ends.

    Raises:
        Failed: it is not installed, or does not accept connections.
    """
    if name in PAIRS:
        with pair(name, folder) as server:
            yield server
    elif name in SEVERAL:
        with several(name, folder) as server:
            yield server
    else:
        with servers.running(name, folder) as server:
            yield server


@contextmanager
def pair(name: str, folder: Path) -> Iterator[Server]:
    """Run a Redis that fsyncs before it answers, and two nodes on it."""
    with ExitStack() as stack:
        store = stack.enter_context(starting("Redis", redis_always, place(folder, "redis"), STORE_CORE))
        shared = f"127.0.0.1:{store.port}"

        def node(folder: Path, port: int) -> list[str]:
            return PAIRS[name](folder, port, shared)

        nodes = [stack.enter_context(starting(name, node, place(folder, each))) for each in ("a", "b")]
        pids, ports = zip(*((each.pid, each.port) for each in nodes), strict=True)
        yield Server(name, pids, ports, folder, store_pid=store.pid)


@contextmanager
def several(name: str, folder: Path) -> Iterator[Server]:
    """Run a server of several processes, all of which listen before it is used."""
    with starting(name, SEVERAL[name], folder) as server:
        deadline = time.monotonic() + START_SECONDS_MAX
        while listeners(Path("/proc/net/tcp").read_text(), server.port) < WORKERS:
            if time.monotonic() > deadline:
                raise Failed(f"not all of {WORKERS} workers listen")
            time.sleep(0.01)
        yield replace(server, pids=(server.pid, *children(server.pid)))


def listeners(sockets: str, port: int) -> int:
    """Count the sockets that listen on a port, by what proc_net_tcp(5) says."""
    rows = (line.split() for line in sockets.splitlines()[1:])
    return sum(row[1].endswith(f":{port:04X}") and row[3] == LISTENING for row in rows)


def place(folder: Path, name: str) -> Path:
    made = folder / name
    made.mkdir()
    return made
