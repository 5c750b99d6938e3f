"""The objects of the client protocol. Field names are those on the wire; PROTOCOL.md says what each means.

One set serves both codecs and both directions. A zero value is left off the wire, except where a
field is given a factory instead of a default.
"""

from typing import TYPE_CHECKING, Annotated, Final, cast

import msgspec
from msgspec import Meta, Struct, field

__all__ = [
    "NO_PAYLOAD",
    "ClientInfo",
    "Command",
    "Connect",
    "ConnectRequest",
    "ConnectResult",
    "Disconnect",
    "Error",
    "FilterNode",
    "HistoryRequest",
    "HistoryResult",
    "Join",
    "Leave",
    "Payload",
    "PingRequest",
    "PingResult",
    "PresenceRequest",
    "PresenceResult",
    "PresenceStatsRequest",
    "PresenceStatsResult",
    "Publication",
    "PublishRequest",
    "PublishResult",
    "Push",
    "PushMessage",
    "Refresh",
    "RefreshRequest",
    "RefreshResult",
    "Reply",
    "Request",
    "RpcRequest",
    "RpcResult",
    "SendRequest",
    "StreamPosition",
    "SubRefreshRequest",
    "SubRefreshResult",
    "Subscribe",
    "SubscribeRequest",
    "SubscribeResult",
    "Unsubscribe",
    "UnsubscribeRequest",
    "UnsubscribeResult",
    "payload",
]

if TYPE_CHECKING:

    class Payload:
        """Application data as it stands on the wire: JSON text, or any bytes on a Protobuf connection.

        `bytes(payload)` gives them, `len(payload)` their number, `payload(data)` makes one.
        """

        def __bytes__(self) -> bytes: ...
        def __len__(self) -> int: ...

else:
    Payload = msgspec.Raw  # whose stub says that it is `bytes`, which it is not

NO_PAYLOAD: Final = Payload()


def payload(data: bytes) -> Payload:
    """Wrap `data`. For the JSON codec it must be one JSON text."""
    return cast("Payload", msgspec.Raw(data)) if data else NO_PAYLOAD


Uint32 = Annotated[int, Meta(ge=0, le=2**32 - 1)]
Int32 = Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)]
Int64 = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
Uint63 = Annotated[int, Meta(ge=0, le=2**63 - 1)]  # uint64 on the wire; no store holds the upper half


class Error(Struct, gc=False, omit_defaults=True):
    """Why a command failed."""

    code: Uint32 = 0
    message: str = ""
    temporary: bool = False


class StreamPosition(Struct, gc=False, omit_defaults=True):
    """How far a reader has read: everything up to `offset` on timeline `epoch`."""

    offset: Uint63 = 0
    epoch: str = ""


class ClientInfo(Struct, gc=False, omit_defaults=True):
    """Who: a user's one connection, with what the token and the subscription say of it."""

    user: str = field(default_factory=str)
    client: str = field(default_factory=str)
    conn_info: Payload = NO_PAYLOAD
    chan_info: Payload = NO_PAYLOAD


class Publication(Struct, gc=False, omit_defaults=True):
    """One message of a channel."""

    data: Payload = NO_PAYLOAD
    info: ClientInfo | None = None
    offset: Uint63 = 0
    tags: dict[str, str] = field(default_factory=dict)
    delta: bool = False
    time: Int64 = 0
    channel: str = ""
    key: str = ""
    removed: bool = False
    score: Int64 = 0
    epoch: str = ""
    version: Uint63 = 0


class FilterNode(Struct, gc=False, omit_defaults=True):
    """A filter on tags; accepted, not applied."""

    op: str = ""
    key: str = ""
    cmp: str = ""
    val: str = ""
    vals: list[str] = field(default_factory=list)
    nodes: list["FilterNode"] = field(default_factory=list)


class SubscribeRequest(Struct, gc=False, omit_defaults=True):
    """Follow a channel; with `recover`, from position (`epoch`, `offset`)."""

    channel: str = ""
    token: str = ""
    recover: bool = False
    epoch: str = ""
    offset: Uint63 = 0
    data: Payload = NO_PAYLOAD
    positioned: bool = False
    recoverable: bool = False
    join_leave: bool = False
    delta: str = ""
    tf: FilterNode | None = None
    flag: Int64 = 0
    type: Int32 = 0
    phase: Int32 = 0
    cursor: str = ""
    limit: Int32 = 0
    asc: bool = False


