"""What the connections of a node did, as plain numbers: what metrics are made of."""

from collections import Counter
from collections.abc import Iterable
from typing import Any, Final

__all__ = ["Counts"]

JSON: Final = "json"
PROTOBUF: Final = "protobuf"
# Close codes of peers that are counted by themselves: a peer may send any, and each would be a time series.
KNOWN: Final = frozenset((1000, 1001, 1002, 1005, 1006, 1007, 1009, 1011, 3000))
OTHER: Final = 0


class Counts:
    """Connections by protocol (`open` now, `opened` ever) and what became of them and their commands.

    `stalled` sockets hold more than they should; `errors` are by their code on the wire, `ended` by the
    code that this side closed with, `left` by the one the peer did (0: one of no meaning here).
    """

    __slots__ = ("commands", "ended", "errors", "left", "open", "opened", "stalled")

    def __init__(self, requests: Iterable[type[Any]]) -> None:
        self.open = {JSON: 0, PROTOBUF: 0}
        self.opened = {JSON: 0, PROTOBUF: 0}
        self.stalled = 0
        self.commands = dict.fromkeys(requests, 0)
        self.errors: Counter[int] = Counter()
        self.ended: Counter[int] = Counter()
        self.left: Counter[int] = Counter()

    def enter(self, *, binary: bool) -> None:
        """Count a new connection."""
        protocol = PROTOBUF if binary else JSON
        self.open[protocol] += 1
        self.opened[protocol] += 1

    def leave(self, *, binary: bool, stalled: bool) -> None:
        """Count one that is over."""
        self.open[PROTOBUF if binary else JSON] -= 1
        self.stalled -= stalled

    def closed_by_peer(self, code: int) -> None:
        """Count a connection that the peer ended, or that broke."""
        self.left[code if code in KNOWN else OTHER] += 1
