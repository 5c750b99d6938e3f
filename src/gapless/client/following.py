"""The reader's side of one channel: what to send, what arrived, and where it stands. Sans I/O."""

from typing import Final

from msgspec import Struct

from gapless.core.errors import (
    GaplessError,
    LimitExceeded,
    NotAvailable,
    PermissionDenied,
    TokenExpired,
    Unauthorized,
    Unavailable,
    UnknownChannel,
    UsageError,
)
from gapless.core.stream import Position
from gapless.protocol import messages
from gapless.protocol.codec import codec
from gapless.protocol.codes import Unsubscribe
from gapless.protocol.messages import (
    Command,
    ConnectRequest,
    Publication,
    Reply,
    SubscribeRequest,
    SubscribeResult,
)

__all__ = ["Arrived", "Event", "Following", "Missed"]

_CODEC: Final = codec(binary=False)
_PONG: Final = Command()
_ERRORS: Final = {
    error.number: error
    for error in (
        Unauthorized,
        UnknownChannel,
        PermissionDenied,
        LimitExceeded,
        NotAvailable,
        TokenExpired,
    )
}


class Arrived(Struct, frozen=True):
    """A message. `position` is where it stands; None where the channel keeps no history. `data` is JSON."""

    position: Position | None
    data: bytes
    tags: dict[str, str]


class Missed(Struct, frozen=True):
    """What was published between `after` and `at` cannot be told. None: not known, for want of history."""

    after: Position | None
    at: Position | None


Event = Arrived | Missed


class Following:
    """One channel, across any number of connections. `position` is what to go on from."""

    def __init__(self, channel: str, *, since: Position | None = None, token: str = "") -> None:
        self.position = since
        self.ping_ms = 0  # how often the server lets itself be heard; 0 while that is not known
        self._channel = channel
        self._token = token
        self._returning = since is not None
        self._last_id = 0
        self._connecting = self._subscribing = 0

    def hello(self) -> bytes:
        """Return what to send first on a new connection."""
        self._connecting = self._next_id()
        connect = Command(self._connecting, connect=ConnectRequest(token=self._token, name="gapless"))
        return _CODEC.pack([_CODEC.command(connect), self._subscribe()])

    def take(self, payload: bytes) -> tuple[list[Event], bytes]:
        """Take what the server sent; return what arrived, and what to answer, if anything.

        Raises:
            BadRequest: the server does not keep to the protocol.
            UsageError: it refuses for good, and says why.
            Unavailable: it refuses for now.
        """
        events: list[Event] = []
        answers = []
        for reply in _CODEC.replies(payload):
            if reply == Reply():
                answers.append(_CODEC.command(_PONG))
            elif reply.push is not None:
                answers += self._pushed(reply.push, events)
            else:
                self._replied(reply, events)
        return events, _CODEC.pack(answers) if answers else b""

    def _subscribe(self) -> bytes:
        self._subscribing = self._next_id()
        since = self.position
        request = SubscribeRequest(
            channel=self._channel,
            recoverable=True,
            recover=since is not None,
            epoch=since.epoch if since is not None else "",
            offset=since.offset if since is not None else 0,
        )
        return _CODEC.command(Command(self._subscribing, subscribe=request))

    def _next_id(self) -> int:
        self._last_id += 1
        return self._last_id

    def _replied(self, reply: Reply, events: list[Event]) -> None:
        if reply.error is not None:
            raise _refusal(reply.error)
        if reply.id == self._connecting and reply.connect is not None:
            self.ping_ms = reply.connect.ping * 1000
        elif reply.id == self._subscribing and reply.subscribe is not None:
            self._subscribed(reply.subscribe, events)

    def _subscribed(self, result: SubscribeResult, events: list[Event]) -> None:
        at = Position(result.epoch, result.offset) if result.recoverable else None
        if self._returning and not result.recovered:
            events.append(Missed(self.position, at))
        self._returning = True
        self.position = at
        for publication in result.publications:
            self._published(publication, events)

    def _pushed(self, push: messages.Push, events: list[Event]) -> list[bytes]:
        if push.channel != self._channel:
            return []
        if push.pub is not None:
            self._published(push.pub, events)
        elif push.unsubscribe is not None:
            if push.unsubscribe.code < Unsubscribe.INSUFFICIENT_STATE:
                raise PermissionDenied(f"the server ended the subscription: {push.unsubscribe.reason}")
            return [self._subscribe()]
        return []

    def _published(self, publication: Publication, events: list[Event]) -> None:
        if self.position is not None and publication.offset:
            self.position = Position(self.position.epoch, publication.offset)
        at = self.position if publication.offset else None
        events.append(Arrived(at, bytes(publication.data), publication.tags))


def _refusal(error: messages.Error) -> GaplessError:
    if error.temporary:
        return Unavailable(f"the server refuses for now: {error.message} ({error.code})")
    return _ERRORS.get(error.code, UsageError)(f"the server refuses: {error.message} ({error.code})")
