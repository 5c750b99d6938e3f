"""What the nodes share, and what befalls it: a file, or a Redis and its replica."""

import asyncio
import errno
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from gapless.server.clock import LoopClock
from gapless.server.parting import pause
from tests.redis_server import RedisServer

__all__ = ["DISK_MEBIBYTES", "File", "Redis", "Shared"]

DISK_MEBIBYTES = 192
OOM_BYTES = 1_000_000
KEY_DELAY_US_MAX = 10_000
REWRITING_US_MAX = 5_000_000  # well within the patience of who waits for the end of it
LOOK_MS, FOLLOW_MS_MAX = 20, 20_000


class Shared(Protocol):
    """What the nodes share."""

    @property
    def config(self) -> Mapping[str, Any]:
        """Return what the nodes are to be told beside the URL."""

    @property
    def url(self) -> str:
        """Return the URL, with `{port}` in the place of where a node's way to it begins."""

    @property
    def server(self) -> tuple[str, int] | None:
        """Return where it listens."""

    def start(self) -> None:
        """Be there."""

    def close(self) -> None:
        """Be gone, without ceremony."""

    def keep(self, folder: Path) -> None:
        """Copy what it has printed."""


class File:
    """One SQLite file: the first process owns it, the others join it. A node may be several `workers`."""

    server = None

    def __init__(self, folder: Path, workers: int = 1) -> None:
        # The disk of a test may be memory.
        self.config: Mapping[str, Any] = {
            "store": {"durability": "process"},
            "http_server": {"workers": workers},
        }
        self.url = f"sqlite:{folder / 'shared.db'}"

    def start(self) -> None:
        """See `Shared.start`."""

    def close(self) -> None:
        """See `Shared.close`."""

    def keep(self, folder: Path) -> None:
        """See `Shared.keep`."""


class Redis:
    """A Redis that writes as `settings` say, on a disk of its own where root can mount one, and a replica."""

    url = "redis://127.0.0.1:{port}"

    def __init__(self, folder: Path, *, durability: str, replica: bool = False, **settings: str) -> None:
        self.config = {"store": {"durability": durability}}
        self._disk = folder / "disk"
        self._disk.mkdir()
        self.mounted = _mounted(self._disk)
        self.main = RedisServer(self._disk / "redis-a", 0, **settings)
        self.replica = RedisServer(self._disk / "redis-b", 0, **settings) if replica else None
        self.server = ("127.0.0.1", self.main.port)
        self._copy = folder / "copy"

    def start(self) -> None:
        """Be there; the replica follows soon."""
        self.main.start()
        if self.replica is not None:
            self.replica.start()
            self.replica.command("REPLICAOF", "127.0.0.1", self.main.port)

    def answers(self) -> bool:
        """Tell whether it would serve nodes."""
        try:
            return self.main.command("PING") == "PONG"
        except OSError:
            return False

    # What befalls it ----------------------------------------------------------------------

    def kill(self) -> None:
        """End it with -9; it may have ended by itself."""
        self.main.kill()

    def pause(self) -> None:
        """Let it stand still."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, which: signal.Signals) -> None:
        if self.main.process is not None:
            self.main.process.send_signal(which)

    def copy(self) -> None:
        """Copy its data, while it runs: what a backup of the files has."""
        shutil.rmtree(self._copy, ignore_errors=True)
        shutil.copytree(self.main.folder, self._copy)

    def restore(self) -> None:
        """Let the older copy be what it is started with; it does not run."""
        shutil.rmtree(self.main.folder)
        shutil.copytree(self._copy, self.main.folder)

    def empty(self) -> None:
        """Remove all that it holds."""
        self.main.command("FLUSHALL")

    def fill_disk(self) -> None:
        """Leave no room on its disk."""
        with (self._disk / "filler").open("wb") as filler:
            while room := _free_bytes(self._disk):
                try:
                    os.posix_fallocate(filler.fileno(), filler.seek(0, os.SEEK_END), room)
                except OSError as error:  # Redis took some of it meanwhile
                    if error.errno != errno.ENOSPC:
                        raise

    def empty_disk(self) -> None:
        """Give the room back."""
        (self._disk / "filler").unlink(missing_ok=True)

    def limit_memory(self, *, limited: bool) -> None:
        """Let it refuse what needs memory (OOM), or no longer."""
        self.main.command("CONFIG", "SET", "maxmemory", OOM_BYTES if limited else 0)

    # The replica --------------------------------------------------------------------------

    def leave_replica_behind(self) -> None:
        """Let the replica hear nothing more."""
        assert self.replica is not None
        dead = 1  # nobody listens on it
        self.replica.command("REPLICAOF", "127.0.0.1", dead)

    def promote(self) -> None:
        """Kill the main server; the replica is the main one from now on."""
        assert self.replica is not None
        self.main.kill()
        self.main, self.replica = self.replica, self.main
        self.main.command("REPLICAOF", "NO", "ONE")
        self.server = ("127.0.0.1", self.main.port)

    async def follow(self, *, rewriting_slowly: bool = False) -> None:
        """Start the other server anew, as a replica that has all of this one, if not written down yet."""
        assert self.replica is not None
        self.replica.kill()
        shutil.rmtree(self.replica.folder, ignore_errors=True)
        await asyncio.to_thread(self.replica.start)
        if rewriting_slowly:
            keys = max(1, int(self.main.command("DBSIZE")))
            delay_us = min(KEY_DELAY_US_MAX, REWRITING_US_MAX // keys)
            self.replica.command("CONFIG", "SET", "rdb-key-save-delay", delay_us)
        self.replica.command("REPLICAOF", "127.0.0.1", self.main.port)
        clock, tries = LoopClock(), 0
        while "master_link_status:up" not in self.replica.command("INFO", "replication"):
            tries += 1
            assert tries * LOOK_MS < FOLLOW_MS_MAX, "the replica does not follow"
            await pause(clock, LOOK_MS)

    # The end ------------------------------------------------------------------------------

    def close(self) -> None:
        """See `Shared.close`."""
        for server in (self.main, self.replica):
            if server is not None:
                server.kill()
        if self.mounted:
            subprocess.run(["umount", "--lazy", str(self._disk)], check=True)

    def keep(self, folder: Path) -> None:
        """See `Shared.keep`."""
        for server in (self.main, self.replica):
            if server is not None and (server.folder / "log").exists():
                shutil.copy(server.folder / "log", folder / f"{server.folder.name}.log")


def _free_bytes(disk: Path) -> int:
    told = os.statvfs(disk)
    return told.f_bavail * told.f_frsize


def _mounted(disk: Path) -> bool:
    """Mount a small disk, in memory, if this process may."""
    if os.geteuid() != 0:
        return False
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MEBIBYTES}m", "gapless-test", str(disk)]
    return subprocess.run(command, check=False).returncode == 0
