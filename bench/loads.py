"""What puts a load on a running server and takes the figures of one sample."""

import csv
import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any

from bench.machine import fdatasync_ms
from bench.programs import CACHE
from bench.report import Sample
from bench.servers import SECRET, Failed, Server
from gapless.core.cursor import cursor
from gapless.core.stream import Position

__all__ = [
    "LOAD_SECONDS_MAX",
    "Load",
    "connect",
    "generate",
    "messages",
    "on_disk",
    "publish_on_redis",
    "publish_on_sqlite",
    "run",
    "start",
]

LOAD_SECONDS_MAX = 180
ANSWER_SECONDS_MAX = 30
BATCH = 1_000
BATCHES = 50
PAGE = 50
PLACES = 500
IMPORT = "import time; began = time.perf_counter(); import gapless; print(time.perf_counter() - began)"

Load = Callable[[Server, bool], Sample]


def generate(
    *options: str, quick: tuple[str, ...] = ("-duration", "2s"), seconds_max: float = LOAD_SECONDS_MAX
) -> Load:
    """The load generator with these options, and with those of `quick` in a quick run."""

    def load(server: Server, is_quick: bool) -> Sample:
        ports, pids = (",".join(map(str, numbers)) for numbers in (server.ports, server.pids))
        address = ("-ports", ports, "-pids", pids, "-store-pid", str(server.store_pid))
        command = [str(CACHE / "load"), *options, *address, *(quick if is_quick else ())]
        sample = json.loads(run(*command, seconds_max=seconds_max))
        for side in ("server", "store", "generator"):
            sample[f"{side}_busy_percent"] = 100 * sample[f"{side}_cpu_seconds"] / sample["seconds"]
        return dict(sample)

    return load


def publish_on_redis(server: Server, is_quick: bool) -> Sample:
    """XADD to 32 streams of about a thousand entries, 256 in flight: what the others are asked too."""
    requests = 50_000 if is_quick else 300_000
    options = ["-p", str(server.port), "-c", "256", "-n", str(requests), "-r", "32", "--csv"]
    entry = ["XADD", "room-__rand_int__", "MAXLEN", "~", "1000", "*", "data", "x" * 128]
    (answer,) = csv.DictReader(run("redis-benchmark", *options, *entry).splitlines())
    return {
        "count": requests,
        "seconds": requests / float(answer["rps"]),
        "p50_ms": float(answer["p50_latency_ms"]),
        "p99_ms": float(answer["p99_latency_ms"]),
    }


def publish_on_sqlite(server: Server, is_quick: bool) -> Sample:
    """Client publishes, 256 in flight, and what the store says of its commits afterwards."""
    return {**generate("publish")(server, is_quick), **store_statistics(server.port)}


connect = generate("connect", "-connections", "5000", "-secret", SECRET, quick=("-connections", "1000"))


def messages(server: Server, is_quick: bool) -> Sample:
    """Pages of 50 of a short and a long channel: the newest, those before any message, those at its time."""
    sizes = {"short": 1_000, "long": 20_000 if is_quick else 1_000_000}
    sample: dict[str, float] = {}
    for name, size in sizes.items():
        channel = f"long:{name}"
        fill(server, channel, size)
        newest = get(server, is_quick, [f"/api/channels/{channel}/messages?size={PAGE}"])
        before, at = pages(server, channel)
        stored, timed = get(server, is_quick, before), get(server, is_quick, at)
        for kind, found in (("newest", newest), ("stored", stored), ("timed", timed)):
            sample[f"{name}_{kind}_per_cpu_second"] = found["count"] / found["server_cpu_seconds"]
            sample[f"{name}_{kind}_per_second"] = found["count"] / found["seconds"]
            sample[f"{name}_{kind}_p99_ms"] = found["p99_ms"]
    return sample


