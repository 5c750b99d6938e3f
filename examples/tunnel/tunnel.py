"""One run: a server that is killed, a proxy that is a tunnel, a publisher that retries, and many clients."""

import asyncio
import json
import random
import shutil
import socket
import sys
import tempfile
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import cent

from gapless.server.clock import LoopClock
from gapless.testing.proxy import Faults, Proxy

HERE = Path(__file__).parent
GAPLESS = str(Path(sys.executable).with_name("gapless"))
NODE_PACKAGES = HERE.parent.parent / "tests/acceptance/node/node_modules"

CHANNEL = "chat:tunnel"
KEY = "tunnel"
REQUEST_SECONDS_MAX = 2
FAULTS = Faults(calm_ms=(1_000, 8_000), stall_ms=(50, 1_500), half_open_ms=(500, 3_000))

CONFIG = {
    "log": {"level": "error"},
    # Short, so that both sides soon find out about connections that are half open.
    "client": {"allow_anonymous_connect_without_token": True, "ping_interval": "1s", "pong_timeout": "900ms"},
    "http_api": {"key": KEY},
    "channel": {
        "namespaces": [
            {
                "name": "chat",
                "history_size": 1_000_000,
                "history_ttl": "1h",
                "force_recovery": True,
                "allow_subscribe_for_client": True,
                "allow_subscribe_for_anonymous": True,
            }
        ]
    },
}


@dataclass
class Plan:
    """What is to be done. `seed` fixes what befalls each connection; without `store` it is a SQLite file."""

    clients: int = 200
    messages: int = 1_000
    kills: int = 2
    pace_ms: int = 20
    seed: int = 1
    store: str = ""


@dataclass
class Score:
    """How it went, so far or in the end. `complete` counts the clients that have every message."""

    lost: int = 0
    doubled: int = 0
    disordered: int = 0
    unrecovered: int = 0
    clients: int = 0
    messages: int = 0
    deliveries: int = 0
    complete: int = 0
    subscribed: int = 0
    reconnects: int = 0
    published: int = 0
    retries: int = 0
    kills: int = 0
    seconds: float = 0
    proxy: dict[str, int] = field(default_factory=dict)
    sdks: dict[str, int] = field(default_factory=dict)

    @property
    def broken(self) -> bool:
        """Tell whether a client got what it must not get: the run has failed."""
        return bool(self.doubled or self.disordered or self.unrecovered)

    @property
    def kept(self) -> bool:
        """Tell whether every client got every message once, in order."""
        return self.complete == self.clients and not self.broken


