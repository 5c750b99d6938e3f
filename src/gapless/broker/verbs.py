"""Every verb of queues and streams by its name: HTTP, the client protocol and the library all call these."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from gapless.broker.queues import LIBRARY, Queueing
from gapless.broker.rights import Access
from gapless.broker.rules import QueueRule, StreamRule
from gapless.core.errors import MethodNotFound
from gapless.protocol import queues, streams

__all__ = ["WAITING", "Verbs"]

WAITING: Final = frozenset(("queue/claim", "queue/result", "stream/read", "stream/fetch"))
"""Verbs that may wait, and end when their caller goes away."""


class Verbs:
    """The verbs that this node has. `streaming` has a method for each of its verbs, as `Queueing` has."""

    def __init__(self, queueing: Queueing, streaming: object = None, access: Access | None = None) -> None:
        self.queueing = queueing
        self.access = access or Access()
        self.catalogue: dict[str, tuple[type[Any], type[Any]]] = {}
        self._calls: dict[str, Callable[[Any, str], Awaitable[Any]]] = {}
        self._add(queueing, queues.VERBS)
        if streaming is not None:
            self._add(streaming, streams.VERBS)

    def _add(self, use_cases: object, verbs: Mapping[str, tuple[type[Any], type[Any]]]) -> None:
        for verb, types in verbs.items():
            self._calls[verb] = getattr(use_cases, verb.partition("/")[2])
            self.catalogue[verb] = types

    def follow(self, queue_rules: Sequence[QueueRule], stream_rules: Sequence[StreamRule]) -> None:
        """Go by other rules from now on."""
        self.access.queues, self.access.streams = queue_rules, stream_rules
        self.queueing.follow(queue_rules)

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
