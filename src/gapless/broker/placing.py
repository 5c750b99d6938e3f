"""Where channels stand: asked of the store when first followed, and again so that nothing stays unnoticed."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

from gapless.broker.channel import Channel, Subscription
from gapless.broker.hub import Hub
from gapless.core.errors import GaplessError, Unavailable
from gapless.core.limits import CHANNELS_IDLE_MAX, LOST_PER_TURN_MAX, LOST_TURN_MS, TAIL_LINGER_MS
from gapless.core.stream import Heads
from gapless.ports import Clock, Streams
from gapless.protocol.codes import Unsubscribe

__all__ = ["Placing"]

log: Final = logging.getLogger("gapless.broker")


class Placing:
    """Holds the node's channels against the store: generation, end and floor.

    `reaches` is called with a channel and the offset its stream was found to reach.
    """

    def __init__(
        self, hub: Hub, store: Streams, clock: Clock, *, reaches: Callable[[Channel, int], None]
    ) -> None:
        self.epoch = ""
        self._hub = hub
        self._store = store
        self._clock = clock
        self._reaches = reaches
        self._asked: dict[Channel, asyncio.Future[GaplessError | None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._lost: deque[Subscription] = deque()
        self._telling = False
        self._idle: dict[Channel, None] = {}
        self._generation_due = True
        self._generation_questions = self._generation_answers = 0
        self.healed = 0  # channels found behind by the check alone: nobody had rung for what was there

    # First ask ----------------------------------------------------------------------------

    async def place(self, channel: Channel) -> None:
        """Learn from the store where the channel stands. All who ask within a tick share one read.

        Raises:
            Unavailable: the store does not answer, or has just begun a new generation.
        """
        if channel.epoch:
            return
        placed = self._asked.get(channel)
        if placed is None:
            placed = self._asked[channel] = asyncio.get_running_loop().create_future()
            if len(self._asked) == 1:
                task = asyncio.get_running_loop().create_task(self._place_asked())
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        # Shielded: a client that leaves while it waits must not take the others' answer along.
        failure = await asyncio.shield(placed)
        if failure is not None:
            raise failure
        if not channel.epoch:
            raise Unavailable("the store has begun a new generation; try again")

    async def _place_asked(self) -> None:
        await asyncio.sleep(0)
        asked, self._asked = self._asked, {}
        failure: GaplessError | None = Unavailable("this node stops")
        try:
            await self._compare(list(asked))
            failure = None
        except GaplessError as error:
            failure = error
        finally:
            for placed in asked.values():
                if not placed.done():
                    placed.set_result(failure)

    # Asked again --------------------------------------------------------------------------

    async def check(self) -> None:
        """Compare the store with what this node believes; an end that is further on is read up to."""
        self._let_go_of_idle()
        if self._generation_due:
            await self.check_generation()
        watched = [channel for channel in self._hub.channels.values() if self._is_watched(channel)]
        known = {channel: max(channel.known, channel.live) for channel in watched}
        if watched:
            await self._compare(watched)
        self.healed += sum(channel.known > known[channel] for channel in watched if self._store.shared)

    def _is_watched(self, channel: Channel) -> bool:
        """Tell whether the stream may end or begin elsewhere than this node can tell by itself."""
        keep = channel.rules.retention
        return bool(channel.epoch) and (self._store.shared or keep.age_ms > 0 or keep.bytes > 0)

    async def _compare(self, channels: list[Channel]) -> None:
        heads = await self._store.heads([channel.name for channel in channels])
        if heads.epoch != self.epoch:
            await self.check_generation()
        if heads.epoch != self.epoch:
            raise Unavailable("the store has begun a new generation; try again")
        for channel in channels:
            self.hold_against(channel, heads)

    def hold_against(self, channel: Channel, heads: Heads) -> None:
        """Take in what the store said of a channel in this generation: what it dropped, how far it goes."""
        floor, last = heads.heads[channel.name]
        if not channel.epoch:
            channel.stand(heads.epoch, last)
        for cohort in channel.cohorts.values():
            if cohort.tail is not None:
                cohort.tail.raise_floor(min(floor, channel.sent))
        self._reaches(channel, max(last, channel.known))

    # Generations --------------------------------------------------------------------------

    def foreign(self) -> None:
        """Note that the store answered for another generation; which one is asked at the next check."""
        self._generation_due = True

    async def check_generation(self) -> None:
        """Ask which generation is the current one; at a new one every live position is given up."""
        self._generation_due = False
        self._generation_questions += 1
        question = self._generation_questions
        try:
            current = (await self._store.generations())[-1].id
        except GaplessError:
            self._generation_due = True
            raise
        if question < self._generation_answers:
            return  # asked before, answered after: what the later question learned is newer
        self._generation_answers = question
        if current == self.epoch:
            return
        if self.epoch:
            log.warning("the store began generation %s after %s", current, self.epoch)
        self.epoch = current
        for channel in self._hub.channels.values():
            if channel.rules.namespace.history:
                self.lose(channel.subscriptions)
                channel.stand("", 0)

    def lose(self, subscriptions: Iterable[Subscription]) -> None:
        """End subscriptions whose position may no longer hold: silent at once, told (2500) in paced turns."""
        for subscription in list(subscriptions):
            if subscription.active:
                subscription.active = False
                self._hub.part(subscription)
                self._lost.append(subscription)
        if not self._telling:
            self._tell_lost()

    def _tell_lost(self) -> None:
        count = min(LOST_PER_TURN_MAX, len(self._lost))
        for _ in range(count):
            subscription = self._lost.popleft()
            if subscription.reader.subscriptions.get(subscription.channel.name) is subscription:
                subscription.reader.unsubscribed(subscription, Unsubscribe.INSUFFICIENT_STATE)
        # Whoever is lost before the next turn waits for it: channels are lost one by one.
        self._telling = count > 0
        if self._telling:
            self._clock.after(LOST_TURN_MS, self._tell_lost)

    # Channels that nobody follows ---------------------------------------------------------

    def idle(self, channel: Channel) -> None:
        """Keep a channel that lost its last subscriber for a while: its tail serves those who come back."""
        channel.idle_since_ms = self._clock.now_ms()
        self._idle.pop(channel, None)
        self._idle[channel] = None

    def _let_go_of_idle(self) -> None:
        horizon_ms = self._clock.now_ms() - TAIL_LINGER_MS
        excess = len(self._idle) - CHANNELS_IDLE_MAX
        for channel in list(self._idle):
            if channel.idle_since_ms > horizon_ms and excess <= 0:
                return
            excess -= 1
            del self._idle[channel]
            if not channel.subscriptions and not channel.starting:
                self._hub.remove(channel)

    async def close(self) -> None:
        """Give up what is being asked."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
