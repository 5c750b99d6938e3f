"""A bridge from Redis Pub/Sub: listens, maps, publishes; and what a person is told of it."""

import asyncio
from collections.abc import Callable, Sequence
from random import Random
from typing import Final

from msgspec import Struct

from gapless.bridges.forwarding import Counts, Forwarding, Post
from gapless.bridges.listening import Listener, Listening, Seeking
from gapless.bridges.mapping import Mapping
from gapless.core.errors import BadRequest
from gapless.ports import Clock
from gapless.server.parting import pause

__all__ = ["Bridge", "Plan"]

LOST: Final = "what was published there meanwhile did not come here: Redis Pub/Sub keeps nothing"


class Plan(Struct, frozen=True, kw_only=True):
    """What is bridged, and within which limits: what may wait, and how long a stop may take."""

    channels: Sequence[str]
    patterns: Sequence[str]
    mapping: Mapping
    waiting_bytes_max: int
    drain_ms: int


class Bridge:
    """Messages of one Redis, published to one server. `tell` hears what a person should know.

    `name` tells this bridge from all others: its messages are numbered under it, so that one that is
    published again is the same message.
    """

    def __init__(
        self,
        seeker: Seeking,
        post: Post,
        plan: Plan,
        tell: Callable[[str], object],
        clock: Clock,
        random: Random,
    ) -> None:
        self.counts = Counts()
        self.name = f"bridge-{random.getrandbits(64):016x}"
        self._plan = plan
        self._tell = tell
        self._clock = clock
        self._forwarding = Forwarding(
            post, self.counts, tell, clock, random, waiting_bytes_max=plan.waiting_bytes_max
        )
        listener = Listener(message=self._message, subscribed=self._subscribed, lost=self._lost)
        self._listening = Listening(seeker, plan.channels, plan.patterns, listener, clock, random)
        self._was_subscribed = False
        self._lost_ms: int | None = None

    async def run(self, asked: asyncio.Event) -> None:
        """Bridge until it is `asked` to stop; then publish what waits, within `drain_ms`.

        Raises:
            StoreRefused: Redis refuses the user, the password or a channel.
        """
        loop = asyncio.get_running_loop()
        listening = loop.create_task(self._listening.run())
        forwarding = loop.create_task(self._forwarding.run())
        stopping = loop.create_task(asked.wait())
        try:
            await asyncio.wait((listening, forwarding, stopping), return_when=asyncio.FIRST_COMPLETED)
            listening.cancel()
            await asyncio.wait((listening,))
            await self._drain(forwarding)
        finally:
            for task in (listening, forwarding, stopping):
                task.cancel()
        for task in (listening, forwarding):
            if task.done() and not task.cancelled():
                task.result()

    async def _drain(self, forwarding: "asyncio.Task[None]") -> None:
        loop = asyncio.get_running_loop()
        waits = [
            loop.create_task(self._forwarding.finished()),
            loop.create_task(pause(self._clock, self._plan.drain_ms)),
        ]
        await asyncio.wait((*waits, forwarding), return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()

    # What Redis tells ---------------------------------------------------------------------

    def _message(self, channel: bytes, payload: bytes) -> None:
        self.counts.received += 1
        try:
            command = self._plan.mapping.command(channel, payload, f"{self.name}-{self.counts.received}")
        except BadRequest as error:
            self._forwarding.refuse(channel.decode(errors="backslashreplace"), error)
        else:
            self._forwarding.put(command)

    def _subscribed(self) -> None:
        if self._lost_ms is not None:
            away_ms, self._lost_ms = self._clock.now_ms() - self._lost_ms, None
            lost = f"; {LOST}" if self._was_subscribed else ""
            self._tell(f"Redis answers again after {away_ms / 1000:.1f} s{lost}")
        if not self._was_subscribed:
            self._was_subscribed = True
            told = [
                f"{count} {what}{'s' if count > 1 else ''}" for count, what in self._subscriptions() if count
            ]
            self._tell(f"listening to {' and '.join(told)}")

    def _subscriptions(self) -> list[tuple[int, str]]:
        return [(len(self._plan.channels), "channel"), (len(self._plan.patterns), "pattern")]

    def _lost(self, reason: str, wait_ms: int) -> None:
        if self._lost_ms is None:
            self._lost_ms = self._clock.now_ms()
            self.counts.redis_losses += self._was_subscribed
            self._tell(f"{reason}; trying again")
