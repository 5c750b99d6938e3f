"""What can be configured. Sections and names are those of a Centrifugo v6 file; `store` is ours.

A field that ends in `_ms` stands in a file without these letters, as a duration (`ping_interval = "25s"`).
`queues` and `streams` are ours too: their types are the broker's.
"""

import re
from enum import StrEnum
from typing import Annotated, Final

from msgspec import Meta, Struct, field

from gapless.broker.feeds import STREAMS
from gapless.broker.namespaces import STREAMS_NAMESPACE, DataFormat, Grammar, Namespace, Namespaces
from gapless.broker.rules import QueueRule, StreamRule
from gapless.core.errors import ConfigError
from gapless.core.limits import (
    BEAT_MS,
    BODY_BYTES_MAX,
    CHANNEL_NAME_BYTES_MAX,
    CHECK_INTERVAL_MS,
    CONSOLE_SESSION_MS,
    HOOK_MS,
    IDEMPOTENCY_WINDOW_MS,
    MESSAGE_BYTES_MAX,
    SERVER_WORKERS_MAX,
)
from gapless.ports import Durability
from gapless.protocol.hooks import Catalogue
from gapless.server.console.passwords import Hash

__all__ = [
    "AddressRates",
    "Channel",
    "Client",
    "Config",
    "Console",
    "ConsoleUser",
    "Engine",
    "EngineType",
    "ErrorMode",
    "Health",
    "HooksAsked",
    "HttpApi",
    "HttpServer",
    "Level",
    "Limits",
    "Log",
    "LogFormat",
    "Messages",
    "Node",
    "PersonalChannel",
    "Prometheus",
    "Rates",
    "Role",
    "Shutdown",
    "Store",
    "SubscriptionToken",
    "Tls",
    "Token",
    "UserRates",
    "WebSocket",
]

Port = Annotated[int, Meta(ge=0, le=65_535)]
Count = Annotated[int, Meta(ge=1)]
Some = Annotated[int, Meta(ge=1)]  # a duration that may not be nothing
UrlPath = Annotated[str, Meta(pattern=r"^/[^?#\s]*[^/?#\s]$")]
Limit = Annotated[int, Meta(ge=0, le=10**9)]  # 0 is no limit
Boundary = Annotated[str, Meta(min_length=1)]
_CONSOLE_NAMES_TAKEN: Final = ("key", "anybody")  # what the others are called who come in
_CONSOLE_NAME: Final = re.compile(r"[\w.@+-]{1,64}")


class Tls(Struct, frozen=True, kw_only=True):
    """Encryption of the port: a certificate and its key, each the path of a PEM file or the PEM itself.

    With `client_ca_pem` only those may connect who have a certificate that it signed.
    """

    enabled: bool = False
    cert_pem: str = ""
    key_pem: str = ""
    client_ca_pem: str = ""


class HttpServer(Struct, frozen=True, kw_only=True):
    """Where to listen. An empty address is every one of the machine's; port 0 is any free one.

    So many `workers` (ours) share the port, each a process and a node of its own. `trusted_proxies` (ours)
    are networks (`10.0.0.0/8`) or addresses whose `X-Forwarded-For` or `Forwarded` tells from where a client
    comes.
    """

    address: str = ""
    port: Port = 8000
    workers: Annotated[int, Meta(ge=1, le=SERVER_WORKERS_MAX)] = 1
    trusted_proxies: list[str] = []
    tls: Tls = field(default_factory=Tls)


class EngineType(StrEnum):
    """The engines of Centrifugo that gapless can stand in for."""

    MEMORY = "memory"


class Engine(Struct, frozen=True, kw_only=True):
    """Centrifugo's engine. Who names one needs no more durability than it gives, unless `store` says so."""

    type: EngineType | None = None


class Level(StrEnum):
    """From which weight on events are logged."""

    NONE = "none"
    ERROR = "error"
    WARN = "warn"
    INFO = "info"
    DEBUG = "debug"
    TRACE = "trace"


class LogFormat(StrEnum):
    """How a line of the log looks: for people, or an object for machines."""

    TEXT = "text"
    JSON = "json"


