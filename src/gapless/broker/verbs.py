"""Every verb of queues and streams by its name: HTTP, the client protocol and the library all call these."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from gapless.broker.queues import LIBRARY, Queueing
from gapless.broker.rights import Access
from gapless.broker.rules import QueueRule, StreamRule
from gapless.broker.streams import Streaming
from gapless.core.errors import MethodNotFound
from gapless.protocol import queues, streams

__all__ = ["WAITING", "Verbs"]

WAITING: Final = frozenset(("queue/claim", "queue/result", "stream/read", "stream/fetch", "stream/heartbeat"))
"""Verbs that may wait, and end when their caller goes away."""


class Verbs:
    """The verbs that this node has."""

    def __init__(self, queueing: Queueing, streaming: Streaming, access: Access | None = None) -> None:
        self.queueing = queueing
        self.streaming = streaming
        self.access = access or Access()
        self.catalogue: dict[str, tuple[type[Any], type[Any]]] = {}
        self._calls: dict[str, Callable[[Any, str], Awaitable[Any]]] = {}
        self._add(queueing, queues.VERBS)
        self._add(streaming, streams.VERBS)

    def _add(self, use_cases: object, verbs: Mapping[str, tuple[type[Any], type[Any]]]) -> None:
        for verb, types in verbs.items():
            self._calls[verb] = getattr(use_cases, verb.partition("/")[2])
            self.catalogue[verb] = types

    def follow(self, queue_rules: Sequence[QueueRule], stream_rules: Sequence[StreamRule]) -> None:
        """Go by other rules from now on."""
        self.access.queues, self.access.streams = queue_rules, stream_rules
        self.queueing.follow(queue_rules)
        self.streaming.follow(stream_rules)

    async def start(self) -> None:
        """Make what rules name; begin what runs by itself.

        Raises:
            ConfigError: a stream that is named has another number of partitions, which never changes.
        """
        await self.queueing.start()
        await self.streaming.start()

    def stop_waiting(self) -> None:
        """Answer all that wait that there is nothing: the node stops."""
        self.queueing.stop_waiting()
        self.streaming.stop_waiting()

    async def stop(self) -> None:
        """End what runs by itself; what is being settled is finished."""
        await self.streaming.stop()
        await self.queueing.stop()

    async def call(self, verb: str, request: Any, who: str = LIBRARY) -> Any:
        """Carry out a verb, such as `queue/enqueue`; `who` stands in the audit stream.

        Raises:
            MethodNotFound: there is no such verb.
            GaplessError: as the verb's request says.
        """
        run = self._calls.get(verb)
        if run is None:
            raise MethodNotFound(f"there is no method {verb!r}")
        return await run(request, who)