def get(server: Server, is_quick: bool, paths: Sequence[str]) -> Sample:
    """Get these paths in turn on 16 connections."""
    listed = server.folder / "paths"
    listed.write_text("\n".join(paths))
    options = ("-connections", "16", "-secret", SECRET, "-paths", str(listed))
    return generate("get", *options)(server, is_quick)


def fill(server: Server, channel: str, size: int) -> None:
    """Publish so many messages of 128 bytes. Those of one batch bear one time, so there are several."""
    command = {"publish": {"channel": channel, "data": {"text": "x" * 117}}}
    count = min(BATCH, size // BATCHES)
    for _ in range(0, size, count):
        call(server.port, "batch", {"commands": [command] * count})


def pages(server: Server, channel: str) -> tuple[list[str], list[str]]:
    """Return paths of pages before some messages of a channel, and at their times; the same in every run."""
    dice = Random(1)
    now = call(server.port, "history", {"channel": channel, "limit": 0})["result"]
    path = f"/api/channels/{channel}/messages?"
    before, at = [], []
    for _ in range(PLACES):
        place = cursor(channel, Position(now["epoch"], dice.randrange(PAGE, now["offset"])))
        before.append(f"{path}size={PAGE}&before={place}")
        [message] = ask(server.port, f"{path}size=1&before={place}")["items"]
        at.append(f"{path}size={PAGE}&at={message['time']}")
    return before, at


def on_disk(load: Load) -> Load:
    """The load, with the time that the disk under the server takes, measured just before."""

    def with_disk(server: Server, is_quick: bool) -> Sample:
        disk_ms = fdatasync_ms(server.folder)
        return {**load(server, is_quick), "fdatasync_ms": disk_ms}

    return with_disk


def store_statistics(port: int) -> Sample:
    """How large the store's commits were and how long they took, from gapless's answer to `info`.

    Raises:
        Failed: it does not answer as it should.
    """
    try:
        (node,) = call(port, "info", {})["result"]["nodes"]
        told = node["store"]["statistics"]
        return {
            "commit_entries_mean": told["entries"] / told["commits"],
            "commit_entries_max": told["entries_max"],
            "commit_p50_ms": told["commit_ns_p50"] / 1e6,
            "commit_p99_ms": told["commit_ns_p99"] / 1e6,
            "commit_max_ms": told["commit_ns_max"] / 1e6,
        }
    except (ValueError, KeyError) as error:
        raise Failed(f"info: {error!r}") from error


def call(port: int, method: str, body: object) -> Any:
    """Call a method of gapless's API.

    Raises:
        Failed: it does not answer.
    """
    return ask(port, f"/api/{method}", json.dumps(body).encode())


def ask(port: int, path: str, body: bytes | None = None) -> Any:
    """Get a path, or post to it.

    Raises:
        Failed: gapless does not answer.
    """
    try:
        url = f"http://127.0.0.1:{port}{path}"
        with urllib.request.urlopen(url, body, timeout=ANSWER_SECONDS_MAX) as answer:
            return json.load(answer)
    except OSError as error:
        raise Failed(f"{path}: {error!r}") from error


def start(server: Server, is_quick: bool) -> Sample:
    """How long starting took, and importing gapless into a fresh Python."""
    return {"start_ms": server.started_ms, "import_ms": 1e3 * float(run(sys.executable, "-c", IMPORT))}


def run(
    *command: str, seconds_max: float = LOAD_SECONDS_MAX, variables: Mapping[str, str] | None = None
) -> str:
    """Run a program, and return what it printed.

    Raises:
        Failed: it is not there, takes too long, or fails.
    """
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=seconds_max,
            check=True,
            env={**os.environ, **(variables or {})},
        )
    except FileNotFoundError as missing:
        raise Failed(f"{command[0]} is not installed") from missing
    except subprocess.TimeoutExpired as late:
        raise Failed(f"{command[0]} took longer than {seconds_max} s") from late
    except subprocess.CalledProcessError as failed:
        raise Failed((failed.stderr.strip() or f"{command[0]} failed").splitlines()[-1]) from failed
    return done.stdout
