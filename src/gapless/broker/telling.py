"""What the nodes of one store tell each other over the bus, and how what comes late or twice is known.

A message is a MessagePack array: its kind, the node that tells it, and a map of what it says. A kind or a
field that is not known here is passed over, so that nodes of two versions may stand side by side.
"""

import logging
from collections.abc import Callable
from typing import Any, Final, TypeVar

import msgspec
from msgspec import Raw, Struct

from gapless.core.limits import NODES_MAX
from gapless.ports import Bus

__all__ = ["Telling", "is_new"]

Said = TypeVar("Said", bound=Struct)

log: Final = logging.getLogger("gapless.nodes")

_encode: Final = msgspec.msgpack.Encoder().encode


class _Told(Struct, array_like=True, frozen=True):
    """What goes over the bus."""

    kind: str
    node: str
    said: Raw


_decode: Final = msgspec.msgpack.Decoder(_Told).decode


class Telling:
    """This node's voice and ear; `node` is its id. `heard` counts what came from other nodes."""

    def __init__(self, bus: Bus | None, node: str) -> None:
        self.node = node
        self.heard = 0
        self._bus = bus
        self._ears: dict[str, tuple[Callable[[Raw], Any], Callable[[str, Any], object]]] = {}
        if bus is not None:
            bus.hear(self._take)

    @property
    def is_alone(self) -> bool:
        """Tell whether nobody would hear."""
        return self._bus is None or self._bus.alone

    def hear(self, kind: type[Said], heard: Callable[[str, Said], object]) -> None:
        """Call `heard` with the node and what it said, whenever another one says something of this kind."""
        self._ears[kind.__name__] = msgspec.msgpack.Decoder(kind).decode, heard

    def tell(self, said: Struct) -> None:
        """Say something to all other nodes: it is heard once, twice, late or not at all."""
        if self._bus is not None and not self._bus.alone:
            self._bus.tell(_encode(_Told(type(said).__name__, self.node, Raw(_encode(said)))))

    def _take(self, told: bytes) -> None:
        try:
            kind, node, said = (message := _decode(told)).kind, message.node, message.said
            read, heard = self._ears.get(kind, (None, None))
            content = read(said) if read is not None else None
        except msgspec.MsgspecError as error:
            log.warning("what another node tells cannot be read: %s", error)
            return
        if node != self.node:
            self.heard += 1
            if heard is not None:
                heard(node, content)


def is_new(highest: dict[str, int], node: str, number: int) -> bool:
    """Tell whether a number of a node is above all that were heard of it, and note it in `highest`."""
    if number <= highest.get(node, 0):
        return False
    highest.pop(node, None)
    highest[node] = number
    if len(highest) > NODES_MAX:
        del highest[next(iter(highest))]
    return True
