"""Disconnect, unsubscribe and error codes, with what each asks of a client (PROTOCOL.md, Codes)."""

from enum import IntEnum
from typing import Final, Self

from gapless.core.errors import GaplessError, UsageError
from gapless.protocol import messages

__all__ = ["Disconnect", "Unsubscribe", "error_of", "reconnects"]


def reconnects(code: int) -> bool:
    """Tell whether a client that was closed with `code` is to come back."""
    return not (3500 <= code < 4000 or 4500 <= code < 5000)


class _Code(IntEnum):
    """A number with the text that goes with it."""

    reason: str

    def __new__(cls, number: int, reason: str) -> Self:
        code = int.__new__(cls, number)
        code._value_ = number
        code.reason = reason
        return code


class Disconnect(_Code):
    """Why the server closes a connection."""

    CONNECTION_CLOSED = 3000, "connection closed"
    SHUTDOWN = 3001, "shutdown"
    SERVER_ERROR = 3004, "internal server error"
    EXPIRED = 3005, "connection expired"
    SUBSCRIPTION_EXPIRED = 3006, "subscription expired"
    SLOW = 3008, "slow"
    WRITE_ERROR = 3009, "write error"
    INSUFFICIENT_STATE = 3010, "insufficient state"
    FORCE_RECONNECT = 3011, "force reconnect"
    NO_PONG = 3012, "no pong"
    TOO_MANY_REQUESTS = 3013, "too many requests"
    STATE_INVALIDATED = 3014, "state invalidated"
    INVALID_TOKEN = 3500, "invalid token"
    BAD_REQUEST = 3501, "bad request"
    STALE = 3502, "stale"
    FORCE_DISCONNECT = 3503, "force disconnect"
    CONNECTION_LIMIT = 3504, "connection limit"
    CHANNEL_LIMIT = 3505, "channel limit"
    INAPPROPRIATE_PROTOCOL = 3506, "inappropriate protocol"
    PERMISSION_DENIED = 3507, "permission denied"
    NOT_AVAILABLE = 3508, "not available"
    TOO_MANY_ERRORS = 3509, "too many errors"

    @property
    def reconnect(self) -> bool:
        """Whether the client is to come back."""
        return reconnects(self)

    def push(self) -> messages.Disconnect:
        """Return the push that says it, for transports without close frames."""
        return messages.Disconnect(int(self), self.reason, self.reconnect)


class Unsubscribe(_Code):
    """Why the server ends a subscription."""

    SERVER = 2000, "server unsubscribe"
    INSUFFICIENT_STATE = 2500, "insufficient state"
    EXPIRED = 2501, "subscription expired"
    STATE_INVALIDATED = 2502, "state invalidated"

    @property
    def resubscribe(self) -> bool:
        """Whether the client is to subscribe again."""
        return self >= 2500

    def push(self) -> messages.Unsubscribe:
        """Return the push that says it."""
        return messages.Unsubscribe(int(self), self.reason)


_ERROR_TEXTS: Final = {
    100: "internal server error",
    101: "unauthorized",
    102: "unknown channel",
    103: "permission denied",
    104: "method not found",
    105: "already subscribed",
    106: "limit exceeded",
    107: "bad request",
    108: "not available",
    109: "token expired",
    110: "expired",
    111: "too many requests",
    112: "unrecoverable position",
    113: "concurrent pagination",
    1000: "outcome unknown",
    1001: "position conflict",
    1002: "key conflict",
    1003: "unknown queue",
    1004: "unknown stream",
    1005: "unknown job",
    1006: "lease lost",
    1007: "job started",
}


def error_of(error: GaplessError) -> messages.Error:
    """Put an error as a client may see it: its own fault in words, the server's by number only."""
    told = str(error) if isinstance(error, UsageError) else ""
    return messages.Error(error.number, told or _ERROR_TEXTS[error.number], error.temporary)
