"""Jobs across nodes: who enqueues, who claims and settles, and what is written down of it."""

import asyncio
import itertools
from collections.abc import Iterator, Sequence
from random import Random
from typing import Any

import aiohttp

from gapless.core.fences import fence_number
from gapless.server.clock import LoopClock
from gapless.server.parting import pause
from tests.faults import history
from tests.faults.cluster.calling import Api, Refused
from tests.faults.cluster.events import Recorder
from tests.faults.cluster.subscriber import Place
from tests.faults.history import Ended, History, Sent, ended_of
from tests.faults.records import Line

__all__ = ["Jobs", "fence_reused"]

QUEUE, ECHOES = "tasks", "echoes"
OPTIONS = {"lease_ms": 1_500, "result_ms": 3_600_000, "retry": {"attempts_max": 1_000, "delays_ms": [0]}}
KEYS = 3
WORKERS = 2
PAUSE_MS = 40
WAITING_MAX = 100
LATE = 0.01
LATE_MS = 2_000
PAGE = 500
NO_JOB, STALE = 1005, 1006


class Jobs:
    """All of it. `starts` are the fences that were given, with how often the store had been rewound then."""

    def __init__(
        self, session: aiohttp.ClientSession, places: Sequence[Place], dice: Random, record: Recorder
    ) -> None:
        self.sent: list[Sent] = []
        self.lines: list[Line] = []
        self.starts: list[tuple[int, int]] = []
        self.ended: list[Ended] = []
        self.emitted: list[str] = []
        self.settled = 0
        self.producing = False
        self._session = session
        self._record = record
        self._places = places
        self._dice = dice
        self._numbers = itertools.count(1)

    def running(self, gate: asyncio.Event) -> Iterator[Any]:
        """Return what is to run: a producer, while `gate` is open, and workers."""
        yield self._produce(gate)
        for number in range(WORKERS):
            yield self._work(f"w{number}")

    @property
    def rewound(self) -> int:
        """Return how often the store was rewound."""
        return self._record.counts["rewound"]

    def _api(self, turn: int) -> Api:
        turn %= len(self._places)
        places = [*self._places[turn:], *self._places[:turn]]
        return Api(self._session, places, Random(self._dice.getrandbits(64)))

    async def declare(self) -> None:
        """Make the queues."""
        api = self._api(0)
        for queue in (QUEUE, ECHOES):
            await api.until_answered("queue/declare", {"queue": queue, "options": OPTIONS})

    # Load ---------------------------------------------------------------------------------

    async def _produce(self, gate: asyncio.Event) -> None:
        api = self._api(0)
        while True:
            self.producing = False
            await gate.wait()
            if len(self.sent) - self.settled < WAITING_MAX:
                self.producing = True
                await self._enqueue(api)
            await pause(LoopClock(), self._dice.randint(0, PAUSE_MS))

    async def _enqueue(self, api: Api) -> None:
        task = f"t{next(self._numbers)}"
        key = self._dice.choice([None, *(f"k{number}" for number in range(KEYS))])
        job = {"queue": QUEUE, "key": key, "message_id": task, "data": {"name": task}}
        try:
            told = await api.until_answered("queue/enqueue", {"jobs": [job]})
        except Refused:  # the store was rewound, and with it the queue
            await api.until_answered("queue/declare", {"queue": QUEUE, "options": OPTIONS})
            await api.until_answered("queue/declare", {"queue": ECHOES, "options": OPTIONS})
            return
        self.sent.append(Sent(task, key, "good", {told["jobs"][0]["result"]["id"]}))

    async def _work(self, worker: str) -> None:
        api = self._api(1)
        for number in itertools.count(1):
            request = {
                "queue": QUEUE, "worker": worker, "limit": 2, "wait_ms": 500,
                "request": f"{worker}-{number}",
            }  # fmt: skip
            rewound = self.rewound
            try:
                claimed = await api.until_answered("queue/claim", request)
            except Refused:  # no such queue, for now
                await pause(LoopClock(), PAUSE_MS)
                continue
            for job in claimed["jobs"]:
                self.starts.append((rewound, fence_number(job["fence"])))
            for job in claimed["jobs"]:
                await self._handle(api, job)

    async def _handle(self, api: Api, job: dict[str, Any]) -> None:
        id, fence, task = job["id"], fence_number(job["fence"]), job["data"]["name"]
        self._line("start", id, fence, task=task, attempt=job["attempt"])
        late = self._dice.random() < LATE
        await pause(LoopClock(), LATE_MS if late else self._dice.randint(0, PAUSE_MS // 4))
        self._line("end", id, fence, task=task)
        emit = [{"enqueue": {"queue": ECHOES, "data": task}}]
        settlement = {"id": id, "fence": job["fence"], "deed": "ack", "result": fence, "emit": emit}
        told = await api.until_answered("queue/settle", {"settlements": [settlement]})
        [item] = told["settlements"]
        error = item.get("error")
        self._line("accepted" if error is None else "refused", id, fence, deed="ack")
        self.settled += error is None

    def _line(self, what: str, subject: str, fence: int, **more: Any) -> None:
        self.lines.append(Line(what, subject, fence, **more))

    # The end ------------------------------------------------------------------------------

    async def unfinished(self) -> int:
        """Return how many jobs are neither done nor dead."""
        api = self._api(0)
        [stats] = (await api.until_answered("queue/stats", {"queue": QUEUE}))["queues"]
        return sum(stats[count] for count in ("ready", "delayed", "leased"))

    async def read(self) -> None:
        """Read what has become of all jobs."""
        api = self._api(0)
        for state in ("done", "dead"):
            self.ended += [ended_of(job) for job in await self._browse(api, QUEUE, state)]
        self.emitted = [job["data"] for job in await self._browse(api, ECHOES, "waiting")]

    async def _browse(self, api: Api, queue: str, state: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        after = ""
        while True:
            request = {"queue": queue, "state": state, "after": after, "limit": PAGE}
            page = await api.until_answered("queue/browse", request)
            found += page["jobs"]
            after = page.get("next", "")
            if not after:
                return found

    def findings(self) -> list[str]:
        """Return what is wrong with them: all that can be, unless the store was rewound."""
        found = [f"fence_reused: {what}" for what in fence_reused(self.starts)]
        if not self.rewound:
            told = History(self.sent, self.lines, self.ended, self.emitted)
            found += [f"jobs: {what}" for what in history.findings(told)]
        return found


def fence_reused(starts: Sequence[tuple[int, int]]) -> Iterator[str]:
    """No fence is given twice, and none after the store was rewound lies below those before.

    `starts` are the numbers of fences, each with how often the store had been rewound when it was asked for.
    """
    given: set[int] = set()
    highest = [0, 0]  # before the latest rewinding, and in all
    rewound = 0
    for when, fence in starts:
        if when > rewound:
            rewound, highest[0] = when, highest[1]
        if fence in given:
            yield f"the fence {fence} was given twice"
        elif when == rewound and fence <= highest[0]:
            yield f"the fence {fence} was given after the store was rewound, and {highest[0]} before"
        given.add(fence)
        highest[1] = max(highest[1], fence)
