"""The program from outside: a process started with a configuration file, ended by its pid."""

import http.client
import json
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import psutil

__all__ = ["API_KEY", "GAPLESS", "Program", "free_port", "merged"]

API_KEY = "key"
GAPLESS = str(Path(sys.executable).with_name("gapless"))
# Below the ports that Linux gives to outgoing connections, so that none takes ours while the program is down.
PORTS = range(12_000, 32_000)

START_SECONDS_MAX = 15
STOP_SECONDS_MAX = 15
POLL_SECONDS = 0.002

Config = dict[str, Any]


def free_port() -> int:
    """Return a port of this machine that nobody listens on."""
    while True:
        port = random.choice(PORTS)
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return port


def merged(config: Mapping[str, Any], *more: Mapping[str, Any]) -> Config:
    """Return a configuration with others laid over it, section by section."""
    result = dict(config)
    for over in more:
        for name, value in over.items():
            held = result.get(name)
            both = isinstance(held, dict) and isinstance(value, dict)
            result[name] = merged(held, value) if both else value  # type: ignore[arg-type]
    return result


class Program:
    """`gapless serve` on a free port of this machine, which it keeps when it is started again."""

    def __init__(self, folder: Path, *config: Mapping[str, Any]) -> None:
        self.folder = folder
        self.port = free_port()
        basis = {
            "http_server": {"address": "127.0.0.1", "port": self.port},
            "http_api": {"key": API_KEY},
            "store": {"url": f"sqlite:{folder / 'gapless.db'}"},
        }
        self.config = merged(basis, *config)
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where WebSockets connect."""
        return f"ws://127.0.0.1:{self.port}/connection/websocket"

    @property
    def origin(self) -> str:
        """Where browsers find its pages."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def api_url(self) -> str:
        """Where backends publish."""
        return f"http://127.0.0.1:{self.port}/api"

    @property
    def pid(self) -> int:
        """The process, which is running."""
        assert self.process is not None
        return self.process.pid

    def command(self) -> list[str]:
        """Write the configuration, and return what starts the program with it."""
        path = self.folder / "gapless.json"
        path.write_text(json.dumps(self.config))
        return [GAPLESS, "serve", "--config", str(path)]

    def launch(self, *, before: Sequence[str] = ()) -> subprocess.Popen[bytes]:
        """Start the program, as the last argument of the command `before` if there is one."""
        with (self.folder / "output").open("ab") as output:
            self.process = subprocess.Popen(
                [*before, *self.command()],
                stdout=output,
                stderr=output,
                cwd=self.folder,
                start_new_session=True,
            )
        return self.process

    def start(self, *, before: Sequence[str] = ()) -> None:
        """Start the program, and wait until it accepts connections."""
        process = self.launch(before=before)
        deadline = time.monotonic() + START_SECONDS_MAX
        while not self.accepts():
            assert process.poll() is None, f"it ended: {self.output()}"
            assert time.monotonic() < deadline, f"it does not accept connections: {self.output()}"
            try:
                process.wait(POLL_SECONDS)
            except subprocess.TimeoutExpired:
                pass

    def __enter__(self) -> Self:
        """Start the program; the end of the block ends it, whatever happened."""
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        """End it."""
        self.close()

    def fail(self, *, before: Sequence[str] = ()) -> tuple[int, str]:
        """Start the program, which must end by itself; return its exit code and what it printed."""
        said = len(self.output())
        code = self.launch(before=before).wait(START_SECONDS_MAX)
        return code, self.output()[said:]

    def accepts(self) -> bool:
        """Tell whether somebody listens on the port."""
        try:
            socket.create_connection(("127.0.0.1", self.port)).close()
        except ConnectionRefusedError:
            return False
        return True

    def kill(self) -> None:
        """End it with `kill -9`."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """Ask it to end (SIGTERM), and return its exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_SECONDS_MAX)

    def close(self) -> None:
        """End it if it runs, without ceremony."""
        if self.process is not None and self.process.poll() is None:
            self.kill()

    def output(self) -> str:
        """Return all that it has printed."""
        path = self.folder / "output"
        return path.read_text(errors="replace") if path.exists() else ""

    def resident_bytes(self) -> int:
        """Return how much memory it holds."""
        return int(psutil.Process(self.pid).memory_info().rss)

    def api(self, method: str, /, **request: Any) -> dict[str, Any]:
        """Call the server API, and return its whole answer, which holds a `result` or an `error`."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("POST", f"/api/{method}", json.dumps(request), {"X-API-Key": API_KEY})
            response = connection.getresponse()
            body = response.read()
        finally:
            connection.close()
        assert response.status == http.HTTPStatus.OK, (response.status, body)
        answer: dict[str, Any] = json.loads(body)
        return answer
