"""`python -m tests.faults.kill --rounds N`: kill -9 the server under load, again and again; look for losses.

Publishers note what was acknowledged, subscribers check every message, and after each restart the history is
read and held against both.
"""

import argparse
import asyncio
import logging
import random
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cent

from tests.faults.clients import Publisher, Subscriber, connected
from tests.faults.ledger import CHANNELS, Ledger
from tests.program import API_KEY, Program

CONFIG = {
    "log": {"level": "warn"},
    "client": {"allow_anonymous_connect_without_token": True, "channel_limit": len(CHANNELS)},
    "channel": {
        "namespaces": [
            {
                "name": "kept",
                "history_size": 100_000_000,
                "history_ttl": "24h",
                "force_recovery": True,
                **{
                    f"allow_{right}_for_{whom}": True
                    for right in ("subscribe", "publish")
                    for whom in ("client", "anonymous")
                },
            }
        ]
    },
    "store": {"durability": "process"},
}
KEYED, UNKEYED, OVER_WEBSOCKET, SUBSCRIBERS = 3, 2, 2, 4
ACKNOWLEDGED_PER_ROUND = (20, 300)
LOOP_TURNS_MAX = 200
PAGE = 1_000
PATIENCE_SECONDS = 30


@dataclass
class Result:
    """What many rounds came to."""

    rounds: int = 0
    seconds: float = 0
    ledger: Ledger = field(default_factory=Ledger)

    def __str__(self) -> str:
        ledger = self.ledger
        return (
            f"{self.rounds:,} rounds of kill -9 in {self.seconds:.1f} s "
            f"({1000 * self.seconds / max(1, self.rounds):.0f} ms each): "
            f"{ledger.acknowledged:,} acknowledged, {ledger.lost:,} lost, {ledger.doubled:,} doubled, "
            f"{ledger.disagreeing:,} moved or changed, {ledger.gaps:,} gaps and {ledger.false_alarms:,} "
            f"false alarms at subscribers; {ledger.retries:,} retries, {ledger.unknown:,} unknown, "
            f"{ledger.recoveries:,} recoveries"
        )


