"""`python -m tests.faults.kill_processes --rounds N`: several processes at one port; one is killed each time.

By turns it is the one that owns the file and one that joined it. Clients of the others stay connected, those
of the dead one come back by themselves, and all of them are given everything.
"""

import argparse
import asyncio
import logging
import os
import random
import signal
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import cent
import psutil

from tests.faults import kill
from tests.faults.clients import Subscriber
from tests.faults.ledger import CHANNELS
from tests.program import Program

PROCESSES = 3
CONFIG = {"http_server": {"workers": PROCESSES}, "log": {"level": "info"}}
POLL_SECONDS = 0.02


class Processes:
    """The processes of a server, seen from outside."""

    def __init__(self, program: Program) -> None:
        self._program = program

    def ready(self) -> set[int]:
        """Return those that listen on the port."""
        port = self._program.port
        return {
            child.pid
            for child in psutil.Process(self._program.pid).children()
            if any(
                one.status == psutil.CONN_LISTEN and one.laddr.port == port
                for one in child.net_connections("tcp4")
            )
        }

    def owner(self) -> int:
        """Return the one that the witness names."""
        fields = (self._program.folder / "gapless.db.witness").read_bytes().split()
        return int(fields[3])

    def serves(self, pid: int, ports: set[int]) -> set[int]:
        """Return which of these ports of clients are connected to a process."""
        found = psutil.Process(pid).net_connections("tcp4")
        return {one.raddr[1] for one in found if len(one.raddr)} & ports

    async def all_ready(self, but: set[int]) -> set[int]:
        """Wait until all of them listen, and none of `but` is there."""
        async with asyncio.timeout(kill.PATIENCE_SECONDS):
            while True:
                try:
                    ready = self.ready()
                except psutil.Error:  # one ended while it was looked at
                    ready = set()
                if len(ready) == PROCESSES and not ready & but:
                    return ready
                await _moment()


async def _moment() -> None:
    """Let other processes do something."""
    await asyncio.to_thread(threading.Event().wait, POLL_SECONDS)


class Ordeal(kill.Ordeal):
    """One server of several processes, and what goes on around it."""

    def __init__(self, program: Program, dice: random.Random) -> None:
        super().__init__(program, dice)
        self.processes = Processes(program)
        self.killed: Counter[str] = Counter()
        self.stayed = 0

    async def _start(self) -> None:
        await super()._start()
        await self.processes.all_ready(set())

    async def _round(self, subscribers: list[Subscriber]) -> None:
        enough = self.ledger.acknowledged + self._dice.randint(*kill.ACKNOWLEDGED_PER_ROUND)
        await self._until(lambda: self.ledger.acknowledged >= enough)
        ready, owner = self.processes.ready(), self.processes.owner()
        self._check(owner in ready, f"{owner} owns the file, of {ready}")
        kind = "owner" if self.result.rounds % 2 == 0 else "joined"
        victim = owner if kind == "owner" else self._dice.choice(sorted(ready - {owner}))
        at = {_port(subscriber): subscriber for subscriber in subscribers}
        lost = self.processes.serves(victim, set(at))
        os.kill(victim, signal.SIGKILL)
        self.killed[kind] += 1
        self.result.rounds += 1
        await self.processes.all_ready({victim})
        await self._compare()
        ends = {channel: self.ledger.end(channel) for channel in CHANNELS}
        await self._until(lambda: all(subscriber.caught_up(ends) for subscriber in subscribers))
        for port, subscriber in at.items():
            if port not in lost:
                self.stayed += 1
                self._check(_port(subscriber) == port, f"a client of {ready - {victim}} was cut off")

    def _check(self, true: bool, finding: str) -> None:
        """Note what should not be."""
        if not true:
            self.ledger.false_alarm(finding)

    async def _compare(self) -> None:
        try:
            await super()._compare()
        except cent.CentNetworkError:  # it was connected to the one that was killed
            await super()._compare()


def _port(subscriber: Subscriber) -> int:
    """Return the port from which a subscriber is connected; 0: it is not."""
    connection = subscriber._client._conn if subscriber._client is not None else None
    return connection.local_address[1] if connection is not None else 0


def run(
    folder: Path,
    rounds: int,
    *,
    seed: int = 1,
    told: Callable[[kill.Result], None] = lambda result: None,
) -> Ordeal:
    """Run so many rounds with the store in `folder`."""

    async def ordeal() -> Ordeal:
        made = Ordeal(Program(folder, kill.CONFIG, CONFIG), random.Random(seed))
        await made.run(rounds, told)
        return made

    return asyncio.run(ordeal())


def main() -> int:
    """Run from the command line; 1 if anything was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.kill_processes", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    logging.getLogger("asyncio").setLevel(logging.ERROR)  # it tells of each write to a lost connection

    def progress(result: object) -> None:
        print(result, flush=True)  # noqa: T201

    with tempfile.TemporaryDirectory() as folder:
        ordeal = run(Path(folder), options.rounds, seed=options.seed, told=progress)
    print(ordeal.result, dict(ordeal.killed), f"{ordeal.stayed} stayed connected")  # noqa: T201
    for finding in ordeal.ledger.findings:
        print(finding)  # noqa: T201
    return 1 if ordeal.ledger.findings else 0


if __name__ == "__main__":
    sys.exit(main())
