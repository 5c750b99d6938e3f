"""What the library's verbs need of whatever carries them: this process, or the network."""

from collections.abc import AsyncGenerator
from typing import Any, Protocol

from gapless.client.following import Event
from gapless.core.stream import Position
from gapless.protocol.reading import ReplayedMessage, ReplayRequest

__all__ = ["Transport"]


class Transport(Protocol):
    """Carries requests; every error is one of `core.errors`, wherever it was raised.

    `keeps_store`: until it is closed, nobody else can open what it has open.
    """

    keeps_store: bool

    async def open(self) -> None:
        """Begin; on the loop that all else is called on."""

    async def call(self, verb: str, request: Any) -> Any:
        """Carry out a verb of queues or streams (`queue/claim`), and return its answer."""

    async def publish(self, body: bytes, *, repeatable: bool) -> bytes:
        """Carry out the server API's `publish`, in JSON; a `repeatable` one may be made again."""

    async def page(self, channel: str, query: bytes) -> bytes:
        """Return a page of the messages API as JSON."""

    def events(self, channel: str, since: Position | None) -> AsyncGenerator[Event, None]:
        """Return what happens in a channel from a position on, or from now on, until it is closed."""

    def replay(self, request: ReplayRequest) -> AsyncGenerator[list[ReplayedMessage], None]:
        """Return messages again when they are due; those of a list together."""

    async def close(self) -> None:
        """Let go of everything."""