class SubscribeResult(Struct, gc=False, omit_defaults=True):
    """Where the subscription stands, and what was missed."""

    expires: bool = False
    ttl: Uint32 = 0
    recoverable: bool = False
    epoch: str = ""
    publications: list[Publication] = field(default_factory=list)
    recovered: bool = False
    offset: Uint63 = 0
    positioned: bool = False
    data: Payload = NO_PAYLOAD
    was_recovering: bool = False
    delta: bool = False
    id: Int64 = 0
    type: Int32 = 0
    phase: Int32 = 0
    cursor: str = ""
    state: list[Publication] = field(default_factory=list)
    publish_debounce: Uint32 = 0


class ConnectRequest(Struct, gc=False, omit_defaults=True):
    """The first command of every connection."""

    token: str = ""
    data: Payload = NO_PAYLOAD
    subs: dict[str, SubscribeRequest] = field(default_factory=dict)
    name: str = ""
    version: str = ""
    headers: dict[str, str] = field(default_factory=dict)


class ConnectResult(Struct, gc=False, omit_defaults=True):
    """The connection is open. `ttl` and `ping` in seconds, `time` in milliseconds."""

    client: str = ""
    version: str = ""
    expires: bool = False
    ttl: Uint32 = 0
    data: Payload = NO_PAYLOAD
    subs: dict[str, SubscribeResult] = field(default_factory=dict)
    ping: Uint32 = 0
    pong: bool = False
    session: str = ""
    node: str = ""
    time: Int64 = 0


class UnsubscribeRequest(Struct, gc=False, omit_defaults=True):
    """Stop following a channel."""

    channel: str = ""


class UnsubscribeResult(Struct, gc=False):
    """The channel is followed no longer."""


class PublishRequest(Struct, gc=False, omit_defaults=True):
    """Publish to a channel. `idempotency_key` is ours: stock SDKs call rpc `gapless.publish`."""

    channel: str = ""
    data: Payload = NO_PAYLOAD
    type: Int32 = 0
    key: str = ""
    removed: bool = False
    idempotency_key: str = ""


class PublishResult(Struct, gc=False):
    """The message is stored, as far as the channel keeps history."""


class PresenceRequest(Struct, gc=False, omit_defaults=True):
    """Ask who is subscribed."""

    channel: str = ""


class PresenceResult(Struct, gc=False):
    """Who is subscribed, by client id."""

    presence: dict[str, ClientInfo] = field(default_factory=dict)


class PresenceStatsRequest(Struct, gc=False, omit_defaults=True):
    """Ask how many are subscribed."""

    channel: str = ""


class PresenceStatsResult(Struct, gc=False):
    """How many connections are subscribed, of how many users."""

    num_clients: Uint32 = 0
    num_users: Uint32 = 0


class HistoryRequest(Struct, gc=False, omit_defaults=True):
    """Read what a channel keeps. `limit` 0 asks for the position only, -1 for all up to the server's cap."""

    channel: str = ""
    limit: Int32 = 0
    since: StreamPosition | None = None
    reverse: bool = False


class HistoryResult(Struct, gc=False):
    """A stretch of history, and the position of the channel's end."""

    publications: list[Publication] = field(default_factory=list)
    epoch: str = ""
    offset: Uint63 = 0


class PingRequest(Struct, gc=False):
    """Ask for an answer."""


class PingResult(Struct, gc=False):
    """The answer."""


class SendRequest(Struct, gc=False, omit_defaults=True):
    """Data for the application; never answered."""

    data: Payload = NO_PAYLOAD


class RpcRequest(Struct, gc=False, omit_defaults=True):
    """Call a method of the application."""

    data: Payload = NO_PAYLOAD
    method: str = ""


class RpcResult(Struct, gc=False, omit_defaults=True):
    """What the method returned."""

    data: Payload = NO_PAYLOAD


class RefreshRequest(Struct, gc=False, omit_defaults=True):
    """Prolong the connection with a new token."""

    token: str = ""


class RefreshResult(Struct, gc=False, omit_defaults=True):
    """Until when the connection lasts. `ttl` in seconds."""

    client: str = ""
    version: str = ""
    expires: bool = False
    ttl: Uint32 = 0


class SubRefreshRequest(Struct, gc=False, omit_defaults=True):
    """Prolong a subscription with a new token. `type` other than 0 belongs to shared poll."""

    channel: str = ""
    token: str = ""
    type: Int32 = 0


