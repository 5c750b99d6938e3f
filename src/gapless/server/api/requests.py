"""What a backend may ask. Names are Centrifugo's; fields that are not listed are ignored, as there.

Each method's request and what it means stand in one class; the reference is made of them.
"""

import base64
from enum import StrEnum
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct, field

from gapless.broker.tokens.claims import Grant, Override, Overrides, Seconds, granted_payload
from gapless.core.errors import BadRequest, Unauthorized
from gapless.core.limits import API_ITEMS_MAX, CLOSE_REASON_BYTES_MAX, TOKEN_TRIAL_MS, TOLD_PAGE_MAX
from gapless.protocol.messages import Payload, StreamPosition
from gapless.protocol.meta import Meta as Beside
from gapless.protocol.meta import is_json
from gapless.protocol.queues import EnqueueRequest
from gapless.protocol.streams import AppendRequest

__all__ = [
    "Act",
    "BatchRequest",
    "BlockRequest",
    "BroadcastRequest",
    "ChannelOptionsRequest",
    "ChannelsRequest",
    "Command",
    "ConfigRequest",
    "ConnectionsRequest",
    "Content",
    "DisconnectRequest",
    "ExplainRequest",
    "Going",
    "HistoryRemoveRequest",
    "HistoryRequest",
    "InfoRequest",
    "LegacyCommand",
    "PresenceRequest",
    "PresenceStatsRequest",
    "PublishRequest",
    "RefreshRequest",
    "RevocationsRequest",
    "RevokeRequest",
    "RpcRequest",
    "StoriesRequest",
    "SubscribeRequest",
    "TokenCheckRequest",
    "TokenMakeRequest",
    "UnblockRequest",
    "UnsubscribeRequest",
    "Whom",
    "legacy_commands",
]


class Content(Struct, gc=False):
    """What is published: `data`, any JSON, or `b64data`, any bytes; and how.

    `idempotency_key` makes a retry within `store.idempotency_window` the same publication. `skip_history`
    passes the message on without keeping it. A `version` that is not above the last one of its
    `version_epoch` is stale: the answer is where the channel stands, and nothing is stored. `expected` (ours)
    is the position at which the channel must end, or the answer is error 1001. `delta` has no effect.
    """

    data: msgspec.Raw = msgspec.Raw()
    b64data: str | None = None
    tags: dict[str, str] | None = None
    idempotency_key: str | None = None
    skip_history: bool | None = None
    version: Annotated[int, Meta(ge=0, le=2**63 - 1)] | None = None
    version_epoch: str | None = None
    expected: StreamPosition | None = None

    def payload(self) -> tuple[bytes, bytes, bool]:
        """Return the data, what is stored beside it, and whether it is something else than JSON.

        Raises:
            BadRequest: there is no data, or what there is is not base64.
        """
        data = bytes(self.data)
        if data and self.b64data is None and self.tags is None:
            return data, b"", False
        return self._unusual(data)

    def _unusual(self, data: bytes) -> tuple[bytes, bytes, bool]:
        binary = False
        if self.b64data:
            data = _from_base64(self.b64data)
            binary = not is_json(data)
        if not data:
            raise BadRequest("a publication needs data or b64data")
        beside = Beside(tags=self.tags or {}, binary=binary).encoded() if self.tags or binary else b""
        return data, beside, binary


class PublishRequest(Content, gc=False):
    """Publish to one channel."""

    channel: str = ""


class BroadcastRequest(Content, gc=False):
    """Publish the same to several channels. The idempotency key holds for each of them."""

    channels: list[str] = []


class HistoryRequest(Struct, gc=False):
    """Read what a channel keeps: up to `limit` messages, all there is room for when negative, none when 0."""

    channel: str = ""
    limit: Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)] | None = None
    since: StreamPosition | None = None
    reverse: bool | None = None


class HistoryRemoveRequest(Struct, gc=False):
    """Drop what a channel keeps. Its end stays where it is: no offset is given again."""

    channel: str = ""


class PresenceRequest(Struct, gc=False):
    """Ask who is subscribed to a channel, by client id."""

    channel: str = ""


class PresenceStatsRequest(Struct, gc=False):
    """Ask how many clients and users are subscribed to a channel."""

    channel: str = ""


class ChannelsRequest(Struct, gc=False):
    """Ask which channels somebody follows, and how many do.

    `pattern` is a glob (`*`, `?`, `[a-z]`). With `limit` (ours) the answer has so many in the order of their
    names; while there are more it has `next`, which as `after` asks for those that follow.
    """

    pattern: str | None = None
    limit: Annotated[int, Meta(ge=0, le=2**31 - 1)] | None = None
    after: str | None = None


