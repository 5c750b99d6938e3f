"""The doorbell between nodes."""

from abc import ABC, abstractmethod
from collections.abc import Callable

from gapless.core.stream import Message, Position

__all__ = ["Bus"]


class Bus(ABC):
    """A doorbell between nodes. Losing, doubling or reordering a ring costs delay, never a gap."""

    alone: bool = False  # there is nobody else now: a ring would reach no one
    rings_appends: bool = False  # the store rings for what it takes; a node need not

    @abstractmethod
    def ring(self, stream: str, last: Position, message: Message | None) -> None:
        """Tell the other nodes that `stream` reaches `last`; `message` is the one there, if brought along.

        What passes through without being stored has no offset (`message.offset` is 0); `last` is then of the
        ringing node itself: its id (`last.epoch`), and a number that rises with each that it passes on.
        """

    @abstractmethod
    def listen(self, heard: Callable[[str, Position, Message | None], None]) -> None:
        """Call `heard` for every ring of another node, in a stream that is followed here."""

    @abstractmethod
    def tell(self, told: bytes) -> None:
        """Tell the other nodes something, as surely as a ring: once, twice or not at all."""

    @abstractmethod
    def hear(self, heard: Callable[[bytes], None]) -> None:
        """Call `heard` with what another node tells."""

    def follow(self, stream: str) -> None:  # noqa: B027 - most have nothing to do
        """Hear rings of a stream from soon on, at the latest until `unfollow` was called as often.

        Where rings go only to who asked for them, a ring without a message, of where the stream stands, is
        heard once that is so. Otherwise all rings are heard anyway, and nothing happens.
        """

    def unfollow(self, stream: str) -> None:  # noqa: B027
        """Need the rings of a stream no longer."""
