"""What was acknowledged, what was delivered and what the history holds, each held against the others."""

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field

__all__ = ["CHANNELS", "Ledger"]

CHANNELS = ["kept:a", "kept:b", "kept:c"]
FINDINGS_MAX = 50


@dataclass
class Ledger:
    """Every message has an id of its own. What should not be is counted, and told in `findings`."""

    acknowledged: int = 0
    retries: int = 0
    unknown: int = 0
    recoveries: int = 0
    lost: int = 0
    doubled: int = 0
    disagreeing: int = 0
    gaps: int = 0
    false_alarms: int = 0
    findings: list[str] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    _unconfirmed: dict[str, dict[str, int]] = field(default_factory=lambda: defaultdict(dict))
    _delivered: dict[str, dict[int, str]] = field(default_factory=lambda: defaultdict(dict))
    _held: dict[str, dict[int, str]] = field(default_factory=lambda: defaultdict(dict))
    _held_before: dict[str, dict[int, str]] = field(default_factory=lambda: defaultdict(dict))
    _offsets: dict[str, int] = field(default_factory=dict)

    # Noting -------------------------------------------------------------------------------

    def note(self, channel: str, id: str, offset: int = 0) -> None:
        """A publish was acknowledged: at `offset`, or without being told where."""
        self.acknowledged += 1
        self._unconfirmed[channel][id] = offset
        self.changed.set()

    def deliver(self, channel: str, offset: int, id: str) -> None:
        """A subscriber received a message."""
        first = self._delivered[channel].setdefault(offset, id)
        if first != id:
            self._find("disagreeing", f"{channel} delivered {first} and {id} at {offset}")
        self.changed.set()

    def recovered(self) -> None:
        """A subscriber was told that it recovered."""
        self.recoveries += 1
        self.changed.set()

    def false_alarm(self, what: str) -> None:
        """Somebody was told of a loss that was none."""
        self._find("false_alarms", what)

    def gap(self, what: str) -> None:
        """A subscriber was delivered something else than the next message."""
        self._find("gaps", what)

    def found(self, channel: str, offset: int, id: str) -> None:
        """The history holds a message."""
        held = self._held[channel]
        if offset != len(held) + 1:
            self._find("lost", f"{channel} holds {offset} after {len(held)}")
        elif self._offsets.setdefault(id, offset) != offset:
            self._find("doubled", f"{channel} holds {id} at {self._offsets[id]} and at {offset}")
        held[offset] = id

    # Comparing ----------------------------------------------------------------------------

    def read_again(self) -> None:
        """The history is going to be read from the beginning: it must hold all that it held before."""
        self._held_before, self._held = self._held, defaultdict(dict)
        self._offsets = {}

    def end(self, channel: str) -> int:
        """Return how far the history of a channel has been read."""
        return len(self._held[channel])

    def expected(self, channel: str) -> dict[str, int]:
        """Return what was acknowledged so far, and not yet found in the history."""
        return dict(self._unconfirmed[channel])

    def compare(self, channel: str, expected: dict[str, int]) -> None:
        """The history was read to its end: it must hold what was `expected`, and what was delivered."""
        held = self._held[channel]
        for id, told in expected.items():
            offset = self._offsets.get(id)
            if offset is None:
                self._find(
                    "lost", f"{channel} acknowledged {id} at {told or 'some offset'}, and does not hold it"
                )
            elif told not in (0, offset):
                self._find("disagreeing", f"{channel} acknowledged {id} at {told}, and holds it at {offset}")
            del self._unconfirmed[channel][id]
        for offset, id in self._held_before[channel].items():
            if held.get(offset) != id:
                self._find("lost", f"{channel} held {id} at {offset}, and now {held.get(offset)}")
        for offset in [offset for offset in self._delivered[channel] if offset <= len(held)]:
            delivered = self._delivered[channel].pop(offset)
            if held[offset] != delivered:
                self._find(
                    "disagreeing", f"{channel} delivered {delivered} at {offset}, and holds {held[offset]}"
                )

    def _find(self, kind: str, what: str) -> None:
        setattr(self, kind, getattr(self, kind) + 1)
        if len(self.findings) < FINDINGS_MAX:
            self.findings.append(f"{kind}: {what}")
        self.changed.set()
