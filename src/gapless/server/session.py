"""One connection's end of the client protocol, over any socket.

A session decodes commands, has the broker do them, and writes replies: joined at the end of the loop
tick, after the publications of that tick. It takes its time from the node's wheel.
"""

import asyncio
import logging
from collections.abc import Coroutine, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from msgspec import structs

from gapless.broker.channel import Subscription, Wire
from gapless.broker.recovery import Start
from gapless.broker.terms import Terms
from gapless.broker.tokens import Claims, Grant
from gapless.core.errors import BadRequest, BinaryMessage, GaplessError, LimitExceeded, TooManyRequests
from gapless.core.keepalive import Action
from gapless.core.limits import SESSION_COMMANDS_MAX, SESSION_MESSAGES_MAX
from gapless.core.stream import Position
from gapless.protocol.codes import Disconnect, Unsubscribe, error_of
from gapless.protocol.messages import NO_PAYLOAD, ClientInfo, Command, Payload, Push, Refresh, Reply
from gapless.protocol.meta import Meta
from gapless.server import hooking, subscribing
from gapless.server.console.stories import By, Story
from gapless.server.limiting import Allowance, Verdict
from gapless.server.socket import Socket

if TYPE_CHECKING:
    from gapless.server.sessions import Sdk, Sessions

__all__ = ["Session", "Work"]

Work = Coroutine[Any, Any, None]

log: Final = logging.getLogger("gapless.session")

_GIVEN_UP: Final = {
    Action.STALE: Disconnect.STALE,
    Action.NO_PONG: Disconnect.NO_PONG,
    Action.STUCK: Disconnect.WRITE_ERROR,
}
# What happens all day is logged for those who look for it.
_WEIGHT: Final[Mapping[int, int]] = dict.fromkeys(
    (Disconnect.SHUTDOWN, Disconnect.EXPIRED, Disconnect.STALE), logging.DEBUG
)
# What ends a subscription that its client did not ask for ends the connection: no client can renew it alone.
_WITH_THE_CONNECTION: Final = {
    Unsubscribe.INSUFFICIENT_STATE: Disconnect.INSUFFICIENT_STATE,
    Unsubscribe.EXPIRED: Disconnect.SUBSCRIPTION_EXPIRED,
    Unsubscribe.STATE_INVALIDATED: Disconnect.STATE_INVALIDATED,
}
# Who closed with a code of the WebSocket's: this side what breaks its protocol, the network without a word.
_BY: Final = {**dict.fromkeys((1002, 1007, 1008, 1009, 1011), By.SERVER), 1006: By.NETWORK}
_NOBODY: Final = Claims(user="")


