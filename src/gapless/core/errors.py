"""Every error gapless raises.

GaplessError
├── UsageError                the caller broke the contract; do not retry
│   ├── BadRequest            malformed, or outside a limit of shape
│   ├── Unauthorized          no valid credentials
│   │   └── TokenExpired      they were valid once
│   ├── PermissionDenied      the credentials do not allow this
│   ├── UnknownChannel        no such channel or namespace
│   ├── UnknownQueue          no such queue was declared
│   ├── UnknownStream         no such stream was declared
│   ├── UnknownJob            no such job (any more)
│   ├── MethodNotFound        no such method
│   ├── AlreadySubscribed     the connection holds this subscription
│   ├── NotAvailable          this server does not offer that here
│   ├── LimitExceeded         a configured limit was reached
│   ├── BinaryMessage         bytes that are not JSON, for a JSON connection
│   └── ConfigError           the configuration is wrong; says where and what to do
├── StateError                the world moved on; re-read, then decide
│   ├── PositionLost          what lies after the position cannot be told
│   │   ├── TimelineGone      it is of a timeline that the store does not continue
│   │   └── PositionTrimmed   it is older than what is kept
│   ├── PositionConflict      the stream does not end where `expected` says
│   ├── KeyConflict           the idempotency key belongs to another payload
│   ├── LeaseLost             the lease, or the hold on a partition, is another's by now
│   └── JobStarted            the job is being worked on, or has ended
└── Unavailable               refused for now: never stored, safe to retry
    ├── TooManyRequests       a queue is full; back off
    └── StoreError            the store cannot serve
        ├── OutcomeUnknown    it may or may not be stored: retry only with a key
        ├── StoreFailed       a commit failed; the store is closed until reopened
        ├── StoreFull         no space left; reading and trimming still work
        ├── StoreRefused      the store may not be opened as it is
        └── StoreDamaged      a stored row fails its checksum
"""

from typing import ClassVar

__all__ = [
    "AlreadySubscribed",
    "BadRequest",
    "BinaryMessage",
    "ConfigError",
    "GaplessError",
    "JobStarted",
    "KeyConflict",
    "LeaseLost",
    "LimitExceeded",
    "MethodNotFound",
    "NotAvailable",
    "OutcomeUnknown",
    "PermissionDenied",
    "PositionConflict",
    "PositionLost",
    "PositionTrimmed",
    "StateError",
    "StoreDamaged",
    "StoreError",
    "StoreFailed",
    "StoreFull",
    "StoreRefused",
    "TimelineGone",
    "TokenExpired",
    "TooManyRequests",
    "Unauthorized",
    "Unavailable",
    "UnknownChannel",
    "UnknownJob",
    "UnknownQueue",
    "UnknownStream",
    "UsageError",
]


class GaplessError(Exception):
    """Base of all gapless errors.

    `code` is the error's stable name, `number` its code in the client protocol,
    `http_status` what transport error mode answers, `temporary` whether the same
    call may succeed later.
    """

    code: ClassVar[str] = "internal"
    number: ClassVar[int] = 100
    http_status: ClassVar[int] = 500
    temporary: ClassVar[bool] = False


class UsageError(GaplessError):
    """The caller broke the contract; the same call will fail again."""

    code = "bad_request"
    number = 107
    http_status = 400


class BadRequest(UsageError):
    """Malformed input, or a value outside its documented shape."""


class Unauthorized(UsageError):
    """No valid credentials."""

    code = "unauthorized"
    number = 101
    http_status = 401


class TokenExpired(Unauthorized):
    """The token was valid once; get a new one and try again."""

    code = "token_expired"
    number = 109


class PermissionDenied(UsageError):
    """The credentials do not allow this."""

    code = "permission_denied"
    number = 103
    http_status = 403


class UnknownChannel(UsageError):
    """No such channel or namespace."""

    code = "unknown_channel"
    number = 102
    http_status = 404


