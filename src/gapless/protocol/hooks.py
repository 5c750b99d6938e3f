"""What hooks are asked, and what they answer: as it is in a process, in JSON between server and worker."""

from collections.abc import Iterator
from typing import Annotated, Any, Final, Literal, get_args

from msgspec import Meta as Bounds
from msgspec import Raw, Struct, field

from gapless.core.limits import CHANNEL_NAME_BYTES_MAX, HOOKS_TAKEN_MAX, JOB_KEY_BYTES_MAX
from gapless.protocol.messages import NO_PAYLOAD, Payload
from gapless.protocol.payloads import Answer as VerbAnswer
from gapless.protocol.payloads import DurationMs, Nothing, Request, Wait

__all__ = [
    "VERBS",
    "AnswerRequest",
    "AnsweredCall",
    "Asked",
    "Calling",
    "Catalogue",
    "Connecting",
    "Decision",
    "Disconnecting",
    "Ending",
    "Granted",
    "HookAsked",
    "HookName",
    "HookPlace",
    "OverrideName",
    "Publishing",
    "Refreshing",
    "Refusal",
    "Subscribing",
    "TakeAnswer",
    "TakeRequest",
    "TakenCall",
]

HookName = Literal["connect", "subscribe", "publish", "refresh", "sub_refresh", "disconnect", "rpc"]
HookPlace = tuple[HookName, str]  # its kind, and the pattern or name of a channel or method
OverrideName = Literal[
    "presence", "join_leave", "force_push_join_leave", "force_positioning", "force_recovery"
]
Pattern = Annotated[str, Bounds(min_length=1, max_length=CHANNEL_NAME_BYTES_MAX)]
Worker = Annotated[str, Bounds(min_length=1, max_length=JOB_KEY_BYTES_MAX)]
# What Centrifugo leaves to applications: errors 400 to 1999, and 103; disconnects 4000 to 4999.
ErrorCode = Annotated[int, Bounds(ge=100, le=1_999)]
DisconnectCode = Annotated[int, Bounds(ge=3_000, le=4_999)]


# Questions ------------------------------------------------------------------------------------


class Asked(Struct, kw_only=True, omit_defaults=True, tag_field="hook"):
    """Who asks, and what was sent along: `data` if it is JSON, else `b64data`.

    `info` is what others see of the connection, `meta` what the token, or a hook, keeps with it for the
    backend alone. An empty `user` is anonymous. `protocol` is `json` or `protobuf`; `transport` is
    `websocket`, `http` for a page of the messages API, or `api` for a call of the server API, which has no
    `user`; these two have no `client`.
    """

    client: str = ""
    user: str = ""
    transport: str = "websocket"
    protocol: str = "json"
    info: Any = None
    meta: Any = None
    data: Payload = NO_PAYLOAD
    b64data: bytes | None = None

    def body(self) -> bytes:
        """Return what was sent along; `null` if nothing was."""
        return self.b64data if self.b64data is not None else bytes(self.data) or b"null"

    def place(self) -> HookPlace:
        """Return which hook is asked, by its kind and the channel or method."""
        raise NotImplementedError


class Connecting(Asked, tag="connect"):
    """Somebody connects: with a valid `token`, whose user it is then, or without.

    `headers` are those of the handshake that are configured, in lower case, and what the SDK sends in their
    place; `channels` those that it followed before, server-side.
    """

    token: bool = False
    name: str = ""
    version: str = ""
    headers: dict[str, str] = {}
    channels: list[str] = []

    def place(self) -> HookPlace:
        """See `Asked.place`."""
        return "connect", ""


class Subscribing(Asked, tag="subscribe"):
    """Somebody subscribes, with a valid subscription `token` or without."""

    channel: str
    token: bool = False

    def place(self) -> HookPlace:
        """See `Asked.place`."""
        return "subscribe", self.channel


class Publishing(Asked, tag="publish"):
    """Somebody publishes `data`."""

    channel: str
    idempotency_key: str = ""

    def place(self) -> HookPlace:
        """See `Asked.place`."""
        return "publish", self.channel


