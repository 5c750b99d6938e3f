"""All sessions of a node: how they are made, woken, and parted with."""

from collections.abc import Awaitable, Mapping
from functools import cache
from random import Random
from typing import Any, Final, NamedTuple, Protocol

from msgspec import Struct

from gapless.broker.broker import Broker
from gapless.broker.channel import Wire
from gapless.broker.revocations import Revocations
from gapless.broker.tokens import Claims, SubscriptionClaims
from gapless.broker.verbs import Verbs
from gapless.core.keepalive import Keepalive
from gapless.core.limits import SDKS_SHARED_MAX, SOCKET_STUCK_MS, UNAUTHENTICATED_BYTES_MAX
from gapless.core.wheel import Wheel
from gapless.ports import Clock
from gapless.protocol.websocket import WebSocketWire
from gapless.server.commands import HANDLERS, Handler
from gapless.server.config.model import Limits
from gapless.server.console.stories import Stories
from gapless.server.counts import Counts
from gapless.server.hook_workers import HookWorkers
from gapless.server.hooks import Hooks
from gapless.server.limiting import RETRY, Limiting
from gapless.server.nodes.asking import Asking
from gapless.server.nodes.singling import Singling
from gapless.server.request import Refused
from gapless.server.session import Session
from gapless.server.socket import Handshake, Socket

__all__ = ["Sdk", "SessionOptions", "Sessions", "Tokens"]

WHEEL_SLOT_MS: Final = 250
CLIENT_IDS_DRAWN: Final = 64


class Tokens(Protocol):
    """Holds tokens against keys: `broker.tokens.Verifier`, or a stand-in."""

    def ready(self, token: str, *, subscription: bool = False) -> Awaitable[None] | None:
        """Return what must end before the token can be held against its key; None if nothing must."""

    def connection(self, token: str, now_ms: int) -> Claims:
        """Return what a connection token says; raises `Unauthorized` or `TokenExpired`."""

    def subscription(self, token: str, now_ms: int) -> SubscriptionClaims:
        """Return what a subscription token says; raises `Unauthorized` or `TokenExpired`."""


class SessionOptions(Struct, frozen=True, kw_only=True):
    """What the configuration's `client` section says about connections. Names are Centrifugo's."""

    insecure: bool = False
    allow_anonymous_connect_without_token: bool = False
    disallow_anonymous_connection_tokens: bool = False
    personal_channel_prefix: str = ""  # what the user's id follows; empty: users have none
    single_connection: bool = False
    connect_include_server_time: bool = False
    ping_interval_ms: int = 25_000
    pong_timeout_ms: int = 8_000
    stale_close_delay_ms: int = 10_000
    expired_close_delay_ms: int = 25_000
    expired_sub_close_delay_ms: int = 25_000
    channel_limit: int = 128
    connection_limit: int = 0
    user_connection_limit: int = 0
    history_max_publication_limit: int = 300
    stuck_close_delay_ms: int = SOCKET_STUCK_MS
    unauthenticated_bytes_max: int = UNAUTHENTICATED_BYTES_MAX

    def personal_channel(self, user: str) -> str:
        """Return the channel that is the user's own, or nothing."""
        return self.personal_channel_prefix + user if self.personal_channel_prefix and user else ""


class Sdk(NamedTuple):
    """What a client says it is. Those who say the same share it."""

    name: str
    version: str