class ConnectionsRequest(Struct, gc=False):
    """Ask who is connected, to any node, with what each follows and how far it is (ours).

    Of a `user`, with a `client` id, or who follows a `channel`. The answer has up to `limit` of them in the
    order of their ids. While there are more it has `next`, which as `after` asks for those that follow.
    """

    user: str | None = None
    client: str | None = None
    channel: str | None = None
    after: str | None = None
    limit: Annotated[int, Meta(ge=1, le=TOLD_PAGE_MAX)] | None = None


class StoriesRequest(Struct, gc=False):
    """Ask what happened to connections lately, the newest first; a node with a console remembers it (ours).

    Of a `user`, or of one connection and those that it continues, with `client`: a reconnect has a new client
    id, so they are joined by the user, or else by the position that was presented.
    """

    client: str | None = None
    user: str | None = None
    limit: Annotated[int, Meta(ge=1, le=TOLD_PAGE_MAX)] | None = None


class InfoRequest(Struct, gc=False):
    """Ask how the nodes are."""


class RpcRequest(Struct, gc=False):
    """Call a method that an application declares (`@gl.rpc`), with `params`, any JSON.

    There a call of the server API has no user and no client, and the transport `api`. Without such a method
    the answer is error 104.
    """

    method: str = ""
    params: msgspec.Raw = msgspec.Raw()


class Going(Struct, gc=False):
    """A disconnect code (3000 to 4999) and its reason, as the client is told them."""

    code: Annotated[int, Meta(ge=3000, le=4999)] = 3503
    reason: Annotated[str, Meta(max_length=CLOSE_REASON_BYTES_MAX)] = ""


class Whom(Struct, gc=False):
    """A user's connections; of them one, with `client`. No transport here has `session` ids."""

    user: str = ""
    client: str | None = None
    session: str | None = None


class SubscribeRequest(Whom, gc=False):
    """Subscribe a user's connections to a channel.

    `recover_since` is a position to recover from, `expire_at` (seconds since the Unix epoch) ends the
    subscription, `info` is what others see of it, `data` what the client is told with it, `override` holds
    in place of options of the namespace: each as `{"value": true}`.
    """

    channel: str = ""
    info: msgspec.Raw = msgspec.Raw()
    b64info: str | None = None
    data: msgspec.Raw = msgspec.Raw()
    b64data: str | None = None
    expire_at: Seconds | None = None
    recover_since: StreamPosition | None = None
    override: Overrides | None = None

    def grant(self) -> Grant:
        """Return what is granted.

        Raises:
            BadRequest: `b64info` or `b64data` is not base64 of JSON.
        """
        return Grant(
            info=_read(self.info, self.b64info),
            data=_read(self.data, self.b64data),
            override=self.override.override() if self.override is not None else Override(),
            expires_ms=int((self.expire_at or 0) * 1000),
        )


class UnsubscribeRequest(Whom, gc=False):
    """End a user's subscriptions to a channel."""

    channel: str = ""


class DisconnectRequest(Whom, gc=False):
    """End a user's connections, but for those with a client id in `whitelist`."""

    whitelist: list[str] | None = None
    disconnect: Going | None = None


class RefreshRequest(Whom, gc=False):
    """Let a user's connections last until `expire_at` (seconds; 0: for ever), or end now if `expired`."""

    expired: bool | None = None
    expire_at: Seconds | None = None
    info: msgspec.Raw = msgspec.Raw()

    def expires_ms(self) -> int:
        """Return when they end; 0 is never."""
        return int((self.expire_at or 0) * 1000)

    def conn_info(self) -> Payload:
        """Return what others see of them from now on, if that changes."""
        return _read(self.info, None)


class ConfigRequest(Struct, gc=False):
    """Ask what the node runs with, and where each key was set; secrets are not shown (ours)."""


class ChannelOptionsRequest(Struct, gc=False):
    """Ask which options hold in a channel, and where each was set (ours)."""

    channel: str = ""


class Act(StrEnum):
    """What somebody would do in a channel."""

    SUBSCRIBE = "subscribe"
    PUBLISH = "publish"
    HISTORY = "history"
    PRESENCE = "presence"


class ExplainRequest(Struct, gc=False):
    """Ask whether a user may do something in a channel over a connection, and why or why not (ours).

    An empty user is anonymous. With `token`, a connection token, it connects with that; with
    `subscription_token` it presents that when it subscribes.
    """

    channel: str
    act: Act
    user: str = ""
    token: str = ""
    subscription_token: str = ""


