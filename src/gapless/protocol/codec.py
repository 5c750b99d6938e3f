"""What both codecs offer: JSON and Protobuf forms of the same objects, for either end of the wire.

Three kinds of bytes, none of which is ever parsed again by this server:

- a *part*: one whole command or reply, ready to be joined with others. `pack` joins parts into a payload.
- a *publication*: one message in the form that goes into a push, a subscribe reply and a history reply.
- a *push prefix*: what all publication pushes of one channel begin with.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cache
from typing import ClassVar

from gapless.core.stream import Message
from gapless.protocol.messages import Command, ConnectResult, HistoryResult, Reply, SubscribeResult

__all__ = ["Codec", "Subs", "codec"]

Subs = Mapping[str, tuple[SubscribeResult, Sequence[bytes]]]
"""Subscriptions by channel: the result, and its publications from what `publication` gave."""


class Codec(ABC):
    """One of the two encodings. Stateless: one instance serves all connections.

    `separator` stands between the parts of a payload. `ping` is the part that is a server's ping.
    """

    binary: ClassVar[bool]
    separator: ClassVar[bytes]
    ping: ClassVar[bytes]

    @abstractmethod
    def commands(self, payload: bytes) -> list[Command]:
        """Decode what a client sent: one command or more.

        Raises:
            BadRequest: empty or malformed, a value out of its range, or over `FRAME_OBJECTS_MAX` commands.
        """

    @abstractmethod
    def replies(self, payload: bytes) -> list[Reply]:
        """Decode what a server sent: one reply or more.

        Raises:
            BadRequest: as `commands`.
        """

    @abstractmethod
    def command(self, command: Command) -> bytes:
        """Encode a command to a part."""

    @abstractmethod
    def reply(self, reply: Reply) -> bytes:
        """Encode a reply to a part."""

    @abstractmethod
    def publication(self, message: Message, *, epoch: str = "") -> bytes:
        """Encode a stored message; offset 0 means that there is no history, and is left off.

        Raises:
            BinaryMessage: the message is not JSON, and this codec is.
        """

    @abstractmethod
    def push_prefix(self, channel: str) -> bytes:
        """Encode what all publication pushes of a channel begin with; made once, kept by the hub."""

    @abstractmethod
    def push(self, prefix: bytes, publication: bytes) -> bytes:
        """Encode the push of a publication to a part."""

    @abstractmethod
    def subscribed(self, id: int, result: SubscribeResult, publications: Sequence[bytes]) -> bytes:
        """Encode a subscribe reply to a part, its `publications` from what `publication` gave."""

    @abstractmethod
    def connected(self, id: int, result: ConnectResult, subs: Subs) -> bytes:
        """Encode a connect reply to a part, with the server-side subscriptions."""

    @abstractmethod
    def published(self, id: int) -> bytes:
        """Encode the reply to a publish to a part."""

    @abstractmethod
    def history(self, id: int, result: HistoryResult, publications: Sequence[bytes]) -> bytes:
        """Encode a history reply to a part, its `publications` from what `publication` gave."""

    def pack(self, parts: Sequence[bytes]) -> bytes:
        """Join one part or more into one payload."""
        return self.separator.join(parts)


@cache
def codec(*, binary: bool) -> Codec:
    """Return the codec for Protobuf or for JSON. Protobuf's runtime is loaded at the first use."""
    if binary:
        from gapless.protocol.protobuf import ProtobufCodec

        return ProtobufCodec()
    from gapless.protocol.json import JsonCodec

    return JsonCodec()
