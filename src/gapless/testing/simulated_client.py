"""A simulated client: it speaks the protocol and keeps the rules of the stock SDKs (PROTOCOL.md).

Positions are held in memory: taken from the subscribe reply before its publications are handled, moved on by
each publication, presented again after every break.
"""

from collections.abc import Callable
from functools import lru_cache, partial
from random import Random
from typing import Final, Protocol

from msgspec import Struct

from gapless.protocol.codec import codec
from gapless.protocol.codes import Unsubscribe, reconnects
from gapless.protocol.messages import (
    Command,
    ConnectRequest,
    HistoryRequest,
    Publication,
    PublishRequest,
    Push,
    Reply,
    SubscribeRequest,
    SubscribeResult,
    UnsubscribeRequest,
    payload,
)
from gapless.testing.link import Link
from gapless.testing.loop import VirtualLoop

__all__ = ["Answer", "ClientOptions", "Followed", "Observer", "SimulatedClient"]

COMMAND_MS: Final = 5_000
PING_GRACE_MS: Final = 10_000
TOKEN_EXPIRED: Final = 109


class ClientOptions(Struct, frozen=True, kw_only=True):
    """How a client behaves. `token` is asked for a new one when it has none, or the last expired.

    `forgetful` is the chance that it presents its offset without the epoch, as some SDKs have done.
    """

    binary: bool = False
    backoff_ms_min: int = 100
    backoff_ms_max: int = 2_000
    token: Callable[[], str] | None = None
    forgetful: float = 0.0


class Followed:
    """One subscription of a client. `position` is None until a recoverable one was granted."""

    def __init__(
        self, client: "SimulatedClient", channel: str, *, recoverable: bool, join_leave: bool
    ) -> None:
        self.client = client
        self.channel = channel
        self.recoverable = recoverable
        self.join_leave = join_leave
        self.position: tuple[str, int] | None = None
        self.subscribed = False
        self.wanted = True
        self.asked = 0  # the command that it waits for
        self.attempts = 0


class Observer(Protocol):
    """Is told what clients live through."""

    def subscribed(self, followed: Followed, request: SubscribeRequest, result: SubscribeResult) -> None:
        """A subscribe command was granted; its publications are still to be handled."""

    def published(self, followed: Followed, publication: Publication, written_ms: int | None) -> None:
        """A publication came: in a push written at `written_ms`, or (None) in the reply."""

    def joined_or_left(self, followed: Followed, push: Push) -> None:
        """A join or leave was pushed."""

    def refused(self, followed: Followed, code: int, temporary: bool) -> None:
        """A subscribe command was answered with an error."""

    def unanswered(self, followed: Followed, link: Link) -> None:
        """A subscribe command was not answered in time; the client gives the connection up."""

    def unsubscribed(self, followed: Followed, code: int) -> None:
        """The server ended a subscription."""

    def closed(self, client: "SimulatedClient", code: int) -> None:
        """A connection ended; 0 when the client gave it up."""


Answer = Callable[[Reply | None], object]
"""Told what came back; None when the connection ended first."""


