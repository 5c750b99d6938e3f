"""The cluster: two gapless nodes on one Redis with a replica, HAProxy before them; and what may befall it."""

import asyncio
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import aiohttp

from examples.cluster.programs import Program
from examples.cluster.redis import HERE, Redis
from examples.tunnel.tunnel import free_port

GAPLESS = str(Path(sys.executable).with_name("gapless"))
KEY = "cluster"
NAMES = ("a", "b")

Tell = Callable[[str], object]


class Cluster:
    """Everything that is started; leaving it ends all of that, and nothing else.

    With a `store` the nodes use that, and no Redis is started. `tell` hears what is done.
    """

    def __init__(self, tell: Tell, *, port: int = 0, store: str = "") -> None:
        self._tell = tell
        self.folder = Path(tempfile.mkdtemp(prefix="gapless-cluster-"))
        self.redis = None if store else Redis(self.folder)
        self._store = store or (self.redis.url if self.redis is not None else "")
        self.ports = {name: free_port() for name in NAMES}
        self.public_port, self.internal_port, self.status_port = port or free_port(), free_port(), free_port()
        self.nodes = {name: self._node(name) for name in NAMES}
        self.haproxy = self._haproxy()

    def _node(self, name: str) -> Program:
        env = {
            "GAPLESS_HTTP_SERVER__PORT": str(self.ports[name]),
            "GAPLESS_STORE__URL": self._store,
            "GAPLESS_NODE__NAME": name,
        }
        command = [GAPLESS, "serve", "--config", str(HERE / "gapless.toml")]
        return Program(f"node-{name}", command, self.folder, env)

    def _haproxy(self) -> Program:
        path = shutil.which("haproxy") or "/usr/sbin/haproxy"  # not on everybody's PATH
        env = {
            "PUBLIC_PORT": str(self.public_port),
            "INTERNAL_PORT": str(self.internal_port),
            "STATUS_PORT": str(self.status_port),
            **{f"{name.upper()}_PORT": str(port) for name, port in self.ports.items()},
        }
        return Program("haproxy", [path, "-db", "-f", str(HERE / "haproxy.cfg")], self.folder, env)

    @property
    def websocket(self) -> str:
        """Where clients connect."""
        return f"ws://127.0.0.1:{self.public_port}/connection/websocket"

    @property
    def api(self) -> str:
        """Where backends publish."""
        return f"http://127.0.0.1:{self.internal_port}/api"

    # Start and stop -----------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=3))
        try:
            await self._start()
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close()

    async def _start(self) -> None:
        if self.redis is not None:
            self._tell("starting Redis, its replica and three Sentinels")
            await self.redis.start()
        self._tell("starting two gapless nodes, and HAProxy")
        await asyncio.gather(*(self._start_node(name) for name in NAMES))
        await self.haproxy.start()
        await self.haproxy.until(lambda: self._balances(*NAMES))

    async def _start_node(self, name: str) -> None:
        await self.nodes[name].start()
        await self.nodes[name].until(lambda: self._healthy(name))

    async def _close(self) -> None:
        await self._session.close()
        await asyncio.shield(self._end())

    async def _end(self) -> None:
        await self.haproxy.kill()
        await asyncio.gather(*(node.stop() for node in self.nodes.values()))
        if self.redis is not None:
            await self.redis.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    # What may befall it -------------------------------------------------------------------

    async def roll(self) -> None:
        """Restart one node after the other; each is up again, and HAProxy knows it, before the next goes."""
        for name in NAMES:
            began = time.monotonic()
            self._tell(f"node {name}: asked to stop; /health fails, HAProxy sends nobody there, clients go")
            await self.nodes[name].stop()
            await self._start_node(name)
            await self.haproxy.until(lambda name=name: self._balances(name))  # type: ignore[misc]
            self._tell(f"node {name}: back after {time.monotonic() - began:.1f} s")

    async def fail_over(self, *, behind_seconds: float = 0) -> None:
        """Kill the Redis master, wait for the next one and for the nodes, and bring the old one back.

        The replica lacks the last `behind_seconds`: they are lost, which readers have to be told.
        """
        if self.redis is None:
            raise SystemExit("this cluster has no Redis of its own")
        await self.redis.until_safe()
        began = time.monotonic()
        before = await self.redis.kill_master(behind_seconds=behind_seconds)
        self._tell(f"the Redis master at port {before} is killed")
        master = await self.redis.until_promoted(before)
        self._tell(f"Sentinel promoted the one at port {master} after {time.monotonic() - began:.1f} s")
        for name in NAMES:
            await self.nodes[name].until(lambda name=name: self._healthy(name))  # type: ignore[misc]
        self._tell(f"both nodes are healthy after {time.monotonic() - began:.1f} s")
        await self.redis.servers[before].start()
        self._tell(f"the one at port {before} is started again; Sentinel makes it a replica")

    # How it stands ------------------------------------------------------------------------

    async def status(self) -> list[str]:
        """Return lines for people."""
        lines = []
        for name, port in self.ports.items():
            health = "healthy" if await self._healthy(name) else "not healthy"
            lines.append(f"node {name}   127.0.0.1:{port} {health}, {await self._clients(port)} clients")
        roles = await self.redis.roles() if self.redis is not None else [self._store]
        return [*lines, *(f"store    {role}" for role in roles)]

    async def _clients(self, port: int) -> str:
        return str(await self._clients_of(port))

    async def _clients_of(self, port: int) -> int:
        try:
            url, key = f"http://127.0.0.1:{port}/api/info", {"X-API-Key": KEY}
            async with self._session.post(url, headers=key, data="{}") as answer:
                nodes = (await answer.json())["result"]["nodes"]
                return int(sum(node["num_clients"] for node in nodes))
        except (OSError, aiohttp.ClientError, TimeoutError, KeyError):
            return 0

    async def _healthy(self, name: str) -> bool:
        try:
            async with self._session.get(f"http://127.0.0.1:{self.ports[name]}/health") as answer:
                return answer.status == 200
        except (OSError, aiohttp.ClientError, TimeoutError):
            return False

    async def _balances(self, *names: str) -> bool:
        """Tell whether HAProxy sends clients and calls to these nodes."""
        try:
            async with self._session.get(f"http://127.0.0.1:{self.status_port}/;csv") as answer:
                rows = [line.split(",") for line in (await answer.text()).splitlines()]
        except (OSError, aiohttp.ClientError, TimeoutError):
            return False
        up = {(row[0], row[1]) for row in rows if "UP" in row}
        return up >= {(backend, name) for backend in ("clients", "calls") for name in names}
