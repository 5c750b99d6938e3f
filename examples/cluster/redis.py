"""A Redis with a replica, and three Sentinels that promote it when the master is gone."""

import asyncio
import shutil
from asyncio.subprocess import DEVNULL, PIPE
from pathlib import Path

from examples.cluster.programs import START_SECONDS_MAX, Program, until
from examples.tunnel.tunnel import free_port

HERE = Path(__file__).parent
MASTER = "gapless"
SENTINELS = 3
SENTINEL_CONF = """port {port}
bind 127.0.0.1
dir {folder}
sentinel monitor {master} 127.0.0.1 {master_port} 2
sentinel down-after-milliseconds {master} 1000
sentinel failover-timeout {master} 5000
sentinel parallel-syncs {master} 1
"""


class Redis:
    """The store: two servers, of which one is the master, and the Sentinels that know which."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.ports = [free_port(), free_port()]
        self.sentinel_ports = [free_port() for _ in range(SENTINELS)]
        self.servers = {port: self._server(port) for port in self.ports}
        self.sentinels = [self._sentinel(port) for port in self.sentinel_ports]

    @property
    def url(self) -> str:
        """What gapless is told."""
        hosts = ",".join(f"127.0.0.1:{port}" for port in self.sentinel_ports)
        return f"redis+sentinel://{hosts}/{MASTER}"

    def _server(self, port: int) -> Program:
        folder = self._folder / f"redis-{port}"
        folder.mkdir()
        # A copy: Sentinel has a server write down whose replica it is.
        path = Path(shutil.copy(HERE / "redis.conf", folder))
        return Program(
            f"redis-{port}",
            ["redis-server", str(path), "--port", str(port), "--dir", str(folder)],
            self._folder,
        )

    def _sentinel(self, port: int) -> Program:
        folder = self._folder / f"sentinel-{port}"
        folder.mkdir()
        path = folder / "sentinel.conf"  # a Sentinel writes into it what it learns
        path.write_text(
            SENTINEL_CONF.format(port=port, folder=folder, master=MASTER, master_port=self.ports[0])
        )
        return Program(f"sentinel-{port}", ["redis-server", str(path), "--sentinel"], self._folder)

    async def start(self) -> None:
        """Start it all, and wait until a failover would succeed."""
        master, replica = self.ports
        await asyncio.gather(*(server.start() for server in self.servers.values()))
        for port in self.ports:
            await self.servers[port].until(lambda port=port: self._says(port, "PONG", "ping"))  # type: ignore[misc]
        await asked(replica, "replicaof", "127.0.0.1", str(master))
        await self._until(
            "state=online", master, "info", "replication"
        )  # Sentinels look at once, then seldom
        await asyncio.gather(*(sentinel.start() for sentinel in self.sentinels))
        await self.until_safe()

    async def until_safe(self) -> None:
        """Wait until the replica follows the master, and the Sentinels agree that they are enough."""
        await self._until("state=online", await self.master(), "info", "replication")
        for port in self.sentinel_ports:
            await self._until("OK 3 usable", port, "sentinel", "ckquorum", MASTER)
            await self._until("slave", port, "sentinel", "replicas", MASTER)

    async def close(self) -> None:
        """Stop the Sentinels first, so that they do not mind the end of the servers."""
        await asyncio.gather(*(sentinel.kill() for sentinel in self.sentinels))
        await asyncio.gather(*(server.stop() for server in self.servers.values()))

    async def master(self) -> int:
        """Return the port of the master, as the Sentinels know it."""
        for port in self.sentinel_ports:
            told = (await asked(port, "sentinel", "get-master-addr-by-name", MASTER)).split()
            if len(told) == 2:
                return int(told[1])
        return self.ports[0]

    async def kill_master(self, *, behind_seconds: float) -> int:
        """Kill the master with `kill -9`, when the replica is so far behind; return its port."""
        port = await self.master()
        if behind_seconds:
            # Who is connected stays; the replica loses its connection, and does not know the password.
            await asked(port, "config", "set", "requirepass", "unknown")
            await asked(port, "-a", "unknown", "client", "kill", "type", "replica")
            await asyncio.sleep(behind_seconds)
        await self.servers[port].kill()
        return port

    async def until_promoted(self, before: int) -> int:
        """Wait until another one than `before` is the master; return its port."""
        (port,) = [port for port in self.ports if port != before]
        await self._until(str(port), self.sentinel_ports[0], "sentinel", "get-master-addr-by-name", MASTER)
        await self._until("role:master", port, "info", "replication")
        return port

    async def roles(self) -> list[str]:
        """Return what each server is, in words."""
        told = []
        for port in self.ports:
            fields = (await asked(port, "info", "replication")).split()
            role = next((field[5:] for field in fields if field.startswith("role:")), "down")
            told.append(f"127.0.0.1:{port} {'replica' if role == 'slave' else role}")
        return told

    async def _until(self, text: str, port: int, *command: str) -> None:
        if not await until(lambda: self._says(port, text, *command), START_SECONDS_MAX):
            raise SystemExit(f"Redis at port {port} does not say {text!r} to {' '.join(command)}")

    async def _says(self, port: int, text: str, *command: str) -> bool:
        return text in await asked(port, *command)


async def asked(port: int, *command: str) -> str:
    """Return what the Redis at a port answers; nothing if there is none."""
    program = shutil.which("redis-cli") or "redis-cli"
    process = await asyncio.create_subprocess_exec(
        program, "-p", str(port), *command, stdout=PIPE, stderr=DEVNULL
    )
    told, _ = await process.communicate()
    return told.decode(errors="replace")
