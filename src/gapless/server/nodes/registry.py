"""Which nodes share the store. Each says that it is there on the bus and in the store, time and again.

A node that is known by the store alone is one that this one does not hear: then one of the two is deaf.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Final

import msgspec
from msgspec import Struct

from gapless.broker.broker import Broker
from gapless.core.errors import GaplessError
from gapless.core.limits import BEATS_MISSED_MAX, NODES_MAX
from gapless.ports import Clock, Durability, Timer
from gapless.server.api.info import Node, StoreInfo

__all__ = ["Registry"]

log: Final = logging.getLogger("gapless.nodes")


class _Beat(Struct, frozen=True):
    """Told to all nodes, and entered in the store: a node is there, and how it does.

    `fingerprint` has a hash of each part of its configuration that must be the same for all, `hooks` the kind
    and pattern of each hook that workers serve there.
    """

    info: Node
    fingerprint: dict[str, str]
    hooks: list[tuple[str, str]] = []


class _Goodbye(Struct, frozen=True):
    """Told to all nodes: this one stops, in good order."""


class _Peer:
    """Another node, as it was heard last; `missed` counts this node's beats since."""

    def __init__(self, info: Node) -> None:
        self.info = info
        self.hooks: list[tuple[str, str]] = []
        self.missed = 0


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(_Beat).decode


