"""Who is in which channel, by the node through which they are there. Time is an argument."""

from collections.abc import Iterator, Sequence
from itertools import islice

__all__ = ["Roster"]

Entered = tuple[str, str, bytes]
"""A channel, a client, and what is told of it."""


class Roster:
    """A snapshot with a time to live: who came through a node is there for as long as that lives."""

    def __init__(self) -> None:
        self._until_ms: dict[str, int] = {}  # by node
        self._entered: dict[str, dict[tuple[str, str], bytes]] = {}  # by node: by channel and client
        self._nodes: dict[str, dict[str, str]] = {}  # by channel: the node of each client

    def beat(self, node: str, until_ms: int, now_ms: int) -> bool:
        """Let a node live until then; tell whether it was alive by now. If not, nobody came through it."""
        was_alive = self._is_alive(node, now_ms)
        if not was_alive:
            self._remove(node, list(self._entered.get(node, ())))
        self._until_ms[node] = until_ms
        return was_alive

    def enter(self, node: str, entered: Sequence[Entered], now_ms: int) -> None:
        """Note who came, if the node lives."""
        if not self._is_alive(node, now_ms):
            return
        for channel, client, info in entered:
            before = self._nodes.setdefault(channel, {}).get(client, node)
            if before != node:
                self._remove(before, [(channel, client)])
            self._nodes.setdefault(channel, {})[client] = node
            self._entered.setdefault(node, {})[channel, client] = info

    def depart(self, node: str, departed: Sequence[tuple[str, str]]) -> None:
        """Note who went."""
        self._remove(node, departed)

    def present(self, channel: str, now_ms: int) -> dict[str, bytes]:
        """Return what is told of all who are in a channel, by client."""
        nodes = self._nodes.get(channel, {})
        return {
            client: self._entered[node][channel, client]
            for client, node in nodes.items()
            if self._is_alive(node, now_ms)
        }

    def bury(self, limit: int, now_ms: int) -> list[Entered]:
        """Remove up to `limit` who came through nodes that live no more, and return them."""
        buried = list(islice(self._dead(now_ms), limit))
        for node, channel, client, _ in buried:
            self._remove(node, [(channel, client)])
        for node in [node for node in self._until_ms if not self._is_alive(node, now_ms)]:
            if node not in self._entered:
                del self._until_ms[node]
        return [(channel, client, info) for _, channel, client, info in buried]

    def end(self, node: str) -> None:
        """Let a node live no longer, with nobody left behind."""
        self._remove(node, list(self._entered.get(node, ())))
        self._until_ms.pop(node, None)

    def _is_alive(self, node: str, now_ms: int) -> bool:
        return self._until_ms.get(node, 0) > now_ms

    def _dead(self, now_ms: int) -> Iterator[tuple[str, str, str, bytes]]:
        for node, entered in self._entered.items():
            if not self._is_alive(node, now_ms):
                for (channel, client), info in entered.items():
                    yield node, channel, client, info

    def _remove(self, node: str, gone: Sequence[tuple[str, str]]) -> None:
        entered = self._entered.get(node, {})
        for channel, client in gone:
            if entered.pop((channel, client), None) is None:
                continue
            nodes = self._nodes[channel]
            del nodes[client]
            if not nodes:
                del self._nodes[channel]
        if not entered:
            self._entered.pop(node, None)
