"""Nodes on one store, each behind proxies, and what keeps them running."""

import asyncio
import os
import shutil
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import psutil

from gapless.server.clock import LoopClock
from gapless.server.parting import pause
from gapless.testing.proxy import Proxy
from tests.faults.cluster.clock import Shim
from tests.faults.cluster.events import Recorder
from tests.faults.cluster.network import Network
from tests.faults.cluster.stores import Shared
from tests.faults.cluster.subscriber import Place
from tests.program import Program

__all__ = ["CONFIG", "Node", "Nodes"]

OPEN = {
    f"allow_{right}_for_{whom}": True
    for right in ("subscribe", "publish", "history")
    for whom in ("client", "anonymous")
}
KEPT = {"history_size": 1_000_000, "history_ttl": "24h", "force_recovery": True}
CONFIG: dict[str, Any] = {
    "log": {"level": "info"},
    "client": {
        "allow_anonymous_connect_without_token": True,
        "ping_interval": "1s",
        "pong_timeout": "900ms",
    },
    "channel": {
        "namespaces": [
            {"name": "kept", **KEPT, **OPEN},
            {"name": "short", **KEPT, "history_size": 30, **OPEN},
            {"name": "secret", **KEPT},
        ]
    },
    "shutdown": {"timeout": "5s"},
}
LOOK_MS = 20
START_SECONDS = 60


class Node:
    """One `gapless serve`, reached through a proxy; if its store is a server, through another."""

    def __init__(self, name: str, program: Program, door: Proxy, way: Proxy | None, shim: Shim) -> None:
        self.name = name
        self.program = program
        self.door = door
        self.way = way
        self.shim = shim
        self.up = False  # it is to run
        self._said = 0  # of its output: what it had printed before it was started

    async def place(self, host: str) -> Place:
        """Let its proxy listen, and return where it is reached."""
        return self.name, f"http://{host}:{await self.door.listen(host, 0)}"

    def launch(self) -> None:
        """Start it, and do not wait."""
        self.up = True
        self._said = len(self.program.output())
        self.program.launch(before=self.shim.before)

    @property
    def ended(self) -> bool:
        """Tell whether it is to run, and does not."""
        process = self.program.process
        return self.up and process is not None and process.poll() is not None

    def said(self) -> str:
        """Return what it has printed since it was started."""
        return self.program.output()[self._said :]

    def pause(self) -> None:
        """Let it stand still."""
        os.kill(self.program.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        os.kill(self.program.pid, signal.SIGCONT)

    def processes(self) -> list[psutil.Process]:
        """Return those that share its port, where there are several."""
        return psutil.Process(self.program.pid).children()


class _Instead(Program):
    """A program that another command may stand for, with the same arguments."""

    instead: Sequence[str] = ()

    def command(self) -> list[str]:
        own, *arguments = super().command()
        return [*(self.instead or [own]), *arguments]


class Nodes:
    """All of them. One that ends by itself is started again; that is a finding, once it had served."""

    def __init__(self, folder: Path, count: int, record: Recorder, dice: Random, network: Network) -> None:
        self.network = network
        self.all: list[Node] = []
        self.ended: list[str] = []
        self._folder = folder
        self._count = count
        self._record = record
        self._dice = dice

    async def open(self, store: Shared, command: Sequence[str]) -> list[Place]:
        """Make the nodes on a store; `command` stands in the place of the program, if there is any."""
        places = []
        for number in range(1, self._count + 1):
            folder = self._folder / f"n{number}"
            folder.mkdir()
            way, url = None, store.url
            if store.server is not None:
                way = Proxy(store.server, LoopClock(), Random(self._dice.getrandbits(64)))
                url = url.format(port=await way.listen("127.0.0.1", 0))
            program = _Instead(folder, CONFIG, store.config, {"store": {"url": url}})
            program.instead = command
            door = Proxy(("127.0.0.1", program.port), LoopClock(), Random(self._dice.getrandbits(64)))
            node = Node(f"n{number}", program, door, way, Shim(folder))
            self.all.append(node)
            places.append(await node.place(self.network.host(number)))
        return places

    async def start(self) -> None:
        """Start all of them, and wait until they accept connections."""
        for node in self.all:
            await asyncio.to_thread(node.program.start, before=node.shim.before)
            node.up = True

    async def supervise(self) -> None:
        """Start again what has ended, until cancelled."""
        while True:
            for node in self.all:
                if node.ended:
                    self._record("", "killed", node=node.name)
                    if "listening" in node.said():  # else it found no store to start on
                        self.ended.append(f"{node.name} ended by itself: {node.said()[-1_000:]}")
                    node.launch()
            await pause(LoopClock(), LOOK_MS)

    def kill(self, node: Node) -> None:
        """End one with -9."""
        node.up = False
        self._record("", "killed", node=node.name)
        node.program.kill()

    async def restart(self, node: Node) -> None:
        """Let one end as it should, once it is there, and start it again.

        Raises:
            TimeoutError: it does not come.
        """
        end = time.monotonic() + START_SECONDS
        while not node.program.accepts():
            if time.monotonic() > end:
                raise TimeoutError(f"{node.name} does not start: {node.said()[-1_000:]}")
            await pause(LoopClock(), LOOK_MS)
        node.up = False
        code = await asyncio.to_thread(node.program.stop)
        self._record("", "killed", node=node.name)  # what it knew is gone all the same
        if code != 0:
            self.ended.append(f"{node.name} ended with {code}: {node.said()[-1_000:]}")
        node.launch()

    async def close(self) -> None:
        """End all, without ceremony."""
        for node in self.all:
            node.up = False
            node.program.close()
            await node.door.close()
            if node.way is not None:
                await node.way.close()

    def keep(self, folder: Path) -> None:
        """Copy what they have printed."""
        for node in self.all:
            output = node.program.folder / "output"
            if output.exists():
                shutil.copy(output, folder / f"{node.name}.log")