class SubRefreshResult(Struct, gc=False, omit_defaults=True):
    """Until when the subscription lasts. `ttl` in seconds."""

    expires: bool = False
    ttl: Uint32 = 0


Request = (
    ConnectRequest
    | SubscribeRequest
    | UnsubscribeRequest
    | PublishRequest
    | PresenceRequest
    | PresenceStatsRequest
    | HistoryRequest
    | PingRequest
    | SendRequest
    | RpcRequest
    | RefreshRequest
    | SubRefreshRequest
)


class Command(Struct, gc=False, omit_defaults=True):
    """From client to server: one request. With id 0 and no request it is a pong."""

    id: Uint32 = 0
    connect: ConnectRequest | None = None
    subscribe: SubscribeRequest | None = None
    unsubscribe: UnsubscribeRequest | None = None
    publish: PublishRequest | None = None
    presence: PresenceRequest | None = None
    presence_stats: PresenceStatsRequest | None = None
    history: HistoryRequest | None = None
    ping: PingRequest | None = None
    send: SendRequest | None = None
    rpc: RpcRequest | None = None
    refresh: RefreshRequest | None = None
    sub_refresh: SubRefreshRequest | None = None

    def request(self) -> Request | None:
        """The one request; the first in the order above if there are more, None if there is none."""
        for name in _REQUESTS:
            request: Request | None = getattr(self, name)
            if request is not None:
                return request
        return None


_REQUESTS: Final = Command.__struct_fields__[1:]


class Join(Struct, gc=False, omit_defaults=True):
    """Someone subscribed."""

    info: ClientInfo | None = None


class Leave(Struct, gc=False, omit_defaults=True):
    """Someone unsubscribed."""

    info: ClientInfo | None = None


class Unsubscribe(Struct, gc=False, omit_defaults=True):
    """The server ended the subscription; see `codes.Unsubscribe`."""

    code: Uint32 = 0
    reason: str = ""


class PushMessage(Struct, gc=False, omit_defaults=True):
    """Data from the application that belongs to no channel."""

    data: Payload = NO_PAYLOAD


class Subscribe(Struct, gc=False, omit_defaults=True):
    """The server subscribed this connection to a channel."""

    recoverable: bool = False
    epoch: str = ""
    offset: Uint63 = 0
    positioned: bool = False
    data: Payload = NO_PAYLOAD


class Connect(Struct, gc=False, omit_defaults=True):
    """The connect result of a unidirectional transport."""

    client: str = ""
    version: str = ""
    data: Payload = NO_PAYLOAD
    subs: dict[str, SubscribeResult] = field(default_factory=dict)
    expires: bool = False
    ttl: Uint32 = 0
    ping: Uint32 = 0
    pong: bool = False
    session: str = ""
    node: str = ""
    time: Int64 = 0


class Disconnect(Struct, gc=False, omit_defaults=True):
    """The server ends the connection; see `codes.Disconnect`."""

    code: Uint32 = 0
    reason: str = ""
    reconnect: bool = False


class Refresh(Struct, gc=False, omit_defaults=True):
    """The connection's expiry changed. `ttl` in seconds."""

    expires: bool = False
    ttl: Uint32 = 0


class Push(Struct, gc=False, omit_defaults=True):
    """What the server says unasked, mostly about one channel."""

    id: Int64 = 0
    channel: str = ""
    pub: Publication | None = None
    join: Join | None = None
    leave: Leave | None = None
    unsubscribe: Unsubscribe | None = None
    message: PushMessage | None = None
    subscribe: Subscribe | None = None
    connect: Connect | None = None
    disconnect: Disconnect | None = None
    refresh: Refresh | None = None


class Reply(Struct, gc=False, omit_defaults=True):
    """From server to client: the answer to the command of the same id, or a push. Empty, it is a ping."""

    id: Uint32 = 0
    error: Error | None = None
    push: Push | None = None
    connect: ConnectResult | None = None
    subscribe: SubscribeResult | None = None
    unsubscribe: UnsubscribeResult | None = None
    publish: PublishResult | None = None
    presence: PresenceResult | None = None
    presence_stats: PresenceStatsResult | None = None
    history: HistoryResult | None = None
    ping: PingResult | None = None
    rpc: RpcResult | None = None
    refresh: RefreshResult | None = None
    sub_refresh: SubRefreshResult | None = None