class SimulatedClient:
    """One client and its connection, whichever it is at the moment."""

    def __init__(
        self,
        loop: VirtualLoop,
        random: Random,
        name: str,
        options: ClientOptions,
        *,
        dial: Callable[["SimulatedClient"], Link],
        observer: Observer,
    ) -> None:
        self.name = name
        self.options = options
        self.followed: dict[str, Followed] = {}
        self.connected = False
        self.stopped = False
        self.link: Link | None = None
        self.id = ""
        self._loop = loop
        self._random = random
        self._dial = dial
        self._observer = observer
        self._codec = codec(binary=options.binary)
        self._token = ""
        self._attempts = 0
        self._command = 0
        self._answers: dict[int, Answer] = {}
        self._heard_ms = 0
        self._ping_ms = 0
        self._pong = False
        self._partial = b""

    # What an application asks of it -------------------------------------------------------

    def start(self) -> None:
        """Connect, and stay connected."""
        self.stopped = False
        self._connect()

    def stop(self) -> None:
        """Disconnect for good."""
        self.stopped = True
        self._give_up()

    def follow(self, channel: str, *, recoverable: bool = True, join_leave: bool = False) -> Followed:
        """Subscribe, and stay subscribed."""
        followed = self.followed[channel] = Followed(
            self, channel, recoverable=recoverable, join_leave=join_leave
        )
        self._subscribe([followed])
        return followed

    def leave(self, channel: str) -> None:
        """Unsubscribe; the position is forgotten."""
        followed = self.followed.pop(channel)
        followed.wanted = followed.subscribed = False
        followed.asked = 0
        if self.connected:
            self._ask([Command(unsubscribe=UnsubscribeRequest(channel=channel))], [lambda reply: None])

    def publish(self, channel: str, batch: list[bytes], answers: list[Answer]) -> bool:
        """Publish several at once; False when not connected. An answer of None: none came."""
        if self.connected:
            commands = [
                Command(publish=PublishRequest(channel=channel, data=payload(data))) for data in batch
            ]
            self._ask(commands, answers)
        return self.connected

    def history(self, request: HistoryRequest, answer: Answer) -> None:
        """Ask for history, if connected."""
        if self.connected:
            self._ask([Command(history=request)], [answer])

    # The connection -----------------------------------------------------------------------

    def _connect(self) -> None:
        if not self.stopped and self.link is None:
            self.link = self._dial(self)
            self._loop.after_ms(COMMAND_MS, self._check_connected, self.link)

    def _check_connected(self, link: Link) -> None:
        if self.link is link and not self.connected:
            self._give_up()
            self._come_back()

    def opened(self) -> None:
        """Introduce itself."""
        if self.options.token is not None and not self._token:
            self._token = self.options.token()
        self._ask([Command(connect=ConnectRequest(token=self._token))], [self._granted])

    def _granted(self, reply: Reply | None) -> None:
        if reply is None:
            return
        if reply.connect is None:
            assert reply.error is not None
            if reply.error.code == TOKEN_EXPIRED:
                self._token = ""
            self._give_up()
            self._come_back()
            return
        self.connected = True
        self.id = reply.connect.client
        self._attempts = 0
        self._pong = reply.connect.pong
        self._ping_ms = reply.connect.ping * 1000
        self._check_ping(self.link)
        self._subscribe(list(self.followed.values()))

    def closed(self, code: int) -> None:
        """Lose the connection."""
        self._forget_connection(code)
        if reconnects(code):
            self._come_back()
        else:
            self.stopped = True

    def _give_up(self) -> None:
        link = self.link
        if link is not None:
            self._forget_connection(0)
            link.leave(1000)

    def _forget_connection(self, code: int) -> None:
        self._observer.closed(self, code)
        self.link = None
        self.connected = False
        self._partial = b""
        answers, self._answers = self._answers, {}
        for followed in self.followed.values():
            followed.subscribed = False
            followed.asked = 0
        for answer in answers.values():
            answer(None)
        if code == 3005:
            self._token = ""

    def _come_back(self) -> None:
        self._loop.after_ms(self._backoff_ms(self._attempts), self._connect)
        self._attempts += 1

    def _backoff_ms(self, attempts: int) -> int:
        most_ms = min(self.options.backoff_ms_max, self.options.backoff_ms_min << min(attempts, 16))
        return self._random.randint(self.options.backoff_ms_min // 2, most_ms)

    def _check_ping(self, link: Link | None) -> None:
        if self.link is not link or not self.connected or not self._ping_ms:
            return
        due_ms = self._heard_ms + self._ping_ms + PING_GRACE_MS
        if self._loop.now_ms >= due_ms:
            self._give_up()
            self._come_back()
        else:
            self._loop.after_ms(due_ms - self._loop.now_ms, self._check_ping, link)

    # Commands -----------------------------------------------------------------------------

    def _ask(self, commands: list[Command], answers: list[Answer]) -> None:
        assert self.link is not None
        for command, answer in zip(commands, answers, strict=True):
            self._command += 1
            command.id = self._command
            self._answers[command.id] = answer
        parts = [self._codec.command(command) for command in commands]
        self.link.send(self._codec.pack(parts), self.options.binary)

    def _subscribe(self, many: list[Followed]) -> None:
        many = [each for each in many if each.wanted and not each.asked and not each.subscribed]
        if not many or not self.connected:
            return
        requests = [self._request(followed) for followed in many]
        answers: list[Answer] = [
            partial(self._answered, *asked) for asked in zip(many, requests, strict=True)
        ]
        for index, followed in enumerate(many, start=self._command + 1):
            followed.asked = index
            self._loop.after_ms(COMMAND_MS, self._check_answered, followed, index, self.link)
        self._ask([Command(subscribe=request) for request in requests], answers)

    def _check_answered(self, followed: Followed, asked: int, link: Link) -> None:
        if followed.asked == asked and self.link is link:
            self._observer.unanswered(followed, link)
            self._give_up()
            self._come_back()

    def _request(self, followed: Followed) -> SubscribeRequest:
        request = SubscribeRequest(
            channel=followed.channel, recoverable=followed.recoverable, join_leave=followed.join_leave
        )
        if followed.position is not None:
            request.recover = True
            request.epoch, request.offset = followed.position
            if self._random.random() < self.options.forgetful:
                request.epoch = ""
        return request

    def _answered(self, followed: Followed, request: SubscribeRequest, reply: Reply | None) -> None:
        if reply is None or not followed.wanted:
            return
        assert followed.asked == reply.id, f"{followed.asked} was asked, {reply.id} answered"
        followed.asked = 0
        if reply.error is not None:
            self._observer.refused(followed, reply.error.code, reply.error.temporary)
            if reply.error.temporary:
                self._loop.after_ms(self._backoff_ms(followed.attempts), self._subscribe, [followed])
                followed.attempts += 1
            return
        result = reply.subscribe
        assert result is not None
        followed.subscribed = True
        followed.attempts = 0
        if result.recoverable:
            followed.position = (result.epoch, result.offset)
        self._observer.subscribed(followed, request, result)
        for publication in result.publications:
            self._take(followed, publication, None)

    # What the server sends ----------------------------------------------------------------

    def received(self, data: bytes, written_ms: int) -> None:
        """Handle the frames that are whole by now."""
        link = self.link
        replies, self._partial = _replies(self.options.binary, self._partial + data)
        for reply in replies:
            if self.link is not link:
                return
            self._heard_ms = self._loop.now_ms
            self._handle(reply, written_ms)

    def _handle(self, reply: Reply, written_ms: int) -> None:
        if reply.id:
            self._answers.pop(reply.id)(reply)
        elif reply.push is not None:
            self._pushed(reply.push, written_ms)
        elif self._pong and self.link is not None:
            self.link.send(self._codec.command(Command()), self.options.binary)

    def _pushed(self, push: Push, written_ms: int) -> None:
        followed = self.followed.get(push.channel)
        if followed is None or not followed.subscribed:
            return
        if push.pub is not None:
            self._take(followed, push.pub, written_ms)
        elif push.unsubscribe is not None:
            followed.subscribed = False
            self._observer.unsubscribed(followed, push.unsubscribe.code)
            if push.unsubscribe.code >= Unsubscribe.INSUFFICIENT_STATE:
                self._subscribe([followed])
        elif push.join is not None or push.leave is not None:
            self._observer.joined_or_left(followed, push)

    def _take(self, followed: Followed, publication: Publication, written_ms: int | None) -> None:
        if followed.position is not None and publication.offset:
            followed.position = (followed.position[0], publication.offset)
        self._observer.published(followed, publication, written_ms)


@lru_cache(maxsize=64)
def _replies(binary: bool, data: bytes) -> tuple[list[Reply], bytes]:
    """Decode the frames at the beginning of `data`, and return the rest; many clients are sent the same."""
    decode = codec(binary=binary).replies
    replies: list[Reply] = []
    while frame := _frame(binary, data):
        replies += decode(frame[0])
        data = frame[1]
    return replies, data


def _frame(binary: bool, data: bytes) -> tuple[bytes, bytes] | None:
    """Take one whole, unmasked frame (RFC 6455, section 5.2) off the beginning; None: it is not all there."""
    if len(data) < 2:
        return None
    assert data[0] == (0x82 if binary else 0x81), f"a frame begins with {data[0]:#x}"
    start = {126: 4, 127: 10}.get(data[1], 2)
    end = start + (data[1] if start == 2 else int.from_bytes(data[2:start]))
    return (data[start:end], data[end:]) if len(data) >= max(start, end) else None
