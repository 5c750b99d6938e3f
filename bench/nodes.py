"""Servers of two nodes, that share one store, and one that is several processes; the rest is `servers`."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench import servers
from bench.machine import STORE_CORE
from bench.servers import Server, gapless, peer, redis_always, starting

__all__ = ["PAIRS", "running"]


def peer_on_redis(folder: Path, port: int, redis: str) -> list[str]:
    return peer(folder, port, redis)


def gapless_on_redis(folder: Path, port: int, redis: str) -> list[str]:
    return gapless(folder, port, f"redis://{redis}")


PAIRS: Mapping[str, Callable[[Path, int, str], list[str]]] = {
    "peer on Redis": peer_on_redis,
    "gapless on Redis": gapless_on_redis,
}
"""How to start a node, given the host and port of the Redis that both share."""


@contextmanager
def running(name: str, folder: Path) -> Iterator[Server]:
    """Run a server until the block ends.

    Raises:
        Failed: it is not installed, or does not accept connections.
    """
    if name in PAIRS:
        with pair(name, folder) as server:
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


def place(folder: Path, name: str) -> Path:
    made = folder / name
    made.mkdir()
    return made
