"""Calls of the server API at several nodes: what is not answered by one is asked of the next."""

import itertools
import json
import time
from collections.abc import Sequence
from random import Random
from typing import Any

import aiohttp

from gapless.server.clock import LoopClock
from gapless.server.parting import pause
from tests.faults.cluster.network import Network
from tests.faults.cluster.subscriber import Place
from tests.program import API_KEY

__all__ = ["ANSWER_SECONDS", "PATIENCE_SECONDS", "UNKNOWN", "Api", "Refused", "session"]

ANSWER_SECONDS = 4
PATIENCE_SECONDS = 60
UNKNOWN = 1000  # OutcomeUnknown.number
AGAIN_MS = (5, 60)


def session(network: Network) -> aiohttp.ClientSession:
    """Return what callers may share: it has the API key, and waits for no answer for long."""
    timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
    headers = {"X-API-Key": API_KEY}
    return aiohttp.ClientSession(timeout=timeout, headers=headers, connector=network.connector())


class Refused(Exception):
    """The answer is an error that is no temporary one."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Api:
    """One caller."""

    def __init__(self, session: aiohttp.ClientSession, places: Sequence[Place], dice: Random) -> None:
        self._session = session
        self._places = itertools.cycle(places)
        self._at = next(self._places)
        self._dice = dice

    async def until_answered(self, method: str, request: dict[str, Any]) -> dict[str, Any]:
        """Ask until somebody answers: something that may be repeated.

        Raises:
            Refused: for good.
            TimeoutError: nobody does.
        """
        answer: dict[str, Any] = {}
        end = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < end:
            try:
                answer = await self._ask(method, request)
            except (OSError, aiohttp.ClientError, TimeoutError, json.JSONDecodeError):
                answer = {"error": {"code": 0, "temporary": True}}
            if "error" not in answer:
                result: dict[str, Any] = answer.get("result") or {}
                return result
            if not answer["error"].get("temporary") and answer["error"]["code"] != UNKNOWN:
                raise Refused(answer["error"]["code"])
            self._at = next(self._places)
            await pause(LoopClock(), self._dice.randint(*AGAIN_MS))
        raise TimeoutError(f"nobody answers {method}: {answer}")

    async def _ask(self, method: str, request: dict[str, Any]) -> dict[str, Any]:
        _, url = self._at
        async with self._session.post(f"{url}/api/{method}", json=request) as response:
            answer: dict[str, Any] = await response.json()
            return answer