class HooksAsked(Struct, frozen=True, kw_only=True):
    """The hooks for which workers are asked (ours), and how long any hook may take.

    Channels and methods are given by patterns (`chat:*`). Those of the application that the server runs with
    (`--app`) need not be named. `http_headers` of the handshake are shown to the hook `connect`.
    """

    connect: bool = False
    disconnect: bool = False
    refresh: bool = False
    subscribe: list[str] = []
    publish: list[str] = []
    sub_refresh: list[str] = []
    rpc: list[str] = []
    timeout_ms: Some = HOOK_MS
    http_headers: list[str] = []

    def catalogue(self) -> Catalogue:
        """Return the hooks."""
        return Catalogue(**{name: getattr(self, name) for name in Catalogue.__struct_fields__})


class Log(Struct, frozen=True, kw_only=True):
    """How much is logged, and how; into `file`, or to standard error when that is empty."""

    level: Level = Level.INFO
    format: LogFormat = LogFormat.TEXT
    file: str = ""


class Token(Struct, frozen=True, kw_only=True):
    """The keys that tokens are signed with, one per family of algorithms, and what is asked of their claims.

    A public key is PEM, or the path of a PEM file. `audience` and `issuer` are compared whole, the `_regex`
    ones must match whole. The previous secret key is good until `..._valid_until` (seconds since the Unix
    epoch; 0: for ever).
    """

    hmac_secret_key: str = ""
    hmac_previous_secret_key: str = ""
    hmac_previous_secret_key_valid_until: int = 0
    rsa_public_key: str = ""
    ecdsa_public_key: str = ""
    ed25519_public_key: str = ""
    jwks_public_endpoint: str = ""
    insecure_skip_jwks_endpoint_safety_check: bool = False
    audience: str = ""
    audience_regex: str = ""
    issuer: str = ""
    issuer_regex: str = ""
    user_id_claim: str = ""


class SubscriptionToken(Token, frozen=True, kw_only=True):
    """The keys that subscription tokens are signed with, if `enabled`; else those of `client.token`."""

    enabled: bool = False


class PersonalChannel(Struct, frozen=True, kw_only=True):
    """Whether each user is subscribed to a channel of its own at connect, and to have one connection only."""

    enabled: bool = False
    personal_channel_namespace: str = ""
    single_connection: bool = False


class Client(Struct, frozen=True, kw_only=True):
    """Connections of clients. `insecure` asks nobody for a token and grants everything."""

    allowed_origins: list[str] = []
    insecure: bool = False
    allow_anonymous_connect_without_token: bool = False
    disallow_anonymous_connection_tokens: bool = False
    token: Token = field(default_factory=Token)
    subscription_token: SubscriptionToken = field(default_factory=SubscriptionToken)
    subscribe_to_user_personal_channel: PersonalChannel = field(default_factory=PersonalChannel)
    connect_include_server_time: bool = False
    ping_interval_ms: Annotated[int, Meta(ge=1_000)] = 25_000
    pong_timeout_ms: int = 8_000
    stale_close_delay_ms: Some = 10_000
    expired_close_delay_ms: int = 25_000
    expired_sub_close_delay_ms: int = 25_000
    channel_limit: Count = 128
    connection_limit: Limit = 0
    user_connection_limit: Limit = 0
    connection_rate_limit: Limit = 0
    history_max_publication_limit: Count = 300

    def __post_init__(self) -> None:
        if self.pong_timeout_ms >= self.ping_interval_ms:
            raise ConfigError("client.pong_timeout must be shorter than client.ping_interval")


