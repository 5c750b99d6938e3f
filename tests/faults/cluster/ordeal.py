"""An ordeal: nodes, a store and clients, what befalls them, and what came of it."""

import asyncio
import itertools
import time
import traceback
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from gapless.server.clock import LoopClock
from gapless.server.parting import pause
from tests.faults.cluster.calling import Api, session
from tests.faults.cluster.checkers import findings, gone
from tests.faults.cluster.events import History, Recorder
from tests.faults.cluster.group import Readers
from tests.faults.cluster.jobs import Jobs
from tests.faults.cluster.nemesis import BESIDE, Nemesis
from tests.faults.cluster.network import Loopback, network
from tests.faults.cluster.nodes import Node, Nodes
from tests.faults.cluster.publisher import HttpPublisher, Publisher, SocketPublisher
from tests.faults.cluster.reading import pages
from tests.faults.cluster.stores import Shared
from tests.faults.cluster.subscriber import Place, Subscriber

__all__ = ["Ordeal", "Result", "Scene"]

KEPT = ["kept:a", "kept:b", "kept:c"]
CHANNELS = [*KEPT, "short:a"]
SECRET = "secret:a"
SUBSCRIBERS = 3
BETWEEN_MS = (30, 300)
AWAY_MS = (300, 3_000)
POLL_MS = 10
PATIENCE_SECONDS = 30
MIXED = 0.35
FINDINGS_MAX = 40


@dataclass(frozen=True)
class Scene:
    """What an ordeal takes place on: the store is made in a folder."""

    name: str
    nodes: int
    store: Callable[[Path], Shared]
    faults: Mapping[str, int]
    jobs: bool = True
    command: tuple[str, ...] = ()  # what nodes are, in the place of `gapless`
    patience_seconds: float = PATIENCE_SECONDS


@dataclass
class Result:
    """What it came to."""

    scene: str
    seed: int
    seconds: float = 0
    rounds: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    events: Counter[str] = field(default_factory=Counter)
    gone: int = 0  # acknowledged, and lost by a store that was rewound; all were told
    findings: list[str] = field(default_factory=list)
    kept: Path | None = None


