"""Publishing what a bridge heard: in order, many to a request, again until it is known what became of it."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import Final

from msgspec import Struct

from gapless.bridges.mapping import channel_of
from gapless.client.connection import backoff_ms
from gapless.core.errors import BadRequest, GaplessError, OutcomeUnknown
from gapless.ports import Clock
from gapless.server.parting import pause

__all__ = ["RETRY_MS_MAX", "Counts", "Forwarding", "Post"]

BATCH_MESSAGES_MAX: Final = 500
BATCH_BYTES_MAX: Final = 256 * 1024
RETRY_MS_MAX: Final = 2_000
# What a message that waits costs in memory besides its bytes.
OVERHEAD_BYTES: Final = 200

Post = Callable[[bytes], Awaitable[Sequence[GaplessError | None]]]
"""Posts a batch; returns for each command why it was refused, if it was. Raises GaplessError."""


class Counts(Struct):
    """What became of the messages since the start; `waiting` and `waiting_bytes` are how it stands now."""

    received: int = 0
    published: int = 0
    refused: int = 0
    dropped: int = 0
    waiting: int = 0
    waiting_bytes: int = 0
    retries: int = 0
    redis_losses: int = 0


class _Dropped(Struct):
    """What was dropped while too much waited: how many, and from when to when they had come."""

    messages: int
    first_ms: int
    last_ms: int


class Forwarding:
    """Messages on their way to a server. `tell` hears what a person should know, as it happens.

    While the server does not take them they wait, in up to `waiting_bytes_max`; beyond it the oldest are
    dropped, which is told.
    """

    def __init__(
        self,
        post: Post,
        counts: Counts,
        tell: Callable[[str], object],
        clock: Clock,
        random: Random,
        *,
        waiting_bytes_max: int,
    ) -> None:
        self._post = post
        self._counts = counts
        self._tell = tell
        self._clock = clock
        self._random = random
        self._bytes_max = waiting_bytes_max
        self._waiting: deque[tuple[int, bytes]] = deque()
        self._more = asyncio.Event()
        self._done = asyncio.Event()
        self._done.set()
        self._away_ms: int | None = None  # since when the server does not answer
        self._dropped: _Dropped | None = None

    def put(self, command: bytes) -> None:
        """Have a command of a batch carried out after those before it."""
        counts = self._counts
        self._waiting.append((self._clock.now_ms(), command))
        counts.waiting += 1
        counts.waiting_bytes += len(command) + OVERHEAD_BYTES
        while counts.waiting_bytes > self._bytes_max and self._waiting:
            self._drop()
        self._done.clear()
        self._more.set()

    def refuse(self, channel: str, error: GaplessError) -> None:
        """Count a message that is not published, for good; the first ones, then ever fewer, are told."""
        self._counts.refused += 1
        if _is_told(self._counts.refused):
            self._tell(f"not published ({self._counts.refused:,} so far): to channel {channel!r}: {error}")

    async def finished(self) -> None:
        """Return when nothing waits."""
        await self._done.wait()

    async def run(self) -> None:
        """Publish until cancelled."""
        while True:
            batch = self._take()
            if batch:
                await self._carry(batch)
            elif not self._waiting:
                self._done.set()
                self._more.clear()
                await self._more.wait()

    def _drop(self) -> None:
        came_ms, command = self._waiting.popleft()
        self._left(1, len(command))
        self._counts.dropped += 1
        if self._dropped is None:
            self._dropped = _Dropped(0, came_ms, came_ms)
            self._tell(f"{self._bytes_max:,} bytes wait for the server: the oldest messages are dropped")
        self._dropped.messages += 1
        self._dropped.last_ms = came_ms

    def _take(self) -> list[bytes]:
        """Take what goes into a request; it still counts as waiting."""
        batch: list[bytes] = []
        size_bytes = 0
        while self._waiting and len(batch) < BATCH_MESSAGES_MAX:
            size_bytes += len(self._waiting[0][1])
            if batch and size_bytes > BATCH_BYTES_MAX:
                break
            batch.append(self._waiting.popleft()[1])
        return batch

    def _left(self, messages: int, size_bytes: int) -> None:
        self._counts.waiting -= messages
        self._counts.waiting_bytes -= size_bytes + messages * OVERHEAD_BYTES

    # One request --------------------------------------------------------------------------

    async def _carry(self, batch: list[bytes]) -> None:
        """Return when each of them is published, or refused for good."""
        attempt = 0
        while batch:
            try:
                replies = await self._post(b'{"commands":[%b]}' % b",".join(batch))
                if len(replies) != len(batch):
                    raise OutcomeUnknown(f"{len(batch)} were sent, and {len(replies)} are answered")
            except BadRequest as error:
                await self._apart(batch, error)
                return
            except GaplessError as error:
                reason: GaplessError | None = error
            else:
                before, batch, reason = batch, *self._settle(batch, replies)
                attempt = 0 if len(batch) < len(before) else attempt
            if reason is None:
                self._answered()
            else:
                await self._wait(attempt, reason)
                attempt += 1

    async def _apart(self, batch: list[bytes], error: GaplessError) -> None:
        """Carry in halves what is refused together: it may be the fault of one."""
        if len(batch) > 1:
            await self._carry(batch[: len(batch) // 2])
            await self._carry(batch[len(batch) // 2 :])
            return
        self._left(1, len(batch[0]))
        self.refuse(channel_of(batch[0]), error)

    def _settle(
        self, batch: list[bytes], replies: Sequence[GaplessError | None]
    ) -> tuple[list[bytes], GaplessError | None]:
        """Return what has to be sent again, and why."""
        again: list[bytes] = []
        reason: GaplessError | None = None
        for command, error in zip(batch, replies, strict=True):
            if error is not None and (error.temporary or isinstance(error, OutcomeUnknown)):
                again.append(command)
                reason = reason or error
                continue
            self._left(1, len(command))
            if error is None:
                self._counts.published += 1
            else:
                self.refuse(channel_of(command), error)
        return again, reason

    async def _wait(self, attempt: int, reason: GaplessError) -> None:
        self._counts.retries += 1
        if self._away_ms is None:
            self._away_ms = self._clock.now_ms()
            self._tell(f"not published for now, messages wait: {reason}")
        await pause(self._clock, min(RETRY_MS_MAX, backoff_ms(attempt, self._random)))

    def _answered(self) -> None:
        """Tell that an outage is over, and what was dropped in it."""
        counts, now_ms = self._counts, self._clock.now_ms()
        if self._away_ms is not None:
            away_ms, self._away_ms = now_ms - self._away_ms, None
            self._tell(f"published again after {away_ms / 1000:.1f} s; {counts.waiting:,} messages wait")
        dropped = self._dropped
        if dropped is not None and counts.waiting_bytes * 2 < self._bytes_max:
            self._dropped = None
            first_s, last_s = (now_ms - dropped.first_ms) / 1000, (now_ms - dropped.last_ms) / 1000
            when = f"{first_s:.1f} to {last_s:.1f} s ago"
            self._tell(f"{dropped.messages:,} messages were dropped, which had come {when}")


def _is_told(count: int) -> bool:
    """Tell whether a count is a power of ten."""
    return str(count).rstrip("0") == "1"
