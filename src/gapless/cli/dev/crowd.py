"""The crowd of the demo: friends who talk while somebody looks, each message published to both channels."""

import logging
from collections.abc import Awaitable, Callable
from itertools import cycle, islice
from random import Random
from typing import Any, Final

from gapless.cli.dev.conversation import CONVERSATION, Line
from gapless.core.errors import GaplessError
from gapless.ports import Clock
from gapless.server.parting import pause

__all__ = ["Crowd"]

LOOK_MS: Final = 250
# So long the crowd talks on for those who are in the tunnel: there they follow nothing.
LINGER_MS: Final = 180_000
# Between two messages: at least, and up to so much more. That is 1.4 a second on average.
GAP_MS: Final = 300
GAP_MORE_MS: Final = 800

log: Final = logging.getLogger("gapless.demo")


class Crowd:
    """Talks by `say` while `is_heard`, and for a while after; what cannot be said now is skipped."""

    def __init__(
        self,
        say: Callable[[dict[str, Any]], Awaitable[object]],
        is_heard: Callable[[], bool],
        clock: Clock,
        random: Random,
    ) -> None:
        self._say = say
        self._is_heard = is_heard
        self._clock = clock
        self._random = random

    async def run(self) -> None:
        """Talk until cancelled."""
        begin = self._random.randrange(len(CONVERSATION))
        lines = islice(cycle(CONVERSATION), begin, None)
        until_ms = 0
        while True:
            now_ms = self._clock.now_ms()
            if self._is_heard():
                until_ms = now_ms + LINGER_MS
            if now_ms >= until_ms:
                await pause(self._clock, LOOK_MS)
                continue
            await self._speak(next(lines))
            await pause(self._clock, GAP_MS + self._random.randrange(GAP_MORE_MS))

    async def _speak(self, line: Line) -> None:
        id = f"{self._random.getrandbits(64):016x}"
        try:
            await self._say({"id": id, "name": line.name, "text": line.text, "at": self._clock.now_ms()})
        except GaplessError as error:
            log.debug("the crowd was not heard: %s", error)