class Ordeal:
    """One run, in a folder of its own."""

    def __init__(self, folder: Path, scene: Scene, seed: int) -> None:
        self.result = Result(scene.name, seed)
        self.record = Recorder()
        self.store = scene.store(folder)
        self._scene = scene
        self._dice = Random(seed)
        self._network = network(scene.nodes)
        self.nodes = Nodes(folder, scene.nodes, self.record, self._more_dice(), self._network)
        self._gate = asyncio.Event()
        self._publishers: list[Publisher] = []
        self._subscribers: list[Subscriber] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._rewound = 0
        self._jobs: Jobs | None = None
        self._readers: Readers | None = None

    def _more_dice(self) -> Random:
        return Random(self._dice.getrandbits(64))

    async def run(self, seconds: float, script: Sequence[str] = ()) -> Result:
        """Let faults happen for so long, heal all, wait until everybody has caught up, and compare.

        With a `script` it is these, one after the other.
        """
        began = time.monotonic()
        async with AsyncExitStack() as stack:
            self._session = await stack.enter_async_context(session(self._network))
            self._here = await stack.enter_async_context(session(Loopback()))
            stack.push_async_callback(self._close)
            try:
                await self._open()
                for name in script:
                    await self._round([name])
                while not script and time.monotonic() - began < seconds:
                    await self._round(self._chosen())
                await self._settle()
            except TimeoutError as error:
                self.result.findings.append(f"stuck: {error}")
            except Exception:  # what happened until then is kept with it
                self.result.findings.append(f"broken: {traceback.format_exc()}")
            self._compare()
        self.result.seconds = time.monotonic() - began
        return self.result

    # The scene ----------------------------------------------------------------------------

    async def _open(self) -> None:
        await asyncio.to_thread(self.store.start)
        places = await self.nodes.open(self.store, self._scene.command)
        await self.nodes.start()
        self._begin(self.nodes.supervise())
        for number in range(SUBSCRIBERS):
            name = f"s{number}"
            self._subscribers.append(self._subscriber(name, CHANNELS, _turned(places, number)))
        self.record("stranger", "stranger", channel=SECRET)
        stranger = self._subscriber("stranger", [SECRET], places)
        stranger.positions[SECRET] = ("", 0)
        self._sleeper = self._subscriber("sleeper", CHANNELS, places)
        self._sleeper.away_ms = AWAY_MS
        for subscriber in [*self._subscribers, self._sleeper, stranger]:
            self._begin(subscriber.run())
        await self._until(lambda: all(len(each.live) == len(CHANNELS) for each in self._subscribers), "start")
        self._publish(places)
        if self._scene.jobs:
            self._jobs = Jobs(self._session, places, self._more_dice(), self.record)
            self._readers = Readers(self._session, places, self._more_dice(), self.record)
            for load in (self._jobs, self._readers):
                await load.declare()
                for running in load.running(self._gate):
                    self._begin(running)
        await self._progress()

    def _subscriber(self, name: str, channels: Sequence[str], places: Sequence[Place]) -> Subscriber:
        return Subscriber(name, channels, places, self.record, self._more_dice(), self._network)

    def _publish(self, places: Sequence[Place]) -> None:
        names = (f"p{number}" for number in itertools.count())
        turns = itertools.count()
        for keyed in (True, True, False):
            self._publishers.append(
                HttpPublisher(
                    next(names), CHANNELS, _turned(places, next(turns)), self.record, self._more_dice(),
                    self._network, keyed=keyed, pause_ms=30,
                )
            )  # fmt: skip
        for _ in range(2):
            self._publishers.append(
                SocketPublisher(
                    next(names), CHANNELS, _turned(places, next(turns)), self.record, self._more_dice(),
                    self._network, pause_ms=60,
                )
            )  # fmt: skip
        self._gate.set()
        for publisher in self._publishers:
            self._begin(publisher.run(self._gate))

    def _begin(self, running: Any) -> None:
        self._tasks.append(asyncio.get_running_loop().create_task(running))

    async def _close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.nodes.close()
        await asyncio.to_thread(self.store.close)
        self._network.close()

    # Rounds -------------------------------------------------------------------------------

    def _chosen(self) -> list[str]:
        weights = self._scene.faults
        names = self._dice.choices(list(weights), list(weights.values()))
        if self._dice.random() < MIXED:
            names.append(self._dice.choice(BESIDE))
        return names

    async def _round(self, names: list[str]) -> None:
        """Let faults happen at the same time, and wait until all goes on."""
        nemesis = Nemesis(self.nodes, self.store, self.record, self._dice, self._progress)
        self.result.faults.update(names)
        await asyncio.gather(*(nemesis.strike(name) for name in names))
        self.result.rounds += 1
        await self._go_on("+".join(names))
        if self.record.counts["rewound"] > self._rewound:
            self._rewound = self.record.counts["rewound"]
            await self._look_what_stands()
        await pause(LoopClock(), self._dice.randint(*BETWEEN_MS))

    async def _go_on(self, after: str) -> None:
        """Every publisher is acknowledged something, and every subscriber follows every channel."""
        before = [publisher.acknowledged for publisher in self._publishers]

        def all_go_on() -> bool:
            acked = all(
                publisher.acknowledged > count
                for publisher, count in zip(self._publishers, before, strict=True)
            )
            return acked and all(len(each.live) == len(CHANNELS) for each in self._subscribers)

        await self._until(all_go_on, after)

    async def _progress(self) -> None:
        before = self._acknowledged()
        await self._until(lambda: self._acknowledged() > before + 20, "progress")

    def _acknowledged(self) -> int:
        return sum(publisher.acknowledged for publisher in self._publishers)

    async def _until(self, true: Callable[[], bool], what: str) -> None:
        """Wait for something that goes on in other processes."""
        end = time.monotonic() + self._scene.patience_seconds
        while not true():
            for task in self._tasks:
                if task.done():
                    task.result()
            if time.monotonic() > end:
                raise TimeoutError(f"after {what} it does not go on: {self._standing()}")
            await pause(LoopClock(), POLL_MS)

    def _standing(self) -> str:
        acked = {f"p{number}": publisher.acknowledged for number, publisher in enumerate(self._publishers)}
        return f"{acked}, " + ", ".join(f"{each.name} {sorted(each.live)}" for each in self._subscribers)

    # The end ------------------------------------------------------------------------------

    async def _settle(self) -> None:
        """Publish no more; everybody catches up with what is held, and that is read from each node."""
        self._gate.clear()
        await self._until(
            lambda: not any(publisher.under_way for publisher in self._publishers), "publishing"
        )
        await self._until(lambda: all(node.program.accepts() for node in self.nodes.all), "starting")
        ends = [await self._heads(node) for node in self.nodes.all]
        if any(end != ends[0] for end in ends):
            self.result.findings.append(f"above_end: the nodes differ in where channels end: {ends}")
        self._sleeper.stay()
        self._subscribers.append(self._sleeper)
        await self._catch_up(ends[0])
        for channel in CHANNELS:
            await self._read(self.nodes.all[0].program.port, channel)
        if self._jobs is not None and self._readers is not None:
            await self._finish(self._jobs, self._readers)

    async def _finish(self, jobs: Jobs, readers: Readers) -> None:
        """Wait until all jobs are done, and all messages handled; a stream that was lost can be had again."""
        await readers.declare()
        await self._until(lambda: not (jobs.producing or readers.producing), "producing")
        for left, what in ((jobs.unfinished, "jobs"), (readers.lag, "messages of the group")):
            end = time.monotonic() + PATIENCE_SECONDS
            while count := await left():
                if time.monotonic() > end:
                    raise TimeoutError(f"{count} {what} are left")
                await pause(LoopClock(), POLL_MS)
        await jobs.read()

    async def _catch_up(self, ends: Mapping[str, tuple[str, int]]) -> None:
        try:
            await self._until(lambda: all(each.caught_up(ends) for each in self._subscribers), "healing")
        except TimeoutError:
            for each in self._subscribers:
                if not each.caught_up(ends):
                    self.result.findings.append(f"unseen: {each.name} stands at {each.positions} of {ends}")

    async def _heads(self, node: Node) -> dict[str, tuple[str, int]]:
        api = Api(self._here, [(node.name, node.program.api_url.removesuffix("/api"))], self._dice)
        heads = {}
        for channel in CHANNELS:
            asked = len(self.record.events)
            page = await api.until_answered("history", {"channel": channel, "limit": 0})
            heads[channel] = (page["epoch"], page["offset"])
            self.record("", "head", channel=channel, position=heads[channel], number=asked)
        return heads

    async def _read(self, port: int, channel: str) -> None:
        """Read all that a channel holds, with its times."""
        async for page in pages(self._here, port, channel):
            for item in page["items"]:
                at = (page["epoch"], item["offset"])
                self.record("", "held", item["data"]["id"], channel, at, time_ms=item["time"])
        self.record("", "read", channel=channel, position=(page["epoch"], page["head"]))

    async def _look_what_stands(self) -> None:
        """Note what is left after the store was rewound."""
        port = self.nodes.all[0].program.port
        for channel in CHANNELS:
            ids = [
                item["data"]["id"]
                async for page in pages(self._here, port, channel)
                for item in page["items"]
            ]
            self.record("", "stood", channel=channel, ids=tuple(ids))

    def _compare(self) -> None:
        history = History(self.record.events)
        result = self.result
        result.events = Counter(self.record.counts)
        result.events["recovered"] = sum(event.recovered for event in self.record.events)
        result.findings += self.nodes.ended + findings(history)
        if self._jobs is not None and self._readers is not None:
            result.findings += [*self._jobs.findings(), *self._readers.findings()]
            result.events["jobs"] = self._jobs.settled
            result.events["handled"] = sum(line.what == "handled" for line in self._readers.lines)
        if history.epoch:
            result.gone = sum(publish.channel in KEPT for publish in gone(history))
        del result.findings[FINDINGS_MAX:]


def _turned(places: Sequence[Place], by: int) -> list[Place]:
    """Return them all, beginning with another one."""
    start = by % len(places)
    return [*places[start:], *places[:start]]
