"""The other nodes over the same store, as one of them sees them."""

import hashlib
from collections.abc import Callable
from random import Random

import msgspec

from gapless.broker.broker import Broker
from gapless.broker.removing import Erased
from gapless.broker.rounds import spread
from gapless.ports import Clock
from gapless.server.api.info import Node
from gapless.server.config import Config
from gapless.server.hook_workers import HookWorkers
from gapless.server.nodes.asking import Asking
from gapless.server.nodes.hooking import HooksElsewhere
from gapless.server.nodes.registry import Registry

__all__ = ["Cluster", "fingerprint"]


class Cluster:
    """Who else is there (`registry`), and what they are asked to do (`asking`)."""

    def __init__(
        self,
        broker: Broker,
        clock: Clock,
        random: Random,
        *,
        interval_ms: int,
        info: Callable[[], Node],
        fingerprint: Callable[[], dict[str, str]],
    ) -> None:
        self.registry = Registry(
            broker,
            clock,
            info=info,
            fingerprint=fingerprint,
            interval_ms=interval_ms,
            beat_ms=spread(interval_ms, random.random),
        )
        self.asking = Asking(
            broker.telling,
            clock,
            living=self.registry.living,
            is_alive=self.registry.is_alive,
            patience_ms=self.registry.patience_ms,
        )
        self._broker = broker
        self._random = random
        self.asking.serve("erased", self._erased)
        broker.removing.told_surely = self._tell_surely

    def share_hooks(self, workers: HookWorkers) -> None:
        """Let the other nodes ask these workers, and these workers' node theirs."""
        HooksElsewhere(workers, self.registry, self.asking, self._random)

    async def _tell_surely(self, erased: Erased) -> None:
        await self.asking.everywhere("erased", msgspec.json.encode(erased))

    async def _erased(self, body: bytes) -> bytes:
        erased = msgspec.json.decode(body, type=Erased)
        self._broker.removing.forget(erased.channel)
        return b"{}"

    async def start(self) -> None:
        """Let the others know of this node: before anybody can connect to it."""
        await self.registry.start()

    async def stop(self) -> None:
        """Say goodbye."""
        await self.registry.stop()
        await self.asking.stop()


def fingerprint(config: Config) -> dict[str, str]:
    """Return a hash of each part of a configuration that must be the same on all nodes."""
    parts = {
        "channel": config.channel,
        "store.idempotency_window": config.store.idempotency_window_ms,
        "queues": config.queues,
        "streams": config.streams,
    }
    return {name: hashlib.sha256(msgspec.json.encode(part)).hexdigest()[:16] for name, part in parts.items()}