class Registry:
    """The other nodes, by their ids: those that are `heard`, and those that are `stored`.

    `deaf` says why this node does not hear what it should, or nothing. `hooks` tells what workers serve here.
    """

    def __init__(
        self,
        broker: Broker,
        clock: Clock,
        *,
        info: Callable[[], Node],
        fingerprint: Callable[[], Mapping[str, str]],
        interval_ms: int,
        beat_ms: Callable[[], int],
    ) -> None:
        self.heard: dict[str, _Peer] = {}
        self.stored: dict[str, Node] = {}
        self.deaf = ""
        self.hooks: Callable[[], Iterable[tuple[str, str]]] = tuple
        self._broker = broker
        self._telling = broker.telling
        self._clock = clock
        self._info = info
        self._fingerprint = fingerprint
        self._ttl_ms = BEATS_MISSED_MAX * interval_ms
        self._beat_ms = beat_ms
        self._left: dict[str, None] = {}  # said goodbye: what comes of them later is old
        self._differing: dict[str, list[str]] = {}
        self._timer: Timer | None = None
        self._saying: Timer | None = None
        self._storing: asyncio.Task[None] | None = None
        self._is_stopped = False
        self._heard_before = self._healed_before = 0
        self._silent = self._accompanied = self._healing = 0  # beats in a row
        self._telling.hear(_Beat, self._hear)
        self._telling.hear(_Goodbye, self._see_off)

    @property
    def patience_ms(self) -> int:
        """Return after how long every other node has either answered or is gone."""
        return 2 * self._ttl_ms

    async def start(self) -> None:
        """Let the others know of this node before it is of use to anybody."""
        await self._store()
        self._turn()

    async def stop(self) -> None:
        """Say goodbye."""
        self._is_stopped = True
        if self._timer is not None:
            self._timer.cancel()
        if self._storing is not None:
            self._storing.cancel()
            await asyncio.wait([self._storing])
        await self._broker.attendance.end()
        self._telling.tell(_Goodbye())

    # Looking ------------------------------------------------------------------------------

    def is_alive(self, node: str) -> bool:
        """Tell whether a node lives, as far as is known now."""
        return (node in self.heard or node in self.stored) and node not in self._left

    async def living(self) -> list[str]:
        """Return the other nodes that live, as the store tells now and the bus has told.

        Raises:
            Unavailable: the store does not answer.
        """
        await self._look()
        return [node for node in {**self.stored, **self.heard} if self.is_alive(node)]

    def nodes(self) -> list[Node]:
        """Return how all nodes are, this one first."""
        others = {**self.stored, **{node: peer.info for node, peer in self.heard.items()}}
        return [self._info(), *(info for node, info in others.items() if self.is_alive(node))]

    def hooks_elsewhere(self) -> list[tuple[str, str]]:
        """Return the hooks that workers serve at other nodes, by kind and pattern."""
        return [hook for node, peer in self.heard.items() if self.is_alive(node) for hook in peer.hooks]

    def serving(self, kind: str, name: str) -> list[str]:
        """Return the other nodes at which workers serve a hook."""
        return [
            node
            for node, peer in self.heard.items()
            if self.is_alive(node)
            and any(kind == other and fnmatchcase(name, pattern) for other, pattern in peer.hooks)
        ]

    # Beats --------------------------------------------------------------------------------

    def _beat(self) -> _Beat:
        return _Beat(self._info(), dict(self._fingerprint()), list(self.hooks()))

    def _turn(self) -> None:
        """Say that this node is there, and count who has not."""
        self._timer = None
        if self._is_stopped:
            return
        self._say()
        for node, peer in list(self.heard.items()):
            peer.missed += 1
            if peer.missed > BEATS_MISSED_MAX or self._telling.is_alone:
                del self.heard[node]
                log.warning("nothing is heard any more of node %s (%s)", peer.info.name, node)
        self._listen()
        self._timer = self._clock.after(self._beat_ms(), self._turn)

    def announce(self) -> None:
        """Let all others, and the store, know of this node as it is now, without delay: a beat besides."""
        if self._saying is None and self._timer is not None:
            self._saying = self._clock.after(0, self._say)

    def _say(self) -> None:
        self._saying = None
        if self._is_stopped:
            return
        if not self._telling.is_alone:
            self._telling.tell(self._beat())
        if self._storing is None or self._storing.done():
            self._storing = asyncio.get_running_loop().create_task(self._store())

    async def _store(self) -> None:
        attendance = self._broker.attendance
        try:
            await attendance.beat(self._ttl_ms, _encode(self._beat()))
            await self._look()
        except GaplessError as error:
            log.debug("the store was not told that this node is there: %s", error)

    async def _look(self) -> None:
        found = await self._broker.attendance.nodes()
        found.pop(self._telling.node, None)
        self.stored = {node: self._read(node, card) for node, card in found.items()}

    def _read(self, node: str, card: bytes) -> Node:
        try:
            return _decode(card).info
        except msgspec.MsgspecError as error:
            if node not in self.stored:
                log.error("node %s shares this store, and what it says of itself is no card: %s", node, error)
            return _stranger(node)

    def _hear(self, node: str, beat: _Beat) -> None:
        if node in self._left:
            return
        peer = self.heard.get(node)
        if peer is None:
            if len(self.heard) >= NODES_MAX:
                return
            peer = self.heard[node] = _Peer(beat.info)
            log.info("node %s (%s) shares this store", beat.info.name, node)
            self.announce()
        if peer.hooks != beat.hooks:
            log.info("node %s has workers for %d hooks", beat.info.name, len(beat.hooks))
        peer.info, peer.hooks, peer.missed = beat.info, beat.hooks, 0
        self._compare(node, beat)

    def _see_off(self, node: str, goodbye: _Goodbye) -> None:
        peer = self.heard.pop(node, None)
        self.stored.pop(node, None)
        self._differing.pop(node, None)
        self._left[node] = None
        if len(self._left) > NODES_MAX:
            del self._left[next(iter(self._left))]
        if peer is not None:
            log.info("node %s (%s) stops", peer.info.name, node)

    # What is wrong ------------------------------------------------------------------------

    def _compare(self, node: str, beat: _Beat) -> None:
        """Say it once where a node has another configuration than this one."""
        ours = self._fingerprint()
        differing = [part for part, value in beat.fingerprint.items() if ours.get(part, value) != value]
        if differing == self._differing.get(node, []):
            return
        self._differing[node] = differing
        if differing:
            log.error(
                "node %s (%s) shares this store and is configured otherwise, so the same channel behaves"
                " differently there: make these the same on all nodes: %s",
                beat.info.name,
                node,
                ", ".join(differing),
            )

    def _listen(self) -> None:
        """Find out whether this node hears what it should."""
        heard, healed = self._telling.heard + self._broker.rings, self._broker.placing.healed
        self._silent = self._silent + 1 if heard == self._heard_before else 0
        self._healing += healed != self._healed_before
        if not self._silent:
            self._healing = 0
        self._accompanied = self._accompanied + 1 if self.stored else 0
        self._heard_before, self._healed_before = heard, healed
        deaf = ""
        if not self._telling.is_alone and self._silent > BEATS_MISSED_MAX + 1:
            if self._accompanied > BEATS_MISSED_MAX + 1:
                deaf = "other nodes share the store, and none of them is heard on the bus"
            elif self._healing > 1:
                deaf = "the store moves on, and nothing of it is heard on the bus"
        if deaf != self.deaf:
            log.log(logging.WARNING if deaf else logging.INFO, "%s", deaf or "the bus is heard again")
        self.deaf = deaf


def _stranger(node: str) -> Node:
    """Return a node of another version, of which nothing can be understood but that it lives."""
    store = StoreInfo("?", Durability.MEMORY, "", {})
    counts = dict.fromkeys(("num_clients", "num_users", "num_channels", "num_subs", "uptime"), 0)
    return Node(uid=node, name=node, version="another", store=store, **counts)
