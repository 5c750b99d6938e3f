"""Numbers over time: what a node tells of itself, now and then, in channels that the console follows.

They stand in the store, so plots survive a restart; and a console that was away recovers what it missed.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final

import msgspec
from msgspec import Struct

from gapless.broker.namespaces import Namespace
from gapless.broker.verbs import Verbs
from gapless.core.errors import GaplessError
from gapless.core.limits import (
    SAMPLE_FAST_MS,
    SAMPLE_MS,
    SAMPLE_SLOW_MS,
    SAMPLED_DAYS_MS,
    SAMPLED_MAX,
    SAMPLED_MINUTES_MS,
    SAMPLES_MAX,
    SAMPLING_REST,
)
from gapless.core.stream import Entry, Retention
from gapless.ports import Timer
from gapless.protocol.groups import GroupsRequest, LagRequest
from gapless.protocol.queues import ListQueuesRequest
from gapless.server.console.samples import Depth, Lag, Sample, Window, counters, gauges
from gapless.server.metrics import Sources, measured, owns_writer

__all__ = ["DAYS", "MINUTES", "NAMESPACE", "Sampling"]

# How much is kept, and for how long, each channel says itself, as the partitions of streams do.
NAMESPACE: Final = Namespace(
    name="gapless.console",
    history_size=2**31,
    history_ttl_ms=2**53,
    history_meta_ttl_ms=0,
    history_age_ms=2**53,
    force_recovery=True,
    force_positioning=True,
)
MINUTES: Final = f"{NAMESPACE.name}:minutes"
DAYS: Final = f"{NAMESPACE.name}:days"
_MINUTES_KEPT: Final = Retention(count=SAMPLES_MAX, age_ms=SAMPLED_MINUTES_MS)
_DAYS_KEPT: Final = Retention(count=SAMPLES_MAX, age_ms=SAMPLED_DAYS_MS)
_PASSED_ON: Final = Retention()
# A node that hears that somebody follows at another tells of itself each second for so long.
WATCHED_MS: Final = 3 * SAMPLE_FAST_MS

log: Final = logging.getLogger("gapless.console")

_encode: Final = msgspec.json.Encoder().encode


class _Watched(Struct, frozen=True):
    """Told to all nodes: somebody follows the numbers of all of them here."""


class Sampling:
    """Samples of one node. `name` is what it is called; `verbs` know its queues and groups, if it has any.

    One is stored every ten seconds and one every five minutes, at the same times on all nodes; and each
    second one is passed on, without being stored, as long as somebody follows.
    """

    def __init__(self, sources: Sources, verbs: Verbs | None, name: Callable[[], str]) -> None:
        self._sources = sources
        self._broker, self._clock = sources.broker, sources.clock
        self._verbs = verbs
        self._name = name
        self._windows = {kind: Window() for kind in ("", MINUTES, DAYS)}
        self._slot = self._slow_slot = 0
        self._timer: Timer | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._watched_until_ms = 0
        self._rest_until_ms = 0
        self._broker.telling.hear(_Watched, self._watched)

    def start(self) -> None:
        """Begin; the first sample is taken at once."""
        self._slow_slot = self._clock.now_ms() // SAMPLE_SLOW_MS
        self._turn()

    async def stop(self) -> None:
        """Take no more samples; one that is being stored may be lost."""
        if self._timer is not None:
            self._timer.cancel()
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.wait((self._keeping,))

    def _turn(self) -> None:
        self._timer = self._clock.after(SAMPLE_FAST_MS, self._turn)
        slot = self._clock.now_ms() // SAMPLE_MS
        if slot != self._slot and (self._keeping is None or self._keeping.done()):
            self._slot = slot
            self._keeping = asyncio.get_running_loop().create_task(self._keep())
        elif self._is_watched():
            self._pass_on()

    # Each second --------------------------------------------------------------------------

    def _watched(self, node: str, watched: _Watched) -> None:
        self._watched_until_ms = self._clock.now_ms() + WATCHED_MS

    def _is_watched(self) -> bool:
        channel = self._broker.hub.channels.get(MINUTES)
        if channel is not None and channel.subscriptions:
            self._broker.telling.tell(_Watched())
            return True
        return self._clock.now_ms() < self._watched_until_ms

    def _pass_on(self) -> None:
        entry = Entry(MINUTES, _encode(self._sample("")), _PASSED_ON, transient=True)
        self._broker.append((entry,), lambda entries, outcomes: None, own=True)

    # Now and then -------------------------------------------------------------------------

    async def _keep(self) -> None:
        told = await self._look()
        entries = [Entry(MINUTES, _encode(self._sample(MINUTES, **told)), _MINUTES_KEPT)]
        slow_slot = self._clock.now_ms() // SAMPLE_SLOW_MS
        if slow_slot != self._slow_slot:
            self._slow_slot = slow_slot
            entries.append(Entry(DAYS, _encode(self._sample(DAYS, **told)), _DAYS_KEPT))
        try:
            outcomes = await self._broker.appended(entries, own=True)
        except GaplessError as error:
            outcomes = (error,)
        for outcome in outcomes:
            if isinstance(outcome, GaplessError):
                log.debug("a sample was not stored: %s", outcome)

    def _sample(self, kind: str, **told: Any) -> Sample:
        sources, numbers = self._sources, measured(self._sources)
        return Sample(
            at_ms=self._clock.now_ms(),
            node=self._broker.node,
            name=self._name(),
            started_ms=sources.started_ms,
            writer=owns_writer(sources),
            gauges=gauges(numbers, self._windows[kind].late_ms(numbers)),
            counters=counters(numbers),
            **told,
        )

    # Of all nodes -------------------------------------------------------------------------

    def _is_first(self) -> bool:
        return self._broker.node == min(node.uid for node in self._sources.cluster.registry.nodes())

    async def _look(self) -> dict[str, Any]:
        """Return how queues and groups are, if this node is to tell; a slow store is asked less often."""
        began_ms = self._clock.now_ms()
        if self._verbs is None or not self._is_first() or began_ms < self._rest_until_ms:
            return {}
        try:
            told = {"queues": await _queues(self._verbs), "groups": await _groups(self._verbs)}
        except GaplessError as error:
            log.debug("queues and groups do not tell how they are: %s", error)
            told = {}
        ended_ms = self._clock.now_ms()
        self._rest_until_ms = ended_ms + SAMPLING_REST * (ended_ms - began_ms)
        return told


async def _queues(verbs: Verbs) -> dict[str, Depth]:
    answer = await verbs.call("queue/list", ListQueuesRequest(limit=SAMPLED_MAX))
    return {
        status.queue: Depth(status.ready, status.delayed, status.leased, status.dead, status.oldest_ms)
        for status in answer.queues
    }


async def _groups(verbs: Verbs) -> dict[str, Lag]:
    answer = await verbs.call("stream/groups", GroupsRequest())
    lags = {}
    for group in sorted(answer.groups, key=lambda group: (group.source, group.group))[:SAMPLED_MAX]:
        try:
            found = await verbs.call("stream/lag", LagRequest(source=group.source, group=group.group))
        except GaplessError as error:  # it is gone by now
            log.debug("group %s of %s does not tell its lag: %s", group.group, group.source, error)
            continue
        furthest_ms = max((partition.lag_ms for partition in found.partitions), default=0)
        lags[f"{group.source}/{group.group}"] = Lag(found.lag, furthest_ms)
    return lags