class UnknownQueue(UsageError):
    """No such queue was declared; a typing error makes none."""

    code = "unknown_queue"
    number = 1003
    http_status = 404


class UnknownStream(UsageError):
    """No such stream was declared; a typing error makes none."""

    code = "unknown_stream"
    number = 1004
    http_status = 404


class UnknownJob(UsageError):
    """There is no such job, or not any more."""

    code = "unknown_job"
    number = 1005
    http_status = 404


class MethodNotFound(UsageError):
    """No such method."""

    code = "method_not_found"
    number = 104
    http_status = 404


class AlreadySubscribed(UsageError):
    """The connection already holds a subscription to this channel."""

    code = "already_subscribed"
    number = 105


class LimitExceeded(UsageError):
    """A configured limit was reached."""

    code = "limit_exceeded"
    number = 106


class NotAvailable(UsageError):
    """This server, or this channel's namespace, does not offer that."""

    code = "not_available"
    number = 108


class BinaryMessage(UsageError):
    """A message that is not JSON cannot be told to a JSON connection (disconnect 3506)."""

    code = "binary_message"


class ConfigError(UsageError):
    """The configuration is wrong; the message says where and what to do."""

    code = "config"


class StateError(GaplessError):
    """The world moved on: re-read, then decide."""

    code = "conflict"
    number = 100
    http_status = 409


class PositionLost(StateError):
    """What lies after the position cannot be told: trimmed, beyond the end, or of another timeline."""

    code = "position_lost"
    number = 112
    http_status = 416


class TimelineGone(PositionLost):
    """The position is of a timeline that the store does not continue; it ends at (`epoch`, `offset`)."""

    code = "timeline_gone"
    http_status = 409

    def __init__(self, message: str = "", *, epoch: str = "", offset: int = 0) -> None:
        super().__init__(message)
        self.epoch = epoch
        self.offset = offset


class PositionTrimmed(PositionLost):
    """The position is older than what is kept, which begins just after (`epoch`, `offset`)."""

    code = "position_trimmed"
    http_status = 410

    def __init__(self, message: str = "", *, epoch: str = "", offset: int = 0) -> None:
        super().__init__(message)
        self.epoch = epoch
        self.offset = offset


class PositionConflict(StateError):
    """The stream does not end at the `expected` position; nothing was stored."""

    code = "position_conflict"
    number = 1001


class KeyConflict(StateError):
    """The idempotency key was used with another payload; nothing was stored."""

    code = "key_conflict"
    number = 1002


class LeaseLost(StateError):
    """The lease or hold ended: its time ran out, it was settled, or is another's. Nothing changed."""

    code = "lease_lost"
    number = 1006


class JobStarted(StateError):
    """Only a job that waits can be cancelled; this one is being worked on, or has ended."""

    code = "job_started"
    number = 1007


class Unavailable(GaplessError):
    """Refused for now: nothing was stored and nothing will be; safe to retry."""

    code = "unavailable"
    http_status = 503
    temporary = True


class TooManyRequests(Unavailable):
    """A queue is at its limit; back off and retry."""

    code = "too_many_requests"
    number = 111
    http_status = 429


class StoreError(Unavailable):
    """The store cannot serve."""

    code = "store"


class OutcomeUnknown(StoreError):
    """The message may or may not be stored: retry only with an idempotency key."""

    code = "unknown"
    number = 1000
    temporary = False


class StoreFailed(StoreError):
    """A commit or checkpoint failed; the store is closed until it is opened anew."""

    code = "store_failed"


class StoreFull(StoreError):
    """No space is left on the store's disk; reading and trimming still work."""

    code = "store_full"


class StoreRefused(StoreError):
    """The store may not be opened as it is; the message says why and what to do."""

    code = "store_refused"
    temporary = False


class StoreDamaged(StoreError):
    """A stored row does not match its checksum; it is not served."""

    code = "store_damaged"
    temporary = False
