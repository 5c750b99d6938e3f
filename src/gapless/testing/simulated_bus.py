"""A bus that loses, doubles and reorders its rings."""

from collections.abc import Callable
from random import Random

from msgspec import Struct

from gapless.core.stream import Message, Position
from gapless.ports import Bus
from gapless.testing.loop import VirtualLoop

__all__ = ["BusConditions", "SimulatedBus"]

Heard = Callable[[str, Position, Message | None], None]


class BusConditions(Struct, frozen=True):
    """How good the bus is. `loss`, `doubling` and `bare` (rings without their message) are chances."""

    loss: float = 0.0
    doubling: float = 0.0
    bare: float = 0.0
    latency_ms_max: int = 5


class SimulatedBus:
    """What all nodes of a simulation are connected to."""

    def __init__(self, loop: VirtualLoop, random: Random, conditions: BusConditions) -> None:
        self.conditions = conditions
        self._loop = loop
        self._random = random
        self._ends: list[BusEnd] = []

    def connect(self) -> "BusEnd":
        """Return a new node's end."""
        end = BusEnd(self)
        self._ends.append(end)
        return end

    def disconnect(self, end: "BusEnd") -> None:
        """Let go of a node's end; it hears nothing any more."""
        self._ends.remove(end)

    def carry(self, sender: "BusEnd", stream: str, last: Position, message: Message | None) -> None:
        """Take a ring to the other ends, as well as the conditions allow."""
        random, conditions = self._random, self.conditions
        for end in self._ends:
            if end is sender:
                continue
            for _ in range(2 if random.random() < conditions.doubling else 1):
                if random.random() >= conditions.loss:
                    brought = None if random.random() < conditions.bare else message
                    delay_ms = random.randint(0, conditions.latency_ms_max)
                    self._loop.after_ms(delay_ms, self._arrive, end, stream, last, brought)

    def spread(self, sender: "BusEnd", told: bytes) -> None:
        """Take to the other ends what a node tells, as well as the conditions allow."""
        random, conditions = self._random, self.conditions
        for end in self._ends:
            for _ in range(2 if random.random() < conditions.doubling else 1):
                if end is not sender and random.random() >= conditions.loss:
                    self._loop.after_ms(
                        random.randint(0, conditions.latency_ms_max), self._be_told, end, told
                    )

    def _be_told(self, end: "BusEnd", told: bytes) -> None:
        if end in self._ends and end.told is not None:
            end.told(told)

    def _arrive(self, end: "BusEnd", stream: str, last: Position, message: Message | None) -> None:
        if end in self._ends and end.heard is not None:
            end.heard(stream, last, message)


class BusEnd(Bus):
    """One node's end of the bus."""

    def __init__(self, bus: SimulatedBus) -> None:
        self.heard: Heard | None = None
        self.told: Callable[[bytes], None] | None = None
        self._bus = bus

    def ring(self, stream: str, last: Position, message: Message | None) -> None:
        """Tell the other nodes."""
        self._bus.carry(self, stream, last, message)

    def listen(self, heard: Heard) -> None:
        """Be told by the others."""
        self.heard = heard

    def tell(self, told: bytes) -> None:
        """Tell the other nodes something."""
        self._bus.spread(self, told)

    def hear(self, heard: Callable[[bytes], None]) -> None:
        """Be told by the others."""
        self.told = heard