class TokenMakeRequest(Struct, gc=False):
    """Make a token for a user, to try things out: with a `channel` a subscription token (ours).

    It is signed with `client.token.hmac_secret_key`, or that of `client.subscription_token` where its keys
    count. It is good for `expires_in_s` seconds, 0: for ever. `claims` are laid over what it says anyway.
    """

    user: str = ""
    channel: str | None = None
    expires_in_s: Annotated[int, Meta(ge=0, le=2**32)] = TOKEN_TRIAL_MS // 1000
    info: msgspec.Raw = msgspec.Raw()
    claims: dict[str, Any] = {}


class TokenCheckRequest(Struct, gc=False):
    """Ask whether a token would be accepted to connect, or to subscribe to a `channel` (ours)."""

    token: str = ""
    channel: str | None = None


class RevokeRequest(Struct, gc=False):
    """Revoke the token with this `token_id` (jti), or a user's tokens issued (iat) before `issued_before`.

    That is seconds since the Unix epoch, now unless it is given. It holds until `expire_at`, for ever unless
    that is given: name a time when the tokens have expired.
    """

    user: str = ""
    token_id: str = ""
    issued_before: Seconds | None = None
    expire_at: Seconds | None = None


class BlockRequest(Struct, gc=False):
    """Block a user until `expire_at` (seconds since the Unix epoch), or until it is unblocked."""

    user: str = ""
    expire_at: Seconds | None = None


class UnblockRequest(Struct, gc=False):
    """Block a user no more."""

    user: str = ""


class RevocationsRequest(Struct, gc=False):
    """Ask what is revoked and who is blocked, up to `limit`; `after` is `next` of the answer before."""

    limit: Annotated[int, Meta(ge=0, le=2**31 - 1)] | None = None
    after: str | None = None


class Command(Struct, gc=False):
    """One step of a batch: one field is set.

    Of several only the first in this order counts, as Centrifugo does it too. Of queues and streams there is
    what stores; their other verbs wait, or take many items by themselves.
    """

    publish: PublishRequest | None = None
    broadcast: BroadcastRequest | None = None
    subscribe: SubscribeRequest | None = None
    unsubscribe: UnsubscribeRequest | None = None
    disconnect: DisconnectRequest | None = None
    refresh: RefreshRequest | None = None
    presence: PresenceRequest | None = None
    presence_stats: PresenceStatsRequest | None = None
    history: HistoryRequest | None = None
    history_remove: HistoryRemoveRequest | None = None
    channels: ChannelsRequest | None = None
    info: InfoRequest | None = None
    rpc: RpcRequest | None = None
    enqueue: EnqueueRequest | None = field(default=None, name="queue/enqueue")
    append: AppendRequest | None = field(default=None, name="stream/append")


class LegacyCommand(Struct, gc=False):
    """A call in the form of old API clients, which name the method in the body."""

    method: str = ""
    params: msgspec.Raw = msgspec.Raw()
    id: Annotated[int, Meta(ge=0, le=2**32 - 1)] = 0


def legacy_commands(body: bytes) -> list[LegacyCommand]:
    """Read legacy commands: one JSON object, or several on a line each.

    Raises:
        BadRequest: there is none, there are too many, or one is malformed.
    """
    decoder = msgspec.json.Decoder(LegacyCommand)
    try:
        body.decode()
        lines = [line for line in body.splitlines() if line.strip()]
        commands = decoder.decode_lines(body) if lines[0].rstrip().endswith(b"}") else [decoder.decode(body)]
    except (ValueError, IndexError, RecursionError) as error:
        raise BadRequest(f"malformed request: {error}") from error
    if len(commands) > API_ITEMS_MAX:
        raise BadRequest(f"up to {API_ITEMS_MAX} commands may come at once")
    return commands


class BatchRequest(Struct, gc=False):
    """Several commands, in order unless `parallel`. An error ends one command, not the others.

    It is no transaction. For jobs and messages that are stored together or not at all, see `queue/enqueue`,
    `stream/append` and what an ack emits.
    """

    commands: list[Command] = []
    parallel: bool | None = None


def _read(plain: msgspec.Raw, encoded: str | None) -> Payload:
    try:
        return granted_payload(plain, encoded)
    except Unauthorized as error:
        raise BadRequest(str(error)) from error


def _from_base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as error:
        raise BadRequest("b64data is not base64") from error