class Refreshing(Asked, tag="refresh"):
    """The time is over that a hook gave a connection, or its subscription to `channel`."""

    channel: str = ""

    def place(self) -> HookPlace:
        """See `Asked.place`."""
        return ("sub_refresh", self.channel) if self.channel else ("refresh", "")


class Disconnecting(Asked, tag="disconnect"):
    """A connection is over; nothing can be answered."""

    code: int = 0
    reason: str = ""

    def place(self) -> HookPlace:
        """See `Asked.place`."""
        return "disconnect", ""


class Calling(Asked, tag="rpc"):
    """Somebody calls a method."""

    method: str

    def place(self) -> HookPlace:
        """See `Asked.place`."""
        return "rpc", self.method


HookAsked = Connecting | Subscribing | Publishing | Refreshing | Disconnecting | Calling


# Answers --------------------------------------------------------------------------------------


class Refusal(Struct, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """An error that the client is told."""

    code: ErrorCode = 103
    message: str = ""
    temporary: bool = False


class Ending(Struct, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """The connection is closed; with a code from 3500 or 4500 on, for good."""

    code: DisconnectCode
    reason: str = ""


class Granted(Struct, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What a subscription is given; `expires_in_ms` 0 is for ever."""

    info: Payload = NO_PAYLOAD
    data: Payload = NO_PAYLOAD
    override: dict[OverrideName, bool] = {}
    expires_in_ms: DurationMs = 0


class Decision(Granted):
    """What a hook decides. Unless it is `decided`, the rules, or a token, say.

    At connect `user`, `meta`, `info` and `data` count, `subscriptions` and rights for `queues` and `streams`;
    at publish `data` or `b64data`, `tags` and `skip_history`; of an rpc `data` or `b64data`. What is left
    out stays as it was.
    """

    decided: bool = False
    refusal: Refusal | None = None
    ending: Ending | None = None
    user: str | None = None
    meta: Payload = NO_PAYLOAD
    subscriptions: dict[str, Granted] = {}
    queues: dict[str, list[str]] = {}
    streams: dict[str, list[str]] = {}
    b64data: bytes | None = None
    tags: dict[str, str] = {}
    skip_history: bool = False

    def body(self) -> bytes:
        """Return the payload of the answer, if it has one."""
        return self.b64data if self.b64data is not None else bytes(self.data)


# Workers --------------------------------------------------------------------------------------


class Catalogue(Struct, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Which hooks there are: channels and methods by patterns (`chat:*`)."""

    connect: bool = False
    disconnect: bool = False
    refresh: bool = False
    subscribe: list[Pattern] = []
    publish: list[Pattern] = []
    sub_refresh: list[Pattern] = []
    rpc: list[Pattern] = []

    def places(self) -> Iterator[HookPlace]:
        """Yield each hook by its kind and pattern, if it has one."""
        for kind in get_args(HookName):
            said = getattr(self, kind)
            yield from ((kind, name) for name in (said if isinstance(said, list) else [""] * said))


class TakeRequest(Request):
    """Take calls of hooks that this worker has, up to `limit`; wait for the first for up to `wait_ms`."""

    worker: Worker
    hooks: Catalogue
    limit: Annotated[int, Bounds(ge=1, le=HOOKS_TAKEN_MAX)] = 1
    wait_ms: Wait = 0


class TakenCall(Struct, kw_only=True):
    """A call that waits for its answer, for so long: after that nobody needs it. 0: that is not said."""

    id: str
    asked: HookAsked
    timeout_ms: DurationMs = 0


class TakeAnswer(VerbAnswer):
    """The calls. `unasked` are hooks of the worker that this server's configuration does not name."""

    calls: list[TakenCall] = field(default_factory=list)
    unasked: list[str] = field(default_factory=list)


class AnsweredCall(Struct, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What was decided, a `Decision`; null: the hook failed."""

    id: str
    decision: Raw = Raw(b"null")


class AnswerRequest(Request):
    """Answer calls that were taken. Who answers too late is not told."""

    worker: Worker
    answers: list[AnsweredCall]


VERBS: Final[dict[str, tuple[type[Any], type[Any]]]] = {
    "hooks/take": (TakeRequest, TakeAnswer),
    "hooks/answer": (AnswerRequest, Nothing),
}
