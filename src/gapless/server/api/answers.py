"""What the HTTP API answers, as types, for its documents. Tests hold them against what a server says."""

from typing import Annotated, Any

from msgspec import UNSET, Meta, Raw, Struct, UnsetType, field

from gapless.protocol import hooks, queues, streams
from gapless.protocol.messages import Payload
from gapless.protocol.payloads import Failure, Nothing
from gapless.server.api.info import Node
from gapless.server.config.showing import Line

__all__ = [
    "ANSWERS",
    "Called",
    "ChannelOptions",
    "Configuration",
    "Connected",
    "Explanation",
    "FailedCall",
    "FollowedChannel",
    "Items",
    "Option",
    "Partition",
    "StoryEvent",
    "TokenChecked",
    "TokenMade",
]

Offset = Annotated[int, Meta(ge=0, le=2**63 - 1)]


class ClientInfo(Struct, omit_defaults=True):
    """A connection, as others see it."""

    user: str
    client: str
    conn_info: Raw = Raw()
    chan_info: Raw = Raw()


class Publication(Struct, omit_defaults=True):
    """A message. What is not JSON has `data: null` and `b64data`."""

    data: Raw
    offset: Offset
    b64data: str = ""
    tags: dict[str, str] = {}
    info: ClientInfo | None = None


class Published(Struct, omit_defaults=True):
    """Where the message stands; neither where nothing is kept."""

    offset: Offset = 0
    epoch: str = ""


class FailedCall(Struct):
    """A call that failed."""

    error: Failure


class Response(Struct, omit_defaults=True):
    """What became of one channel of a broadcast."""

    result: Published | None = None
    error: Failure | None = None


class Broadcast(Struct):
    """One for each channel, in the order of the request."""

    responses: list[Response]


class Presence(Struct):
    """Who is subscribed, by client id."""

    presence: dict[str, ClientInfo]


class PresenceStats(Struct):
    """How many are subscribed."""

    num_clients: int
    num_users: int


class History(Struct):
    """Messages, and the position of the channel's end."""

    publications: list[Publication]
    offset: Offset
    epoch: str


class Followed(Struct):
    """How many follow a channel."""

    num_clients: int


class Channels(Struct, omit_defaults=True):
    """Channels by name; with `next` there are more."""

    channels: dict[str, Followed]
    next: str = ""


class FollowedChannel(Struct):
    """A subscription: the offset that its socket was given, and how many messages that is behind the end.

    Who is `behind` reads on from there; all others have what there is. Where nothing is kept the offset is 0.
    """

    channel: str
    offset: Offset
    lag: int
    behind: bool
    server_side: bool


class Connected(Struct, omit_defaults=True):
    """A connection. `name` and `version` are what its SDK said, `watches` says that it is a console.

    `buffered_bytes` wait in this server. The bytes that were received and sent, with TLS and frames, and the
    round trip are what the system counted, where it does (Linux). Of `num_subs` subscriptions 1,000 are told.
    """

    client: str
    user: str
    node: str
    address: str
    transport: str
    protocol: str
    name: str
    version: str
    connected_ms: int
    watches: bool
    stalled: bool
    buffered_bytes: int
    num_subs: int
    subscriptions: list[FollowedChannel]
    received_bytes: int | None = None
    sent_bytes: int | None = None
    rtt_ms: float | None = None


class ConnectedPage(Struct, omit_defaults=True):
    """Connections by client id, and how many there are in all; with `next` there are more."""

    connections: list[Connected]
    total: int
    next: str = ""


class StoryEvent(Struct, omit_defaults=True):
    """Something that happened to a connection: `what` says what, and which fields there are besides.

    - `connected`: `address`, `protocol`, and the `name` and `version` of the SDK.
    - `subscribed` to a `channel`, from an `offset` on.
    - `recovered`: it came back having read up to `since`; the channel ended at `last`, so many `messages`
      later. That `took_ms` and came `from` the `tail` in memory, the `store` or a `cache`. `previous` is the
      connection that it continues, if one is found.
    - `lost`: that position does not hold, and `why`.
    - `unsubscribed` from a `channel`, with `code` and `reason`; 0: by the client.
    - `stalled`, so many `times`: its socket was full; `resumed`: it drained.
    - `disconnected` `by` the `server`, the `client` or the `network`, which says nothing; `positions` are the
      offsets that it was given of each channel.
    """

    at_ms: int
    node: str
    client: str
    user: str
    what: str
    address: str | None = None
    protocol: str | None = None
    name: str | None = None
    version: str | None = None
    channel: str | None = None
    offset: int | None = None
    since: int | None = None
    epoch: str | None = None
    last: int | None = None
    messages: int | None = None
    took_ms: int | None = None
    source: str | None = field(default=None, name="from")
    previous: str | None = None
    why: str | None = None
    code: int | None = None
    reason: str | None = None
    by: str | None = None
    times: int | None = None
    positions: dict[str, int] | None = None