class Session:
    """A connection and what it follows. Implements `server.socket.Receiver` and `broker.channel.Reader`.

    `claims` is what it connected with, `info` what others see of that. `subscribing` are the channels that
    wait for the store or a hook, with the code to unsubscribe them by as soon as they stand, if there is one.
    `asking` are the channels in which a publication waits for a hook; at `renew_ms` a hook is to be asked for
    more time, 0: never. `sdk` is what its client says it is, `story` what is remembered for the console.
    """

    __slots__ = (
        "_backlog",
        "_keepalive",
        "_leaving",
        "_meta",
        "_outbox",
        "_reading",
        "_refused",
        "_subscriptions_end_ms",
        "_tasks",
        "_throttled",
        "_unauthenticated_bytes",
        "address",
        "allowance",
        "asking",
        "awaited_messages",
        "claims",
        "connected",
        "connected_ms",
        "ends_ms",
        "headers",
        "info",
        "node",
        "open",
        "paused",
        "renew_ms",
        "scheduled_ms",
        "sdk",
        "socket",
        "story",
        "subscribing",
        "subscriptions",
        "wire",
        "write",
    )

    def __init__(
        self, node: "Sessions", socket: Socket, wire: Wire, *, address: str, allowance: Allowance | None
    ) -> None:
        self.node = node
        self.address = address
        self.allowance = allowance  # None: as much as it likes
        self.socket = socket
        self.wire = wire
        self.write = socket.write
        self.claims = _NOBODY
        self.info = ClientInfo()
        self._meta: dict[bool, bytes] = {}  # by `binary`, once it was asked for
        self.subscriptions: dict[str, Subscription] = {}
        self.subscribing: dict[str, Unsubscribe | None] = {}
        self.asking: set[str] | None = None
        self.headers: Mapping[str, str] | None = None  # of the handshake, until it is connected
        self.awaited_messages = 0  # how many its histories that are being read may bring
        self.connected = False
        self.connected_ms = 0
        self.sdk: Sdk | None = None
        self.story: Story | None = None
        self.open = True
        self.paused = False
        self.ends_ms = 0
        self.renew_ms = 0
        self.scheduled_ms = 0
        self._backlog: list[Command] = []  # read and not carried out yet, the last first
        self._outbox: list[bytes] = []
        self._reading = True
        self._leaving = False
        self._refused = False  # its connect was; SDKs send what they follow right behind it
        self._subscriptions_end_ms = 0  # the first of them
        self._tasks: set[asyncio.Task[None]] | None = None
        self._throttled = False
        self._unauthenticated_bytes = 0
        self._keepalive = node.keepalive()
        self.schedule()

    # From the socket ----------------------------------------------------------------------

    def received(self, payload: bytes, binary: bool) -> None:
        """Carry out the commands of one message, in order."""
        if self.allowance is not None:
            self._throttle(len(payload))
        try:
            if not self.connected:
                self._admit(len(payload))
            self._backlog = self.wire.codec.commands(payload)[::-1] + self._backlog
        except BadRequest as error:
            self._reject(error)
        else:
            self._proceed()

    def _throttle(self, size_bytes: int) -> None:
        """Charge what came; beyond what may come, read on later."""
        assert self.allowance is not None
        wait_ms = self.allowance.bytes(self.node.clock.now_ms(), size_bytes)
        if wait_ms and not self._throttled:
            self._throttled = True
            self.node.clock.after(wait_ms, self._read_on)

    def _read_on(self) -> None:
        self._throttled = False
        if self.open and self.allowance is not None:
            self._throttle(0)  # others may have used what they share
        if self.open:
            self._proceed()

    def _proceed(self) -> None:
        """Carry out what was read, as far as the socket drains and the store keeps up."""
        try:
            while self._backlog and self.open and self._keeps_up():
                self._carry_out(self._backlog.pop())
        except BadRequest as error:
            self._reject(error)
        if self.open and self._reading != self._keeps_up():
            self._reading = not self._reading
            (self.socket.resume_reading if self._reading else self.socket.pause_reading)()

    def _keeps_up(self) -> bool:
        if self.paused or self._leaving or self._throttled or self.awaited_messages >= SESSION_MESSAGES_MAX:
            return False
        if not self._tasks:
            return True
        return len(self._tasks) < SESSION_COMMANDS_MAX and not (
            self._backlog and self._waits(self._backlog[-1])
        )

    def _waits(self, command: Command) -> bool:
        """Tell whether a command may not overtake what waits: a connect, or its channel's."""
        if not self.connected:
            return True
        if not self.subscribing and not self.asking:
            return False
        channel = getattr(command.request(), "channel", None)
        return command.rpc is not None or channel in self.subscribing or channel in (self.asking or ())

    def _reject(self, error: BadRequest) -> None:
        told = {"client": self.info.client, "reason": str(error)}
        log.log(logging.DEBUG if self._refused else logging.INFO, "bad request", extra=told)
        self.disconnected(Disconnect.BAD_REQUEST)

    def _admit(self, size_bytes: int) -> None:
        self._unauthenticated_bytes += size_bytes
        if self._unauthenticated_bytes > self.node.options.unauthenticated_bytes_max:
            raise BadRequest("too much was sent before a connection was granted")

    def _carry_out(self, command: Command) -> None:
        request = command.publish or command.request()
        if request is None:
            if command.id or not self._keepalive.pong():
                raise BadRequest("a command without a request, or a pong that was not asked for")
            return
        if not command.id and command.send is None:
            raise BadRequest("a command without an id")
        if self.connected == (command.connect is not None):
            raise BadRequest("connect comes first, and once")
        if self.allowance is not None and not self._affords(command.id):
            return
        kind = type(request)
        handle = self.node.handlers[kind]
        self.node.counts.commands[kind] += 1
        try:
            work = handle(self, command.id, request)
        except GaplessError as error:
            self.refuse(command.id, error)
        else:
            if work is not None:
                self.start(command.id, work)

    def _affords(self, id: int) -> bool:
        """Tell whether one command more is within the limits; else it is refused, or ends the connection."""
        assert self.allowance is not None
        verdict = self.allowance.command(self.node.clock.now_ms())
        if verdict is Verdict.FLOOD:
            self.disconnected(Disconnect.TOO_MANY_REQUESTS)
        elif verdict is Verdict.REFUSE:
            self.refuse(id, TooManyRequests("more commands than the limits allow"))
        return verdict is Verdict.PASS

    def writing_paused(self) -> None:
        """Leave the cohorts, and take no more commands, until the socket drains."""
        if not self.paused and self.open:
            self.paused = True
            self.node.counts.stalled += 1
            self._reading = False
            self.socket.pause_reading()
            self._keepalive.paused(self.socket.buffered_bytes(), self.node.clock.now_ms())
            self.schedule()
            if self.story is not None:
                self.story.stalled()
            self.node.broker.hub.stall(self)

    def writing_resumed(self) -> None:
        """Read on from where each subscription stands."""
        if self.paused and self.open:
            self.paused = False
            self.node.counts.stalled -= 1
            self._keepalive.resumed(self.node.clock.now_ms())
            self.schedule()
            if self.story is not None:
                self.story.resumed()
            self.node.broker.catch_up.resume(self)
            self._proceed()

    def closed(self, code: int, reason: str) -> None:
        """Forget the connection."""
        if self.open:
            hooking.left(self, code, reason)
            self._end_story(code, reason, _BY.get(code, By.CLIENT))
            self.node.counts.closed_by_peer(code)
            log.debug("client left", extra={**self._who(), "code": code})
        self._end()

    # From the broker ----------------------------------------------------------------------

    def over(self, subscription: Subscription) -> bool:
        """Tell whether the connection's time, or that of its subscription, is over; then it is ended."""
        if self.expired():
            return True
        if 0 < subscription.ends_ms <= self.node.clock.now_ms():
            self.unsubscribed(subscription, Unsubscribe.EXPIRED)
            return True
        return False

    def expired(self) -> bool:
        """Tell whether the connection is over, and end it if only its time is."""
        if self.open and 0 < self.ends_ms <= self.node.clock.now_ms():
            self.disconnected(Disconnect.EXPIRED)
        return not self.open

    def unsubscribed(self, subscription: Subscription, code: Unsubscribe) -> None:
        """Tell the client that the server ended a subscription, and forget it."""
        if subscription.server_side and code in _WITH_THE_CONNECTION:
            self.disconnected(_WITH_THE_CONNECTION[code])
            return
        channel = subscription.channel.name
        if self.story is not None:
            self.story.left(subscription, int(code), code.reason)
        del self.subscriptions[channel]
        self.node.broker.leave(subscription)
        self.send(Reply(push=Push(channel=channel, unsubscribe=code.push())))

    def disconnected(self, code: Disconnect | tuple[int, str]) -> None:
        """End the connection for a reason that the client is told: one of ours, or a number with its text."""
        self.flush()
        if self.open:  # the last replies may be what its socket cannot take
            number, reason = (int(code), code.reason) if isinstance(code, Disconnect) else code
            self.node.counts.ended[number] += 1
            weight = logging.DEBUG if self._refused else _WEIGHT.get(number, logging.INFO)
            log.log(weight, "client disconnected", extra={**self._who(), "code": number})
            hooking.left(self, number, reason)
            self._end_story(number, reason, By.SERVER)
            self._end()
            self.socket.close(number, reason)

    def _end_story(self, code: int, reason: str, by: By) -> None:
        if self.story is not None:
            self.story.ended(self.subscriptions.values(), code, reason, by)

    def hold(self) -> None:
        """Carry out nothing more: what was begun is still answered before the connection is ended."""
        if self.open:
            self._leaving = True
            self._reading = False
            self._backlog.clear()
            self.socket.pause_reading()

    def _who(self) -> dict[str, str]:
        return {"client": self.info.client, "user": self.info.user, "address": self.address}

    # By the server ------------------------------------------------------------------------

    def subscribe_by_server(self, channel: str, grant: Grant, since: Position | None = None) -> Work | None:
        """Subscribe the client to a channel: done, or to be awaited, for which it is asked.

        What it follows already stays where it is, under the new grant. Nothing happens to a connection
        that is over, or is refused meanwhile.

        Raises:
            UnknownChannel, BadRequest: there is no such namespace, or the name is malformed.
            LimitExceeded: the connection follows as many channels as it may.
            Unavailable: the store does not answer, or the client is subscribing to it just now.
        """
        return subscribing.subscribe_by_server(self, channel, grant, since)

    def unsubscribe_by_server(self, channel: str, code: Unsubscribe = Unsubscribe.SERVER) -> None:
        """End a subscription, whoever asked for it; one that waits for the store ends once it stands."""
        if channel in self.subscribing:
            self.subscribing[channel] = code
        elif channel in self.subscriptions:
            self.unsubscribed(self.subscriptions[channel], code)

    def refreshed(self, expires_ms: int, *, info: Payload = NO_PAYLOAD) -> None:
        """Let the connection last until `expires_ms` (0: for ever), and tell the client; the past ends it."""
        ttl = self.node.ttl_seconds(expires_ms)
        if 0 < expires_ms <= self.node.clock.now_ms():
            self.disconnected(Disconnect.EXPIRED)
        elif self.open and self.connected:
            self.identify(structs.replace(self.claims, expires_ms=expires_ms, info=info or self.claims.info))
            self.send(Reply(push=Push(refresh=Refresh(expires_ms > 0, ttl))))

    # Subscriptions ------------------------------------------------------------------------

    def check_channels(self, more: int) -> None:
        """Refuse to follow so many channels more if that is too many (`LimitExceeded`)."""
        limit = self.node.options.channel_limit
        if len(self.subscriptions) + len(self.subscribing) + more > limit:
            raise LimitExceeded(f"a connection follows up to {limit} channels")

    def enter(self, channel: str, start: Start, terms: Terms, began_ms: int = 0) -> None:
        """Let a subscription that the client was told of read on from `start`.

        It was asked for at `began_ms`; 0: just now.
        """
        if self.open:  # the write may have been one too many for its namespaces
            if self.story is not None:
                self.story.entered(channel, start, began_ms)
            self._end_by(terms.ends_ms)
            self._renew_by(terms.grant)
            self.node.broker.enter(channel, self, start, terms)

    def regrant(self, subscription: Subscription, grant: Grant) -> None:
        """Let a subscription go on under another grant."""
        subscription.grant = grant
        subscription.ends_ms = subscribing.ends_ms(self, grant)
        self._end_by(subscription.ends_ms)
        self._renew_by(grant)

    def subscribed(self, channel: str) -> None:
        """Note that a subscription waits for the store no longer, whatever became of it."""
        code = self.subscribing.pop(channel, None)
        if code is not None:
            self.unsubscribe_by_server(channel, code)

    async def settled(self) -> None:
        """Wait for the commands that wait for the store now; more may have come then."""
        if self._tasks:
            await asyncio.wait(self._tasks)

    # Replies ------------------------------------------------------------------------------

    def flush(self) -> None:
        """Write the replies that waited for the end of the tick."""
        if self._outbox and self.open:
            parts, self._outbox = self._outbox, []
            self.write(self.wire.frames(parts))

    def write_part(self, part: bytes) -> None:
        """Write an encoded reply or push at once. What was published before it must have been written."""
        self.write(self.wire.frames([part]))

    def send_part(self, part: bytes) -> None:
        """Write an encoded reply or push at the end of the tick."""
        if not self._outbox:
            self.node.broker.hub.reply_later(self)
        self._outbox.append(part)

    def send(self, reply: Reply) -> None:
        """Write a reply or push at the end of the tick."""
        self.send_part(self.wire.codec.reply(reply))

    def refuse(self, id: int, error: GaplessError) -> None:
        """Answer command `id` with an error."""
        if isinstance(error, BinaryMessage):
            self.disconnected(Disconnect.INAPPROPRIATE_PROTOCOL)
        elif id and self.open:
            self._refused = self._refused or not self.connected
            self.node.counts.errors[error.number] += 1
            log.debug("command refused", extra={**self._who(), "code": error.number, "reason": str(error)})
            self.send(Reply(id, error=error_of(error)))

    # Work that waits for the store, or a hook ----------------------------------------------

    def start(self, id: int, work: Work) -> None:
        """Have work done that command `id`, if it is one, is answered by."""
        if self._tasks is None:
            self._tasks = set()
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(partial(self._finished, id))

    def _finished(self, id: int, task: asyncio.Task[None]) -> None:
        assert self._tasks is not None
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if isinstance(error, GaplessError):
            self.refuse(id, error)
        elif error is not None:
            log.error("a command failed", exc_info=error, extra=self._who())
            self.disconnected(Disconnect.SERVER_ERROR)
        if not self._reading:
            self._proceed()

    # Time ---------------------------------------------------------------------------------

    def identify(self, claims: Claims) -> None:
        """Note who connects, and until when."""
        delay_ms = self.node.options.expired_close_delay_ms
        self.ends_ms = claims.expires_ms + delay_ms if claims.expires_ms else 0
        if claims.renewable:
            self.renew_ms = min(claims.expires_ms, self.renew_ms or claims.expires_ms)
        client = self.info.client
        if client:
            self.node.unregister(self)
        else:
            client = self.node.new_client_id()
        self.claims = claims
        self.info = ClientInfo(user=claims.user, client=client, conn_info=claims.info)
        self._meta.clear()
        self.node.register(self)
        if self.connected:
            self.schedule()

    def meta(self, *, binary: bool) -> bytes:
        """Return what its publications carry beside their data, which is JSON or else `binary`."""
        meta = self._meta.get(binary)
        if meta is None:
            meta = self._meta[binary] = Meta(info=self.info, binary=binary).encoded()
        return meta

    def granted(self) -> None:
        """Note that the connection is granted."""
        if not self.connected:
            self.connected = True
            self._refused = False
            self.connected_ms = self.node.clock.now_ms()
            self._begin_story()
            log.debug("client connected", extra=self._who())
            self._keepalive.opened(self.node.first_ping_ms())
        self.schedule()

    def _begin_story(self) -> None:
        stories = self.node.stories
        if stories is not None and not self.claims.watches:
            self.story = stories.begin(
                self.info.client,
                self.info.user,
                self.address,
                self.wire.codec.binary,
                self.sdk or ("", ""),
                self.connected_ms,
            )

    def schedule(self) -> None:
        """Have the wheel wake this session when something falls due; woken too early, it asks again."""
        due_ms = self._keepalive.due_ms
        if self.ends_ms or self._subscriptions_end_ms:
            due_ms = min(due_ms, self.ends_ms or due_ms, self._subscriptions_end_ms or due_ms)
            due_ms = min(due_ms, self.renew_ms or due_ms)
        if not self.scheduled_ms or due_ms < self.scheduled_ms:
            self.scheduled_ms = due_ms
            self.node.wheel.schedule(self, due_ms)

    def woken(self, now_ms: int) -> None:
        """Do what has fallen due."""
        if not self.open or now_ms < self.scheduled_ms:
            return
        self.scheduled_ms = 0
        if 0 < self._subscriptions_end_ms <= now_ms:
            self._end_subscriptions()
        if 0 < self.renew_ms <= now_ms and not self.expired():
            hooking.renew(self, now_ms)
        if self.expired():
            return
        if self.connected and not self._reading and not self.paused:
            self._keepalive.deaf(now_ms)
        action = self._keepalive.due(now_ms, self.socket.buffered_bytes())
        if action is Action.PING:
            self.write(self.wire.ping)
            self._keepalive.pinged(self.socket.buffered_bytes())
        elif action is not None:
            self.disconnected(_GIVEN_UP[action])
            return
        self.schedule()

    def _end_by(self, ends_ms: int) -> None:
        """Have the wheel wake this session when one of its subscriptions is over."""
        if ends_ms:
            self._subscriptions_end_ms = min(ends_ms, self._subscriptions_end_ms or ends_ms)
            self.schedule()

    def _renew_by(self, grant: Grant | None) -> None:
        """Have the wheel wake this session when a subscription needs more time of a hook."""
        if grant is not None and grant.renewable:
            self.renew_ms = min(grant.expires_ms, self.renew_ms or grant.expires_ms)
            self.schedule()

    def _end_subscriptions(self) -> None:
        self._subscriptions_end_ms = 0
        for subscription in list(self.subscriptions.values()):
            if self.open and not self.over(subscription):
                self._end_by(subscription.ends_ms)

    def _end(self) -> None:
        if not self.open:
            return
        self.open = False
        self._outbox.clear()
        self._backlog.clear()
        for subscription in list(self.subscriptions.values()):
            self.node.broker.leave(subscription)
        self.subscriptions.clear()
        for task in self._tasks or ():
            task.cancel()
        self.node.wheel.forget(self, self.scheduled_ms)
        self.node.forget(self)
