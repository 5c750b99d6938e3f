"""Which queues there are: declared by a call or by a rule of the configuration, never by a typing error."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

from msgspec import Struct

from gapless.broker.rules import QueueRule, changed, laid_over, rule_for
from gapless.core.errors import UnknownQueue
from gapless.core.jobs import QueueInfo, QueueOptions
from gapless.core.limits import WAITING_CHECK_MS
from gapless.ports import Clock, Queues
from gapless.protocol.settings import QueueSettings

__all__ = ["Declared", "Declaring"]


class Declared(Struct, frozen=True):
    """How a queue behaves now, whether it is new, and what is otherwise than it was."""

    fresh: bool
    options: QueueOptions
    changed: dict[str, Any]


class Declaring:
    """The queues of a store and the rules for them. What is known of them is up to a second old."""

    def __init__(self, store: Queues, clock: Clock, rules: Sequence[QueueRule] = ()) -> None:
        self._store = store
        self._clock = clock
        self.rules = rules
        self._known: dict[str, QueueInfo] = {}
        self._until_ms = 0
        self._asking: asyncio.Future[dict[str, QueueInfo]] | None = None
        self._applying = asyncio.Lock()

    async def queues(self) -> dict[str, QueueInfo]:
        """Return all queues as they are now."""
        self._known = await self._store.queues()
        self._until_ms = self._clock.now_ms() + WAITING_CHECK_MS
        return self._known

    async def declare(self, queue: str, settings: QueueSettings) -> Declared:
        """Make a queue or change it, as far as settings say; a rule holds, whatever they say."""
        async with self._applying:
            return await self._declare(queue, settings, (await self.queues()).get(queue))

    async def _declare(self, queue: str, settings: QueueSettings, info: QueueInfo | None) -> Declared:
        before = QueueOptions() if info is None else info.options
        options = laid_over(before, queue, settings, rule_for(self.rules, queue))
        fresh = False
        if info is None or options != before:
            self.forget()
            fresh = await self._store.declare(queue, options)
        return Declared(fresh, options, changed(before, options))

    def forget(self) -> None:
        """Ask the store again when it is next about which queues there are."""
        self._until_ms = 0

    async def make(self, queue: str) -> bool:
        """Make a queue that is not there, if a rule says so; tell whether one does."""
        rule = rule_for(self.rules, queue)
        if rule is None or queue in await self.queues():
            return rule is not None
        await self.declare(queue, QueueSettings())
        return True

    async def check(self, queue: str) -> None:
        """Make sure that a queue is there, making it if a rule says so.

        Raises:
            UnknownQueue: it is not, and there is no rule for it.
        """
        if (
            queue not in await self._recent()
            and queue not in await self.queues()
            and not await self.make(queue)
        ):
            raise UnknownQueue(f"there is no queue {queue!r}: declare it, or add a rule for it under queues")

    async def by_worker(self, queue: str) -> bool:
        """Tell whether a queue bounds what one worker may hold."""
        info = (await self._recent()).get(queue)
        return info is not None and info.options.in_flight_per_worker_max > 0

    async def apply(self, rules: Iterable[QueueRule]) -> None:
        """Go by these rules from now on: make the queues that they name; those that are there follow them."""
        self.rules = tuple(rules)
        async with self._applying:  # whoever was before follows these too, or is corrected
            known = await self.queues()
            for name in {*known, *(rule.name for rule in self.rules if rule.name)}:
                await self._declare(name, QueueSettings(), known.get(name))

    async def _recent(self) -> dict[str, QueueInfo]:
        if self._clock.now_ms() < self._until_ms:
            return self._known
        if (
            self._asking is None or self._asking.done()
        ):  # the store looks at every queue, once for all who ask
            self._asking = asyncio.ensure_future(self.queues())
        return await asyncio.shield(self._asking)
