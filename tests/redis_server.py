"""A redis-server of the tests' own: on a free loopback port, ended with them."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

__all__ = ["RedisServer", "free_port", "redis_server"]

PATIENCE_SECONDS = 20
DURABLE = {"appendonly": "yes", "appendfsync": "always", "no-appendfsync-on-rewrite": "no", "save": ""}


def free_port() -> int:
    """Return a port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class RedisServer:
    """One server, with its data in `folder`; it may be stopped, killed and started again."""

    def __init__(self, folder: Path, port: int = 0, **settings: str) -> None:
        self.folder = folder
        self.port = port or free_port()
        self.settings = DURABLE | {"enable-debug-command": "yes"} | settings
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it is, as a store's URL."""
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> "RedisServer":
        """Start it, and wait until it answers."""
        program = shutil.which("redis-server")
        if program is None:
            pytest.skip("no redis-server: `make test` installs it")
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen([program, *self.arguments()], stdout=log, stderr=log)
        self._until(self._answers)
        return self

    def arguments(self) -> list[str]:
        """Return what the program is started with."""
        settings = {"port": str(self.port), "bind": "127.0.0.1", "dir": str(self.folder)} | self.settings
        return [part for name, value in settings.items() for part in (f"--{name}", value)]

    def _until(self, true: Any) -> None:
        end = time.monotonic() + PATIENCE_SECONDS
        while not true():
            assert self.process is not None
            assert self.process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < end, "redis-server does not answer"
            os.sched_yield()

    def _answers(self) -> bool:
        try:
            return self.command("PING") == "PONG"
        except OSError as error:
            return str(error).startswith("NOAUTH")  # it answers those who know the password

    def command(self, *parts: str | int) -> str:
        """Send one command, and return the first line of its reply, or the bulk that it is."""
        with (
            socket.create_connection(("127.0.0.1", self.port), 5) as connection,
            connection.makefile("rb") as reader,
        ):
            words = [str(part).encode() for part in parts]
            told = b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)
            connection.sendall(b"*%d\r\n%b" % (len(words), told))
            line = reader.readline().rstrip().decode()
            if line[:1] == "-":
                raise OSError(line[1:])
            return reader.read(int(line[1:])).decode() if line[:1] == "$" and line != "$-1" else line[1:]

    def kill(self) -> None:
        """End it with -9."""
        self.end(signal.SIGKILL)

    def stop(self) -> None:
        """Let it end by itself."""
        self.end(signal.SIGTERM)

    def end(self, how: signal.Signals) -> None:
        """End it, if it runs."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(how)
            self.process.wait(PATIENCE_SECONDS)
        self.process = None

    def incarnate(self) -> None:
        """Be another incarnation, as after a restart; nothing is lost."""
        self.command("DEBUG", "CHANGE-REPL-ID")


@contextmanager
def redis_server(folder: Path, **settings: str) -> Iterator[RedisServer]:
    """Run a server."""
    server = RedisServer(folder, 0, **settings)
    try:
        yield server.start()
    finally:
        server.kill()