class Server:
    """`gapless serve`, which keeps its port and its file when it is started again."""

    def __init__(self, folder: Path, store_url: str) -> None:
        self.port = free_port()
        self._config = folder / "gapless.json"
        # kill -9 is all that happens here, so a folder in memory will do.
        durability = "memory" if store_url == "memory:" else "process"
        store = {"url": store_url, "durability": durability}
        listen = {"address": "127.0.0.1", "port": self.port}
        self._config.write_text(json.dumps({**CONFIG, "http_server": listen, "store": store}))
        self._process: Process | None = None

    async def start(self) -> None:
        """Start it, and wait until it accepts connections."""
        self._process = await asyncio.create_subprocess_exec(
            GAPLESS, "serve", "--config", str(self._config), start_new_session=True
        )
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except OSError:
                if self._process.returncode is not None:
                    raise SystemExit("the server does not start") from None
                await asyncio.sleep(0.01)
            else:
                writer.close()
                return

    async def kill(self) -> None:
        """End it with `kill -9`."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()


class Tunnel:
    """One run. `tell` hears the score from time to time."""

    def __init__(self, plan: Plan, tell: Callable[[Score], None]) -> None:
        self.plan = plan
        self.score = Score(clients=plan.clients, messages=plan.messages)
        self._tell = tell
        self._reports: dict[str, dict[str, int]] = {}
        self._changed = asyncio.Event()
        self._began = time.monotonic()

    async def run(self) -> Score:
        """Run it; when cancelled, leave no process and no file behind."""
        async with AsyncExitStack() as stack:
            folder = Path(tempfile.mkdtemp(prefix="gapless-tunnel-"))
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            server = Server(folder, self.plan.store or f"sqlite:{folder / 'tunnel.db'}")
            stack.push_async_callback(server.kill)
            await server.start()
            dice = random.Random(self.plan.seed)
            proxy = Proxy(("127.0.0.1", server.port), LoopClock(), dice, FAULTS)
            stack.push_async_callback(proxy.close)
            port = await proxy.listen("127.0.0.1", 0)
            for sdk, command, clients in self._shares(f"ws://127.0.0.1:{port}/connection/websocket"):
                self.score.sdks[sdk] = clients
                await stack.enter_async_context(self._joined(sdk, command))
            telling = asyncio.create_task(self._keep_telling(proxy))
            stack.callback(telling.cancel)
            await self._until(lambda: self.score.subscribed == self.plan.clients)
            await self._publish(server, port)
            proxy.heal()
            await self._until(lambda: self.score.complete == self.plan.clients)
            self._sum(proxy)
        return self.score

    def _shares(self, url: str) -> list[tuple[str, list[str], int]]:
        """Return the SDKs, how each is started, and its clients: half of them each where there is Node."""
        node = shutil.which("node") if NODE_PACKAGES.is_dir() else None
        javascript = self.plan.clients // 2 if node else 0
        shares = [("python", [sys.executable, str(HERE / "clients.py")], self.plan.clients - javascript)]
        if node:
            shares.append(("javascript", [node, str(HERE / "clients.mjs")], javascript))
        return [
            (sdk, [*program, url, CHANNEL, str(clients), str(self.plan.messages)], clients)
            for sdk, program, clients in shares
        ]

    @asynccontextmanager
    async def _joined(self, sdk: str, command: list[str]) -> AsyncIterator[None]:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, start_new_session=True
        )
        reading = asyncio.create_task(self._read(sdk, process))
        try:
            yield
        finally:
            reading.cancel()
            if process.returncode is None:
                process.kill()
            await process.wait()

    async def _read(self, sdk: str, process: Process) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            self._reports[sdk] = json.loads(line)
            self._changed.set()

    async def _publish(self, server: Server, port: int) -> None:
        """Publish each message until it is acknowledged, and kill the server in between."""
        plan, score = self.plan, self.score
        kills_at = {plan.messages * (n + 1) // (plan.kills + 1) for n in range(plan.kills)}
        client = cent.AsyncClient(f"http://127.0.0.1:{port}/api", KEY, timeout=REQUEST_SECONDS_MAX)
        restarting: asyncio.Task[None] | None = None
        try:
            for number in range(1, plan.messages + 1):
                if score.broken:
                    return
                if number in kills_at:
                    await server.kill()
                    score.kills += 1
                    restarting = asyncio.create_task(server.start())
                await self._publish_one(client, number)
                score.published = number
                await asyncio.sleep(plan.pace_ms / 1000)
            if restarting is not None:
                await restarting
        finally:
            if restarting is not None:
                restarting.cancel()
            await client.close()

    async def _publish_one(self, client: cent.AsyncClient, number: int) -> None:
        # The key makes all tries one message: those too that were stored while their answer got lost.
        request = cent.PublishRequest(
            channel=CHANNEL, data={"number": number}, idempotency_key=f"message-{number}"
        )
        while True:
            try:
                await client.publish(request)
            except cent.CentError:
                self.score.retries += 1
                await asyncio.sleep(0.05)
            else:
                return

    async def _until(self, reached: Callable[[], bool]) -> None:
        while not reached() and not self.score.broken:
            await self._changed.wait()
            self._changed.clear()
            self._add_up()

    async def _keep_telling(self, proxy: Proxy) -> None:
        while True:
            await asyncio.sleep(0.5)
            self._sum(proxy)
            self._tell(self.score)

    def _add_up(self) -> None:
        reports = self._reports.values()
        for name in ("complete", "subscribed", "reconnects", "doubled", "disordered", "unrecovered"):
            setattr(self.score, name, sum(report[name] for report in reports))
        self.score.deliveries = sum(report["received"] for report in reports)

    def _sum(self, proxy: Proxy) -> None:
        self._add_up()
        score = self.score
        score.lost = score.clients * score.messages - (score.deliveries - score.doubled)
        score.proxy = asdict(proxy.counters)
        score.seconds = round(time.monotonic() - self._began, 1)


def free_port() -> int:
    """Return a port that no outgoing connection takes while the server is down."""
    while True:
        port = random.randrange(12_000, 32_000)
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return port


def report(score: Score) -> dict[str, Any]:
    """Return the score for machines."""
    return {"kept": score.kept, **asdict(score)}