class Sessions:
    """Makes a session of every accepted connection, and wakes those that something falls due for."""

    def __init__(
        self,
        broker: Broker,
        clock: Clock,
        options: SessionOptions,
        *,
        tokens: Tokens,
        random: Random,
        revocations: Revocations | None = None,
        limiting: Limiting | None = None,
        verbs: Verbs | None = None,
    ) -> None:
        self.broker = broker
        self.elsewhere: Asking | None = None  # the other nodes, whoever knows them
        self.singling: Singling | None = None
        self.clock = clock
        self.options = options
        self.tokens = tokens
        self.revocations = Revocations() if revocations is None else revocations
        self.limiting = limiting or Limiting(Limits(), clock)
        self.verbs = verbs
        self.hooks: Hooks | None = None  # whoever has some sets them
        self.workers = HookWorkers(clock, broker.node)
        self.stories: Stories | None = None  # whoever has a console sets them
        self.handlers: Mapping[type[Any], Handler] = HANDLERS
        self.all: set[Session] = set()
        self.by_client: dict[str, Session] = {}  # those of which it is known who they are
        self._by_user: dict[str, dict[Session, None]] = {}
        self.counts = Counts(HANDLERS)
        self.wheel: Wheel[Session] = Wheel(WHEEL_SLOT_MS, clock.now_ms())
        self._sdks: dict[Sdk, Sdk] = {}
        self._random = random
        self._dice: list[int] = []
        self._spread = Random(random.getrandbits(64))  # who knows it knows when pings come: no secret
        self._turning = False

    def reach(self, elsewhere: Asking) -> None:
        """Have what is done to connections done to those of other nodes too."""
        self.elsewhere = elsewhere
        self.singling = Singling(self, elsewhere)

    def accept(self, handshake: Handshake, socket: Socket) -> Session:
        """Make the session of a new connection."""
        address = handshake.address
        allowance = self.limiting.opened(address)
        session = Session(self, socket, wire(binary=handshake.binary), address=address, allowance=allowance)
        session.headers = handshake.headers
        self.all.add(session)
        self.counts.enter(binary=handshake.binary)
        if not self._turning:
            self._turning = True
            self.clock.after(WHEEL_SLOT_MS, self._turn)
        return session

    def forget(self, session: Session) -> None:
        """Let go of a session that has ended."""
        self.all.discard(session)
        self.unregister(session)
        self.limiting.closed(session.allowance)
        self.counts.leave(binary=session.wire.codec.binary, stalled=session.paused)

    def admit(self, address: str) -> None:
        """Let a connection be opened from this address, or raise `Refused`: 503 as in Centrifugo, or 429."""
        most = self.options.connection_limit
        if most and len(self.all) >= most:
            self.limiting.refused["connections"] += 1
            raise Refused(503, f"{most} connections are open", RETRY)
        self.limiting.admit(address)

    def limit_anew(self, options: SessionOptions, limits: Limits, *, connects_per_second: int) -> None:
        """Hold to other options and limits from now on, with those who are connected too."""
        self.options = options
        if not self.limiting.replace(limits, connects_per_second=connects_per_second):
            return
        for session in self.all:
            session.allowance = self.limiting.anew(session.address, session.info.user)

    def unregister(self, session: Session) -> None:
        """Note that a session belongs to nobody, or is about to belong to somebody else."""
        self.by_client.pop(session.info.client, None)
        same = self._by_user.get(session.info.user, {})
        same.pop(session, None)
        if not same:
            self._by_user.pop(session.info.user, None)

    def register(self, session: Session) -> None:
        """Note who a session belongs to, so that `of` finds it."""
        self.by_client[session.info.client] = session
        self._by_user.setdefault(session.info.user, {})[session] = None

    def of(self, user: str, *, client: str = "") -> list[Session]:
        """Return the sessions of a user, or of them the one of that client id; without a user, any one's.

        One whose token was accepted is among them even before its connect was answered. The empty user
        without a client id is nobody: the anonymous are not one user.
        """
        if not client:
            return list(self._by_user.get(user, ())) if user else []
        session = self.by_client.get(client)
        return [session] if session is not None and user in ("", session.info.user) else []

    def sdk(self, name: str, version: str) -> Sdk:
        """Return what a client says it is, the same object for all who say the same."""
        said = Sdk(name, version)
        shared = self._sdks.get(said)
        if shared is None:
            shared = said
            if len(self._sdks) < SDKS_SHARED_MAX:
                self._sdks[said] = said
        return shared

    @property
    def num_users(self) -> int:
        """How many different users are connected, all the anonymous as one."""
        return len(self._by_user)

    def ttl_seconds(self, expires_ms: int) -> int:
        """Return how long it is until then, at least a second; 0 for never."""
        return max(1, (expires_ms - self.clock.now_ms()) // 1000) if expires_ms else 0

    def new_client_id(self) -> str:
        """Return a random id in the form of a UUID (version 4)."""
        if not self._dice:
            bits = self._random.getrandbits(128 * CLIENT_IDS_DRAWN)  # together: each draw asks the kernel
            self._dice = [bits >> 128 * n & (1 << 128) - 1 for n in range(CLIENT_IDS_DRAWN)]
        digits = f"{self._dice.pop() & ~(0xF << 76 | 0x3 << 62) | 0x4 << 76 | 0x2 << 62:032x}"
        return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"

    def keepalive(self) -> Keepalive:
        """Return the deadlines of a new connection."""
        return Keepalive(
            stale_ms=self.options.stale_close_delay_ms,
            interval_ms=self.options.ping_interval_ms,
            pong_ms=self.options.pong_timeout_ms,
            stuck_ms=self.options.stuck_close_delay_ms,
            now_ms=self.clock.now_ms(),
        )

    def first_ping_ms(self) -> int:
        """Return when the first ping is due: anywhere in the second half of the interval, to spread them."""
        interval_ms = self.options.ping_interval_ms
        return self.clock.now_ms() + interval_ms // 2 + int(self._spread.random() * (interval_ms // 2 + 1))

    def _turn(self) -> None:
        now_ms = self.clock.now_ms()
        for session in self.wheel.turn(now_ms):
            session.woken(now_ms)
        self._turning = bool(self.all)
        if self._turning:
            self.clock.after(WHEEL_SLOT_MS, self._turn)


@cache
def wire(*, binary: bool) -> Wire:
    """Return how WebSocket connections are written to, in JSON or Protobuf."""
    return WebSocketWire(binary=binary)