class Channel(Struct, frozen=True, kw_only=True):
    """Namespaces, and how channel names are read.

    `history_meta_ttl` and `publication_data_format` hold where a namespace sets none.
    """

    without_namespace: Namespace = field(default_factory=Namespace)
    namespaces: tuple[Namespace, ...] = ()
    history_meta_ttl_ms: int = Namespace().history_meta_ttl_ms
    publication_data_format: DataFormat = DataFormat.ANY
    max_length: Annotated[int, Meta(ge=1, le=CHANNEL_NAME_BYTES_MAX)] = CHANNEL_NAME_BYTES_MAX
    private_prefix: str = "$"
    namespace_boundary: Boundary = ":"
    user_boundary: Boundary = "#"
    user_separator: Boundary = ","

    def __post_init__(self) -> None:
        if self.without_namespace.name or not all(namespace.name for namespace in self.namespaces):
            raise ConfigError("each of channel.namespaces needs a name, channel.without_namespace has none")
        if any(namespace.name == STREAMS for namespace in self.namespaces):
            raise ConfigError(
                f"channel.namespaces: {STREAMS!r} is gapless's own: partitions of streams are there"
            )
        try:
            self.compiled()
        except re.error as error:
            raise ConfigError(f"channel_regex {error.pattern!r} is no regular expression: {error}") from error

    def compiled(self, *also: Namespace) -> Namespaces:
        """Return the namespaces as the broker wants them, `also` some that are not configured."""
        grammar = Grammar(
            namespace_boundary=self.namespace_boundary,
            user_boundary=self.user_boundary,
            user_separator=self.user_separator,
            private_prefix=self.private_prefix,
            bytes_max=self.max_length,
        )
        named = (*self.namespaces, STREAMS_NAMESPACE, *also)
        return Namespaces(without=self.without_namespace, named=named, grammar=grammar)


class ErrorMode(StrEnum):
    """Whether an error of the server API is told by HTTP's status code too."""

    DEFAULT = ""
    TRANSPORT = "transport"


class HttpApi(Struct, frozen=True, kw_only=True):
    """The server API, for the user's backends. Without a key it refuses everybody, unless `insecure`.

    `body_size_limit` in bytes, of any HTTP request.
    """

    disabled: bool = False
    handler_prefix: UrlPath = "/api"
    key: str = ""
    insecure: bool = False
    error_mode: ErrorMode = ErrorMode.DEFAULT
    body_size_limit: Count = BODY_BYTES_MAX


class WebSocket(Struct, frozen=True, kw_only=True):
    """The WebSocket endpoint. `message_size_limit` in bytes, of what a client sends."""

    disabled: bool = False
    handler_prefix: UrlPath = "/connection/websocket"
    message_size_limit: Count = MESSAGE_BYTES_MAX


class Health(Struct, frozen=True, kw_only=True):
    """Where load balancers ask whether this node can do its work."""

    enabled: bool = True
    handler_prefix: UrlPath = "/health"


class Prometheus(Struct, frozen=True, kw_only=True):
    """Where Prometheus collects metrics; with a `key`, only as `Authorization: Bearer <key>`."""

    enabled: bool = False
    handler_prefix: UrlPath = "/metrics"
    key: str = ""


class Messages(Struct, frozen=True, kw_only=True):
    """The messages API, for people who scroll. `aliases` maps paths of the user's own onto channels."""

    enabled: bool = True
    aliases: dict[str, str] = {}


class Role(StrEnum):
    """What somebody may do in the console: everything, or only look."""

    OPERATOR = "operator"
    READ_ONLY = "read_only"


class ConsoleUser(Struct, frozen=True, kw_only=True):
    """Somebody who may log in to the console. The password is itself, or a hash of it.

    `gapless console-password` makes a hash: `scrypt:<n>:<r>:<p>:<salt>:<hash>`.
    """

    name: str = ""
    role: Role = Role.READ_ONLY
    password: str = ""

    def __post_init__(self) -> None:
        if not _CONSOLE_NAME.fullmatch(self.name):
            raise ConfigError(
                f"console.users: a name has 1 to 64 letters, digits or ._@+-, not {self.name[:64]!r}"
            )
        if self.name in _CONSOLE_NAMES_TAKEN:
            raise ConfigError(
                f"console.users: {self.name!r} is somebody without a password: write another name"
            )
        if not self.password:
            raise ConfigError(
                f"console.users: {self.name!r} needs a password, or a hash of it as"
                " `gapless console-password` makes one"
            )
        try:
            Hash.read(self.password)
        except ConfigError as error:
            raise ConfigError(f"console.users: the password of {self.name!r}: {error}") from error


