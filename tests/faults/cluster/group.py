"""A stream that members of a group read across nodes, and what they write down."""

import asyncio
import itertools
import time
from collections.abc import Iterator, Sequence
from random import Random
from typing import Any

import aiohttp

from gapless.core.fences import fence_number
from gapless.server.clock import LoopClock
from gapless.server.parting import pause
from tests.faults.cluster.calling import PATIENCE_SECONDS, Api, Refused
from tests.faults.cluster.events import Recorder
from tests.faults.cluster.subscriber import Place
from tests.faults.group_history import Group, findings
from tests.faults.records import Line

__all__ = ["Readers"]

STREAM, GROUP, PARTITIONS = "orders", "readers", 2
MEMBERS = 2
SESSION_MS = 3_000
PAUSE_MS = 60
BATCH = 3


class Readers:
    """A producer, and members that hold the stream's partitions between them."""

    def __init__(
        self, session: aiohttp.ClientSession, places: Sequence[Place], dice: Random, record: Recorder
    ) -> None:
        self.lines: list[Line] = []
        self.ends: dict[str, int] = {}
        self.producing = False
        self._session = session
        self._record = record
        self._places = places
        self._dice = dice

    def running(self, gate: asyncio.Event) -> Iterator[Any]:
        """Return what is to run."""
        yield self._produce(gate)
        for number in range(MEMBERS):
            yield _Member(self, self._api(number), f"m{number}").run()

    @property
    def rewound(self) -> int:
        """Return how often the store was rewound."""
        return self._record.counts["rewound"]

    def _api(self, turn: int) -> Api:
        turn %= len(self._places)
        places = [*self._places[turn:], *self._places[:turn]]
        return Api(self._session, places, Random(self._dice.getrandbits(64)))

    async def declare(self) -> None:
        """Make the stream. What a lost one has left of its group holds that up until its sessions end.

        Raises:
            Refused: it cannot be made any more.
        """
        api, end = self._api(0), time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                return await self._declare(api)
            except Refused:
                if time.monotonic() > end:
                    raise
            await pause(LoopClock(), PAUSE_MS)

    async def _declare(self, api: Api) -> None:
        options = {"partitions": PARTITIONS}
        await api.until_answered("stream/declare", {"stream": STREAM, "options": options})

    async def _declare_again(self, api: Api) -> None:
        try:
            await self._declare(api)
        except Refused:  # it is tried again with the next messages
            pass

    async def _produce(self, gate: asyncio.Event) -> None:
        api = self._api(1)
        for number in itertools.count(1):
            self.producing = False
            await gate.wait()
            self.producing = True
            messages = [
                {"message_id": f"o{number}-{each}", "data": {"id": f"o{number}-{each}"}}
                for each in range(BATCH)
            ]
            try:
                await api.until_answered("stream/append", {"stream": STREAM, "messages": messages})
            except Refused:  # the store was rewound, and with it the stream
                await self._declare_again(api)
            await pause(LoopClock(), self._dice.randint(0, PAUSE_MS))

    async def lag(self) -> int:
        """Return how far the group is behind, and note where the partitions end."""
        api = self._api(0)
        try:
            told = await api.until_answered("stream/lag", {"source": STREAM, "group": GROUP})
        except Refused:  # the store was rewound, and with it the group
            return 0
        self.ends = {str(each["partition"]): each["last"] for each in told["partitions"]}
        lag: int = told["lag"]
        return lag

    def findings(self) -> list[str]:
        """Return what is wrong, unless the store was rewound: then what is gone is not handled."""
        found = [] if self.rewound else findings(Group(self.ends, self.lines))
        return [f"group: {what}" for what in found]


class _Member:
    def __init__(self, readers: Readers, api: Api, name: str) -> None:
        self._lines = readers.lines
        self._readers = readers
        self._api = api
        self._who = {"source": STREAM, "group": GROUP, "member": name}
        self._held: dict[int, tuple[str, dict[str, Any]]] = {}  # by partition: fence, position

    async def run(self) -> None:
        while True:
            try:
                await self._round()
            except Refused:  # no such stream or group, for now; or what was read is lost
                self._held = {}
                if self._readers.rewound:
                    await self._seek()
                await pause(LoopClock(), PAUSE_MS)

    async def _seek(self) -> None:
        try:
            await self._api.until_answered(
                "stream/seek", {"source": STREAM, "group": GROUP, "to": "earliest"}
            )
        except Refused:
            pass

    async def _round(self) -> None:
        told = await self._api.until_answered("stream/heartbeat", {**self._who, "session_ms": SESSION_MS})
        held = {}
        for each in told["held"]:
            fence, position = self._held.get(each["partition"], ("", each["position"]))
            held[each["partition"]] = (
                each["fence"],
                position if fence == each["fence"] else each["position"],
            )
        self._held = held
        if not held:
            await pause(LoopClock(), PAUSE_MS)
            return
        partitions = [{"partition": number, "after": after} for number, (_, after) in held.items()]
        request = {**self._who, "partitions": partitions, "limit": 20, "wait_ms": 300, "on_lost": "oldest"}
        for fetched in (await self._api.until_answered("stream/fetch", request))["partitions"]:
            number = fetched.get("partition", 0)
            if fetched.get("page") is None:
                del self._held[number]
            elif fetched["page"]["messages"]:
                await self._handle(number, fetched["page"])

    async def _handle(self, partition: int, page: dict[str, Any]) -> None:
        fence, _ = self._held[partition]
        subject, number = str(partition), fence_number(fence)
        for message in page["messages"]:
            self._lines.append(Line("start", subject, number, offset=message["offset"]))
            self._lines.append(Line("handled", subject, number, offset=message["offset"]))
        after = {"epoch": page["epoch"], "offset": page["through"]}
        commit = {"partition": partition, "fence": fence, **after}
        told = await self._api.until_answered("stream/commit", {**self._who, "commits": [commit]})
        error = told["commits"][0].get("error")
        what = "committed" if error is None else "refused"
        self._lines.append(Line(what, subject, number, offset=page["through"]))
        if error is None:
            self._held[partition] = (fence, after)
        else:
            del self._held[partition]