class StoryEvents(Struct):
    """What happened, the newest first."""

    events: list[StoryEvent]


class Info(Struct):
    """The nodes."""

    nodes: list[Node]


class Configuration(Struct):
    """What a node runs with: every key, in the order of the options."""

    version: str
    node: str
    lines: list[Line]


class Option(Struct):
    """An option by its name in a file; `origin` is where it was set, or `default`, or `built in`."""

    name: str
    value: Any
    origin: str


class Partition(Struct):
    """A partition of a declared stream, which is followed as a channel."""

    stream: str
    partition: int


class ChannelOptions(Struct):
    """What holds in a channel: its namespace (empty: none), and the options of that.

    Only a subscription token opens a `private` one; `users` are those that it is limited to, if it is.
    """

    namespace: str
    options: list[Option]
    private: bool
    users: list[str] | UnsetType = UNSET
    stream: Partition | UnsetType = UNSET


class Explanation(Struct):
    """Whether it would be allowed, null where a hook decides; and why or why not.

    `option` is the key of the configuration that decides, by its path, where one does.
    """

    allowed: bool | None
    reason: str
    option: str | UnsetType = UNSET


class TokenMade(Struct):
    """A token, and what it says. Without `expires_ms` (since the Unix epoch) it is good for ever."""

    token: str
    claims: dict[str, Any]
    expires_ms: int | UnsetType = UNSET


class TokenChecked(Struct):
    """Whether a token would be accepted, as whose or why not; what it says, as far as it can be read."""

    valid: bool
    reason: str
    claims: dict[str, Any] | UnsetType = UNSET
    expires_ms: int | UnsetType = UNSET


class Called(Struct, omit_defaults=True):
    """What a method answers. What is not JSON has `data: null` and `b64data`."""

    data: Payload
    b64data: bytes | None = None


class Revoked(Struct, omit_defaults=True):
    """A decision that holds. Times are seconds since the Unix epoch."""

    kind: str
    at: float
    user: str = ""
    token_id: str = ""
    issued_before: float = 0
    expire_at: float = 0


class Revocations(Struct, omit_defaults=True):
    """What is revoked and who is blocked; with `next` there is more."""

    revocations: list[Revoked]
    next: str = ""


class Item(Struct, omit_defaults=True):
    """A message for people who scroll. `time` in milliseconds since the Unix epoch."""

    cursor: str
    offset: Offset
    time: int
    data: Raw
    tags: dict[str, str]
    publisher: ClientInfo | None
    b64data: str = ""


class Items(Struct):
    """A page: the cursors of its bounds, whether there is more, and what the channel keeps."""

    items: list[Item]
    before_cursor: str
    after_cursor: str
    has_before: bool
    has_after: bool
    head: Offset
    oldest: Offset
    epoch: str


ANSWERS: dict[str, type[Struct]] = {
    "publish": Published,
    "broadcast": Broadcast,
    "subscribe": Nothing,
    "unsubscribe": Nothing,
    "disconnect": Nothing,
    "refresh": Nothing,
    "revoke": Nothing,
    "block": Nothing,
    "unblock": Nothing,
    "revocations": Revocations,
    "presence": Presence,
    "presence_stats": PresenceStats,
    "history": History,
    "history_remove": Nothing,
    "channels": Channels,
    "connection/list": ConnectedPage,
    "connection/stories": StoryEvents,
    "info": Info,
    "rpc": Called,
    "config": Configuration,
    "channel_options": ChannelOptions,
    "explain": Explanation,
    "token/make": TokenMade,
    "token/check": TokenChecked,
    **{verb: answer for verb, (_, answer) in (queues.VERBS | streams.VERBS | hooks.VERBS).items()},
}
"""The result of each method, but for a batch's, which has none of its own."""