class Console(Struct, frozen=True, kw_only=True):
    """The console for operators, in a browser (ours). Its `users` log in, or who has the key of `http_api`.

    With `insecure` nobody has to, and everybody is an operator. A session lasts for `session_ttl`, and
    ends with the password, role or key that it was begun with.
    """

    enabled: bool = False
    handler_prefix: UrlPath = "/console"
    insecure: bool = False
    session_ttl_ms: Annotated[int, Meta(ge=60_000)] = CONSOLE_SESSION_MS
    users: tuple[ConsoleUser, ...] = ()


class Rates(Struct, frozen=True, kw_only=True):
    """How much may come; 0 is no limit. After a rest, as much as in a second may come at once."""

    commands_per_second: Limit = 0
    bytes_per_second: Limit = 0


class UserRates(Rates, frozen=True, kw_only=True):
    """How much all connections of one user may send together, and how many may be opened."""

    connects_per_minute: Limit = 0


class AddressRates(UserRates, frozen=True, kw_only=True):
    """How much may come from one address, or one IPv6 network of 64 bits.

    `connections` are those that are open at once. After so many HTTP requests in a minute whose key or token
    was wrong (401), none from there is looked at for a while (429), not even one with the right key.
    """

    connections: Limit = 0
    wrong_keys_per_minute: Limit = 0


class Limits(Struct, frozen=True, kw_only=True):
    """How much each connection, each user and each address may ask for (ours); nothing is limited by default.

    A command beyond a rate is answered with error 111; ten times as many end the connection (3013). Bytes
    beyond a rate are not lost: they are read later.
    """

    connection: Rates = field(default_factory=Rates)
    user: UserRates = field(default_factory=UserRates)
    address: AddressRates = field(default_factory=AddressRates)


class Shutdown(Struct, frozen=True, kw_only=True):
    """How long a node that was asked to stop may take, and over how long it spreads its clients' going.

    For `delay` it only says that it stops (`/health` fails), so that a load balancer sends nobody any more.
    """

    timeout_ms: Some = 30_000
    delay_ms: int = 0
    spread_ms: int = 10_000


class Store(Struct, frozen=True, kw_only=True):
    """Where messages are kept, and the durability class below which the node refuses to start.

    Unless that is set, it is `disk`, or `memory` when the URL itself says memory. Every `check_interval`, a
    quarter more or less, a node asks where all channels end that somebody follows there. While it owns the
    file of the store, other machines join at `listen` with the key.
    """

    url: str = "sqlite:gapless.db"
    durability: Durability | None = None
    idempotency_window_ms: Some = IDEMPOTENCY_WINDOW_MS
    check_interval_ms: Annotated[int, Meta(ge=10, le=60_000)] = CHECK_INTERVAL_MS
    listen: str = ""
    listen_key: str = ""
    listen_tls: Tls = field(default_factory=Tls)

    @property
    def minimum(self) -> Durability:
        """Return the weakest durability class that will do."""
        if self.durability is not None:
            return self.durability
        return Durability.MEMORY if self.url.startswith("memory:") else Durability.DISK


class Node(Struct, frozen=True, kw_only=True):
    """What this node is called, and how often it tells the others over its store that it is there.

    Without a name it is called by its machine and port. After four beats without a word a node is gone.
    """

    name: str = ""
    beat_interval_ms: Annotated[int, Meta(ge=100, le=60_000)] = BEAT_MS


class Config(Struct, frozen=True, kw_only=True):
    """Everything that can be configured."""

    http_server: HttpServer = field(default_factory=HttpServer)
    log: Log = field(default_factory=Log)
    engine: Engine = field(default_factory=Engine)
    client: Client = field(default_factory=Client)
    channel: Channel = field(default_factory=Channel)
    http_api: HttpApi = field(default_factory=HttpApi)
    websocket: WebSocket = field(default_factory=WebSocket)
    health: Health = field(default_factory=Health)
    prometheus: Prometheus = field(default_factory=Prometheus)
    messages: Messages = field(default_factory=Messages)
    console: Console = field(default_factory=Console)
    queues: tuple[QueueRule, ...] = ()
    streams: tuple[StreamRule, ...] = ()
    hooks: HooksAsked = field(default_factory=HooksAsked)
    limits: Limits = field(default_factory=Limits)
    shutdown: Shutdown = field(default_factory=Shutdown)
    store: Store = field(default_factory=Store)
    node: Node = field(default_factory=Node)
