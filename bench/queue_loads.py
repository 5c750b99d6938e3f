"""Loads of queues, workers and streams: programs of Python, the peers' in a virtualenv of their own."""

import json
import sys
import time
import urllib.request
from pathlib import Path

from bench.loads import Load, run
from bench.programs import PEERS
from bench.report import Sample
from bench.servers import ROOT, Failed, Server, ending, last_line

__all__ = ["backlog", "beside_hook_worker", "cycle", "streams", "worker"]

OWN = Path(sys.executable).parent
BACKLOG_SECONDS_MAX = 600
WORK_SECONDS_MAX = 180
START_SECONDS_MAX = 30


def module(of_gapless: bool, name: str, *options: object) -> list[str]:
    """Return the command that runs a module of the bench, with the libraries that it uses."""
    return [str((OWN if of_gapless else PEERS) / "python"), "-m", name, *map(str, options)]


def cycle(client: str) -> Load:
    """Jobs from enqueue to ack, by the client that is `bench/clients/<client>_cycle.py`."""

    def load(server: Server, is_quick: bool) -> Sample:
        options = ("--port", server.port, "--pid", server.pid, "--count", 2_000 if is_quick else 30_000)
        told = run(*module(client == "gapless", f"bench.clients.{client}_cycle", *options))
        sample: dict[str, float] = json.loads(told)
        for side in ("server", "generator"):
            sample[f"{side}_busy_percent"] = 100 * sample[f"{side}_cpu_seconds"] / sample["seconds"]
        return sample

    return load


def streams(server: Server, is_quick: bool) -> Sample:
    """Appends in batches and reads of a group, over the network or in process."""
    count = 20_000 if is_quick else 400_000
    sample: Sample = json.loads(
        run(*module(True, "bench.clients.gapless_streams", "--url", gapless_url(server), "--count", count))
    )
    return sample


def gapless_url(server: Server) -> str:
    return f"http://127.0.0.1:{server.port}" if server.port else f"sqlite:{server.folder}/bench.db"


def backlog(server: Server, is_quick: bool) -> Sample:
    """Claims beside a backlog, and the server's memory."""
    count, seconds = (20_000, 3) if is_quick else (1_000_000, 60)
    options = ("--port", server.port, "--pid", server.pid, "--count", count, "--seconds", seconds)
    command = module(True, "bench.clients.gapless_backlog", *options)
    sample: Sample = json.loads(run(*command, seconds_max=BACKLOG_SECONDS_MAX))
    return sample


def worker(kind: str, *command: str) -> Load:
    """No-op jobs, enqueued before the worker starts; their module is `bench/workers/<kind>_worker.py`."""

    def load(server: Server, is_quick: bool) -> Sample:
        of_gapless = kind == "gapless"
        count = 2_000 if is_quick else 20_000
        seconds = server.folder / "seconds"
        url = gapless_url(server) if of_gapless else f"redis://127.0.0.1:{server.port}"
        variables = {
            "BENCH_URL": url,
            "BENCH_COUNT": str(count),
            "BENCH_SECONDS": str(seconds),
            "PYTHONPATH": str(ROOT),
        }
        run(*module(of_gapless, f"bench.workers.{kind}_worker"), variables=variables)
        program = str((OWN if of_gapless else PEERS) / command[0])
        said = server.folder / "worker"
        with ending([program, *command[1:]], said, variables) as process:
            deadline = time.monotonic() + WORK_SECONDS_MAX
            while not seconds.exists():
                if process.poll() is not None or time.monotonic() > deadline:
                    raise Failed(f"the worker did not do {count} jobs: {last_line(said)}")
                time.sleep(0.05)
        return {"count": count, "seconds": float(seconds.read_text())}

    return load


def beside_hook_worker(load: Load) -> Load:
    """The load, while a worker serves the hooks of `bench/workers/hooks.py`."""

    def with_worker(server: Server, is_quick: bool) -> Sample:
        said = server.folder / "worker"
        variables = {"BENCH_URL": gapless_url(server), "PYTHONPATH": str(ROOT)}
        with ending([str(OWN / "gapless"), "worker", "bench.workers.hooks:gl"], said, variables) as process:
            deadline = time.monotonic() + START_SECONDS_MAX
            while not hook_workers(server):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise Failed(f"the worker serves no hooks: {last_line(said)}")
                time.sleep(0.05)
            return load(server, is_quick)

    return with_worker


def hook_workers(server: Server) -> bool:
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics") as answer:
        return b"\ngapless_hook_workers 1" in answer.read()
