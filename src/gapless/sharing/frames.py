"""What goes over the socket between the process that owns a store and those that joined it.

A frame is four bytes of length, big-endian, and a MessagePack array whose first item names its kind. The
owner speaks first: `Welcome`. Many frames go in one write. Over TCP each first proves to the other that it
has the key: `Challenge`, `Proof`, then `Proved` before the `Welcome`, or `Denied`.
"""

import struct
from collections.abc import Iterator
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from gapless.core import errors
from gapless.core.errors import BadRequest, GaplessError, PositionTrimmed, TimelineGone
from gapless.core.stream import Message, Position
from gapless.ports import Durability, Statistics

__all__ = [
    "MALFORMED",
    "VERSION",
    "Answer",
    "Challenge",
    "Denied",
    "Frames",
    "FromOwner",
    "GiveUp",
    "Leaving",
    "Malformed",
    "Ping",
    "Pong",
    "Progress",
    "Proof",
    "Proved",
    "Ready",
    "Refusal",
    "Refused",
    "Ring",
    "Sent",
    "Standing",
    "Tell",
    "Welcome",
    "frame",
]

VERSION: Final = 4
# Stands for `Malformed` where codes of errors do.
MALFORMED: Final = "malformed"

_LENGTH: Final = struct.Struct(">I")
_encode: Final = msgspec.msgpack.Encoder().encode


class Malformed(BadRequest):
    """Something in a call is not of the type that the port names, so that the call cannot even be read."""


class Standing(Struct, array_like=True, frozen=True, tag="standing"):
    """How the owner's store stands, told before what was answered by then."""

    epoch: str
    statistics: Statistics


class Welcome(Struct, array_like=True, frozen=True, tag="welcome"):
    """What an owner says first. `identity` is of the file whose lock makes it the owner.

    `at_ns` is when it was sent, by the owner's steady clock.
    """

    version: int
    identity: tuple[int, int]
    pid: int
    durability: Durability
    standing: Standing
    at_ns: int


class Challenge(Struct, array_like=True, frozen=True, tag="challenge"):
    """What an owner says first over TCP: something new to prove the key with."""

    version: int
    nonce: bytes


class Proof(Struct, array_like=True, frozen=True, tag="proof"):
    """What who joins answers: its proof, and something new for the owner's."""

    nonce: bytes
    proof: bytes


class Proved(Struct, array_like=True, frozen=True, tag="proved"):
    """The owner's proof."""

    proof: bytes


class Denied(Struct, array_like=True, frozen=True, tag="denied"):
    """The key is another one."""


class Refusal(Struct, frozen=True, tag="refusal"):
    """An error, by its code in the tree, and what it carries besides."""

    code: str
    message: str
    epoch: str = ""
    offset: int = 0

    @classmethod
    def of(cls, error: GaplessError) -> "Refusal":
        """Return what to tell of an error."""
        position = getattr(error, "epoch", ""), getattr(error, "offset", 0)
        return cls(error.code, str(error), *position)

    def error(self) -> GaplessError:
        """Return the error."""
        if self.code == MALFORMED:
            return Malformed(self.message)
        kind = _ERRORS.get(self.code, GaplessError)
        if issubclass(kind, TimelineGone | PositionTrimmed):
            return kind(self.message, epoch=self.epoch, offset=self.offset)
        return kind(self.message)


def _by_code() -> dict[str, type[GaplessError]]:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    codes = {kind.code: kind for kind in kinds if issubclass(kind, GaplessError)}
    return codes | {BadRequest.code: BadRequest}  # which has its parent's


_ERRORS: Final = _by_code()


class Answer(Struct, array_like=True, frozen=True, tag="answer"):
    """The outcome of a call; how it is read depends on the call."""

    number: int
    result: Raw


class Refused(Struct, array_like=True, frozen=True, tag="refused"):
    """A call that raised an error."""

    number: int
    refusal: Refusal


class Ready(Struct, array_like=True, frozen=True, tag="ready"):
    """A queue whose jobs may have become claimable."""

    queue: str


class Ring(Struct, array_like=True, frozen=True, tag="ring"):
    """A stream reaches `last`: of the bus, in both directions."""

    stream: str
    last: Position
    message: Message | None


class Tell(Struct, array_like=True, frozen=True, tag="tell"):
    """What a node tells the others: of the bus, in both directions."""

    told: bytes


class Progress(Struct, array_like=True, frozen=True, tag="progress"):
    """How far a call is that takes long: `done` of `total`."""

    number: int
    done: int
    total: int


class Leaving(Struct, array_like=True, frozen=True, tag="leaving"):
    """The owner lets go of the store; calls with a number above `taken` were not begun."""

    taken: int


class Pong(Struct, array_like=True, frozen=True, tag="pong"):
    """The owner is there; `at_ns` by its steady clock."""

    at_ns: int


class Ping(Struct, array_like=True, frozen=True, tag="ping"):
    """Asks the owner to say something."""


class Sent(Struct, array_like=True, frozen=True, tag="sent"):
    """When what follows was sent, by the owner's steady clock: then or earlier."""

    at_ns: int


class GiveUp(Struct, array_like=True, frozen=True, tag="give_up"):
    """Whoever made a call has given up."""

    call: int


FromOwner = Welcome | Standing | Answer | Refused | Progress | Ready | Ring | Tell | Leaving | Pong


def frame(said: Any) -> bytes:
    """Return the bytes of a frame.

    Raises:
        Malformed: something in it is no text, or no number that can be stored.
    """
    try:
        body = _encode(said)
    except (msgspec.MsgspecError, UnicodeError, OverflowError, TypeError) as error:
        raise Malformed(f"it cannot be stored: {error}") from error
    return _LENGTH.pack(len(body)) + body


class Frames:
    """What was read from a socket, cut into frames of up to `bytes_max`, which may be changed."""

    def __init__(self, bytes_max: int) -> None:
        self.bytes_max = bytes_max
        self._parts: list[bytes] = []
        self._held = 0
        self._needed = _LENGTH.size

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Take in what was read, and return the frames that are whole by now.

        Raises:
            BadRequest: a frame is too large.
        """
        self._parts.append(data)
        self._held += len(data)
        if self._held < self._needed:
            return
        data = b"".join(self._parts) if len(self._parts) > 1 else data
        at, self._needed = 0, _LENGTH.size
        while len(data) - at >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(data, at)
            if length > self.bytes_max:
                raise BadRequest(f"a frame of {length} bytes")
            start = at + _LENGTH.size
            if len(data) - start < length:
                self._needed = _LENGTH.size + length
                break
            at = start + length
            yield data[start:at]
        self._parts = [data[at:]] if at < len(data) else []
        self._held = len(data) - at