class Ordeal:
    """One server, and what goes on around it."""

    def __init__(self, program: Program, dice: random.Random) -> None:
        self.program = program
        self.result = Result()
        self.ledger = self.result.ledger
        self._dice = dice
        self._up = asyncio.Event()
        self._api = cent.AsyncClient(program.api_url, API_KEY, timeout=PATIENCE_SECONDS)
        self._read: dict[str, cent.StreamPosition] = {}
        self._publishing: list[asyncio.Task[None]] = []

    async def run(self, rounds: int, told: Callable[[Result], None]) -> Result:
        """Kill the server `rounds` times; stop early when something was found."""
        began = time.monotonic()
        await self._start()
        subscribers = [Subscriber(self.ledger, binary=n % 2 == 1) for n in range(SUBSCRIBERS)]
        try:
            for subscriber in subscribers:
                await subscriber.join(self.program.url)
            await self._until(lambda: all(subscriber.caught_up({}) for subscriber in subscribers))
            await self._begin_publishing()
            while self.result.rounds < rounds and not self.ledger.findings:
                await self._round(subscribers)
                self.result.seconds = time.monotonic() - began
                told(self.result)
            await self._end_publishing()
            await self._settle(subscribers)
        finally:
            await self._end_publishing()
            for subscriber in subscribers:
                await subscriber.leave()
            await self._api.close()
            self.program.close()
        self.result.seconds = time.monotonic() - began
        return self.result

    async def _start(self) -> None:
        await asyncio.to_thread(self.program.start)
        self._up.set()

    async def _round(self, subscribers: list[Subscriber]) -> None:
        enough = self.ledger.acknowledged + self._dice.randint(*ACKNOWLEDGED_PER_ROUND)
        await self._until(lambda: self.ledger.acknowledged >= enough)
        for _ in range(self._dice.randrange(LOOP_TURNS_MAX)):
            await asyncio.sleep(0)
        self._up.clear()
        recoveries = self.ledger.recoveries
        self.program.kill()
        self.result.rounds += 1
        await self._start()
        await self._compare()
        back = recoveries + len(subscribers) * len(CHANNELS)
        await self._until(lambda: self.ledger.recoveries >= back)

    async def _settle(self, subscribers: list[Subscriber]) -> None:
        """Everything has come to rest: nobody stays behind, and all is read again, from the beginning."""
        self._read.clear()
        self.ledger.read_again()
        await self._compare()
        ends = {channel: self.ledger.end(channel) for channel in CHANNELS}
        await self._until(lambda: all(subscriber.caught_up(ends) for subscriber in subscribers))

    async def _compare(self) -> None:
        """Read what is new in each channel, and hold it against what was acknowledged by now."""
        for channel in CHANNELS:
            expected = self.ledger.expected(channel)
            while True:
                since = self._read.get(channel)
                request = cent.HistoryRequest(channel=channel, limit=PAGE, since=since)
                try:
                    page = await self._api.history(request)
                except cent.CentApiResponseError as error:
                    self.ledger.false_alarm(f"the position {since} in {channel} was refused: {error}")
                    return
                for publication in page.publications:
                    self.ledger.found(channel, publication.offset, publication.data["id"])
                end = self.ledger.end(channel)
                self._read[channel] = cent.StreamPosition(offset=end, epoch=page.epoch)
                if len(page.publications) < PAGE:
                    break
            self.ledger.compare(channel, expected)

    # Load ---------------------------------------------------------------------------------

    async def _begin_publishing(self) -> None:
        loop = asyncio.get_running_loop()
        dice = [random.Random(self._dice.getrandbits(64)) for _ in range(KEYED + UNKEYED + OVER_WEBSOCKET)]
        publishers = [Publisher(f"p{n}", self.ledger, self._up, seeded) for n, seeded in enumerate(dice)]
        for publisher in publishers[:KEYED]:
            self._publishing.append(loop.create_task(publisher.over_http(self.program.api_url, keyed=True)))
        for publisher in publishers[KEYED:-OVER_WEBSOCKET]:
            self._publishing.append(loop.create_task(publisher.over_http(self.program.api_url, keyed=False)))
        for publisher in publishers[-OVER_WEBSOCKET:]:
            client = await connected(self.program.url)
            self._publishing.append(loop.create_task(publisher.over_websocket(client)))

    async def _end_publishing(self) -> None:
        while self._publishing:
            task = self._publishing.pop()
            task.cancel()
            await asyncio.wait([task])
            if not task.cancelled() and (error := task.exception()):
                raise error

    async def _until(self, true: Callable[[], bool]) -> None:
        """Wait for something, or for the first finding."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not true() and not self.ledger.findings:
                self.ledger.changed.clear()
                await self.ledger.changed.wait()
                for task in self._publishing:
                    if task.done():
                        task.result()


def run(
    folder: Path,
    rounds: int,
    *,
    seed: int = 1,
    store: str = "",
    told: Callable[[Result], None] = lambda result: None,
) -> Result:
    """Run so many rounds with the store in `folder`, or with `store` instead."""
    more: dict[str, Any] = {"store": {"url": store, "durability": "memory"}} if store else {}

    async def ordeal() -> Result:
        return await Ordeal(Program(folder, CONFIG, more), random.Random(seed)).run(rounds, told)

    return asyncio.run(ordeal())


def main() -> int:
    """Run from the command line; 1 if anything was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.kill", description=__doc__)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--store", default="", help="memory: shows that losses are found")
    options = parser.parse_args()
    logging.getLogger("asyncio").setLevel(
        logging.ERROR
    )  # it tells of each write to a connection that is lost

    def progress(result: Result) -> None:
        if result.rounds % 50 == 0:
            print(result, flush=True)  # noqa: T201

    with tempfile.TemporaryDirectory() as folder:
        result = run(Path(folder), options.rounds, seed=options.seed, store=options.store, told=progress)
    print(result)  # noqa: T201
    for finding in result.ledger.findings:
        print(finding)  # noqa: T201
    return 1 if result.ledger.findings else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("\ninterrupted")
