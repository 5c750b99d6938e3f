"""What may be added to a node: by `gapless dev` the demo and the failure lab, by `serve` nothing."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from starlette.routing import Route

from gapless.broker.appending import Appending
from gapless.ports import Bus
from gapless.server.api.calls import Answering

if TYPE_CHECKING:
    from gapless.server.node import Node

__all__ = ["Extension"]


class Extension:
    """Adds nothing; a subclass says what it does. All of it is asked once, while the node is assembled."""

    def attach(self, node: "Node") -> None:
        """Hear of the node, whose store is open and whose port is not."""

    def bus(self, bus: Bus | None) -> Bus | None:
        """Return what the node hears of others by, in the place of the store's."""
        return bus

    def appending(self, append: Appending) -> Appending:
        """Return how the node appends to its store, in the place of `append`."""
        return append

    def methods(self) -> Mapping[str, tuple[type[Any], Answering]]:
        """Return methods of the server API, by name, each with the type of its request."""
        return {}

    def routes(self) -> Sequence[Route]:
        """Return what is served besides."""
        return ()
