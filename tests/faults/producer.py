"""A producer that enqueues over HTTP, with a message id for each job, until it is told that it has it."""

import asyncio
from random import Random
from typing import Any

import aiohttp

from gapless.server.clock import LoopClock
from gapless.server.parting import pause
from tests.faults.handlers import QUEUE
from tests.faults.history import Sent
from tests.program import API_KEY

__all__ = ["Producer"]

KEYS = 3
KINDS = {"good": 85, "shaky": 10, "doomed": 3, "rejected": 2}
REPEATS = 0.05
PAUSE_MS = 20
REQUEST_SECONDS_MAX = 5


class Producer:
    """Enqueues one job after the other."""

    def __init__(self, name: str, api_url: str, dice: Random, *, work_ms: int) -> None:
        self.retries = 0
        self._name = name
        self._api_url = api_url
        self._dice = dice
        self._work_ms = work_ms
        self._enqueued: list[tuple[Sent, dict[str, Any]]] = []
        self._ended = False

    @property
    def sent(self) -> list[Sent]:
        """What it knows the server to have, in its order."""
        return [sent for sent, _ in self._enqueued]

    def end(self) -> None:
        """Enqueue no further job after the one at hand."""
        self._ended = True

    async def run(self, gate: asyncio.Event) -> None:
        """Enqueue while `gate` is open, until the end."""
        timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS_MAX)
        async with aiohttp.ClientSession(headers={"X-API-Key": API_KEY}, timeout=timeout) as session:
            while not self._ended:
                await gate.wait()
                await self._enqueue(session)

    async def _enqueue(self, session: aiohttp.ClientSession) -> None:
        dice = self._dice
        key = dice.choice([None, *(f"{self._name}-{number}" for number in range(KEYS))])
        [kind] = dice.choices(list(KINDS), list(KINDS.values()))
        sent = Sent(f"{self._name}-{len(self._enqueued)}", key, kind)
        job = {
            "queue": QUEUE,
            "key": key,
            "message_id": sent.task,
            "data": {"name": sent.task, "kind": kind, "work_ms": dice.randrange(self._work_ms)},
        }
        while not await self._tried(session, sent, job):
            self.retries += 1
            await pause(LoopClock(), PAUSE_MS)
        self._enqueued.append((sent, job))
        if dice.random() < REPEATS:
            await self._tried(session, *dice.choice(self._enqueued))

    async def _tried(self, session: aiohttp.ClientSession, sent: Sent, job: dict[str, Any]) -> bool:
        try:
            async with session.post(f"{self._api_url}/queue/enqueue", json={"jobs": [job]}) as response:
                answer = await response.json()
        except (aiohttp.ClientError, TimeoutError):
            return False
        if "error" in answer:
            assert answer["error"]["temporary"], answer
            return False
        sent.ids.add(answer["result"]["jobs"][0]["result"]["id"])
        return True
